//! Dead letters: the messages that groups gave up.

mod letter;
pub(in crate::client) mod tasks;

pub use letter::{DeadLetter, DeadLetterCause};

use crate::client::error::AdminError;
use crate::client::receive::message::Message;
use crate::client::waiting::block;
use crate::wire::id::MessageId;

/// The dead letters of a group, or of all groups: [`Client::dead_letters`](crate::Client::dead_letters).
///
/// ```no_run
/// let client = mezzenger::Client::connect("127.0.0.1")?;
/// let letters = client.dead_letters("packers");
/// for letter in letters.list(100)? {
///     println!("{} under {}: {:?}", letter.id, letter.name, letter.reason);
/// }
/// println!("{} replayed", letters.replay_all()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DeadLetters(tasks::DeadLetters);

impl DeadLetters {
    pub(in crate::client) fn new(letters: tasks::DeadLetters) -> Self {
        Self(letters)
    }

    /// The number of dead letters.
    ///
    /// # Errors
    /// [`AdminError`]: the server rejected the request or did not answer, or the client was stopped.
    pub fn count(&self) -> Result<u64, AdminError> {
        block(self.0.count())
    }

    /// The oldest dead letters, at most `limit`.
    ///
    /// # Errors
    /// [`AdminError`]: the server rejected the request or did not answer, or the client was stopped.
    pub fn list(&self, limit: usize) -> Result<Vec<DeadLetter>, AdminError> {
        block(self.0.list(limit))
    }

    /// A dead letter, and its message.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when the group has no such letter.
    pub fn show(&self, id: MessageId) -> Result<(DeadLetter, Message), AdminError> {
        block(self.0.show(id))
    }

    /// Delivers these messages to the group again, with attempts from 1, and returns their number. The group must have members, or be durable.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when the group has no members and is not durable: then all stay dead letters; and when some of these are not dead
    /// letters of the group: then the others are delivered.
    pub fn replay(&self, ids: &[MessageId]) -> Result<u64, AdminError> {
        block(self.0.replay(ids))
    }

    /// [`Self::replay`] of all dead letters that exist now.
    ///
    /// # Errors
    /// As for [`Self::replay`].
    pub fn replay_all(&self) -> Result<u64, AdminError> {
        block(self.0.replay_all())
    }

    /// [`Self::replay`] of all dead letters of a message name that exist now.
    ///
    /// # Errors
    /// As for [`Self::replay`].
    pub fn replay_named(&self, name: &str) -> Result<u64, AdminError> {
        block(self.0.replay_named(name))
    }

    /// Discards these messages for good, and returns their number.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when some of these are not dead letters of the group: the others are discarded.
    pub fn purge(&self, ids: &[MessageId]) -> Result<u64, AdminError> {
        block(self.0.purge(ids))
    }

    /// [`Self::purge`] of all dead letters that exist now.
    ///
    /// # Errors
    /// As for [`Self::purge`].
    pub fn purge_all(&self) -> Result<u64, AdminError> {
        block(self.0.purge_all())
    }

    /// [`Self::purge`] of all dead letters of a message name that exist now.
    ///
    /// # Errors
    /// As for [`Self::purge`].
    pub fn purge_named(&self, name: &str) -> Result<u64, AdminError> {
        block(self.0.purge_named(name))
    }
}

impl std::fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
