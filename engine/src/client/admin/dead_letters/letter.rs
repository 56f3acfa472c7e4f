//! A dead letter as the client received it.

use std::time::{Duration, SystemTime};

use crate::client::receive::Filter;
use crate::wire::id::MessageId;
use crate::wire::letter::{Cause, Entry};

/// Why a group gave a message up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadLetterCause {
    /// Its last attempt failed.
    UsedUp,
    /// A member rejected it, with the reason in [`DeadLetter::reason`].
    Rejected,
    /// It expired, in a group that [keeps](crate::GroupBuilder::keep_expired) expired messages.
    Expired,
}

/// A message that a group gave up, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The message's id.
    pub id: MessageId,
    /// The message's name.
    pub name: String,
    /// The group that gave it up.
    pub group: String,
    /// The group's filter.
    pub filter: Filter,
    /// Attempts since the server started or the message was replayed: after both, attempts count from 1 again.
    pub attempts: u16,
    /// Why the group gave it up.
    pub cause: DeadLetterCause,
    /// The reason that the member gave that rejected it.
    pub reason: Option<String>,
    /// When it was published, by its publisher's clock; `None` for a message of an original client, whose dict has the time.
    pub published: Option<SystemTime>,
    /// When it was given up, by the server's clock.
    pub died: SystemTime,
    /// Bytes of the message without its name.
    pub bytes: u32,
}

impl DeadLetter {
    /// `None` for a filter that is none.
    pub(super) fn read(entry: &Entry<'_>) -> Option<Self> {
        let time = |ns| SystemTime::UNIX_EPOCH + Duration::from_nanos(ns);
        Some(Self {
            id: entry.id,
            name: entry.name.to_owned(),
            group: entry.group.to_owned(),
            filter: Filter::read(entry.filter_kind, entry.filter)?,
            attempts: entry.attempts,
            cause: match entry.cause {
                Cause::UsedUp => DeadLetterCause::UsedUp,
                Cause::Rejected(_) => DeadLetterCause::Rejected,
                Cause::Expired => DeadLetterCause::Expired,
            },
            reason: entry.cause.reason().map(|reason| (*reason).to_owned()),
            published: (entry.published_ns != 0).then(|| time(entry.published_ns)),
            died: time(entry.died_ns),
            bytes: entry.bytes,
        })
    }
}
