//! What a server counts. Anybody reads it.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The live counters, written by the broker's thread, all since the start of the server.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
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
    /// Requests refused.
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
    /// Connections now, of publishers and subscribers; the Rust client has two, or one when it only
    /// publishes.
    connections,
    /// Connections closed at once because there were too many.
    connections_refused,
    /// Subscriptions now.
    subscriptions,
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
