//! The counters of a server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The live counters, written by the broker's thread, all since the start of the server.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
            /// Counters that only [`Traffic`] has.
            pub(crate) traffic: TrafficCounters,
        }

        /// The counters at one moment, all since the start of the server.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Metrics {
            $($(#[$doc])* pub $name: u64,)+
            /// Unacknowledged messages, now.
            pub pending_messages: u64,
            /// Bytes of unacknowledged messages, now.
            pub pending_bytes: u64,
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Metrics {
                Metrics { $($name: self.$name.get(),)+ ..Metrics::default() }
            }
        }
    };
}

counters! {
    /// Requests read.
    requests,
    /// Requests rejected.
    refused,
    /// Messages accepted, without duplicates.
    accepted,
    /// Duplicates: messages that were sent again and had been accepted before.
    duplicates,
    /// Frames handed out for delivery.
    frames_published,
    /// Deliveries of pending messages: again, because nobody acknowledged them in time, or for the first time, to a later subscriber.
    resent,
    /// Messages acknowledged.
    settled,
    /// Messages that expired before they were delivered or, with ack, acknowledged.
    expired,
    /// Messages whose delivery is delayed, now; they are among the unacknowledged ones.
    delayed,
    /// Names with a retained message, now.
    retained,
    /// Dead letters, now. Their messages are among the unacknowledged ones.
    dead_letters,
    /// Dead letters made; a message counts once for each group that gave it up.
    dead_letters_made,
    /// Dead letters made because a member of the group rejected the message.
    dead_letters_rejected,
    /// Dead letters made because the attempts were used up.
    dead_letters_used_up,
    /// Dead letters made because the message expired.
    dead_letters_expired,
    /// Times that a message stayed in its group instead of becoming a dead letter, because the limit was reached or the journal had
    /// failed.
    dead_letters_put_off,
    /// Unacknowledged messages found in the journal at the start.
    recovered,
    /// Times that publishers were held back, because a subscriber's queue was full or too much was unsent.
    held_back,
    /// Subscribers disconnected because they did not read.
    slow_subscribers,
    /// Frames dropped because a subscriber did not keep up, with `slow-subscriber = "drop"`.
    frames_dropped,
    /// Messages that a subscription lost because it had no credit.
    messages_dropped,
    /// Bytes that wait to be sent to subscribers, now.
    unsent_bytes,
    /// Connections of publishers and subscribers, now; a client of this library has one.
    connections,
    /// Connections closed at once because there were too many.
    connections_refused,
    /// Subscriptions, now.
    subscriptions,
}

macro_rules! traffic {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        #[derive(Debug, Default)]
        pub(crate) struct TrafficCounters {
            $(pub(crate) $name: Counter,)+
            pub(crate) turns: Times,
        }

        /// What passed through a server, why it rejected requests, and how long the turns of its thread took, all since its start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Traffic {
            $($(#[$doc])* pub $name: u64,)+
            /// How long the turns of the broker's thread took, without its waits. Every connection waits for the turn in progress.
            pub turns: Histogram,
        }

        impl TrafficCounters {
            pub(crate) fn snapshot(&self) -> Traffic {
                Traffic { $($name: self.$name.get(),)+ turns: self.turns.snapshot() }
            }
        }
    };
}

traffic! {
    /// Bytes read from connections, including those of the protocol.
    received_bytes,
    /// Bytes written to connections, including those of the protocol.
    sent_bytes,
    /// Messages queued for subscribers, counted for each subscriber and each delivery.
    delivered,
    /// Nanoseconds for which publishers were held back, added up over all publishers.
    held_back_ns,
    /// Publishers that are held back, now.
    publishers_held,
    /// Requests rejected because they break a rule of the format.
    refused_malformed,
    /// Requests rejected because they, or a message in them, are too large.
    refused_too_large,
    /// Requests rejected because they are in an unknown version of the format.
    refused_unsupported_version,
    /// Requests rejected because a limit on pending or retained messages was reached.
    refused_pending_full,
    /// Requests rejected because the journal failed.
    refused_journal_failed,
    /// Requests rejected because the server is shutting down.
    refused_shutting_down,
    /// Requests rejected because a checksum does not match.
    refused_checksum,
    /// Requests rejected because their publisher did not prove who it is.
    refused_not_yours,
    /// Rejected requests about subscriptions.
    refused_subscription,
    /// Rejected requests about dead letters.
    refused_letter,
    /// Rejected requests about groups.
    refused_group,
    /// Requests rejected because their client lacks the permission.
    refused_not_allowed,
}

/// The live form of a [`Histogram`], written by one thread.
#[derive(Debug, Default)]
pub(crate) struct Times {
    counts: [Counter; BOUNDS_US.len() + 1],
    sum_ns: Counter,
}

const BOUNDS_US: [u32; 16] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    1_000_000, 10_000_000,
];

impl Times {
    pub(crate) fn add(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[BOUNDS_US.partition_point(|&us| u64::from(us) * 1_000 < ns)].add(1);
        self.sum_ns.set(self.sum_ns.get().saturating_add(ns));
    }

    pub(crate) fn snapshot(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|at| self.counts[at].get()),
            sum: Duration::from_nanos(self.sum_ns.get()),
        }
    }
}

/// The distribution of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Histogram {
    /// For each of the [bounds](Self::bounds), how many durations were at most as long and longer than the bound before; the last
    /// entry counts those longer than all bounds.
    pub counts: [u64; BOUNDS_US.len() + 1],
    /// The sum of all durations.
    pub sum: Duration,
}

impl Histogram {
    /// The bounds, the shortest first: 10 µs to 10 s.
    pub fn bounds() -> impl ExactSizeIterator<Item = Duration> {
        BOUNDS_US.into_iter().map(|us| Duration::from_micros(us.into()))
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        // One thread writes, so nothing is lost between the load and the store.
        self.0.store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_at_the_first_bound_that_it_does_not_exceed() {
        let times = Times::default();
        for us in [0, 10, 11, 25, 26, 10_000_000, 10_000_001] {
            times.add(Duration::from_micros(us));
        }
        times.add(Duration::from_nanos(10_001));
        let found = times.snapshot();
        assert_eq!((&found.counts[..4], &found.counts[15..]), (&[2, 3, 1, 0][..], &[1, 1][..]));
        assert_eq!((found.count(), found.sum), (8, Duration::from_nanos(20_000_083_001)));
        assert_eq!(Histogram::bounds().len() + 1, found.counts.len());
    }
}
