//! The counters of a server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The live counters, written by the broker's thread, all since the start of the server.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
            /// What only [`Traffic`] tells.
            pub(crate) traffic: TrafficCounters,
        }

        /// The counters at one moment, all since the start of the server.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Metrics {
            $($(#[$doc])* pub $name: u64,)+
            /// Messages that wait for an acknowledgement now.
            pub pending_messages: u64,
            /// Bytes of the messages that wait for an acknowledgement now.
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
    /// Messages taken, without the duplicates.
    accepted,
    /// Messages recognised as sent before.
    duplicates,
    /// Frames handed out for delivery.
    frames_published,
    /// Messages delivered from those that are kept: again, because nobody acknowledged them in time, or for the first time to somebody who came later.
    resent,
    /// Messages acknowledged.
    settled,
    /// Messages whose time was over before they were delivered, or acknowledged if they asked for that.
    expired,
    /// Messages that wait for the time at which they are to be delivered, among those that wait for an acknowledgement.
    delayed,
    /// Names of which a message is retained now.
    retained,
    /// Dead letters now. Their messages are among those that wait for an acknowledgement.
    dead_letters,
    /// Dead letters in all, a message counted for each group that gave it up.
    dead_letters_made,
    /// Dead letters in all that a member of their group rejected.
    dead_letters_rejected,
    /// Dead letters in all whose attempts were used up.
    dead_letters_used_up,
    /// Dead letters in all that expired.
    dead_letters_expired,
    /// Times that a message stayed in its group, because there were as many dead letters as may be, or the journal had
    /// failed.
    dead_letters_put_off,
    /// Messages found in the journal at the start.
    recovered,
    /// Times that publishers were held back, because a subscriber's queue was full or too much was unsent.
    held_back,
    /// Subscribers disconnected because they did not read.
    slow_subscribers,
    /// Frames dropped because a subscriber did not keep up, where the configuration says so.
    frames_dropped,
    /// Messages that a subscription without credit did not get, and does not get later.
    messages_dropped,
    /// Bytes that wait to be sent to subscribers now.
    unsent_bytes,
    /// Connections now, of publishers and subscribers; a client of this library has one.
    connections,
    /// Connections closed at once because there were too many.
    connections_refused,
    /// Subscriptions now.
    subscriptions,
}

macro_rules! traffic {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        #[derive(Debug, Default)]
        pub(crate) struct TrafficCounters {
            $(pub(crate) $name: Counter,)+
            pub(crate) turns: Times,
        }

        /// What went through a server, why it rejected requests, and how long its thread took, all since its start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Traffic {
            $($(#[$doc])* pub $name: u64,)+
            /// How long the turns of the broker's thread took, without its waits: no connection is served sooner.
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
    /// Bytes read from connections, the protocol's own among them.
    received_bytes,
    /// Bytes written to connections, the protocol's own among them.
    sent_bytes,
    /// Messages queued for subscribers, each counted for each of its subscribers and each time.
    delivered,
    /// Nanoseconds for which publishers were held back, those of several added up.
    held_back_ns,
    /// Publishers that are held back now.
    publishers_held,
    /// Requests rejected because they break a rule of the format.
    refused_malformed,
    /// Requests rejected because they, or a message in them, are too large.
    refused_too_large,
    /// Requests rejected because they are in an unknown version of the format.
    refused_unsupported_version,
    /// Requests rejected because as much is pending or retained as may be.
    refused_pending_full,
    /// Requests rejected because the journal failed.
    refused_journal_failed,
    /// Requests rejected because the server ends.
    refused_shutting_down,
    /// Requests rejected because a checksum does not match.
    refused_checksum,
    /// Requests rejected because their publisher did not prove who it is.
    refused_not_yours,
    /// Requests about subscriptions that were rejected.
    refused_subscription,
    /// Requests about dead letters that were rejected.
    refused_letter,
    /// Requests about groups that were rejected.
    refused_group,
    /// Requests rejected because their client may not do that.
    refused_not_allowed,
}

/// How often something took how long, counted by one thread.
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

/// How often something took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Histogram {
    /// How often it took at most as long as the bound at this place, and longer than the one before it; behind the last bound
    /// those that took longer still.
    pub counts: [u64; BOUNDS_US.len() + 1],
    /// How long all took together.
    pub sum: Duration,
}

impl Histogram {
    /// The bounds, the shortest first: 10 µs to 10 s.
    pub fn bounds() -> impl ExactSizeIterator<Item = Duration> {
        BOUNDS_US.into_iter().map(|us| Duration::from_micros(us.into()))
    }

    /// How often in all.
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
