//! Whose turn it is to be read.

use std::collections::VecDeque;
use std::time::Duration;

use super::run::Broker;
use super::subscribers::ConnectionId;
use crate::limits::{
    COSTLY_READ_TIME, COSTLY_READ_TIME_EACH_MAX, HANDSHAKE_TIME_PER_TURN_MAX,
    READ_BYTES_PER_TURN_MAX, READ_TIME_PER_TURN_MAX,
};
use crate::net::socket::Network;

/// Connections that have something to be read, each kind in the order in which it is.
#[derive(Debug, Default)]
pub(super) struct Readable {
    usual: VecDeque<ConnectionId>,
    /// Those whose turns take long. They come second: whoever asks for little waits for one of them, not for all.
    costly: VecDeque<ConnectionId>,
    /// Those that are in their handshake. They come last, so that a flood of them is not felt by others.
    newcomers: VecDeque<ConnectionId>,
}

/// How long a connection's turns take: a moving average, in which each turn counts an eighth.
///
/// One turn says little, since the system may take the processor away in it. And one that is long between quick ones
/// costs the others as much as several that are all of middle length.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadTime(Duration);

impl Default for ReadTime {
    /// Halfway to costly: a stranger is believed less than one that was quick often, and one long turn is enough.
    fn default() -> Self {
        Self(COSTLY_READ_TIME / 2)
    }
}

impl ReadTime {
    fn add(&mut self, took: Duration) {
        self.0 = (self.0 * 7 + took.min(COSTLY_READ_TIME_EACH_MAX)) / 8;
    }

    fn is_costly(self) -> bool {
        self.0 > COSTLY_READ_TIME
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Usual,
    Costly,
    Newcomer,
}

impl Readable {
    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = ConnectionId> {
        self.usual.iter().chain(&self.costly).chain(&self.newcomers).copied()
    }

    /// How many are in their handshake.
    pub(super) fn newcomers(&self) -> usize {
        self.newcomers.len()
    }

    fn of(&mut self, kind: Kind) -> &mut VecDeque<ConnectionId> {
        match kind {
            Kind::Usual => &mut self.usual,
            Kind::Costly => &mut self.costly,
            Kind::Newcomer => &mut self.newcomers,
        }
    }
}

impl<N: Network> Broker<N> {
    /// Puts a connection among those that are read next.
    pub(super) fn list(&mut self, id: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(id)
            && !std::mem::replace(&mut peer.is_listed, true)
        {
            let kind = match (peer.session.is_open(), peer.read_time.is_costly()) {
                (false, _) => Kind::Newcomer,
                (true, true) => Kind::Costly,
                (true, false) => Kind::Usual,
            };
            self.readable.of(kind).push_back(id);
        }
    }

    /// Reads from each connection that has something, a part of it, as long as a turn may take; of each kind from one
    /// at least.
    pub(super) fn read_some(&mut self, now: Duration) {
        self.read_queue(Kind::Usual, READ_TIME_PER_TURN_MAX, now);
        self.read_queue(Kind::Costly, READ_TIME_PER_TURN_MAX, now);
        let elapsed = self.network.now().saturating_sub(now);
        self.read_queue(Kind::Newcomer, elapsed + HANDSHAKE_TIME_PER_TURN_MAX, now);
    }

    fn read_queue(&mut self, kind: Kind, time_max: Duration, now: Duration) {
        let mut before = self.network.now();
        for _ in 0..self.readable.of(kind).len() {
            let Some(id) = self.readable.of(kind).pop_front() else { break };
            let may_read = self.may_read();
            let must_wait = self.must_wait(id);
            let Some(peer) = self.peers.get_mut(id) else { continue };
            peer.is_listed = false;
            if !peer.may_be_read() || !(may_read || peer.is_subscriber()) {
                // Held ones are listed again when they may be read; others wait for room here.
                let is_paused = peer.is_held || peer.is_checked || peer.is_closing;
                if !is_paused && !peer.output.is_blocked() {
                    self.list(id);
                }
                continue;
            }
            if must_wait {
                self.hold(id, None, now);
                continue;
            }
            let more = self.read(id, before, now);
            let after = self.network.now();
            if let Some(peer) = self.peers.get_mut(id) {
                peer.read_time.add(after.saturating_sub(before));
            }
            before = after;
            if more {
                self.list(id);
            }
            let elapsed = after.saturating_sub(now);
            if elapsed >= time_max
                || self.turn_is_full()
                || self.drain.is_some_and(|drain| now + elapsed >= drain.finished_by)
            {
                break;
            }
        }
    }

    /// Whether a publisher must wait because as much is queued for all subscribers as may be, before it has published
    /// anything. One whose next request is small need not, as it may be an acknowledgement, unless twice as much
    /// is queued.
    fn must_wait(&mut self, id: ConnectionId) -> bool {
        let is_beyond = self.frames.bytes() >= self.settings.unsent_bytes_max.saturating_mul(2);
        self.is_full()
            && self.drain.is_none()
            && self.peers.get_mut(id).is_some_and(|peer| {
                let is_large = peer.inbox.wanted_bytes() > READ_BYTES_PER_TURN_MAX;
                !peer.is_subscriber() && peer.session.is_open() && (is_large || is_beyond)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(20);
    const LONG: Duration = Duration::from_millis(6);

    fn after(turns: impl IntoIterator<Item = Duration>) -> ReadTime {
        let mut time = ReadTime::default();
        turns.into_iter().for_each(|took| time.add(took));
        time
    }

    #[test]
    fn a_stranger_whose_first_turn_is_long_comes_behind_the_others() {
        assert!(!after([]).is_costly());
        assert!(after([LONG]).is_costly());
    }

    #[test]
    fn one_long_turn_of_a_quick_connection_is_forgiven_and_the_second_is_not() {
        for long in [LONG, Duration::from_secs(1)] {
            let quick = || std::iter::repeat_n(QUICK, 20);
            assert!(!after(quick().chain([long])).is_costly(), "{long:?}");
            assert!(after(quick().chain([long, long])).is_costly(), "{long:?}");
        }
    }

    #[test]
    fn quick_turns_between_long_ones_hide_nothing() {
        assert!(after([LONG, QUICK].repeat(50)).is_costly());
    }

    #[test]
    fn whoever_is_quick_again_comes_first_again() {
        let again = std::iter::repeat_n(LONG, 100).chain(std::iter::repeat_n(QUICK, 20));
        assert!(!after(again).is_costly());
    }
}
