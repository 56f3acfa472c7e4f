//! Decides which connection is read next.

use std::collections::VecDeque;
use std::time::Duration;

use super::subscribers::ConnectionId;
use crate::limits::{COSTLY_READ_TIME, COSTLY_READ_TIME_EACH_MAX};

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
    pub(super) fn add(&mut self, took: Duration) {
        self.0 = (self.0 * 7 + took.min(COSTLY_READ_TIME_EACH_MAX)) / 8;
    }

    pub(super) fn is_costly(self) -> bool {
        self.0 > COSTLY_READ_TIME
    }
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
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

    pub(super) fn of(&mut self, kind: Kind) -> &mut VecDeque<ConnectionId> {
        match kind {
            Kind::Usual => &mut self.usual,
            Kind::Costly => &mut self.costly,
            Kind::Newcomer => &mut self.newcomers,
        }
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
