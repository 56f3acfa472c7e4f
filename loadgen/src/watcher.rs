//! The check of every message that one subscriber receives under one name.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::content::{Content, Place};
use crate::count::Count;
use crate::header::Header;
use crate::ledger::{Ledger, Seen};
use crate::measured::Measured;
use crate::roll::Roll;

/// What every message of the run must look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) run: u32,
    pub(crate) content: Content,
    pub(crate) publishers: u16,
    /// Whether messages are due at fixed times.
    pub(crate) is_open_loop: bool,
    pub(crate) clock: Clock,
    /// How long the subscriber takes for each message.
    pub(crate) consumer_latency: Option<Duration>,
    /// Whether others look at the highest sequences.
    pub(crate) is_tracked: bool,
}

/// Checks what one subscriber receives under one name, on its client's thread. When the client drops
/// it, it returns its ledger.
pub(crate) struct Watcher {
    expected: Expected,
    name: usize,
    ledger: Ledger,
    received: Arc<Count>,
    received_count: u64,
    /// The highest sequence of each publisher; empty unless it is tracked.
    highest: Vec<Arc<Count>>,
    /// Shared with the same subscriber's other names; locked for sampled messages only.
    measured: Arc<Mutex<Measured>>,
    returned: Sender<(usize, Ledger)>,
}

/// What comes back from the watchers of one subscriber.
pub(crate) struct Watched {
    /// Different messages received so far, a count for each name.
    pub(crate) received: Vec<Arc<Count>>,
    /// The highest sequence received, for each name and publisher; empty unless it is tracked.
    pub(crate) highest: Vec<Vec<Arc<Count>>>,
    pub(crate) measured: Arc<Mutex<Measured>>,
    /// With the index of its name each, when the client dropped the watcher.
    pub(crate) ledgers: Receiver<(usize, Ledger)>,
}

/// Watchers for one subscriber, one a name; with the roll of its group, if it has one.
pub(crate) fn watchers(
    names: usize,
    expected: Expected,
    group: Option<&Arc<Roll>>,
) -> (Vec<Watcher>, Watched) {
    let measured = Arc::new(Mutex::new(Measured::new()));
    let (returned, ledgers) = channel();
    let watcher = |name| Watcher {
        expected,
        name,
        ledger: match group {
            Some(roll) => Ledger::of_member(expected.publishers.into(), name, roll),
            None => Ledger::new(expected.publishers.into()),
        },
        received: Arc::default(),
        received_count: 0,
        highest: if expected.is_tracked {
            (0..expected.publishers).map(|_| Arc::default()).collect()
        } else {
            Vec::new()
        },
        measured: Arc::clone(&measured),
        returned: returned.clone(),
    };
    let watchers: Vec<_> = (0..names).map(watcher).collect();
    let received = watchers.iter().map(|watcher| Arc::clone(&watcher.received)).collect();
    let highest = watchers.iter().map(|watcher| watcher.highest.clone()).collect();
    (watchers, Watched { received, highest, measured, ledgers })
}

impl Watcher {
    /// Checks and counts a message.
    #[inline]
    pub(crate) fn see(&mut self, payload: &[u8]) {
        let header = match Header::read(payload) {
            Some(header) if self.is_expected(payload, header) => header,
            _ => {
                self.ledger.enter_foreign();
                return;
            }
        };
        if self.ledger.enter(header.publisher.into(), header.sequence) == Seen::First {
            self.received_count += 1;
            self.received.set(self.received_count);
            if header.due_ns != 0 {
                self.measure(header);
            }
            if let Some(highest) = self.highest.get(usize::from(header.publisher)) {
                highest.set(self.ledger.highest(header.publisher.into()));
            }
        }
    }

    /// How long the subscriber takes for a message, which its client's thread has to wait.
    pub(crate) fn consumer_latency(&self) -> Option<Duration> {
        self.expected.consumer_latency
    }

    #[inline]
    fn is_expected(&self, payload: &[u8], header: Header) -> bool {
        let Header { run, publisher, name, sequence, .. } = header;
        run == self.expected.run
            && usize::from(name) == self.name
            && payload.len() == self.expected.content.size(Place { publisher, name, sequence })
    }

    fn measure(&self, header: Header) {
        let now_ns = self.expected.clock.now_ns();
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        measured.latency.saturating_record(now_ns.saturating_sub(header.due_ns));
        if self.expected.is_open_loop {
            measured.service.saturating_record(now_ns.saturating_sub(header.sent_ns));
        }
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

    use crate::size::Size;

    const SIZE: usize = 40;

    /// The watcher of run 7 and name 1.
    fn watcher(is_open_loop: bool) -> (Watcher, Watched) {
        let clock = Clock::start();
        let size = Size { min: SIZE, max: SIZE };
        let expected = Expected {
            run: 7,
            content: Content { seed: 1, size, ack_ratio: 0.0 },
            publishers: 2,
            is_open_loop,
            clock,
            consumer_latency: None,
            is_tracked: true,
        };
        let (mut watchers, watched) = watchers(2, expected, None);
        let watcher = watchers.remove(1);
        drop(watchers);
        assert!(watched.ledgers.recv().is_ok_and(|(name, _)| name == 0));
        (watcher, watched)
    }

    fn header(sequence: u64) -> Header {
        Header { run: 7, publisher: 1, name: 1, sequence, due_ns: 0, sent_ns: 0 }
    }

    /// Shows a watcher one message.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Header, &mut Vec<u8>), received: u64, foreign: u64) {
        let (mut watcher, watched) = watcher(false);
        let mut header = header(1);
        let mut payload = vec![0; SIZE];
        change(&mut header, &mut payload);
        if payload.len() >= Header::BYTES {
            header.write(&mut payload);
        }
        watcher.see(&payload);
        assert_eq!(watched.received[1].get(), received);
        assert_eq!(watched.highest[1][1].get(), received);
        drop(watcher);
        let (name, ledger) = watched.ledgers.recv().expect("a dropped watcher returns its ledger");
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

    /// Shows a watcher two messages, the first, measured one twice.
    #[track_caller]
    fn check_samples(is_open_loop: bool, latencies: u64, services: u64) {
        let (mut watcher, watched) = watcher(is_open_loop);
        let mut payload = vec![0; SIZE];
        for sequence in [1, 1, 2] {
            let ns = if sequence == 1 { 1 } else { 0 };
            Header { due_ns: ns, sent_ns: ns, ..header(sequence) }.write(&mut payload);
            watcher.see(&payload);
        }
        let measured = watched.measured.lock().expect("nobody panicked");
        assert_eq!((measured.latency.len(), measured.service.len()), (latencies, services));
        assert_eq!(watched.received[1].get(), 2);
    }

    #[test]
    fn sampled_messages_are_measured_once() {
        check_samples(false, 1, 0);
        check_samples(true, 1, 1);
    }
}
