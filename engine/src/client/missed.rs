//! Sees gaps in what arrives: each publisher counts its messages under each name.

use std::collections::HashMap;

use crate::limits::CLIENT_RUNS_TRACKED_MAX;

/// The last ordinal of each run, a run being a publisher's messages under one name.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    names: HashMap<Box<str>, HashMap<u64, u64>>,
    runs: usize,
    scratch: HashMap<u64, u64>,
}

/// The runs under one name, while a frame of that name is read.
pub(super) struct Runs<'a> {
    publishers: &'a mut HashMap<u64, u64>,
    runs: &'a mut usize,
    /// The publisher met last and its last ordinal, not yet written back.
    current: Option<(u64, u64)>,
}

impl Tracker {
    /// The runs under a name.
    pub(super) fn runs(&mut self, name: &str) -> Runs<'_> {
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

    /// Forgets names that are no longer subscribed to: what is not asked for is not missed.
    pub(super) fn retain(&mut self, mut subscribed: impl FnMut(&str) -> bool) {
        self.names.retain(|name, _| subscribed(name));
        self.runs = self.names.values().map(HashMap::len).sum();
    }
}

impl Runs<'_> {
    /// Notes a message and returns how many are missing before it. One that was seen before, or comes
    /// late, misses nothing; nor does one that is not counted (ordinal 0).
    pub(super) fn see(&mut self, publisher: u64, ordinal: u64) -> u64 {
        if ordinal == 0 {
            return 0;
        }
        let last = match self.current {
            Some((current, last)) if current == publisher => last,
            _ => {
                self.write_back();
                match self.publishers.get(&publisher) {
                    Some(last) => *last,
                    None => {
                        *self.runs += 1;
                        ordinal - 1
                    }
                }
            }
        };
        self.current = Some((publisher, last.max(ordinal)));
        ordinal.saturating_sub(last).saturating_sub(1)
    }

    fn write_back(&mut self) {
        if let Some((publisher, last)) = self.current.take() {
            self.publishers.insert(publisher, last);
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
    use super::*;

    /// Feeds (publisher, ordinal) under one name, a frame each, and returns what is missed at each.
    #[track_caller]
    fn check(seen: &[(u64, u64)], expected: &[u64]) {
        let mut tracker = Tracker::default();
        let missed: Vec<_> =
            seen.iter().map(|&(publisher, n)| tracker.runs("a").see(publisher, n)).collect();
        assert_eq!(missed, expected);
        // The same in one frame.
        let mut tracker = Tracker::default();
        let mut runs = tracker.runs("a");
        let missed: Vec<_> = seen.iter().map(|&(publisher, n)| runs.see(publisher, n)).collect();
        assert_eq!(missed, expected);
    }

    #[test]
    fn a_jump_is_missed_messages_and_nothing_else_is() {
        check(&[(1, 5), (1, 6), (1, 9)], &[0, 0, 2]);
        check(&[(1, 1), (2, 10), (1, 2), (2, 12)], &[0, 0, 0, 1]);
        check(&[(1, 1), (1, 4), (1, 2), (1, 4), (1, 5)], &[0, 2, 0, 0, 0]);
        check(&[(1, 0), (1, 7), (1, 0), (1, 8)], &[0, 0, 0, 0]);
        check(&[(1, 1), (1, u64::MAX)], &[0, u64::MAX - 2]);
    }

    #[test]
    fn names_count_apart_and_are_forgotten() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.runs("a").see(1, 1), 0);
        assert_eq!(tracker.runs("b").see(1, 7), 0);
        tracker.retain(|name| name == "b");
        assert_eq!(tracker.runs("a").see(1, 5), 0);
        assert_eq!(tracker.runs("b").see(1, 9), 1);
        assert_eq!(tracker.runs, 2);
    }

    #[test]
    fn memory_is_bounded() {
        let mut tracker = Tracker::default();
        for publisher in 0..CLIENT_RUNS_TRACKED_MAX as u64 * 2 {
            tracker.runs("a").see(publisher, 1);
            assert!(tracker.runs <= CLIENT_RUNS_TRACKED_MAX);
        }
    }
}
