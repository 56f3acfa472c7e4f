//! What a server reports of itself: the answers, and how questions reach the broker's thread.
//!
//! Only the broker's thread reads the broker's state. A question waits in a bounded queue. The thread answers one per turn,
//! each with a bounded part of the state. Without questions, a turn reads one flag.

mod questions;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use self::questions::{Asked, Question, Questions};

use crate::limits::QUESTIONS_MAX;
use crate::metrics::{Histogram, Metrics, Traffic};
use crate::wire::id::MessageId;

/// Why a question was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The maximum of questions waits already.
    #[error("{QUESTIONS_MAX} questions wait for the server, as many as may: ask again")]
    Busy,
    /// The server has ended.
    #[error("the server has ended")]
    Ended,
}

/// A server at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Overview {
    /// The counters.
    pub metrics: Metrics,
    /// What went through the server, why it rejected requests, and how long its turns took.
    pub traffic: Traffic,
    /// How long the server has been running.
    pub uptime: Duration,
    /// Whether it rejects messages because it shuts down.
    pub is_draining: bool,
    /// How long ago the oldest unacknowledged message was accepted, or recovered. It may be 1 s too long, or a thousandth of the age
    /// that the oldest one had when it came.
    pub oldest_pending: Option<Duration>,
    /// The limit on unacknowledged messages.
    pub pending_messages_max: u64,
    /// The limit on bytes of unacknowledged messages.
    pub pending_bytes_max: u64,
    /// All groups together.
    pub groups: GroupTotals,
    /// What was published under all names since the first inspector.
    pub names: NameTotals,
    /// Subscribers that do not keep up now.
    pub slow_subscribers: u64,
    /// The journal, if there is one.
    pub journal: Option<JournalOverview>,
}

/// All groups together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupTotals {
    /// Groups.
    pub count: u64,
    /// Their members.
    pub members: u64,
    /// Messages that they have not settled, each counted for each of its groups.
    pub unsettled: u64,
    /// Those of them that members have.
    pub in_flight: u64,
    /// Redeliveries since the start of the server.
    pub redelivered: u64,
}

/// What was published under all names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameTotals {
    /// Messages accepted.
    pub messages: u64,
    /// Bytes of the frames that they came in.
    pub bytes: u64,
}

/// A journal at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JournalOverview {
    /// Its file.
    pub path: PathBuf,
    /// The file's length, in bytes.
    pub file_bytes: u64,
    /// About how many bytes of it are still needed.
    pub live_bytes: u64,
    /// Groups of records that wait to be written.
    pub queued: u64,
    /// Messages written.
    pub appended: u64,
    /// Settled messages written.
    pub settled: u64,
    /// Compactions done.
    pub compactions: u64,
    /// Compactions given up.
    pub compactions_given_up: u64,
    /// How long syncs took.
    pub syncs: Histogram,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<T, C> {
    /// The part.
    pub items: Vec<T>,
    /// Where the next part begins; `None` after the last one.
    pub next: Option<C>,
}

/// A connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionOverview {
    /// Its number, which no other connection of this server has.
    pub id: u64,
    /// Whose.
    pub address: SocketAddr,
    /// Whether it is one to the port for subscribers.
    pub is_subscriber: bool,
    /// Whether its handshake is over.
    pub is_open: bool,
    /// The publisher that it proved to be.
    pub publisher: Option<u64>,
    /// What its client calls itself, which nothing proves.
    pub client: Option<String>,
    /// The user whose password it said.
    pub user: Option<String>,
    /// The key that it proved to have, as CURVE has it.
    pub key: Option<String>,
    /// How long ago it was made.
    pub age: Duration,
    /// How long ago something last came in.
    pub silent: Duration,
    /// Bytes read.
    pub received_bytes: u64,
    /// Bytes written.
    pub sent_bytes: u64,
    /// Bytes of messages that wait to be sent.
    pub queued_bytes: u64,
    /// How long the first of them has waited.
    pub queued_since: Option<Duration>,
    /// Its subscriptions, those that belong to groups among them.
    pub subscriptions: u64,
    /// Whether it waits for a subscriber that does not keep up.
    pub is_held: bool,
    /// For how long it has not kept up with what it gets.
    pub slow: Option<Duration>,
    /// For how long one of its subscriptions has had no credit for what it got.
    pub without_credit: Option<Duration>,
    /// Publishers that wait for it.
    pub holds: u64,
    /// What it did not get and will not get, as it did not keep up: messages, or frames of them on the port for subscribers.
    pub dropped: u64,
}

