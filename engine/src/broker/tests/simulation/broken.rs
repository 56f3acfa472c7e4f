//! What can go wrong.

use crate::wire::reply::ErrorCode;

/// A promise that was broken. Messages are named by their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It was answered OK, and is gone although nobody acknowledged it.
    Lost(usize),
    /// What the journal did not store was answered OK.
    OkBeforeStored(usize),
    /// It was answered OK, and was not given to those who had subscribed.
    OkUnpublished(usize),
    /// It was published before it was stored.
    PublishedBeforeStored(usize),
    /// It was taken for a new message when it came again.
    SecondMessage(usize),
    /// It was published although it had been acknowledged.
    PublishedAfterAck(usize),
    /// A frame went to others than those who had subscribed.
    Misdelivered(String),
    /// A subscriber may lose it, although it has to be acknowledged.
    Droppable(usize),
    /// It overtook another of its publisher and name.
    Overtook(usize),
    /// A frame holds what nobody published.
    Forged(String),
    /// It was taken beyond a limit.
    OverLimit(usize),
    /// A request was refused without a cause.
    Refused(ErrorCode),
    /// More requests wait for the journal than may.
    TooManyParked,
    /// The core keeps other messages than those that wait for an acknowledgement.
    Keeps(String),
    /// What the core counts is not what happened.
    Miscounted(String),
    /// All is calm, and yet something was not done.
    Stuck(String),
    /// The server wakes up again and again with nothing to do.
    Spins,
}
