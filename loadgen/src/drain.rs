//! The end of a run: waits for what is in flight.

use std::thread;
use std::time::{Duration, Instant};

use crate::child::{ChildError, ChildServer};
use crate::publisher::Sent;
use crate::subscriber::Subscriber;
use crate::target::{ConnectError, Ends};

/// A drain in which nothing happens for so long is over.
const QUIET_MAX: Duration = Duration::from_secs(5);

/// The same for messages that ask for acknowledgement: when one, or its acknowledgement, is lost, the
/// server delivers again after its retry interval, 10 s.
const UNSETTLED_MAX: Duration = Duration::from_secs(15);

/// A drain is over after so long in any case: slow subscribers can hold up more than anybody waits for.
const DRAIN_MAX: Duration = Duration::from_secs(120);

/// How often a drain looks whether it is complete.
const TICK: Duration = Duration::from_millis(5);

/// Why it is not known what is left.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DrainError {
    /// The run's own server failed.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// The target did not answer.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Waits until the subscribers have this many copies of every message, or nothing arrives any more. `acks`: some of
/// them are delivered again.
pub(crate) fn deliveries(sent: &[Sent], subscribers: &[Subscriber], copies: u64, acks: bool) {
    let taken: u64 = sent.iter().map(Sent::taken).sum();
    let expected = taken * copies;
    let mut quiet = Quiet::new(if acks { UNSETTLED_MAX } else { QUIET_MAX });
    loop {
        let delivered: u64 = subscribers.iter().map(Subscriber::received).sum();
        if delivered >= expected || quiet.is_over(delivered) {
            return;
        }
        thread::sleep(TICK);
    }
}

/// Waits until every message of the run is acknowledged, or no acknowledgement arrives any more. How
/// many are left, beside `left_over` that were there before.
pub(crate) fn acknowledgements(
    ends: &Ends,
    mut child: Option<&mut ChildServer>,
    left_over: u64,
) -> Result<u64, DrainError> {
    let mut quiet = Quiet::new(UNSETTLED_MAX);
    loop {
        let pending = match &mut child {
            Some(child) => child.counts()?.pending,
            None => ends.pending()?.unwrap_or(0),
        };
        let unsettled = pending.saturating_sub(left_over);
        if unsettled == 0 || quiet.is_over(unsettled) {
            return Ok(unsettled);
        }
        thread::sleep(TICK);
    }
}

/// Notices that a count stands still.
struct Quiet {
    count: u64,
    since: Instant,
    quiet_max: Duration,
    deadline: Instant,
}

impl Quiet {
    fn new(quiet_max: Duration) -> Self {
        let now = Instant::now();
        Self { count: 0, since: now, quiet_max, deadline: now + DRAIN_MAX }
    }

    fn is_over(&mut self, count: u64) -> bool {
        let now = Instant::now();
        if count != self.count {
            (self.count, self.since) = (count, now);
        }
        now - self.since > self.quiet_max || now > self.deadline
    }
}
