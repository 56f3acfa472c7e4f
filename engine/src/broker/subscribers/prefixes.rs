//! The prefixes that somebody subscribed to: each is found by its bytes, and by a number that stands for it
//! wherever it is mentioned. Whoever wants it has a number, too: a connection's, or a subscription's.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::slab::{Node, Slab};

/// Tables by hash. One grows at a time, and moves this part of all prefixes: one table of a million would stop
/// everybody while it grows.
const TABLES: usize = 256;

/// A prefix of the frames that somebody wants.
#[derive(Debug)]
pub(super) struct Prefix {
    pub(super) bytes: Box<[u8]>,
    pub(super) wanting: PrefixSubscribers,
}

/// Who wants one prefix.
#[derive(Debug)]
pub(super) enum PrefixSubscribers {
    One(u64),
    #[expect(clippy::box_collection, reason = "most prefixes are wanted once, and stay small")]
    Many(Box<BTreeSet<u64>>),
    /// There is no such prefix any more.
    Free(u32),
}

impl PrefixSubscribers {
    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        self.within(0..=u64::MAX)
    }

    /// Those with a number in this range.
    pub(super) fn within(&self, range: RangeInclusive<u64>) -> impl Iterator<Item = u64> {
        let (one, many) = match self {
            Self::One(id) => (range.contains(id).then_some(*id), None),
            Self::Many(all) => (None, Some(all.range(range))),
            Self::Free(_) => (None, None),
        };
        one.into_iter().chain(many.into_iter().flatten().copied())
    }
}

impl Node for Prefix {
    fn is_live(&self) -> bool {
        !matches!(self.wanting, PrefixSubscribers::Free(_))
    }

    fn free(&mut self, next: u32) {
        *self = Self { bytes: Box::default(), wanting: PrefixSubscribers::Free(next) };
    }

    fn next_free(&self) -> u32 {
        match self.wanting {
            PrefixSubscribers::Free(next) => next,
            PrefixSubscribers::One(_) | PrefixSubscribers::Many(_) => {
                unreachable!("it was not freed")
            }
        }
    }
}

/// Where a prefix is. The part of its hash that is kept with it lets a table grow without a look at the prefixes.
#[derive(Clone, Copy, Debug)]
struct PrefixSlot {
    hash: u32,
    number: u32,
}

impl PrefixSlot {
    fn is_of(self, hash: u32, prefix: &[u8], all: &Slab<Prefix>) -> bool {
        self.hash == hash && all.get(self.number).is_some_and(|known| *known.bytes == *prefix)
    }
}

/// All prefixes.
#[derive(Debug)]
pub(super) struct Prefixes {
    tables: Box<[HashTable<PrefixSlot>]>,
    hashes: RandomState,
    all: Slab<Prefix>,
    /// How many prefixes have which length, so that a look-up tries only lengths that exist.
    lengths: BTreeMap<usize, usize>,
}

impl Default for Prefixes {
    fn default() -> Self {
        Self {
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            hashes: RandomState::new(),
            all: Slab::new(),
            lengths: BTreeMap::new(),
        }
    }
}

/// What a table places a prefix by: all bits are to depend on those that are kept.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Prefixes {
    fn hash(&self, prefix: &[u8]) -> u32 {
        self.hashes.hash_one(prefix) as u32
    }

    /// The number of a prefix that somebody wants.
    pub(super) fn find(&self, prefix: &[u8]) -> Option<u32> {
        let hash = self.hash(prefix);
        let is_it = |place: &PrefixSlot| place.is_of(hash, prefix, &self.all);
        let place = self.tables[hash as usize % TABLES].find(spread(hash), is_it)?;
        Some(place.number)
    }

    pub(super) fn get(&self, number: u32) -> Option<&Prefix> {
        self.all.get(number)
    }

    /// Notes who wants a prefix; returns its number.
    pub(super) fn add(&mut self, prefix: &[u8], id: u64) -> u32 {
        let hash = self.hash(prefix);
        let all = &mut self.all;
        let is_it = |place: &PrefixSlot| place.is_of(hash, prefix, all);
        let table = &mut self.tables[hash as usize % TABLES];
        match table.entry(spread(hash), is_it, |place| spread(place.hash)) {
            Entry::Occupied(entry) => {
                let number = entry.get().number;
                let wanting = &mut all.at(number).wanting;
                match wanting {
                    PrefixSubscribers::Many(ids) => _ = ids.insert(id),
                    PrefixSubscribers::One(other) => {
                        *wanting = PrefixSubscribers::Many(Box::new(BTreeSet::from([*other, id])));
                    }
                    PrefixSubscribers::Free(_) => unreachable!("no place leads to a freed prefix"),
                }
                number
            }
            Entry::Vacant(entry) => {
                let number = all
                    .insert(Prefix { bytes: prefix.into(), wanting: PrefixSubscribers::One(id) });
                entry.insert(PrefixSlot { hash, number });
                *self.lengths.entry(prefix.len()).or_default() += 1;
                number
            }
        }
    }

    /// Notes who does not want a prefix any more.
    pub(super) fn remove(&mut self, number: u32, id: u64) {
        let prefix = self.all.at(number);
        match &mut prefix.wanting {
            PrefixSubscribers::Many(ids) => {
                ids.remove(&id);
                if let (1, Some(&last)) = (ids.len(), ids.first()) {
                    prefix.wanting = PrefixSubscribers::One(last);
                }
            }
            PrefixSubscribers::One(_) => self.forget(number),
            PrefixSubscribers::Free(_) => {}
        }
    }

    fn forget(&mut self, number: u32) {
        let bytes = std::mem::take(&mut self.all.at(number).bytes);
        self.all.free(number);
        let hash = self.hash(&bytes);
        let table = &mut self.tables[hash as usize % TABLES];
        if let Ok(entry) = table.find_entry(spread(hash), |place| place.number == number) {
            entry.remove();
        }
        if table.len() < table.capacity() / 4 {
            table.shrink_to(table.len() * 2, |place| spread(place.hash));
        }
        if let Some(count) = self.lengths.get_mut(&bytes.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&bytes.len());
            }
        }
    }

    /// The lengths up to `max` that some prefix has.
    pub(super) fn lengths(&self, max: usize) -> impl Iterator<Item = usize> {
        self.lengths.range(..=max).map(|(&length, _)| length)
    }
}