/// What was published under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameOverview {
    /// The name; `None`: all those that are not counted on their own.
    pub name: Option<String>,
    /// Messages accepted.
    pub messages: u64,
    /// Bytes of the frames that they came in.
    pub bytes: u64,
    /// Connections and subscriptions that want it now.
    pub subscribers: u64,
    /// Groups whose filter fits it now.
    pub groups: u64,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupOverview {
    /// Its name.
    pub name: String,
    /// Whose messages it has, as people write it.
    pub filter: String,
    /// Whether it stays without members.
    pub is_durable: bool,
    /// Its members.
    pub members: u64,
    /// Messages that no member has.
    pub waiting: u64,
    /// Messages that members have.
    pub in_flight: u64,
    /// Messages handed over again.
    pub redelivered: u64,
    /// Its dead letters now.
    pub dead_letters: u64,
    /// Messages that it gave up.
    pub given_up: u64,
}

/// Where an unacknowledged message is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PendingState {
    /// Nobody subscribes to its name.
    Waiting,
    /// It was delivered, and is again if nobody acknowledges it.
    Delivered,
    /// This group has it.
    Group(String),
    /// Its time has not come.
    Later,
}

/// An unacknowledged message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingOverview {
    /// Its id.
    pub id: MessageId,
    /// Its name.
    pub name: String,
    /// Bytes of it without its name.
    pub bytes: u64,
    /// How long ago it was accepted, or recovered: see [`Overview::oldest_pending`].
    pub age: Duration,
    /// Where it is.
    pub state: PendingState,
}

/// A place among the unacknowledged messages. What comes and goes meanwhile may be left out, or come twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingCursor {
    /// Among those that wait.
    Waiting(u32),
    /// Among those that were delivered: a part, and this many behind its beginning.
    Delivered(u32, u32),
    /// Among those of groups.
    Group(u32, MessageId),
    /// Among those whose time has not come.
    Later(u64, MessageId),
}

impl PendingCursor {
    /// Before all of them.
    pub const START: Self = Self::Waiting(0);
}

impl fmt::Display for PendingCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting(at) => write!(f, "w{at}"),
            Self::Delivered(part, at) => write!(f, "d{part}.{at}"),
            Self::Group(group, id) => write!(f, "g{group}.{}.{}", id.publisher, id.sequence),
            Self::Later(at_ms, id) => write!(f, "l{at_ms}.{}.{}", id.publisher, id.sequence),
        }
    }
}

impl std::str::FromStr for PendingCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (kind, rest) = text.split_at_checked(1).ok_or(())?;
        let numbers: Result<Vec<u64>, _> = rest.split('.').map(str::parse).collect();
        let numbers = numbers.map_err(|_| ())?;
        let small = |number: u64| u32::try_from(number).map_err(|_| ());
        Ok(match (kind, &numbers[..]) {
            ("w", &[at]) => Self::Waiting(small(at)?),
            ("d", &[part, at]) => Self::Delivered(small(part)?, small(at)?),
            ("g", &[group, publisher, sequence]) => {
                Self::Group(small(group)?, MessageId { publisher, sequence })
            }
            ("l", &[at_ms, publisher, sequence]) => {
                Self::Later(at_ms, MessageId { publisher, sequence })
            }
            _ => return Err(()),
        })
    }
}

/// A message that a group gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadOverview {
    /// Its number among the dead letters: [`Page::next`] is such a number.
    pub number: u64,
    /// The message's id.
    pub id: MessageId,
    /// The message's name.
    pub name: String,
    /// The group.
    pub group: String,
    /// `used up`, `rejected` or `expired`.
    pub cause: &'static str,
    /// What the member said that rejected it.
    pub reason: Option<String>,
    /// How often the group got it.
    pub attempts: u16,
    /// When it was given up, in nanoseconds since the Unix epoch.
    pub died_ns: u64,
    /// Bytes of the message without its name.
    pub bytes: u64,
}

/// A retained message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetainedOverview {
    /// Its id.
    pub id: MessageId,
    /// Its name.
    pub name: String,
    /// When it was made by its publisher's clock, in nanoseconds since the Unix epoch; 0 if it does not say.
    pub published_ns: u64,
    /// Bytes of it without its name.
    pub bytes: u64,
}

/// What becomes of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadAction {
    /// Their group gets them again.
    Replay,
    /// They are forgotten.
    Purge,
}

/// Which dead letters of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadSelection {
    /// Those of these messages.
    Ids(Vec<MessageId>),
    /// The first of those that there are, from this number on: as many as one request may change.
    From(u64),
}

/// How many dead letters were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadChanged {
    /// This many.
    pub done: u64,
    /// The number of the next one; `None` when none is left. Where messages were named, how many of these were dealt with: the
    /// others are to be named again.
    pub next: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written_and_nothing_else_is() {
        let id = MessageId { publisher: u64::MAX, sequence: 7 };
        for cursor in [
            PendingCursor::START,
            PendingCursor::Delivered(3, 1023),
            PendingCursor::Group(u32::MAX, id),
            PendingCursor::Later(u64::MAX, id),
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", "w", "w-1", "w4294967296", "d1", "g1.2", "é", "x1", "w1.2", "l1.2.x"] {
            assert_eq!(text.parse::<PendingCursor>(), Err(()), "{text}");
        }
    }
}
