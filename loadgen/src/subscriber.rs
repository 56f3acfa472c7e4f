//! One subscriber: a client whose callbacks check every message they are given.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mezzenger::{Client, SubscribeError};

use crate::clock::Clock;
use crate::header::Header;
use crate::ledger::{Ledger, Seen};

/// Longest latency that the histograms tell apart from longer ones.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Significant decimal digits of a latency.
const LATENCY_DIGITS: u8 = 3;

/// How long the ledgers may take to come back from a stopped client.
const RETURN_TIMEOUT: Duration = Duration::from_secs(10);

/// An empty histogram of latencies in nanoseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_NS_MAX, LATENCY_DIGITS)
        .expect("constant bounds that HDR histograms allow")
}

/// What every message of the run must look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) run: u32,
    pub(crate) size: usize,
    pub(crate) publishers: u16,
    pub(crate) clock: Clock,
}

/// A count that one thread writes and others read now and then, alone in its cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cell(AtomicU64);

/// A subscriber at work.
pub(crate) struct Subscriber {
    client: Client,
    received: Vec<Arc<Cell>>,
    latency: Arc<Mutex<Histogram<u64>>>,
    ledgers: Receiver<(usize, Ledger)>,
}

/// What one subscriber received.
pub(crate) struct Received {
    /// With the index of its name each.
    pub(crate) ledgers: Vec<(usize, Ledger)>,
    pub(crate) latency: Histogram<u64>,
    /// Names whose ledger did not come back, because the client did not end.
    pub(crate) missing: usize,
}

impl Subscriber {
    /// Subscribes to `names`.
    pub(crate) fn start(
        client: Client,
        names: &[String],
        expected: Expected,
    ) -> Result<Self, SubscribeError> {
        let latency = Arc::new(Mutex::new(histogram()));
        let (returned, ledgers) = channel();
        let mut received = Vec::with_capacity(names.len());
        for (name, text) in names.iter().enumerate() {
            let cell = Arc::new(Cell::default());
            received.push(Arc::clone(&cell));
            let mut watcher = Watcher {
                expected,
                name,
                ledger: Ledger::new(expected.publishers.into()),
                received: cell,
                received_count: 0,
                latency: Arc::clone(&latency),
                returned: returned.clone(),
            };
            client.subscribe(text, move |payload, _| watcher.see(payload))?;
        }
        Ok(Self { client, received, latency, ledgers })
    }

    /// Different messages received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.iter().map(|cell| cell.0.load(Ordering::Relaxed)).sum()
    }

    /// Stops the client, which returns the ledgers.
    pub(crate) fn finish(self) -> Received {
        self.client.stop();
        drop(self.client);
        let end = Instant::now() + RETURN_TIMEOUT;
        let ledgers: Vec<_> = (0..self.received.len())
            .map_while(|_| {
                self.ledgers.recv_timeout(end.saturating_duration_since(Instant::now())).ok()
            })
            .collect();
        let missing = self.received.len() - ledgers.len();
        let latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Received { ledgers, latency, missing }
    }
}

/// Checks what one subscriber receives under one name, on its client's thread. When the client drops
/// it, it returns its ledger.
struct Watcher {
    expected: Expected,
    name: usize,
    ledger: Ledger,
    received: Arc<Cell>,
    received_count: u64,
    /// Shared with the same client's other names; locked for sampled messages only.
    latency: Arc<Mutex<Histogram<u64>>>,
    returned: Sender<(usize, Ledger)>,
}

impl Watcher {
    #[inline]
    fn see(&mut self, payload: &[u8]) {
        let header = match Header::read(payload) {
            Some(header) if self.is_expected(payload, header) => header,
            _ => {
                self.ledger.enter_foreign();
                return;
            }
        };
        if self.ledger.enter(header.publisher.into(), header.sequence) == Seen::First {
            self.received_count += 1;
            self.received.0.store(self.received_count, Ordering::Relaxed);
            if header.sent_ns != 0 {
                self.measure(header.sent_ns);
            }
        }
    }

    #[inline]
    fn is_expected(&self, payload: &[u8], header: Header) -> bool {
        header.run == self.expected.run
            && usize::from(header.name) == self.name
            && payload.len() == self.expected.size
    }

    fn measure(&self, sent_ns: u64) {
        let latency_ns = self.expected.clock.now_ns().saturating_sub(sent_ns);
        self.latency.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(latency_ns);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Nobody waits for it when the run was broken off.
        let _ = self.returned.send((self.name, std::mem::take(&mut self.ledger)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 32;

    fn watcher() -> (Watcher, Receiver<(usize, Ledger)>) {
        let (returned, ledgers) = channel();
        let expected = Expected { run: 7, size: SIZE, publishers: 2, clock: Clock::start() };
        let watcher = Watcher {
            expected,
            name: 1,
            ledger: Ledger::new(2),
            received: Arc::default(),
            received_count: 0,
            latency: Arc::new(Mutex::new(histogram())),
            returned,
        };
        (watcher, ledgers)
    }

    /// Shows a watcher of run 7 and name 1 one message.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Header, &mut Vec<u8>), received: u64, foreign: u64) {
        let (mut watcher, ledgers) = watcher();
        let mut header = Header { run: 7, publisher: 1, name: 1, sequence: 1, sent_ns: 0 };
        let mut payload = vec![0; SIZE];
        change(&mut header, &mut payload);
        if payload.len() >= Header::BYTES {
            header.write(&mut payload);
        }
        watcher.see(&payload);
        assert_eq!(watcher.received.0.load(Ordering::Relaxed), received);
        drop(watcher);
        let (name, ledger) = ledgers.recv().expect("a dropped watcher returns its ledger");
        assert_eq!((name, ledger.foreign()), (1, foreign));
    }

    #[test]
    fn only_the_runs_messages_count() {
        check(|_, _| {}, 1, 0);
        check(|header, _| header.run = 8, 0, 1);
        check(|header, _| header.name = 0, 0, 1);
        check(|header, _| header.publisher = 2, 0, 1);
        check(|_, payload| payload.truncate(SIZE - 1), 0, 1);
        check(|_, payload| payload.clear(), 0, 1);
    }

    #[test]
    fn sampled_messages_are_measured_once() {
        let (mut watcher, _ledgers) = watcher();
        let mut payload = vec![0; SIZE];
        for sequence in [1, 1, 2] {
            let sent_ns = if sequence == 1 { 1 } else { 0 };
            Header { run: 7, publisher: 0, name: 1, sequence, sent_ns }.write(&mut payload);
            watcher.see(&payload);
        }
        assert_eq!(watcher.latency.lock().map(|latency| latency.len()).unwrap_or(0), 1);
        assert_eq!(watcher.received.0.load(Ordering::Relaxed), 2);
    }
}
