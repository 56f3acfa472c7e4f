//! The API's answers as JSON. `openapi.json` describes the same, and a test compares the two.

use std::collections::BTreeMap;
use std::time::Duration;

use mezzenger::inspect::{
    ConnectionOverview, DeadOverview, GroupOverview, JournalOverview, NameOverview, Overview,
    PendingOverview, PendingState, RetainedOverview,
};
use mezzenger::{Histogram, Traffic};
use serde::Serialize;

use super::process::Process;

/// A part of a list.
#[derive(Serialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// The `from` of the next part.
    pub(super) next: Option<String>,
}

/// The server at one moment. Counters count from its start.
#[derive(Serialize)]
pub(super) struct Status {
    version: &'static str,
    uptime_seconds: f64,
    draining: bool,
    messages: Messages,
    requests: Requests,
    bytes: Bytes,
    pending: Pending,
    groups: Groups,
    dead_letters: DeadLetters,
    connections: Connections,
    turns: Times,
    journal: Option<Journal>,
    process: Process,
}

#[derive(Serialize)]
struct Messages {
    accepted: u64,
    duplicate: u64,
    delivered: u64,
    redelivered: u64,
    acknowledged: u64,
    expired: u64,
    dropped: u64,
    recovered: u64,
    delayed: u64,
    retained: u64,
}

