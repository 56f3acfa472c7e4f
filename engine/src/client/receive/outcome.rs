//! The results that a callback may return.

use std::fmt::Display;
use std::time::Duration;

/// What a callback says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done: acknowledges it.
    Ack,
    /// Not now: a group delivers it again after this delay, to this member or another one; zero: after the group's
    /// [backoff](crate::GroupBuilder::backoff). At most some 49 days.
    Nak(Duration),
    /// Never: in a group it becomes a [dead letter](crate::Client::dead_letters), with this reason, of which the first 255 bytes
    /// count.
    Reject(String),
}

/// What a callback returns: `()`, which acknowledges; a [`Verdict`]; or a `Result` of one of them, whose error is reported and keeps the
/// message unacknowledged, so that it is delivered again.
pub trait Outcome {
    /// What becomes of the message, or why the callback failed.
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
