//! Subscribers that leave and come back each second, and the check of what they ought to have got:
//! every message handed over between their confirmed subscription and the decision to leave.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use loadgen::report::Churned;

use crate::publisher::Plan;
use crate::subscriber::Subscriber;
use crate::target::{ConnectError, Ends};
use crate::watcher::Expected;

/// From one arrival to the next.
const PERIOD: Duration = Duration::from_secs(1);

/// Shortest and longest stay, in milliseconds.
const STAY_MS: Range<u64> = 200..700;

/// How long what was handed over before the decision to leave may take to arrive.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a churner looks at what it waits for.
const TICK: Duration = Duration::from_millis(5);

/// A subscriber that leaves and comes back.
pub(crate) struct Churner {
    pub(crate) ends: Arc<Ends>,
    pub(crate) index: u16,
    pub(crate) plan: Arc<Plan>,
    pub(crate) expected: Expected,
    /// Decides how long it stays.
    pub(crate) random: fastrand::Rng,
}

impl Churner {
    /// Comes and leaves until the run is over.
    pub(crate) fn run(mut self) -> Result<Churned, ConnectError> {
        let mut churned = Churned::default();
        // Not all of them come at once.
        self.pause_ms(0..STAY_MS.end);
        while !self.is_over() {
            let arrived = Instant::now();
            churned += self.session()?;
            self.pause(PERIOD.saturating_sub(arrived.elapsed()));
        }
        Ok(churned)
    }

    fn session(&mut self) -> Result<Churned, ConnectError> {
        let names = self.plan.names;
        let subscriber = Subscriber::start(&self.ends, self.index, names, self.expected, None)?;
        let from = self.plan.handed_over();
        self.pause_ms(STAY_MS);
        let to = self.plan.handed_over();
        let deadline = Instant::now() + ARRIVAL_TIMEOUT;
        while !subscriber.has_received(&to) && Instant::now() < deadline {
            thread::sleep(TICK);
        }
        let received = subscriber.finish();
        let mut churned = Churned { sessions: 1, ..Churned::default() };
        churned.missing_ledgers = received.missing as u64;
        for (name, ledger) in &received.ledgers {
            churned.foreign += ledger.foreign();
            churned.duplicated += ledger.counts().map(|count| count.duplicated).sum::<u64>();
            for publisher in 0..from.len() {
                let (from, to) = (from[publisher][*name], to[publisher][*name]);
                let missing = ledger.missing(publisher, from + 1, to);
                churned.lost += missing;
                churned.delivered += to - from - missing;
            }
        }
        Ok(churned)
    }

    fn pause_ms(&mut self, range: Range<u64>) {
        let pause = Duration::from_millis(self.random.u64(range));
        self.pause(pause);
    }

    fn is_over(&self) -> bool {
        self.plan.stop.load(Ordering::Relaxed)
    }

    /// Waits, but not beyond the end of the run.
    fn pause(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while !self.is_over() && Instant::now() < end {
            thread::sleep(TICK);
        }
    }
}
