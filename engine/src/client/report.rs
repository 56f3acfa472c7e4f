//! Counters and reporting callbacks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::error::{SendError, SubscribeError};
use super::publish::batches::Batch;
use super::receive::missed::Gap;
use crate::plural::counted;
use crate::wire::id::MessageId;

/// Messages that were published but never arrived here.
///
/// It is a gap in a publisher's count of its messages under this name. A gap is not always a loss: it also counts messages that the
/// server rejected, when a later message of the name, in flight at the same time, was accepted or not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missed {
    /// The name they were published under.
    pub name: String,
    /// Their publisher.
    pub publisher: u64,
    /// How many.
    pub messages: u64,
}

/// Publishing is held back by the server, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blocked {
    /// A call that publishes has waited for a tenth of a second, and still waits: the server does not accept
    /// messages as fast as they are published, because subscribers or its disk do not keep up, or it is
    /// away. Shorter waits are only counted.
    Began,
    /// There is room again. Not reported when the client stops before.
    Ended {
        /// How long there was no room.
        after: Duration,
    },
}

/// Something that failed on one of the client's threads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A callback returned an error or panicked. The message stays unacknowledged.
    #[error("the callback for '{name}' failed on message {id}: {reason}")]
    Callback {
        /// The message's name.
        name: String,
        /// The message.
        id: MessageId,
        /// The error's text, or the panic's.
        reason: String,
    },
    /// Published messages were rejected or not answered.
    #[error(
        "{} not published: {error}",
        match messages {
            1 => format!("1 message under '{name}' was"),
            _ => format!("{messages} messages under '{name}' were"),
        }
    )]
    Publish {
        /// Their name.
        name: String,
        /// How many.
        messages: usize,
        /// Why.
        error: SendError,
    },
    /// A checksum did not match (with `verify_checksums(true)`); the message was not delivered.
    #[error("the checksum of message {id} under '{name}' does not match its content")]
    Checksum {
        /// The message's name.
        name: String,
        /// The message.
        id: MessageId,
    },
    /// The server sent bytes that are not a native frame; they were dropped.
    #[error("the server sent {} no valid frame", counted(*bytes, "byte that is", "bytes that are"))]
    BadFrame {
        /// How many.
        bytes: usize,
    },
    /// The server rejected some acknowledgements of jobs, because they arrived too late: those messages are with other
    /// members of the group, or will be delivered to them.
    #[error("the server rejected acknowledgements: {text}")]
    Refused {
        /// The server's explanation.
        text: String,
    },
    /// A subscription was rejected on a new connection, and has ended.
    #[error("the subscription to {filter} has ended: {error}")]
    Subscription {
        /// Its filter.
        filter: String,
        /// Why.
        error: SubscribeError,
    },
    /// Acknowledgements were dropped, because the server did not accept them. It delivers those messages again.
    #[error(
        "{} dropped; the server will deliver {} again",
        counted(*messages, "acknowledgement was", "acknowledgements were"),
        if *messages == 1 { "that message" } else { "those messages" }
    )]
    AcksDropped {
        /// How many.
        messages: usize,
    },
}

/// Counts since the client was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages that the server accepted.
    pub published: u64,
    /// Messages that the server rejected or did not answer.
    pub failed: u64,
    /// Frames sent again after a timeout or a lost connection.
    pub resent_frames: u64,
    /// Messages received, copies of resent ones included.
    pub received: u64,
    /// Messages that were published but never arrived here (see [`Missed`]).
    pub missed: u64,
    /// Messages received whose ordinals cannot be right, so that they were not used to find gaps: the
    /// publisher is not what it claims to be, or they are damaged.
    pub implausible: u64,
    /// Callbacks that returned an error or panicked.
    pub callback_failures: u64,
    /// Acknowledgements that the server accepted.
    pub acknowledged: u64,
    /// Acknowledgements that were dropped.
    pub acks_dropped: u64,
    /// Calls that waited for room, because [`buffer_bytes`](super::ClientBuilder::buffer_bytes) waited
    /// already.
    pub blocked: u64,
    /// How long they waited, all together.
    pub blocked_time: Duration,
}

pub(super) type OnMissed = Arc<dyn Fn(&Missed) + Send + Sync>;
pub(super) type OnBlocked = Arc<dyn Fn(Blocked) + Send + Sync>;
pub(super) type OnError = Arc<dyn Fn(&Failure) + Send + Sync>;

