//! The last message of each name that was published to be retained.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use arcstr::ArcStr;
use bytes::Bytes;

use crate::limits::{RETAINED_BYTES_MAX, RETAINED_NAMES_MAX, RETAINED_OVERHEAD_BYTES};
use crate::wire::filter::{Filter, literal_beginning};
use crate::wire::id::MessageId;

/// A retained message.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) id: MessageId,
    /// The frame that is delivered, of this message alone: shared by all who get it.
    pub(super) frame: Bytes,
    /// Bytes of it before the record.
    pub(super) head_bytes: usize,
    /// The journal group that stores it; 0 for none.
    pub(super) group: u64,
    /// From when on nobody gets it; `u64::MAX` for never.
    pub(super) expires_ms: u64,
}

impl Kept {
    /// The native record with its length.
    pub(super) fn body(&self) -> &[u8] {
        self.frame.get(self.head_bytes..).unwrap_or_default()
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Retained {
    all: BTreeMap<ArcStr, Kept>,
    by_expiry: BTreeSet<(u64, ArcStr)>,
    bytes: usize,
}

/// What a message counts for.
fn cost(name: &str, bytes: usize) -> usize {
    name.len() + bytes + RETAINED_OVERHEAD_BYTES
}

impl Retained {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Bytes that they count for.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a message of this many bytes may be retained.
    ///
    /// # Errors
    /// The limit that stands against it.
    pub(super) fn check(&self, name: &str, bytes: usize) -> Result<(), String> {
        let before = self.all.get(name);
        let (names, max) = (self.all.len(), RETAINED_NAMES_MAX);
        if before.is_none() && names >= max {
            return Err(format!(
                "retained message limit reached: {names} of {max} names retained; '{name}' would be another one: clear some, or \
                 publish without retaining"
            ));
        }
        let replaced = before.map_or(0, |kept| cost(name, kept.body().len()));
        let (others, more, max) = (self.bytes - replaced, cost(name, bytes), RETAINED_BYTES_MAX);
        if others.saturating_add(more) > max {
            return Err(format!(
                "retained message limit reached: {others} of {max} bytes retained under other names; '{name}' would add {more}: clear \
                 some, or publish without retaining"
            ));
        }
        Ok(())
    }

    /// Retains a message in place of the one that was there. The limits are [`Self::check`]'s business: what recovery finds
    /// must go in.
    pub(super) fn put(&mut self, name: &ArcStr, kept: Kept) {
        self.remove(name);
        self.bytes += cost(name, kept.body().len());
        if kept.expires_ms != u64::MAX {
            self.by_expiry.insert((kept.expires_ms, name.clone()));
        }
        self.all.insert(name.clone(), kept);
    }

    /// Whether there was one.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let Some((name, kept)) = self.all.remove_entry(name) else { return false };
        self.bytes -= cost(&name, kept.body().len());
        if kept.expires_ms != u64::MAX {
            self.by_expiry.remove(&(kept.expires_ms, name));
        }
        true
    }

    /// Forgets those that a journal did not store, which stored all up to this group; so that what a failed journal holds may
    /// be an older one.
    pub(super) fn forget_unstored(&mut self, stored: u64) {
        let unstored: Vec<_> = self
            .all
            .iter()
            .filter(|(_, kept)| kept.group > stored)
            .map(|(name, _)| name.clone())
            .collect();
        for name in unstored {
            self.remove(&name);
        }
    }

    /// When the first one expires; `u64::MAX` if none does.
    pub(super) fn first_expiry_ms(&self) -> u64 {
        self.by_expiry.first().map_or(u64::MAX, |&(at_ms, _)| at_ms)
    }

    /// The next one whose time is over.
    pub(super) fn next_expired(&self, now_ms: u64) -> Option<ArcStr> {
        self.by_expiry.first().filter(|&&(at_ms, _)| at_ms <= now_ms).map(|(_, name)| name.clone())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Kept> {
        self.all.get(name)
    }

    /// Looks for the next name behind `after` that a filter fits, at this many names at most: how many it looked at, and where it
    /// came to. `Err(true)` when there is none, `Err(false)` when it looked at as many as it may; with the last name in both cases.
    pub(super) fn next(
        &self,
        filter: &Filter<'_>,
        after: Option<&str>,
        looks_max: usize,
    ) -> (usize, Result<&ArcStr, (bool, Option<&ArcStr>)>) {
        let beginning = match filter {
            Filter::Name(name) => *name,
            Filter::Prefix(prefix) => *prefix,
            Filter::Pattern(pattern) => literal_beginning(pattern),
        };
        let from = match after {
            Some(after) if after >= beginning => Bound::Excluded(after),
            _ => Bound::Included(beginning),
        };
        let (mut looks, mut last) = (0, None);
        for (name, _) in self.all.range::<str, _>((from, Bound::Unbounded)) {
            if !name.starts_with(beginning) {
                break;
            }
            if looks == looks_max {
                return (looks, Err((false, last)));
            }
            looks += 1;
            last = Some(name);
            if filter.fits(name) {
                return (looks, Ok(name));
            }
            if matches!(filter, Filter::Name(_)) {
                break;
            }
        }
        (looks, Err((true, last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bytes: usize, group: u64, expires_ms: u64) -> Kept {
        let id = MessageId { publisher: 1, sequence: 1 };
        Kept { id, frame: vec![0; bytes].into(), head_bytes: 0, group, expires_ms }
    }

    fn names(retained: &Retained, filter: &Filter<'_>, looks_max: usize) -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), None::<ArcStr>);
        loop {
            let (looks, found) = retained.next(filter, after.as_deref(), looks_max);
            assert!(looks <= looks_max);
            match found {
                Ok(name) => {
                    names.push(name.to_string());
                    after = Some(name.clone());
                }
                Err((true, _)) => return names,
                Err((false, last)) => after = last.cloned(),
            }
        }
    }

    #[test]
    fn the_names_that_a_filter_fits_come_in_their_order_a_bounded_part_at_a_time() {
        let mut retained = Retained::default();
        for name in ["b.2", "a", "b.1.x", "b", "c", "b.1"] {
            retained.put(&name.into(), kept(1, 0, u64::MAX));
        }
        for looks in [1, 2, 9] {
            assert_eq!(names(&retained, &Filter::Name("b"), looks), ["b"]);
            assert_eq!(names(&retained, &Filter::Name("b.3"), looks), [""; 0]);
            assert_eq!(names(&retained, &Filter::Prefix("b."), looks), ["b.1", "b.1.x", "b.2"]);
            assert_eq!(names(&retained, &Filter::Pattern("b.*"), looks), ["b.1", "b.2"]);
            assert_eq!(names(&retained, &Filter::Pattern("*"), looks), ["a", "b", "c"]);
            assert_eq!(names(&retained, &Filter::Prefix(""), looks).len(), 6);
        }
    }

    #[test]
    fn there_is_one_of_each_name_and_nothing_is_left_of_what_is_gone() {
        let mut retained = Retained::default();
        let name = ArcStr::from("a");
        retained.put(&name, kept(10, 3, 50));
        retained.put(&name, kept(20, 4, 60));
        assert_eq!((retained.len(), retained.bytes()), (1, cost("a", 20)));
        assert_eq!((retained.first_expiry_ms(), retained.next_expired(59)), (60, None));
        assert_eq!(retained.next_expired(60), Some(name.clone()));
        retained.put(&"b".into(), kept(1, 5, u64::MAX));
        retained.forget_unstored(4);
        assert!(retained.get("b").is_none() && retained.get("a").is_some());
        assert!(retained.remove(&name) && !retained.remove(&name));
        assert_eq!((retained.bytes(), retained.first_expiry_ms()), (0, u64::MAX));
    }

    #[test]
    fn names_and_bytes_are_limited_and_what_is_replaced_does_not_count() {
        let mut retained = Retained::default();
        let large = RETAINED_BYTES_MAX - cost("a", 0);
        assert_eq!(retained.check("a", large), Ok(()));
        let refused = retained.check("a", large + 1).unwrap_err();
        assert!(refused.contains("of 268435456 bytes"), "{refused}");
        retained.put(&"a".into(), kept(large / 2, 0, u64::MAX));
        assert_eq!(retained.check("a", large), Ok(()));
        assert!(retained.check("b", large).is_err());
        retained.remove("a");
        for n in 0..RETAINED_NAMES_MAX {
            retained.put(&n.to_string().into(), kept(0, 0, u64::MAX));
        }
        assert_eq!(retained.check("7", 1), Ok(()));
        let refused = retained.check("a", 1).unwrap_err();
        assert!(refused.contains("of 100000 names") && refused.contains("'a'"), "{refused}");
    }
}
