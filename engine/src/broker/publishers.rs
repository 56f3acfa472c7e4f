//! Remembers which messages of each publisher were accepted.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::contents::Contents;
use crate::access::Identity;
use crate::hash::IdHashes;
use crate::limits::{PUBLISHERS_REMEMBERED_MAX, SEQUENCE_RUNS_MAX};
use crate::wire::hello::Secret;

/// How much of a range of sequences was taken before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    Nothing,
    Some,
    All,
}

/// What is known of one publisher.
#[derive(Clone, Debug, Default)]
pub(super) struct Publisher {
    /// Disjoint, ascending, never adjacent runs of taken sequences, both ends inclusive.
    runs: Vec<(u64, u64)>,
    /// The journal group that this publisher's latest frame waits for: later frames wait for it too,
    /// so that they stay in order.
    pub(super) barrier: u64,
    /// What its clients prove themselves with.
    pub(super) secret: Option<Secret>,
    /// Whose it is, if that is known: nobody else may use it, whatever he knows.
    pub(super) owner: Option<Box<Identity>>,
    /// Connections that proved to be this publisher's.
    pub(super) connections: u32,
}

impl Publisher {
    pub(super) fn seen(&self, range: &RangeInclusive<u64>) -> Overlap {
        let (first, last) = (*range.start(), *range.end());
        // Nearly always the range lies beyond everything known.
        if self.runs.last().is_none_or(|&(_, end)| end < first) {
            return Overlap::Nothing;
        }
        let at = self.runs.partition_point(|&(_, end)| end < first);
        match self.runs.get(at) {
            Some(&(start, end)) if start <= first && last <= end => Overlap::All,
            Some(&(start, _)) if start <= last => Overlap::Some,
            _ => Overlap::Nothing,
        }
    }

    /// Remembers a range as taken. What does not fit is forgotten from the low end: a re-sent record
    /// from there would be taken again, which is a duplicate and never a loss.
    pub(super) fn take(&mut self, range: RangeInclusive<u64>) {
        let (mut first, mut last) = range.into_inner();
        if let Some(run) = self.runs.last_mut()
            && run.1.checked_add(1) == Some(first)
        {
            run.1 = last;
            return;
        }
        let from = self.runs.partition_point(|&(_, end)| end.saturating_add(1) < first);
        let to = self.runs.partition_point(|&(start, _)| start <= last.saturating_add(1));
        if from < to {
            first = first.min(self.runs[from].0);
            last = last.max(self.runs[to - 1].1);
        }
        self.runs.splice(from..to, [(first, last)]);
        if self.runs.len() > SEQUENCE_RUNS_MAX {
            self.runs.remove(0);
        }
    }
}

/// The publishers heard of lately.
///
/// Two generations bound the memory: when the young one is half of the limit, it becomes the old one
/// and what was old is forgotten. Whoever publishes stays young.
#[derive(Debug, Default)]
pub(super) struct Publishers {
    young: HashMap<u64, Publisher, IdHashes>,
    old: HashMap<u64, Publisher, IdHashes>,
    /// What was taken under their last numbers.
    pub(super) contents: Contents,
}

impl Publishers {
    pub(super) fn get(&mut self, id: u64) -> &mut Publisher {
        if !self.young.contains_key(&id) {
            if self.young.len() >= PUBLISHERS_REMEMBERED_MAX / 2 {
                self.old = std::mem::take(&mut self.young);
            }
            let publisher = self.old.remove(&id).unwrap_or_default();
            self.young.insert(id, publisher);
        }
        self.young.entry(id).or_default()
    }

    /// A connection that proved to be this publisher's is gone. Who only subscribed leaves nothing: there is no message that
    /// could be sent again, nor one that another could pretend to have published.
    pub(super) fn disconnected(&mut self, id: u64) {
        for generation in [&mut self.young, &mut self.old] {
            if let Some(publisher) = generation.get_mut(&id) {
                publisher.connections = publisher.connections.saturating_sub(1);
                if publisher.connections == 0 && publisher.runs.is_empty() {
                    generation.remove(&id);
                }
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_refused_frame_leaves_a_gap_that_can_be_filled() {
        let mut publisher = Publisher::default();
        publisher.take(1..=10);
        publisher.take(21..=30);
        assert_eq!(publisher.seen(&(11..=20)), Overlap::Nothing);
        publisher.take(11..=20);
        assert_eq!(publisher.seen(&(1..=30)), Overlap::All);
        assert_eq!(publisher.runs, [(1, 30)]);
    }

    #[test]
    fn too_many_gaps_forget_the_oldest() {
        let mut publisher = Publisher::default();
        for n in 0..=SEQUENCE_RUNS_MAX as u64 {
            publisher.take(n * 2 + 1..=n * 2 + 1);
        }
        assert_eq!(publisher.seen(&(1..=1)), Overlap::Nothing);
        assert_eq!(publisher.seen(&(3..=3)), Overlap::All);
    }

    #[test]
    fn who_published_nothing_is_forgotten_with_the_last_connection() {
        let mut publishers = Publishers::default();
        for id in [1, 2] {
            publishers.get(id).secret = Some([7; 16]);
            publishers.get(id).connections = 2;
        }
        publishers.get(2).take(1..=1);
        for rest in [1, 0] {
            [1, 2].into_iter().for_each(|id| publishers.disconnected(id));
            assert_eq!(publishers.young.contains_key(&1), rest > 0);
        }
        assert_eq!(publishers.get(2).secret, Some([7; 16]));
        assert_eq!(publishers.get(2).seen(&(1..=1)), Overlap::All);
    }

    #[test]
    fn a_silent_publisher_is_forgotten_and_a_busy_one_is_not() {
        let mut publishers = Publishers::default();
        publishers.get(1).take(1..=1);
        publishers.get(2).take(1..=1);
        for id in 10..10 + PUBLISHERS_REMEMBERED_MAX as u64 {
            publishers.get(id);
            publishers.get(1);
        }
        assert_eq!(publishers.get(1).seen(&(1..=1)), Overlap::All);
        assert_eq!(publishers.get(2).seen(&(1..=1)), Overlap::Nothing);
        assert!(publishers.young.len() + publishers.old.len() <= PUBLISHERS_REMEMBERED_MAX);
    }

    proptest! {
        #[test]
        fn runs_agree_with_a_plain_set(ranges in prop::collection::vec((1_u64..100, 0_u64..10), 1..40)) {
            let mut publisher = Publisher::default();
            let mut model = BTreeSet::new();
            for (first, more) in ranges {
                let range = first..=first + more;
                let known = range.clone().filter(|n| model.contains(n)).count() as u64;
                let expected = match known {
                    0 => Overlap::Nothing,
                    n if n == more + 1 => Overlap::All,
                    _ => Overlap::Some,
                };
                prop_assert_eq!(publisher.seen(&range), expected);
                model.extend(range.clone());
                publisher.take(range);
            }
        }

        #[test]
        fn the_ends_of_the_numbers_are_safe(first in u64::MAX - 3..=u64::MAX) {
            let mut publisher = Publisher::default();
            publisher.take(first..=u64::MAX);
            publisher.take(1..=1);
            prop_assert_eq!(publisher.seen(&(first..=u64::MAX)), Overlap::All);
        }
    }
}
