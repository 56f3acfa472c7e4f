//! The results that a callback may return.

use std::fmt::Display;
use std::time::Duration;

/// A callback's verdict on a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Acknowledges the message.
    Ack,
    /// Asks for a later attempt: the group delivers the message again after this delay, to this member or another one; zero: after
    /// the group's [backoff](crate::GroupBuilder::backoff). At most about 49 days.
    Nak(Duration),
    /// Gives the message up: in a group it becomes a [dead letter](crate::Client::dead_letters), with the first 255 bytes of this
    /// reason.
    Reject(String),
}

/// What a callback returns: `()`, which acknowledges; a [`Verdict`]; or a `Result` of one of them. An error is reported, and the message
/// stays unacknowledged, so that it is delivered again.
pub trait Outcome {
    /// The verdict on the message, or why the callback failed.
    ///
    /// # Errors
    /// Why it failed.
    fn verdict(self) -> Result<Verdict, String>;
}

impl Outcome for () {
    fn verdict(self) -> Result<Verdict, String> {
        Ok(Verdict::Ack)
    }
}

impl Outcome for Verdict {
    fn verdict(self) -> Result<Verdict, String> {
        Ok(self)
    }
}

impl<E: Display> Outcome for Result<(), E> {
    fn verdict(self) -> Result<Verdict, String> {
        self.map(|()| Verdict::Ack).map_err(|error| error.to_string())
    }
}

impl<E: Display> Outcome for Result<Verdict, E> {
    fn verdict(self) -> Result<Verdict, String> {
        self.map_err(|error| error.to_string())
    }
}
