//! Remembers the content of a publisher's last numbers, to tell a repeat from another message under the same number.
//!
//! Of each message 32 bits are kept, which depend on its name and its checksum. Two messages agree in them by chance
//! once in four billion times.

use std::collections::{HashMap, VecDeque};
use std::iter::repeat_n;

use crate::hash::IdHashes;
use crate::limits::{NUMBERS_REMEMBERED_MAX, NUMBERS_REMEMBERED_MAX_ALL};
use crate::wire::record::Record;

/// Odd, with its bits well mixed: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number whose message is not known.
const UNKNOWN: Fingerprint = 0;

/// What a publisher counts for beyond its numbers: its place in the table and what memory rounds up.
const PUBLISHER_NUMBERS: usize = 32;

/// What tells messages apart. Never 0.
pub(super) type Fingerprint = u32;

/// `name`: a hash of the record's name.
pub(super) fn fingerprint(name: u64, record: &Record<'_>) -> Fingerprint {
    let checksum = u128::from_le_bytes(record.checksum);
    let mixed = (checksum as u64 ^ name).wrapping_mul(FACTOR) ^ (checksum >> 64) as u64;
    ((mixed.wrapping_mul(FACTOR) >> 32) as Fingerprint).max(1)
}

/// The last numbers of one publisher.
#[derive(Debug, Default)]
struct Window {
    /// One for each number, up to `last`.
    fingerprints: VecDeque<Fingerprint>,
    last: u64,
}

impl Window {
    /// Notes what was taken from a number on; at most `max` numbers stay.
    fn add(&mut self, first: u64, fingerprints: &[Fingerprint], max: usize) {
        // What lies in a gap came late: it was refused at first.
        let mut late = 0;
        if let Some(skipped) = first.checked_sub(self.last).and_then(|step| step.checked_sub(1)) {
            let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
            if skipped >= max || self.fingerprints.is_empty() {
                self.fingerprints.clear();
            } else if skipped > 0 {
                self.push(repeat_n(UNKNOWN, skipped), max);
            }
            self.last = first - 1;
        } else {
            let oldest = self.oldest();
            for (number, &fingerprint) in (first..=self.last).zip(fingerprints) {
                late += 1;
                let place = number.checked_sub(oldest).and_then(|at| usize::try_from(at).ok());
                if let Some(place) = place.and_then(|at| self.fingerprints.get_mut(at)) {
                    *place = fingerprint;
                }
            }
        }
        let new = fingerprints.get(late..).unwrap_or_default();
        self.last += new.len() as u64;
        let kept = new.get(new.len().saturating_sub(max)..).unwrap_or_default();
        self.push(kept.iter().copied(), max);
    }

    /// Appends at most `max`, and forgets the oldest beyond.
    fn push(&mut self, more: impl ExactSizeIterator<Item = Fingerprint>, max: usize) {
        let excess = (self.fingerprints.len() + more.len()).saturating_sub(max);
        self.fingerprints.drain(..excess.min(self.fingerprints.len()));
        let len = self.fingerprints.len() + more.len();
        let capacity = self.fingerprints.capacity();
        if len > capacity {
            let room = len.max((2 * capacity).min(max));
            self.fingerprints.reserve_exact(room - self.fingerprints.len());
        }
        self.fingerprints.extend(more);
    }

    /// The first number that is remembered.
    fn oldest(&self) -> u64 {
        self.last - (self.fingerprints.len() as u64).min(self.last) + 1
    }

    /// The first number from `first` on under which something else was taken, as far as that is known.
    fn differing(&self, first: u64, fingerprints: &[Fingerprint]) -> Option<u64> {
        let oldest = self.oldest();
        let from = first.max(oldest);
        let place = |number: u64| usize::try_from(number - oldest).unwrap_or(usize::MAX);
        let compared = fingerprints.get(usize::try_from(from - first).ok()?..)?;
        let known = self.fingerprints.range(place(from).min(self.fingerprints.len())..);
        let mut pairs = known.zip(compared);
        let differs = pairs.position(|(&known, &other)| known != UNKNOWN && known != other);
        differs.map(|at| from + at as u64)
    }

    /// What it counts for in memory.
    fn numbers(&self) -> usize {
        self.fingerprints.capacity() + PUBLISHER_NUMBERS
    }
}

/// The last numbers of the publishers heard of lately.
///
/// Two generations bound the memory: when the young one has half of the limit, it becomes the old one, and what was
/// old is forgotten. Whoever publishes stays young.
#[derive(Debug, Default)]
pub(super) struct Contents {
    young: HashMap<u64, Window, IdHashes>,
    old: HashMap<u64, Window, IdHashes>,
    /// What the young ones count for.
    young_numbers: usize,
    /// Room for the fingerprints of the next request: most come and go without an allocation.
    spare: Vec<Fingerprint>,
}

