//! What can go wrong.

/// A promise that was broken. Messages are named by their number in the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// A client got bytes that mean nothing, or mean what nobody said.
    Corrupt(String),
    /// An answer that is no answer to the request whose turn it is.
    WrongAnswer(String),
    /// A message overtook another of its publisher.
    Overtook(usize),
    /// A subscriber got a message twice that was sent once.
    Twice(usize),
    /// A subscriber did not get a message although its connection stood.
    Missed(usize),
    /// It was answered OK, and nobody was given it.
    Lost(usize),
    /// What the journal has not stored was answered OK.
    OkBeforeStored(usize),
    /// It came to a subscriber before the journal had stored it.
    PublishedBeforeStored(usize),
    /// A subscription got a delivery although so many bytes more than it had granted had come.
    Overdrawn(u64),
    /// More than one member's acknowledgement of a message was taken.
    SettledTwice(usize),
    /// The journal holds what nobody published.
    Forged(usize),
    /// The journal cannot be opened, or does not work.
    Journal(String),
    /// A subscriber got what it had not subscribed to.
    Unwanted(usize),
    /// A client that does all as it should waited too long.
    Late(String),
    /// A connection was closed, or refused, without a cause.
    Closed(String),
    /// A connection stands although its time was over.
    Open(String),
    /// A connection that its peer had ended was closed with bytes of it unread.
    Unread(String),
    /// Everybody has left, and something of them is still held.
    Left(String),
    /// The server wakes up again and again with nothing to do.
    Spins,
    /// All is calm, and yet something was not done.
    Stuck(String),
    /// The end took longer than it may.
    SlowEnd(String),
}
