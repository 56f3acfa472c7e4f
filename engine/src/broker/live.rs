//! What other threads ask of the broker's thread while it runs: other settings, and whether it is alive.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::run::Broker;
use crate::config::{Config, SlowSubscriber};
use crate::limits::{BATCH_BYTES_MAX, REPLY_BYTES_MAX, REQUEST_OVERHEAD_BYTES};
use crate::net::socket::Network;

/// What the thread needs of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) request_bytes_max: usize,
    pub(super) stall_grace: Duration,
    pub(super) slow_subscriber: SlowSubscriber,
    pub(super) subscriber_bytes_max: usize,
    pub(super) unsent_bytes_max: usize,
    pub(super) reply_bytes_max: usize,
    pub(super) drain_timeout: Duration,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            request_bytes_max: config.max_message_bytes.max(BATCH_BYTES_MAX)
                + REQUEST_OVERHEAD_BYTES,
            stall_grace: config.stall_grace,
            slow_subscriber: config.slow_subscriber,
            subscriber_bytes_max: config.max_subscriber_bytes,
            unsent_bytes_max: config.max_unsent_bytes,
            reply_bytes_max: REPLY_BYTES_MAX,
            drain_timeout: config.drain_timeout,
        }
    }
}

/// Where other threads ask. Whoever asks wakes the thread afterwards.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// How often something was asked.
    count: AtomicU64,
    /// The last configuration that was not taken; it stands for those before it.
    config: Mutex<Option<Box<Config>>>,
    /// How much of the count the thread has seen.
    seen: Mutex<u64>,
    changed: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Asked {
    /// Asks for these settings; returns the number of the question.
    pub(crate) fn reconfigure(&self, config: &Config) -> u64 {
        *lock(&self.config) = Some(Box::new(config.clone()));
        self.sign_of_life()
    }

    /// Asks whether it is alive; returns the number of the question.
    pub(crate) fn sign_of_life(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Release) + 1
    }

    /// Waits until the thread has seen this question; whether it did in time.
    pub(crate) fn is_seen(&self, number: u64, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let mut seen = lock(&self.seen);
        while *seen < number {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            seen = self.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl<N: Network> Broker<N> {
    /// Where other threads ask.
    pub(crate) fn asked(&self) -> &Arc<Asked> {
        &self.asked
    }

    /// Does what other threads asked for. Costs one load when they did not.
    pub(super) fn hear_asked(&mut self) {
        let count = self.asked.count.load(Ordering::Acquire);
        if count == self.asked_seen {
            return;
        }
        let config = lock(&self.asked.config).take();
        if let Some(config) = config {
            self.reconfigure(&config);
        }
        self.asked_seen = count;
        *lock(&self.asked.seen) = count;
        self.asked.changed.notify_all();
    }

    /// Goes on with those settings of a configuration that can change.
    fn reconfigure(&mut self, config: &Config) {
        self.settings = config.into();
        for peer in self.peers.iter_mut() {
            peer.session.set_request_bytes_max(self.settings.request_bytes_max);
        }
        self.core.reconfigure(config);
        self.admission.set_limits(config);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_turn_gives_no_sign_of_life() {
        let asked = Asked::default();
        let (first, second) = (asked.sign_of_life(), asked.sign_of_life());
        assert!(!asked.is_seen(first, Duration::from_millis(1)));
        *lock(&asked.seen) = first;
        assert!(asked.is_seen(first, Duration::ZERO));
        assert!(!asked.is_seen(second, Duration::from_millis(1)));
    }
}
