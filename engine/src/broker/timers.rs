//! Deadlines of connections: each connection has at most one entry on the wheel.

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
        Some(Duration::from_nanos(tick.saturating_mul(TICK.as_nanos() as u64)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::tests::{open, peer};
    use super::*;
    use crate::limits::HANDSHAKE_TIME_MAX;
    use crate::zmtp::session::Port;

    const GRACE: Duration = Duration::from_secs(3);
    const MS: Duration = Duration::from_millis(1);

    fn due(timers: &mut Timers, now: Duration) -> Vec<ConnectionId> {
        std::iter::from_fn(|| timers.next(now)).collect()
    }

    #[test]
    fn a_deadline_is_seen_once_it_is_over_and_soon_then() {
        let years = Duration::from_secs(600 * 24 * 3600);
        for accepted in [Duration::ZERO, MS * 3, MS * 10, years + MS * 17] {
            let (mut timers, mut peer) = (Timers::default(), peer(7, Port::Requests, accepted));
            timers.schedule(&mut peer, GRACE, accepted);
            let deadline = accepted + HANDSHAKE_TIME_MAX;
            let mut now = accepted;
            while let Some(wake) = timers.next_due().filter(|&wake| wake < deadline) {
                now = wake.max(now + MS);
                assert!(now >= deadline || due(&mut timers, now).is_empty());
                assert!(now < deadline + TICK, "it is never seen");
            }
            if now < deadline {
                assert!(due(&mut timers, deadline - MS).is_empty());
                assert_eq!(due(&mut timers, deadline + TICK), [7]);
            }
            assert_eq!(timers.next_due(), None);
        }
    }

    #[test]
    fn a_connection_has_one_place_and_an_earlier_deadline_takes_it() {
        let (mut timers, mut peer) = (Timers::default(), peer(7, Port::Requests, MS));
        timers.schedule(&mut peer, GRACE, MS);
        timers.schedule(&mut peer, GRACE, MS * 2);
        let first = peer.check.map(|(_, at)| at);
        assert_eq!(first, Some(MS + HANDSHAKE_TIME_MAX));
        // The same connection, as if it had come earlier.
        let mut earlier = super::super::peer::tests::peer(7, Port::Requests, Duration::ZERO);
        earlier.check = peer.check;
        timers.schedule(&mut earlier, GRACE, MS * 3);
        assert_eq!(earlier.check.map(|(_, at)| at), Some(HANDSHAKE_TIME_MAX));
        assert_eq!(due(&mut timers, HANDSHAKE_TIME_MAX * 2), [7]);
        assert!(due(&mut timers, HANDSHAKE_TIME_MAX * 4).is_empty());
    }

    #[test]
    fn a_connection_that_is_gone_or_waits_for_nothing_has_no_place() {
        let mut timers = Timers::default();
        let mut quiet = open(1, Port::Requests, MS);
        timers.schedule(&mut quiet, GRACE, MS);
        assert_eq!((timers.next_due(), quiet.check.is_none()), (None, true));
        let mut gone = peer(2, Port::Requests, MS);
        timers.schedule(&mut gone, GRACE, MS);
        assert!(timers.next_due().is_some());
        timers.cancel(&gone);
        assert_eq!(timers.next_due(), None);
        assert!(due(&mut timers, HANDSHAKE_TIME_MAX * 2).is_empty());
    }

    #[test]
    fn all_that_are_over_at_once_are_seen() {
        let mut timers = Timers::default();
        let count = PER_TURN_MAX as u64 * 3 + 1;
        for id in 0..count {
            timers.schedule(&mut peer(id, Port::Publishing, MS), GRACE, MS);
        }
        let now = HANDSHAKE_TIME_MAX * 2;
        let mut all = Vec::new();
        // Whoever has more is due again at once.
        while timers.next_due().is_some_and(|due| due <= now) {
            all.extend(due(&mut timers, now));
        }
        all.sort_unstable();
        assert!(all.into_iter().eq(0..count));
    }
}
