//! Operations of the journal, and what it asks of its caller.

use arcstr::ArcStr;

use super::group::JobState;
use super::letter::LetterEnd;
use super::record;
use crate::limits::{JOURNAL_RECORD_BYTES_MAX, NAME_BYTES_MAX};
use crate::message::{DeadLetter, DurableGroup, Message, MessageKey};
use crate::wire::id::MessageId;

/// Tells compaction which messages are still needed; asked from another thread than the broker's.
pub trait LiveSet: Send + Sync {
    /// Whether the message must stay in the journal.
    ///
    /// Must be true from before the message's [`Op::Append`] is submitted until its settlement, also while it has dead
    /// letters, and false before its [`Op::Settle`] or [`LetterEnd::Done`] is submitted. (If it were still true then, the message could come back after
    /// a restart, as a duplicate.)
    fn is_live(&self, id: &MessageId) -> bool;
}

/// One change to the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A message to keep.
    Append(Message),
    /// A message that is no longer needed, nor are its dead letters.
    Settle(MessageId),
    /// A dead letter of a message that was appended and is not settled. The same one again says that its message is done
    /// by now.
    Letter(DeadLetter),
    /// A dead letter is no more.
    EndLetter {
        /// The message's id.
        id: MessageId,
        /// The group whose letter it was.
        group: ArcStr,
        /// How it ended.
        end: LetterEnd,
    },
    /// A durable group. Messages that its filter fits and that are appended from now on are its jobs.
    Group(DurableGroup),
    /// The durable group with this number is no more, nor is it with any message.
    EndGroup(u64),
    /// What a durable group has to do with messages that were appended and are not settled.
    Jobs {
        /// The group's number.
        group: u64,
        /// What it has to do with them.
        state: JobState,
        /// The messages' ids, at most [`JOURNAL_SETTLES_PER_RECORD_MAX`](crate::limits::JOURNAL_SETTLES_PER_RECORD_MAX).
        ids: Vec<MessageId>,
    },
    /// The last message of its name.
    Retain {
        /// The message.
        message: Message,
        /// Whether it is in place of another one.
        replaces: bool,
    },
    /// The last message of this name is needed no longer.
    Unretain(ArcStr),
    /// A message was published under a key.
    Key(MessageKey),
}

/// Called by the journal's thread with [`Journal::durable`](super::Journal::durable) after it advanced, after a failure, and after
/// a compaction ended. It must be quick: the next commit waits for it.
pub type OnProgress = Box<dyn Fn(u64) + Send>;

/// Bytes that a message occupies in the file, without its dead letters.
pub fn record_bytes(message: &Message) -> u64 {
    record::append_bytes(message.name.len(), message.body.len())
}

/// Whether a message can be journalled: its name and its size are in the bounds of a record.
pub fn fits(message: &Message) -> bool {
    message.name.len() <= NAME_BYTES_MAX && record_bytes(message) <= JOURNAL_RECORD_BYTES_MAX as u64
}