#[derive(Serialize)]
struct Requests {
    total: u64,
    rejected: u64,
    rejected_by_reason: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Bytes {
    received: u64,
    sent: u64,
    unsent: u64,
}

#[derive(Serialize)]
struct Pending {
    messages: u64,
    bytes: u64,
    messages_max: u64,
    bytes_max: u64,
    oldest_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Groups {
    count: u64,
    members: u64,
    unsettled: u64,
    in_flight: u64,
    redelivered: u64,
}

#[derive(Serialize)]
struct DeadLetters {
    count: u64,
    made: u64,
    used_up: u64,
    rejected: u64,
    expired: u64,
    deferred: u64,
}

#[derive(Serialize)]
struct Connections {
    open: u64,
    rejected: u64,
    subscriptions: u64,
    slow_subscribers: u64,
    slow_subscribers_given_up: u64,
    held_publishers: u64,
    publisher_holds: u64,
    publisher_held_seconds: f64,
}

/// How often something took at most so long: `counts` has one more than `bounds_seconds`, for what took longer.
#[derive(Serialize)]
pub(super) struct Times {
    bounds_seconds: Vec<f64>,
    counts: Vec<u64>,
    sum_seconds: f64,
}

impl From<Histogram> for Times {
    fn from(times: Histogram) -> Self {
        Self {
            bounds_seconds: Histogram::bounds().map(|bound| bound.as_secs_f64()).collect(),
            counts: times.counts.to_vec(),
            sum_seconds: times.sum.as_secs_f64(),
        }
    }
}

#[derive(Serialize)]
struct Journal {
    file: String,
    file_bytes: u64,
    live_bytes: u64,
    queued_batches: u64,
    appended_messages: u64,
    settled_messages: u64,
    compactions: u64,
    compactions_given_up: u64,
    syncs: Times,
    failure: Option<String>,
}

impl From<JournalOverview> for Journal {
    fn from(journal: JournalOverview) -> Self {
        Self {
            file: journal.path.to_string_lossy().into_owned(),
            file_bytes: journal.file_bytes,
            live_bytes: journal.live_bytes,
            queued_batches: journal.queued,
            appended_messages: journal.appended,
            settled_messages: journal.settled,
            compactions: journal.compactions,
            compactions_given_up: journal.compactions_given_up,
            syncs: journal.syncs.into(),
            failure: journal.failure,
        }
    }
}

/// Why requests were rejected, and how many were.
pub(super) fn rejections(traffic: &Traffic) -> [(&'static str, u64); 12] {
    [
        ("malformed", traffic.refused_malformed),
        ("too_large", traffic.refused_too_large),
        ("unsupported_version", traffic.refused_unsupported_version),
        ("pending_full", traffic.refused_pending_full),
        ("journal_failed", traffic.refused_journal_failed),
        ("shutting_down", traffic.refused_shutting_down),
        ("checksum", traffic.refused_checksum),
        ("not_yours", traffic.refused_not_yours),
        ("subscription", traffic.refused_subscription),
        ("dead_letter", traffic.refused_letter),
        ("group", traffic.refused_group),
        ("not_allowed", traffic.refused_not_allowed),
    ]
}

/// Seconds of nanoseconds.
pub(super) fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}

impl Status {
    pub(super) fn new(overview: Overview, process: Process) -> Self {
        let Overview { metrics, traffic, .. } = overview;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: overview.uptime.as_secs_f64(),
            draining: overview.is_draining,
            messages: Messages {
                accepted: metrics.accepted,
                duplicate: metrics.duplicates,
                delivered: traffic.delivered,
                redelivered: metrics.resent,
                acknowledged: metrics.settled,
                expired: metrics.expired,
                dropped: metrics.messages_dropped,
                recovered: metrics.recovered,
                delayed: metrics.delayed,
                retained: metrics.retained,
            },
            requests: Requests {
                total: metrics.requests,
                rejected: metrics.refused,
                rejected_by_reason: rejections(&traffic).into(),
            },
            bytes: Bytes {
                received: traffic.received_bytes,
                sent: traffic.sent_bytes,
                unsent: metrics.unsent_bytes,
            },
            pending: Pending {
                messages: metrics.pending_messages,
                bytes: metrics.pending_bytes,
                messages_max: overview.pending_messages_max,
                bytes_max: overview.pending_bytes_max,
                oldest_seconds: overview.oldest_pending.map(|age| age.as_secs_f64()),
            },
            groups: Groups {
                count: overview.groups.count,
                members: overview.groups.members,
                unsettled: overview.groups.unsettled,
                in_flight: overview.groups.in_flight,
                redelivered: overview.groups.redelivered,
            },
            dead_letters: DeadLetters {
                count: metrics.dead_letters,
                made: metrics.dead_letters_made,
                used_up: metrics.dead_letters_used_up,
                rejected: metrics.dead_letters_rejected,
                expired: metrics.dead_letters_expired,
                deferred: metrics.dead_letters_put_off,
            },
            connections: Connections {
                open: metrics.connections,
                rejected: metrics.connections_refused,
                subscriptions: metrics.subscriptions,
                slow_subscribers: overview.slow_subscribers,
                slow_subscribers_given_up: metrics.slow_subscribers,
                held_publishers: traffic.publishers_held,
                publisher_holds: metrics.held_back,
                publisher_held_seconds: seconds(traffic.held_back_ns),
            },
            turns: traffic.turns.into(),
            journal: overview.journal.map(Into::into),
            process,
        }
    }
}

/// A connection. Its number is a string, as numbers of JavaScript are too small.
#[derive(Serialize)]
pub(super) struct Connection {
    id: String,
    address: String,
    port: &'static str,
    open: bool,
    client: Option<String>,
    publisher: Option<String>,
    user: Option<String>,
    key: Option<String>,
    age_seconds: f64,
    silent_seconds: f64,
    received_bytes: u64,
    sent_bytes: u64,
    queued_bytes: u64,
    queued_seconds: Option<f64>,
    subscriptions: u64,
    held: bool,
    slow_seconds: Option<f64>,
    without_credit_seconds: Option<f64>,
    holds_publishers: u64,
    dropped: u64,
}

impl From<ConnectionOverview> for Connection {
    fn from(connection: ConnectionOverview) -> Self {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        Self {
            id: connection.id.to_string(),
            address: connection.address.to_string(),
            port: if connection.is_subscriber { "publishing" } else { "requests" },
            open: connection.is_open,
            publisher: connection.publisher.map(|publisher| format!("{publisher:016x}")),
            client: connection.client,
            user: connection.user,
            key: connection.key,
            age_seconds: connection.age.as_secs_f64(),
            silent_seconds: connection.silent.as_secs_f64(),
            received_bytes: connection.received_bytes,
            sent_bytes: connection.sent_bytes,
            queued_bytes: connection.queued_bytes,
            queued_seconds: seconds(connection.queued_since),
            subscriptions: connection.subscriptions,
            held: connection.is_held,
            slow_seconds: seconds(connection.slow),
            without_credit_seconds: seconds(connection.without_credit),
            holds_publishers: connection.holds,
            dropped: connection.dropped,
        }
    }
}

/// What was published under a name; without one, under all that are not counted on their own.
#[derive(Serialize)]
pub(super) struct Name {
    name: Option<String>,
    messages: u64,
    bytes: u64,
    subscribers: u64,
    groups: u64,
}

impl From<NameOverview> for Name {
    fn from(name: NameOverview) -> Self {
        let NameOverview { name, messages, bytes, subscribers, groups, .. } = name;
        Self { name, messages, bytes, subscribers, groups }
    }
}

#[derive(Serialize)]
pub(super) struct Group {
    name: String,
    filter: String,
    durable: bool,
    members: u64,
    waiting: u64,
    in_flight: u64,
    redelivered: u64,
    dead_letters: u64,
    given_up: u64,
}

impl From<GroupOverview> for Group {
    fn from(group: GroupOverview) -> Self {
        Self {
            name: group.name,
            filter: group.filter,
            durable: group.is_durable,
            members: group.members,
            waiting: group.waiting,
            in_flight: group.in_flight,
            redelivered: group.redelivered,
            dead_letters: group.dead_letters,
            given_up: group.given_up,
        }
    }
}

#[derive(Serialize)]
pub(super) struct PendingMessage {
    id: String,
    name: String,
    bytes: u64,
    age_seconds: f64,
    state: &'static str,
    group: Option<String>,
}

impl From<PendingOverview> for PendingMessage {
    fn from(pending: PendingOverview) -> Self {
        let (state, group) = match pending.state {
            PendingState::Waiting => ("waiting", None),
            PendingState::Delivered => ("delivered", None),
            PendingState::Group(group) => ("group", Some(group)),
            _ => ("delayed", None),
        };
        Self {
            id: pending.id.to_string(),
            name: pending.name,
            bytes: pending.bytes,
            age_seconds: pending.age.as_secs_f64(),
            state,
            group,
        }
    }
}

#[derive(Serialize)]
pub(super) struct DeadLetter {
    id: String,
    name: String,
    group: String,
    cause: &'static str,
    reason: Option<String>,
    attempts: u16,
    died_unix_seconds: f64,
    bytes: u64,
}

impl From<DeadOverview> for DeadLetter {
    fn from(dead: DeadOverview) -> Self {
        Self {
            id: dead.id.to_string(),
            name: dead.name,
            group: dead.group,
            cause: dead.cause,
            reason: dead.reason,
            attempts: dead.attempts,
            died_unix_seconds: seconds(dead.died_ns),
            bytes: dead.bytes,
        }
    }
}

#[derive(Serialize)]
pub(super) struct RetainedMessage {
    id: String,
    name: String,
    published_unix_seconds: f64,
    bytes: u64,
}

impl From<RetainedOverview> for RetainedMessage {
    fn from(retained: RetainedOverview) -> Self {
        Self {
            id: retained.id.to_string(),
            name: retained.name,
            published_unix_seconds: seconds(retained.published_ns),
            bytes: retained.bytes,
        }
    }
}

/// How many dead letters were changed, and where to go on.
#[derive(Serialize)]
pub(super) struct Changed {
    pub(super) done: u64,
    pub(super) next: Option<String>,
}

/// What an event tells: the status, and the first of the lists that people look at.
#[derive(Serialize)]
pub(super) struct Event {
    pub(super) status: Status,
    pub(super) slow: Vec<Connection>,
    pub(super) groups: Vec<Group>,
    pub(super) names: Vec<Name>,
}
