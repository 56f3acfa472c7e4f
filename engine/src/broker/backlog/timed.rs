//! Messages that become due, or expire, at a time of day.
//!
//! The clock on the wall may be set back. An ordered set of times knows no position that could not follow it, as that of a
//! wheel cannot.

use std::collections::{BTreeSet, HashMap};

use crate::hash::IdHashes;
use crate::wire::id::MessageId;

/// The messages with their times, in milliseconds since the Unix epoch.
#[derive(Debug)]
pub(super) struct Timed {
    by_time: BTreeSet<(u64, MessageId)>,
    times: HashMap<MessageId, u64, IdHashes>,
    /// The first time, [`u64::MAX`] without any: who delivers messages asks for it each time.
    first_ms: u64,
}

impl Default for Timed {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), times: HashMap::default(), first_ms: u64::MAX }
    }
}

impl Timed {
    /// Gives a message a time, in place of one that it had.
    pub(super) fn add(&mut self, id: MessageId, at_ms: u64) {
        if let Some(before) = self.times.insert(id, at_ms) {
            self.by_time.remove(&(before, id));
        }
        self.by_time.insert((at_ms, id));
        self.note_first();
    }

    /// Forgets the time of a message.
    pub(super) fn remove(&mut self, id: MessageId) {
        if let Some(at_ms) = self.times.remove(&id) {
            self.by_time.remove(&(at_ms, id));
            self.note_first();
        }
    }

    /// Takes out the next message whose time has come.
    pub(super) fn next(&mut self, now_ms: u64) -> Option<MessageId> {
        if self.first_ms > now_ms {
            return None;
        }
        let (_, id) = self.by_time.pop_first()?;
        self.times.remove(&id);
        self.note_first();
        Some(id)
    }

    fn note_first(&mut self) {
        self.first_ms = self.by_time.first().map_or(u64::MAX, |&(at_ms, _)| at_ms);
        if self.by_time.is_empty() {
            // Gives the memory of a burst back.
            self.times = HashMap::default();
        }
    }

    /// The messages with their times, from this one on.
    pub(super) fn from(&self, from: (u64, MessageId)) -> impl Iterator<Item = (u64, MessageId)> {
        self.by_time.range(from..).copied()
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }

    /// The first time; [`u64::MAX`] without any.
    pub(super) fn first_ms(&self) -> u64 {
        self.first_ms
    }

    /// Whether a message has a time, and it has come.
    pub(super) fn is_time(&self, id: MessageId, now_ms: u64) -> bool {
        self.times.get(&id).is_some_and(|&at_ms| at_ms <= now_ms)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_time.is_empty() && self.times.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_comes_once_at_its_time_whatever_the_clock_does(
            steps in prop::collection::vec((0_u8..4, 0_u64..6, 0_u64..50), 1..200),
        ) {
            let mut timed = Timed::default();
            let mut model = BTreeMap::new();
            for (kind, sequence, time) in steps {
                let id = MessageId { publisher: 1, sequence };
                match kind {
                    0 | 1 => {
                        timed.add(id, time);
                        model.insert(id, time);
                    }
                    2 => {
                        timed.remove(id);
                        model.remove(&id);
                    }
                    // The clock goes back, too.
                    _ => while let Some(id) = timed.next(time) {
                        let at = model.remove(&id);
                        prop_assert!(at.is_some_and(|at| at <= time));
                        prop_assert!(model.values().all(|&other| Some(other) >= at));
                    }
                }
                if kind == 3 {
                    prop_assert!(model.values().all(|&at| at > time));
                }
                let first = model.values().min().copied().unwrap_or(u64::MAX);
                prop_assert_eq!(timed.first_ms(), first);
                let is_time = model.get(&id).is_some_and(|&at| at <= time);
                prop_assert_eq!(timed.is_time(id, time), is_time);
                prop_assert_eq!(timed.is_empty(), model.is_empty());
            }
        }
    }
}
