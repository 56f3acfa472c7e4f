//! What can go wrong.

use crate::wire::reply::ErrorCode;

/// A promise that was broken. Messages are named by their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It was answered OK, or kept by a server that ended by itself, and a group lost it.
    Lost(usize),
    /// What has to be stored was answered OK before it was.
    OkBeforeStored(String),
    /// It was delivered before it was stored.
    DeliveredBeforeStored(usize),
    /// It was taken, and is not kept.
    NotKept(usize),
    /// It was taken for a new message when it came again, or a member got it again that asked for no acknowledgement.
    SecondMessage(usize),
    /// It is kept no longer, although a group needs it, or nobody acknowledged it.
    EndedEarly(usize),
    /// It is kept, although nobody needs it any more.
    EndedLate(usize),
    /// It was delivered to a group that was done with it, or came back as its job.
    DeliveredAfterEnd(usize),
    /// Two members have it at the same time.
    TwoMembers(usize),
    /// It was delivered before its time, or before that of its next attempt.
    TooEarly(usize),
    /// It was delivered when it had expired, or kept after that.
    TooLate(usize),
    /// It was delivered more often than its group's members agreed on.
    TooManyAttempts(usize),
    /// A group gave it up that has attempts left, or did not when it was rejected.
    GivenUp(usize),
    /// It was sent again to those who look on, or listen while groups have it.
    SentAgain(usize),
    /// It went to somebody who did not ask for it.
    Misdelivered(String),
    /// A frame holds what nobody published.
    Forged(String),
    /// A durable group is gone, or there again.
    Group(&'static str),
    /// A request was refused without a cause.
    Refused(ErrorCode),
    /// What the core counts is not what happened.
    Miscounted(String),
    /// All is calm, and yet something was not done.
    Stuck(String),
    /// The server wakes up again and again with nothing to do.
    Spins,
}

impl Broken {
    /// The message that it is about.
    pub(super) fn number(&self) -> Option<usize> {
        match *self {
            Self::Lost(number)
            | Self::DeliveredBeforeStored(number)
            | Self::NotKept(number)
            | Self::SecondMessage(number)
            | Self::EndedEarly(number)
            | Self::EndedLate(number)
            | Self::DeliveredAfterEnd(number)
            | Self::TwoMembers(number)
            | Self::TooEarly(number)
            | Self::TooLate(number)
            | Self::TooManyAttempts(number)
            | Self::GivenUp(number)
            | Self::SentAgain(number) => Some(number),
            _ => None,
        }
    }
}