impl Contents {
    /// Where to gather the fingerprints of a request: nothing is in it.
    pub(super) fn room(&mut self) -> Vec<Fingerprint> {
        std::mem::take(&mut self.spare)
    }

    /// Notes what was taken of a publisher from a number on, and takes back what it was gathered in.
    pub(super) fn take(&mut self, publisher: u64, first: u64, mut fingerprints: Vec<Fingerprint>) {
        self.add(publisher, first, &fingerprints);
        fingerprints.clear();
        self.spare = fingerprints;
    }

    fn add(&mut self, publisher: u64, first: u64, fingerprints: &[Fingerprint]) {
        let window = match self.young.get_mut(&publisher) {
            Some(window) => {
                self.young_numbers -= window.numbers();
                window
            }
            None => {
                if self.young_numbers >= NUMBERS_REMEMBERED_MAX_ALL / 2 {
                    self.old = std::mem::take(&mut self.young);
                    self.young_numbers = 0;
                }
                let window = self.old.remove(&publisher).unwrap_or_default();
                self.young.entry(publisher).or_insert(window)
            }
        };
        window.add(first, fingerprints, NUMBERS_REMEMBERED_MAX);
        self.young_numbers += window.numbers();
    }

    /// The first of these numbers under which something else was taken, as far as that is known.
    pub(super) fn differing(
        &self,
        publisher: u64,
        first: u64,
        fingerprints: &[Fingerprint],
    ) -> Option<u64> {
        let window = self.young.get(&publisher).or_else(|| self.old.get(&publisher))?;
        window.differing(first, fingerprints)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 16;

    proptest! {
        #[test]
        fn a_window_agrees_with_a_plain_map(
            added in prop::collection::vec((1_u64..80, prop::collection::vec(1_u32..4, 1..24)), 1..40),
        ) {
            let mut window = Window::default();
            let mut model = BTreeMap::new();
            for (first, fingerprints) in added {
                let expected = (first..).zip(&fingerprints).find(|(number, fingerprint)| {
                    model.get(number).is_some_and(|known| known != *fingerprint)
                });
                let found = window.differing(first, &fingerprints);
                prop_assert_eq!(found, expected.map(|(number, _)| number));
                window.add(first, &fingerprints, MAX);
                // Nothing is noted of what lies below all that is remembered.
                let oldest = window.oldest();
                model.extend((first..).zip(fingerprints));
                let last = model.last_key_value().map_or(0, |(&number, _)| number);
                model.retain(|&number, _| number + MAX as u64 > last && number >= oldest);
                prop_assert!(window.fingerprints.len() <= MAX);
                prop_assert!(window.fingerprints.capacity() <= 2 * MAX);
            }
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_safe() {
        let mut window = Window::default();
        assert_eq!(window.differing(1, &[1]), None);
        assert_eq!(window.differing(u64::MAX, &[1]), None);
        window.add(1, &[1], MAX);
        window.add(u64::MAX - 1, &[1, 2], MAX);
        assert_eq!(window.differing(u64::MAX - 1, &[1, 2]), None);
        assert_eq!(window.differing(u64::MAX, &[3]), Some(u64::MAX));
        assert_eq!(window.differing(1, &[2]), None, "forgotten");
        window.add(u64::MAX, &[4], MAX);
        assert_eq!(window.differing(u64::MAX, &[4]), None);
    }

    #[test]
    fn all_publishers_together_are_bounded_and_a_busy_one_is_not_forgotten() {
        let mut contents = Contents::default();
        let many = vec![1; NUMBERS_REMEMBERED_MAX];
        contents.add(1, 1, &[7]);
        contents.add(2, 1, &[7]);
        let publishers = 2 * NUMBERS_REMEMBERED_MAX_ALL / NUMBERS_REMEMBERED_MAX;
        for publisher in 10..10 + publishers as u64 {
            contents.add(publisher, 1, &many);
            contents.add(1, publisher, &[7]);
            let all = contents.young.values().chain(contents.old.values());
            let numbers: usize = all.map(Window::numbers).sum();
            assert!(
                numbers <= NUMBERS_REMEMBERED_MAX_ALL + 3 * NUMBERS_REMEMBERED_MAX,
                "{numbers}"
            );
            assert!(contents.young_numbers <= numbers);
        }
        assert_eq!(contents.differing(1, 1, &[8]), Some(1));
        assert_eq!(contents.differing(2, 1, &[8]), None, "forgotten");
    }

    #[test]
    fn many_publishers_of_one_message_each_are_bounded() {
        let mut contents = Contents::default();
        for publisher in 0..NUMBERS_REMEMBERED_MAX_ALL as u64 / PUBLISHER_NUMBERS as u64 {
            contents.add(publisher, 1, &[1]);
        }
        let publishers = contents.young.len() + contents.old.len();
        assert!(publishers < NUMBERS_REMEMBERED_MAX_ALL / PUBLISHER_NUMBERS, "{publishers}");
    }
}
