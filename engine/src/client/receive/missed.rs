//! Detects gaps: each publisher counts its messages under each name, and all its messages.

use std::collections::HashMap;

use crate::limits::CLIENT_RUNS_TRACKED_MAX;
use crate::wire::record::Record;

/// A message further from the last than this many of its name did not come from the same count.
const JUMP_MAX: u64 = 1 << 32;

/// What a message says of its place: how many messages its publisher had sent, and how many of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) struct Position {
    pub(in crate::client) sequence: u64,
    pub(in crate::client) ordinal: u64,
}

impl Position {
    /// Whether one publisher may have given both: both numbers grow, the ordinal no faster.
    fn agrees_with(self, other: Self) -> bool {
        let (older, newer) =
            if self.ordinal < other.ordinal { (self, other) } else { (other, self) };
        let ordinals = newer.ordinal - older.ordinal;
        let Some(sequences) = newer.sequence.checked_sub(older.sequence) else { return false };
        ordinals <= JUMP_MAX && ordinals <= sequences && (ordinals == 0) == (sequences == 0)
    }
}

/// What a message tells of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Gap {
    /// This many are missing before it.
    Missing(u64),
    /// Its numbers cannot be right. They count for nothing.
    Implausible,
}

/// A publisher's messages under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    last: Position,
    /// How many messages agreed.
    agreed: u32,
    /// The last place that did not agree, and how many agreed with that since: whoever sent the first
    /// message that arrived need not be the one who sends the others.
    rival: Option<(Position, u32)>,
}

impl Run {
    fn new(last: Position) -> Self {
        Self { last, agreed: 1, rival: None }
    }

    #[inline]
    fn see(&mut self, place: Position) -> Gap {
        // Nearly all of them: the next one.
        let next = Position {
            sequence: self.last.sequence.wrapping_add(1),
            ordinal: self.last.ordinal.wrapping_add(1),
        };
        if place == next {
            self.agreed = self.agreed.saturating_add(1);
            self.last = place;
            return Gap::Missing(0);
        }
        self.see_other(place)
    }

    fn see_other(&mut self, place: Position) -> Gap {
        if place.agrees_with(self.last) {
            let missing = place.ordinal.saturating_sub(self.last.ordinal).saturating_sub(1);
            self.agreed = self.agreed.saturating_add(1);
            if place.ordinal > self.last.ordinal {
                self.last = place;
            }
            return Gap::Missing(missing);
        }
        match self.rival {
            Some((rival, agreed)) if place.agrees_with(rival) => {
                let missing = place.ordinal.saturating_sub(rival.ordinal).saturating_sub(1);
                let last = if place.ordinal > rival.ordinal { place } else { rival };
                let agreed = agreed.saturating_add(1);
                if agreed > self.agreed {
                    *self = Self { last, agreed, rival: Some((self.last, self.agreed)) };
                    return Gap::Missing(missing);
                }
                self.rival = Some((last, agreed));
            }
            _ => self.rival = Some((place, 1)),
        }
        Gap::Implausible
    }
}

/// All runs that are known.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    names: HashMap<Box<str>, HashMap<u64, Run>>,
    runs: usize,
    scratch: HashMap<u64, Run>,
}

/// The runs under one name, while a frame of that name is read.
pub(in crate::client) struct Runs<'a> {
    publishers: &'a mut HashMap<u64, Run>,
    runs: &'a mut usize,
    /// The publisher met last and its run, not yet written back.
    current: Option<(u64, Run)>,
}

impl Tracker {
    /// The runs under a name.
    pub(in crate::client) fn runs(&mut self, name: &str) -> Runs<'_> {
        if self.runs.max(self.names.len()) >= CLIENT_RUNS_TRACKED_MAX {
            // Most of so many are of publishers long gone. A gap just now goes unseen.
            self.names.clear();
            self.runs = 0;
        }
        if !self.names.contains_key(name) {
            self.names.insert(name.into(), HashMap::new());
        }
        // The name is there now; `entry` would have made its key anew for each frame.
        let publishers = self.names.get_mut(name).unwrap_or(&mut self.scratch);
        Runs { publishers, runs: &mut self.runs, current: None }
    }
}

