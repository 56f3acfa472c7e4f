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
    /// The maximum number of questions is waiting already.
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
    /// What passed through the server, why it rejected requests, and how long its turns took.
    pub traffic: Traffic,
    /// How long the server has been running.
    pub uptime: Duration,
    /// Whether it rejects messages because it shuts down.
    pub is_draining: bool,
    /// How long ago the oldest unacknowledged message was accepted, or recovered at the start. It is exact to a second, or to a thousandth
    /// of the age of the message that was the oldest when this one was accepted.
    pub oldest_pending: Option<Duration>,
    /// The limit on unacknowledged messages.
    pub pending_messages_max: u64,
    /// The limit on bytes of unacknowledged messages.
    pub pending_bytes_max: u64,
    /// All groups together.
    pub groups: GroupTotals,
    /// What was published under all names since the first inspector.
    pub names: NameTotals,
    /// Subscribers that do not keep up, now.
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
    /// Unsettled messages, each counted for each of its groups.
    pub unsettled: u64,
    /// Those of them that a member has.
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
    /// Batches of records that wait to be written.
    pub queued: u64,
    /// Messages written.
    pub appended: u64,
    /// Settlements written.
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
    /// Its number, unique within this run of the server.
    pub id: u64,
    /// The address of its client.
    pub address: SocketAddr,
    /// Whether it is on the port for SUB sockets.
    pub is_subscriber: bool,
    /// Whether its handshake is over.
    pub is_open: bool,
    /// The publisher that it proved to be.
    pub publisher: Option<u64>,
    /// The name that its client gave, unproven.
    pub client: Option<String>,
    /// The user whose password it gave.
    pub user: Option<String>,
    /// The public key whose secret key it proved to have (CURVE), in Z85.
    pub key: Option<String>,
    /// How long ago it was accepted.
    pub age: Duration,
    /// How long ago something was last read from it.
    pub silent: Duration,
    /// Bytes read.
    pub received_bytes: u64,
    /// Bytes written.
    pub sent_bytes: u64,
    /// Bytes of messages that wait to be sent.
    pub queued_bytes: u64,
    /// How long the first of them has waited.
    pub queued_since: Option<Duration>,
    /// Its subscriptions, including those that belong to groups.
    pub subscriptions: u64,
    /// Whether its messages wait for a subscriber that does not keep up.
    pub is_held: bool,
    /// For how long it has not kept up with what it is sent.
    pub slow: Option<Duration>,
    /// For how long one of its subscriptions has received messages beyond its credit.
    pub without_credit: Option<Duration>,
    /// How many publishers wait for it.
    pub holds: u64,
    /// What it lost because it did not keep up: messages, or frames of messages on the port for SUB sockets.
    pub dropped: u64,
}

/// What was published under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameOverview {
    /// The name; `None` for all names that are not counted separately.
    pub name: Option<String>,
    /// Messages accepted.
    pub messages: u64,
    /// Bytes of the frames that they came in.
    pub bytes: u64,
    /// Connections and subscriptions that receive it, now.
    pub subscribers: u64,
    /// Groups whose filter matches it, now.
    pub groups: u64,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupOverview {
    /// Its name.
    pub name: String,
    /// Which names it is for: a name, a prefix or a pattern, as the command line writes it.
    pub filter: String,
    /// Whether it stays without members.
    pub is_durable: bool,
    /// Its members.
    pub members: u64,
    /// Unsettled messages that no member has.
    pub waiting: u64,
    /// Unsettled messages that members have.
    pub in_flight: u64,
    /// Redeliveries.
    pub redelivered: u64,
    /// Its dead letters, now.
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
    /// It was delivered, and is delivered again unless somebody acknowledges it.
    Delivered,
    /// This group has it.
    Group(String),
    /// Its delivery is delayed.
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
    /// How long ago it was accepted or recovered, as exact as [`Overview::oldest_pending`].
    pub age: Duration,
    /// Where it is.
    pub state: PendingState,
}

/// A position in the list of unacknowledged messages. A message that changes its state between two parts of the list may be missing or come twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingCursor {
    /// In [`PendingState::Waiting`].
    Waiting(u32),
    /// In [`PendingState::Delivered`]: a shard of the map, and an offset within it.
    Delivered(u32, u32),
    /// In [`PendingState::Group`].
    Group(u32, MessageId),
    /// In [`PendingState::Later`].
    Later(u64, MessageId),
}

impl PendingCursor {
    /// The beginning of the list.
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
    /// The reason that the member gave that rejected it.
    pub reason: Option<String>,
    /// How often it was delivered to the group.
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
    /// When it was published, by the publisher's clock, in nanoseconds since the Unix epoch; 0 if unknown.
    pub published_ns: u64,
    /// Bytes of it without its name.
    pub bytes: u64,
}

/// What to do with dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadAction {
    /// Deliver them to their group again.
    Replay,
    /// Forget them.
    Purge,
}

/// Which dead letters of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadSelection {
    /// Those of these messages.
    Ids(Vec<MessageId>),
    /// Those from this number on, as many as one request may change.
    From(u64),
}

/// How many dead letters were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadChanged {
    /// How many.
    pub done: u64,
    /// With [`DeadSelection::From`], the number of the next dead letter; with [`DeadSelection::Ids`], how many of the ids were handled:
    /// ask again for the others. `None` when none is left.
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
