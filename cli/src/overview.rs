//! What the server tells of itself, as far as it is shown.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// The server at one moment. Counters count from its start.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) uptime_seconds: f64,
    pub(crate) draining: bool,
    pub(crate) messages: Messages,
    pub(crate) requests: Requests,
    pub(crate) bytes: Bytes,
    pub(crate) pending: Pending,
    pub(crate) groups: Groups,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) connections: Connections,
    pub(crate) journal: Option<Journal>,
    pub(crate) process: Process,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Messages {
    pub(crate) accepted: u64,
    pub(crate) duplicate: u64,
    pub(crate) delivered: u64,
    pub(crate) redelivered: u64,
    pub(crate) acknowledged: u64,
    pub(crate) expired: u64,
    pub(crate) dropped: u64,
    pub(crate) delayed: u64,
    pub(crate) retained: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Requests {
    pub(crate) total: u64,
    pub(crate) rejected: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Bytes {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) unsent: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Pending {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) messages_max: u64,
    pub(crate) bytes_max: u64,
    pub(crate) oldest_seconds: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Groups {
    pub(crate) count: u64,
    pub(crate) members: u64,
    pub(crate) unsettled: u64,
    pub(crate) in_flight: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DeadLetters {
    pub(crate) count: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Connections {
    pub(crate) open: u64,
    pub(crate) rejected: u64,
    pub(crate) subscriptions: u64,
    pub(crate) slow_subscribers: u64,
    pub(crate) held_publishers: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Journal {
    pub(crate) file: String,
    pub(crate) file_bytes: u64,
    pub(crate) live_bytes: u64,
    pub(crate) queued_batches: u64,
    pub(crate) syncs: Times,
    pub(crate) failure: Option<String>,
}

/// How often something happened, by how long it took, and how long all took together.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Times {
    counts: Vec<u64>,
    sum_seconds: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Process {
    pub(crate) resident_bytes: Option<u64>,
}

/// A connection.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Connection {
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) port: String,
    pub(crate) open: bool,
    pub(crate) client: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) age_seconds: f64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) queued_bytes: u64,
    pub(crate) subscriptions: u64,
    pub(crate) held: bool,
    pub(crate) slow_seconds: Option<f64>,
    pub(crate) without_credit_seconds: Option<f64>,
    pub(crate) holds_publishers: u64,
    pub(crate) dropped: u64,
}

/// What was published under a name; without one, under all that are not counted on their own.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Name {
    pub(crate) name: Option<String>,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) subscribers: u64,
    pub(crate) groups: u64,
}

/// A group.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) filter: String,
    pub(crate) durable: bool,
    pub(crate) members: u64,
    pub(crate) waiting: u64,
    pub(crate) in_flight: u64,
    pub(crate) redelivered: u64,
    pub(crate) dead_letters: u64,
}

/// An unacknowledged message.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PendingMessage {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) age_seconds: f64,
    pub(crate) state: String,
    pub(crate) group: Option<String>,
}

impl Status {
    /// In one word, and whether it needs attention.
    pub(crate) fn state(&self) -> (&'static str, bool) {
        let journal_failed = self.journal.as_ref().is_some_and(|it| it.failure.is_some());
        if journal_failed {
            ("the journal failed: messages with ack=1 are rejected", true)
        } else if self.draining {
            ("draining", true)
        } else {
            ("ready", false)
        }
    }
}

impl Times {
    /// How often.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().copied().fold(0, u64::saturating_add)
    }

    /// How long it took in the mean, if it ever happened.
    pub(crate) fn mean(&self) -> Option<Duration> {
        match self.count() {
            0 => None,
            count => Duration::try_from_secs_f64(self.sum_seconds / count as f64).ok(),
        }
    }
}

impl Connection {
    /// For how many seconds it has not kept up.
    pub(crate) fn slow(&self) -> Option<f64> {
        self.slow_seconds.or(self.without_credit_seconds)
    }

    /// What it is doing, for people.
    pub(crate) fn state(&self) -> String {
        match (self.slow_seconds, self.without_credit_seconds) {
            (Some(time), _) => format!("slow for {}", seconds(time)),
            (_, Some(time)) => format!("no credit for {}", seconds(time)),
            _ if self.held => "held back".to_owned(),
            _ if self.open => "ok".to_owned(),
            _ => "handshake".to_owned(),
        }
    }

    /// What it is, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match (&self.port[..], self.subscriptions) {
            ("publishing", _) => "SUB",
            (_, 0) => "client",
            _ => "subscriber",
        }
    }

    /// Who proved to be its client: a user, or who has a key.
    pub(crate) fn proved(&self) -> &str {
        self.user.as_deref().or(self.key.as_deref()).unwrap_or("-")
    }
}

/// Slow ones first, the longest of them on top, then those that lost most, then those with the most queued bytes.
pub(crate) fn slow_first(connections: &mut [Connection]) {
    connections.sort_by(|one, other| {
        let slow = |it: &Connection| it.slow().unwrap_or(-1.0);
        let order = slow(other).total_cmp(&slow(one)).then(other.dropped.cmp(&one.dropped));
        order.then(other.queued_bytes.cmp(&one.queued_bytes))
    });
}

/// A duration for people: whole seconds, or milliseconds below one.
pub(crate) fn seconds(seconds: f64) -> String {
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let time = match time.as_secs() {
        0 => Duration::from_millis(time.subsec_millis().into()),
        whole => Duration::from_secs(whole),
    };
    humantime::format_duration(time).to_string()
}

/// Bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    ByteSize(count).to_string()
}
