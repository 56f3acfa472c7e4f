//! What a callback may return.

use std::fmt::Display;

/// What a callback returns: `()`, or a `Result` whose error is reported and keeps the message
/// unacknowledged, so that the server delivers it again.
pub trait Outcome {
    /// Why the callback failed, if it did.
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Display> Outcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}
