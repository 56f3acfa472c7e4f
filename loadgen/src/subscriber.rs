//! One subscriber: an end whose watchers check every message.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::count::Count;
use crate::ledger::Ledger;
use crate::measured::Measured;
use crate::roll::Roll;
use crate::target::{ConnectError, Ends, SubscriberEnd};
use crate::watcher::{Expected, Watched, watchers};

/// How long the ledgers may take to come back from a stopped client.
const RETURN_TIMEOUT: Duration = Duration::from_secs(10);

/// A subscriber at work.
pub(crate) struct Subscriber {
    end: SubscriberEnd,
    watched: Watched,
}

/// What one subscriber received.
pub(crate) struct Received {
    /// With the index of its name each.
    pub(crate) ledgers: Vec<(usize, Ledger)>,
    pub(crate) measured: Measured,
    /// Names whose ledger did not come back, because the client did not end.
    pub(crate) missing: usize,
}

impl Subscriber {
    /// Subscribes to this many names; as a member of the group with this roll, if there is one.
    pub(crate) fn start(
        ends: &Ends,
        index: u16,
        names: usize,
        expected: Expected,
        group: Option<&Arc<Roll>>,
    ) -> Result<Self, ConnectError> {
        let (watchers, watched) = watchers(names, expected, group);
        Ok(Self { end: ends.subscriber(index, watchers)?, watched })
    }

    /// Different messages received so far.
    pub(crate) fn received(&self) -> u64 {
        self.watched.received.iter().map(|count| count.get()).sum()
    }

    /// The same for each name, live.
    pub(crate) fn counts(&self) -> Vec<Arc<Count>> {
        self.watched.received.clone()
    }

    /// All latencies so far, in nanoseconds.
    pub(crate) fn latency(&self) -> Histogram<u64> {
        let measured = self.watched.measured.lock().unwrap_or_else(PoisonError::into_inner);
        measured.latency.clone()
    }

    /// Whether it has received what each publisher sent up to these sequences, by publisher and name;
    /// only when it is tracked.
    pub(crate) fn has_received(&self, sequences: &[Vec<u64>]) -> bool {
        sequences.iter().enumerate().all(|(publisher, by_name)| {
            let highest = self.watched.highest.iter().map(|highest| highest[publisher].get());
            highest.zip(by_name).all(|(highest, &sequence)| highest >= sequence)
        })
    }

    /// Stops the client, which returns the ledgers.
    pub(crate) fn finish(self) -> Received {
        let Self { end, watched } = self;
        end.stop();
        let deadline = Instant::now() + RETURN_TIMEOUT;
        let left = || deadline.saturating_duration_since(Instant::now());
        let names = watched.received.len();
        let ledgers: Vec<_> =
            (0..names).map_while(|_| watched.ledgers.recv_timeout(left()).ok()).collect();
        let missing = names - ledgers.len();
        let measured = watched.measured.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Received { ledgers, measured, missing }
    }
}
