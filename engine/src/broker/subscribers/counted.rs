//! Counts what is published under each name, once somebody asks for it.

use std::collections::BTreeMap;

use arcstr::ArcStr;

use super::{ConnectionId, Subscribers};
use crate::inspect::NameTotals;

/// What was published under a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Count {
    pub(in super::super) messages: u64,
    pub(in super::super) bytes: u64,
}

/// The counts, by the order in which their names came. The first is of all that have none of their own.
#[derive(Debug, Default)]
pub(super) struct Counted {
    places: BTreeMap<ArcStr, u32>,
    all: Vec<(ArcStr, Count)>,
    max: usize,
}

impl Counted {
    /// Counts from now on, this many names at most.
    pub(super) fn begin(&mut self, names_max: usize) {
        self.max = names_max;
        if self.all.is_empty() {
            self.all.push((ArcStr::new(), Count::default()));
        }
    }

    /// Whether it counts.
    pub(super) fn is_on(&self) -> bool {
        !self.all.is_empty()
    }

    /// Where a name is counted.
    pub(super) fn place(&mut self, name: &ArcStr) -> u32 {
        if !self.is_on() {
            return 0;
        }
        if let Some(&at) = self.places.get(name) {
            return at;
        }
        if self.all.len() > self.max {
            return 0;
        }
        let at = self.all.len() as u32;
        self.places.insert(name.clone(), at);
        self.all.push((name.clone(), Count::default()));
        at
    }

    #[inline]
    pub(super) fn add(&mut self, at: u32, messages: u64, bytes: usize) {
        if let Some((_, count)) = self.all.get_mut(at as usize) {
            count.messages += messages;
            count.bytes += bytes as u64;
        }
    }

    /// All names together.
    pub(super) fn total(&self) -> NameTotals {
        let mut total = NameTotals::default();
        for (_, count) in &self.all {
            total.messages += count.messages;
            total.bytes += count.bytes;
        }
        total
    }

    /// The names from this place on; the first place has those without one of their own.
    pub(super) fn from(&self, at: usize) -> &[(ArcStr, Count)] {
        self.all.get(at..).unwrap_or_default()
    }
}

impl Subscribers {
    /// Counts from now on what is published under each name, this many of them at most.
    pub(in super::super) fn count_names(&mut self, names_max: usize) {
        if !self.counted.is_on() {
            self.counted.begin(names_max);
            self.names.all_changed();
        }
    }

    /// Whether somebody looks at what the server tells of itself.
    pub(in super::super) fn is_counting(&self) -> bool {
        self.counted.is_on()
    }

    /// This many messages were published under the name that is counted at this place.
    #[inline]
    pub(in super::super) fn published(&mut self, counted_at: u32, messages: u64, bytes: usize) {
        self.counted.add(counted_at, messages, bytes);
    }

    /// What was published under names, from this place on, at most this many. At the first place are those that are not
    /// counted on their own.
    pub(in super::super) fn counts(&self, from: usize, max: usize) -> Vec<(ArcStr, Count)> {
        self.counted.from(from).iter().take(max).cloned().collect()
    }

    /// What was published under all names since it is counted.
    pub(in super::super) fn counts_in_all(&self) -> NameTotals {
        self.counted.total()
    }

    /// Subscriptions of a connection.
    pub(in super::super) fn len_of(&self, id: ConnectionId) -> usize {
        self.connections.get(&id).map_or(0, |it| it.interests.len() + it.natives.len())
    }

    /// A native subscription lost messages; of which connection.
    pub(in super::super) fn lose(&mut self, at: u32, messages: u64) -> Option<ConnectionId> {
        let id = self.native(at)?.connection();
        self.connections.get_mut(&id)?.lost += messages;
        Some(id)
    }

    /// Messages that a connection's native subscriptions lost.
    pub(in super::super) fn lost_of(&self, id: ConnectionId) -> u64 {
        self.connections.get(&id).map_or(0, |it| it.lost)
    }

    /// Connections that do not keep up.
    pub(in super::super) fn behind(&self) -> usize {
        self.behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_limit_are_counted_together() {
        let mut counted = Counted::default();
        assert_eq!(counted.place(&"a".into()), 0);
        counted.add(0, 1, 10);
        assert!(counted.from(0).is_empty(), "nobody looks yet");
        counted.begin(2);
        let places = ["a", "b", "c", "a"].map(|name| counted.place(&name.into()));
        assert_eq!(places, [1, 2, 0, 1]);
        for (n, at) in (1..).zip(places) {
            counted.add(at, n, 10);
        }
        let found: Vec<_> =
            counted.from(0).iter().map(|(name, it)| (&**name, it.messages, it.bytes)).collect();
        assert_eq!(found, [("", 3, 10), ("a", 5, 20), ("b", 2, 10)]);
        assert_eq!(counted.from(3), []);
        let NameTotals { messages, bytes, .. } = counted.total();
        assert_eq!((messages, bytes), (10, 40));
    }
}