/// The live counters, and where events go.
#[derive(Default)]
pub(super) struct Reporter {
    pub(super) published: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) resent_frames: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) missed: AtomicU64,
    pub(super) implausible: AtomicU64,
    pub(super) callback_failures: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) acks_dropped: AtomicU64,
    pub(super) blocked: AtomicU64,
    pub(super) blocked_us: AtomicU64,
    pub(super) on_missed: Option<OnMissed>,
    pub(super) on_blocked: Option<OnBlocked>,
    pub(super) on_error: Option<OnError>,
}

impl Reporter {
    pub(super) fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            published: read(&self.published),
            failed: read(&self.failed),
            resent_frames: read(&self.resent_frames),
            received: read(&self.received),
            missed: read(&self.missed),
            implausible: read(&self.implausible),
            callback_failures: read(&self.callback_failures),
            acknowledged: read(&self.acknowledged),
            acks_dropped: read(&self.acks_dropped),
            blocked: read(&self.blocked),
            blocked_time: Duration::from_micros(read(&self.blocked_us)),
        }
    }

    /// Logs, counts and hands on a failure. A reporter that panics is ignored.
    pub(super) fn failure(&self, failure: &Failure) {
        match failure {
            Failure::Callback { .. } => add(&self.callback_failures, 1),
            Failure::AcksDropped { messages } => add(&self.acks_dropped, *messages as u64),
            Failure::Publish { .. }
            | Failure::Checksum { .. }
            | Failure::BadFrame { .. }
            | Failure::Refused { .. }
            | Failure::Subscription { .. } => {}
        }
        tracing::error!("{failure}");
        if let Some(on_error) = &self.on_error {
            let _ = catch_unwind(AssertUnwindSafe(|| on_error(failure)));
        }
    }

    /// Counts messages that were not published, and reports them when nobody waits for the answer.
    pub(super) fn not_published(&self, batch: &Batch, error: &SendError) {
        add(&self.failed, batch.messages as u64);
        if batch.is_unattended() {
            self.failure(&Failure::Publish {
                name: batch.name.to_string(),
                messages: batch.messages,
                error: error.clone(),
            });
        }
    }

    /// Logs and hands on that publishing is held back, or no longer.
    pub(super) fn blocked(&self, blocked: Blocked) {
        match blocked {
            Blocked::Began => {
                tracing::warn!("publishing waits: the server does not keep up, or is away");
            }
            Blocked::Ended { after } => tracing::info!("publishing goes on, after {after:?}"),
        }
        if let Some(on_blocked) = &self.on_blocked {
            let _ = catch_unwind(AssertUnwindSafe(|| on_blocked(blocked)));
        }
    }

    /// What a message of a publisher tells of those before it.
    #[inline]
    pub(super) fn gap(&self, name: &str, publisher: u64, gap: Gap) {
        match gap {
            Gap::Missing(0) => {}
            Gap::Missing(messages) => {
                self.missed(&Missed { name: name.to_owned(), publisher, messages });
            }
            Gap::Implausible => add(&self.implausible, 1),
        }
    }

    /// Logs, counts and hands on a gap.
    fn missed(&self, missed: &Missed) {
        add(&self.missed, missed.messages);
        tracing::warn!(
            "missed {} of publisher {:016x} under '{}'",
            counted(missed.messages, "message", "messages"),
            missed.publisher,
            missed.name
        );
        if let Some(on_missed) = &self.on_missed {
            let _ = catch_unwind(AssertUnwindSafe(|| on_missed(missed)));
        }
    }
}

pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_once_is_said_of_one() {
        let publish = |messages| {
            let (name, error) = ("y".to_owned(), SendError::NoReplyWanted);
            Failure::Publish { name, messages, error }.to_string()
        };
        assert!(publish(1).starts_with("1 message under 'y' was not published: "));
        assert!(publish(2).starts_with("2 messages under 'y' were not published: "));
        let texts = [1, 2].map(|messages| Failure::AcksDropped { messages }.to_string());
        assert_eq!(
            texts,
            [
                "1 acknowledgement was dropped; the server will deliver that message again",
                "2 acknowledgements were dropped; the server will deliver those messages again"
            ]
        );
        let texts = [1, 2].map(|bytes| Failure::BadFrame { bytes }.to_string());
        assert!(texts[0].contains("1 byte that is no") && texts[1].contains("2 bytes that are no"));
    }
}
