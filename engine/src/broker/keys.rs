//! Idempotency keys: remembers what was published under a key, so that it is not published again.

use std::collections::{BTreeMap, BTreeSet};

use arcstr::ArcStr;

use crate::limits::{KEY_OVERHEAD_BYTES, KEYS_BYTES_MAX, KEYS_MAX};

/// A key under the name of its message.
type Place = (ArcStr, ArcStr);

#[derive(Debug)]
struct Kept {
    /// Until when it counts, in milliseconds since the Unix epoch.
    until_ms: u64,
    /// The journal group that its message waits for; 0 for none.
    group: u64,
}

/// The keys that count now.
#[derive(Debug, Default)]
pub(super) struct Keys {
    all: BTreeMap<Place, Kept>,
    by_time: BTreeSet<(u64, Place)>,
    bytes: usize,
}

fn cost(place: &Place) -> usize {
    place.0.len() + place.1.len() + KEY_OVERHEAD_BYTES
}

impl Keys {
    /// Whether this many keys more, of this many bytes with their names, may be remembered.
    ///
    /// # Errors
    /// The limit that stands against it.
    pub(super) fn check(&self, more: usize, bytes: usize) -> Result<(), String> {
        let keys = self.all.len();
        if keys + more > KEYS_MAX {
            return Err(format!(
                "idempotency key limit reached: {keys} of {KEYS_MAX} keys remembered; this request adds {more}: send again later, \
                 shorten --idempotency-window, or publish without keys"
            ));
        }
        let (before, bytes) = (self.bytes, bytes + more * KEY_OVERHEAD_BYTES);
        if before + bytes > KEYS_BYTES_MAX {
            return Err(format!(
                "idempotency key limit reached: {before} of {KEYS_BYTES_MAX} bytes of keys remembered; this request adds {bytes}: send \
                 again later, use shorter keys, or shorten --idempotency-window"
            ));
        }
        Ok(())
    }

    /// The journal group of the message that was published under a key that counts still.
    pub(super) fn find(&self, name: &ArcStr, key: &str, now_ms: u64) -> Option<u64> {
        let kept = self.all.get(&(name.clone(), key.into()))?;
        (kept.until_ms > now_ms).then_some(kept.group)
    }

    /// A message was published under a key. The limits are [`Self::check`]'s business: what recovery finds must go in.
    pub(super) fn add(&mut self, name: &ArcStr, key: &str, until_ms: u64, group: u64) {
        let place = (name.clone(), ArcStr::from(key));
        self.remove(&place);
        self.bytes += cost(&place);
        self.by_time.insert((until_ms, place.clone()));
        self.all.insert(place, Kept { until_ms, group });
    }

    fn remove(&mut self, place: &Place) {
        if let Some((place, kept)) = self.all.remove_entry(place) {
            self.bytes -= cost(&place);
            self.by_time.remove(&(kept.until_ms, place));
        }
    }

    /// When the first key counts no longer, in milliseconds since the Unix epoch; `u64::MAX` without any.
    pub(super) fn first_ms(&self) -> u64 {
        self.by_time.first().map_or(u64::MAX, |&(until_ms, _)| until_ms)
    }

    /// Forgets keys that count no longer, at most this many; whether more are left.
    pub(super) fn forget_some(&mut self, now_ms: u64, max: usize) -> bool {
        for _ in 0..max {
            if self.first_ms() > now_ms {
                return false;
            }
            if let Some((_, place)) = self.by_time.pop_first() {
                self.bytes -= cost(&place);
                self.all.remove(&place);
            }
        }
        self.first_ms() <= now_ms
    }

    /// Forgets those of messages that a journal did not store, which stored all up to this group.
    pub(super) fn forget_unstored(&mut self, stored: u64) {
        let unstored: Vec<_> = self
            .all
            .iter()
            .filter(|(_, kept)| kept.group > stored)
            .map(|(place, _)| place.clone())
            .collect();
        for place in unstored {
            self.remove(&place);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_until_its_time_and_nothing_is_left_of_it() {
        let (mut keys, name) = (Keys::default(), ArcStr::from("a"));
        keys.add(&name, "k", 10, 3);
        keys.add(&name, "l", 20, 4);
        assert_eq!((keys.find(&name, "k", 9), keys.find(&name, "k", 10)), (Some(3), None));
        assert_eq!(keys.find(&"b".into(), "k", 9), None);
        assert_eq!(keys.first_ms(), 10);
        assert!(!keys.forget_some(9, 5) && keys.forget_some(20, 1));
        assert_eq!(keys.find(&name, "l", 15), Some(4));
        keys.add(&name, "l", 30, 0);
        assert_eq!((keys.len(), keys.first_ms()), (1, 30));
        keys.add(&name, "m", 30, 5);
        keys.forget_unstored(4);
        assert_eq!((keys.len(), keys.find(&name, "m", 0)), (1, None));
        assert!(!keys.forget_some(30, 5));
        assert_eq!((keys.len(), keys.bytes, keys.first_ms()), (0, 0, u64::MAX));
    }

    #[test]
    fn their_number_and_bytes_are_limited() {
        let (mut keys, name) = (Keys::default(), ArcStr::from("a"));
        assert_eq!(keys.check(KEYS_MAX, 0), Ok(()));
        assert!(keys.check(KEYS_MAX + 1, 0).unwrap_err().contains("of 500000 keys"));
        assert!(keys.check(1, KEYS_BYTES_MAX).unwrap_err().contains("of 268435456 bytes"));
        keys.add(&name, "k", 10, 0);
        assert!(keys.check(KEYS_MAX, 0).unwrap_err().contains(": 1 of 500000 keys"));
    }
}