impl Runs<'_> {
    /// [`Self::see`] of a record.
    #[inline(always)]
    pub(super) fn see_record(&mut self, record: &Record<'_>) -> Gap {
        let Record { id, ordinal, .. } = record;
        self.see(id.publisher, Position { sequence: id.sequence, ordinal: *ordinal })
    }

    /// Notes a message and returns what is missing before it. One that was seen before, or comes late,
    /// misses nothing; nor does one that is not counted (ordinal 0).
    #[inline(always)]
    pub(in crate::client) fn see(&mut self, publisher: u64, place: Position) -> Gap {
        if place.ordinal == 0 {
            return Gap::Missing(0);
        }
        if place.ordinal > place.sequence {
            return Gap::Implausible;
        }
        if let Some((current, run)) = &mut self.current
            && *current == publisher
        {
            return run.see(place);
        }
        self.see_another(publisher, place)
    }

    /// Notes a message that is sent again, if it is the next one of a run that is known.
    pub(in crate::client) fn follow(&mut self, record: &Record<'_>) {
        self.write_back();
        let Record { id, ordinal, .. } = record;
        if let Some(run) = self.publishers.get_mut(&id.publisher)
            && run.last.ordinal.checked_add(1) == Some(*ordinal)
        {
            run.see(Position { sequence: id.sequence, ordinal: *ordinal });
        }
    }

    fn see_another(&mut self, publisher: u64, place: Position) -> Gap {
        self.write_back();
        let (run, gap) = match self.publishers.get(&publisher) {
            Some(run) => {
                let mut run = *run;
                let gap = run.see(place);
                (run, gap)
            }
            None => {
                *self.runs += 1;
                (Run::new(place), Gap::Missing(0))
            }
        };
        self.current = Some((publisher, run));
        gap
    }

    fn write_back(&mut self) {
        if let Some((publisher, run)) = self.current.take() {
            self.publishers.insert(publisher, run);
        }
    }
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        self.write_back();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A place of a publisher that sends one message of another name beside each of this one.
    fn place(ordinal: u64) -> Position {
        Position { sequence: ordinal.saturating_mul(2), ordinal }
    }

    fn see(tracker: &mut Tracker, name: &str, publisher: u64, ordinal: u64) -> u64 {
        match tracker.runs(name).see(publisher, place(ordinal)) {
            Gap::Missing(missing) => missing,
            Gap::Implausible => panic!("{ordinal}"),
        }
    }

    /// Feeds (publisher, ordinal) under one name, a frame each, and returns what is missed at each.
    #[track_caller]
    fn check(seen: &[(u64, u64)], expected: &[u64]) {
        let mut tracker = Tracker::default();
        let missed: Vec<_> = seen.iter().map(|&(p, n)| see(&mut tracker, "a", p, n)).collect();
        assert_eq!(missed, expected);
        // The same in one frame.
        let mut tracker = Tracker::default();
        let mut runs = tracker.runs("a");
        let missed: Vec<_> = seen.iter().map(|&(p, n)| runs.see(p, place(n))).collect();
        assert!(missed.into_iter().eq(expected.iter().map(|&n| Gap::Missing(n))));
    }

    #[test]
    fn a_jump_is_missed_messages_and_nothing_else_is() {
        check(&[(1, 5), (1, 6), (1, 9)], &[0, 0, 2]);
        check(&[(1, 1), (2, 10), (1, 2), (2, 12)], &[0, 0, 0, 1]);
        check(&[(1, 1), (1, 4), (1, 2), (1, 4), (1, 5)], &[0, 2, 0, 0, 0]);
        check(&[(1, 0), (1, 7), (1, 0), (1, 8)], &[0, 0, 0, 0]);
        check(&[(1, 1), (1, 1 + JUMP_MAX)], &[0, JUMP_MAX - 1]);
    }

    /// What a run makes of these places.
    fn gaps(places: &[(u64, u64)]) -> Vec<Gap> {
        let mut tracker = Tracker::default();
        let mut runs = tracker.runs("a");
        let places = places.iter().map(|&(sequence, ordinal)| Position { sequence, ordinal });
        places.map(|place| runs.see(1, place)).collect()
    }

    #[test]
    fn numbers_that_cannot_be_are_ignored_and_real_gaps_still_seen() {
        use Gap::{Implausible, Missing};
        let forged = [
            (u64::MAX, u64::MAX),
            // Beyond what the sequence allows, at all and since the last.
            (20, 21),
            (12, 13),
            // Both numbers grow, or none.
            (10, 11),
            (11, 10),
            (9, 11),
            (10 + (1 << 40), 11 + JUMP_MAX),
        ];
        for forged in forged {
            let seen = gaps(&[(10, 10), forged, (13, 13)]);
            assert_eq!(seen, [Missing(0), Implausible, Missing(2)], "{forged:?}");
        }
        let seen = gaps(&[(1 << 50, 1 << 50), (10, 10), (13, 12), (16, 14)]);
        assert_eq!(seen, [Missing(0), Implausible, Missing(1), Missing(1)]);
        // Forged numbers that agree with each other are not believed while the real ones are more.
        let far = 1 << 60;
        let seen = gaps(&[(1, 1), (2, 2), (3, 3), (far, far), (far + 9, far + 9), (6, 6)]);
        let ignored = [Implausible, Implausible];
        assert_eq!(seen, [&[Missing(0); 3], &ignored[..], &[Missing(2)]].concat());
    }

    proptest! {
        /// Messages are lost, come twice and late; forged ones are mixed in.
        #[test]
        fn what_is_missed_is_what_would_be_without_the_forged(
            real in prop::collection::vec((0..4_u64, 1..5_u64, 0..3_u64), 2..60),
            forged in prop::collection::vec((0..60_usize, any::<u64>(), any::<u64>()), 0..30),
        ) {
            let (mut place, mut stream) = (Position { sequence: 100, ordinal: 50 }, Vec::new());
            for (others, step, late) in real {
                place.ordinal += step;
                place.sequence += step + others;
                stream.push(place);
                if late == 0 {
                    stream.push(stream[stream.len() / 2]);
                }
            }
            let missed = |stream: &[Position]| -> u64 {
                let mut tracker = Tracker::default();
                let mut runs = tracker.runs("a");
                stream.iter().map(|&place| match runs.see(1, place) {
                    Gap::Missing(missing) => missing,
                    Gap::Implausible => 0,
                }).sum()
            };
            let expected = missed(&stream);
            prop_assert!(stream.windows(2).all(|pair| pair[0].agrees_with(pair[1])));
            let last = place;
            let mut spoilt = stream;
            for (at, sequence, ordinal) in forged {
                let forged = Position { sequence, ordinal };
                let possible = forged.agrees_with(last) || forged.agrees_with(spoilt[0]);
                if !possible && spoilt[1..].iter().all(|place| !forged.agrees_with(*place)) {
                    spoilt.insert(1 + at.min(spoilt.len() - 1), forged);
                }
            }
            prop_assert_eq!(missed(&spoilt), expected);
        }
    }

    #[test]
    fn names_count_apart() {
        let mut tracker = Tracker::default();
        assert_eq!(see(&mut tracker, "a", 1, 1), 0);
        assert_eq!(see(&mut tracker, "b", 1, 7), 0);
        assert_eq!(see(&mut tracker, "b", 1, 9), 1);
        assert_eq!(tracker.runs, 2);
    }

    #[test]
    fn memory_is_bounded() {
        let mut tracker = Tracker::default();
        for publisher in 0..CLIENT_RUNS_TRACKED_MAX as u64 * 2 {
            see(&mut tracker, "a", publisher, 1);
            assert!(tracker.runs <= CLIENT_RUNS_TRACKED_MAX);
        }
    }
}
