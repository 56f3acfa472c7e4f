//! When connections' deadlines are looked at: each has one place on the wheel at most.

use std::time::Duration;

use super::peer::Peer;
use super::subscribers::ConnectionId;
use crate::retry::wheel::Wheel;

/// How late a deadline may be seen.
const TICK: Duration = Duration::from_millis(10);

/// Deadlines that one turn looks at.
const PER_TURN_MAX: usize = 256;

/// The deadlines.
#[derive(Debug)]
pub(super) struct Timers {
    wheel: Wheel<ConnectionId>,
    due: Vec<ConnectionId>,
}

impl Default for Timers {
    fn default() -> Self {
        Self { wheel: Wheel::new(0), due: Vec::new() }
    }
}

fn tick(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX)
}

impl Timers {
    /// Sees to it that the connection's next deadline is looked at, and no later than when it is over.
    pub(super) fn schedule<S>(&mut self, peer: &mut Peer<S>, grace: Duration, now: Duration) {
        let Some(deadline) = peer.deadline(grace) else { return };
        if let Some((token, at)) = peer.check {
            if at <= deadline {
                return;
            }
            self.wheel.cancel(token, &peer.id);
        }
        let token = self.wheel.schedule(peer.id, tick(deadline.max(now)));
        peer.check = Some((token, deadline));
    }

    /// A connection is gone.
    pub(super) fn cancel<S>(&mut self, peer: &Peer<S>) {
        if let Some((token, _)) = peer.check {
            self.wheel.cancel(token, &peer.id);
        }
    }

    /// The next connection whose deadline is over.
    pub(super) fn next(&mut self, now: Duration) -> Option<ConnectionId> {
        if self.due.is_empty() && self.next_due().is_some_and(|due| due <= now) {
            let now = (now.as_nanos() / TICK.as_nanos()) as u64;
            self.wheel.advance(now, PER_TURN_MAX, &mut self.due);
        }
        self.due.pop()
    }

    /// When [`Self::next`] may have something.
    pub(super) fn next_due(&self) -> Option<Duration> {
        if !self.due.is_empty() {
            return Some(Duration::ZERO);
        }
        let tick = self.wheel.next_expiry()?;
        Some(TICK * u32::try_from(tick).unwrap_or(u32::MAX))
    }
}
