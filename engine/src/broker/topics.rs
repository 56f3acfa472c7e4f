//! Who subscribed to what, and so in which formats a name is wanted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use arcstr::ArcStr;

use crate::limits::{CANCEL_DOUBTED, NAMES_CACHED_MAX, SUBSCRIPTIONS_NOTED_MAX};
use crate::wire::frame::{v1_prefix, v2_prefix};

/// The formats in which somebody wants a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) v1: bool,
    pub(super) v2: bool,
}

impl Wanted {
    pub(super) fn by_anybody(self) -> bool {
        self.v1 || self.v2
    }
}

/// A name with what the broker knows of it.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    /// One copy of the name, shared by all messages that are kept under it.
    pub(super) name: ArcStr,
    pub(super) wanted: Wanted,
}

/// All subscriptions, each a prefix of the frames it wants.
///
/// libzmq tells of a cancelled subscription also when the peer that cancels never had it, while others
/// still do. So a cancellation is doubted for [`CANCEL_DOUBTED`], and what is known here only decides
/// what would be costly to do for nobody: frames in the format they came in are always published.
#[derive(Debug, Default)]
pub(super) struct Topics {
    /// Until when a cancelled one counts; `None` for those that were not cancelled.
    prefixes: HashMap<Box<[u8]>, Option<Duration>>,
    /// The cancelled ones, in the order in which they cease to count.
    cancelled: VecDeque<(Duration, Box<[u8]>)>,
    /// How many prefixes have which length, so that a look-up tries only lengths that exist.
    lengths: BTreeMap<usize, usize>,
    /// A cache: it may be emptied at any time.
    names: HashMap<ArcStr, Topic>,
}

impl Topics {
    /// Notes that somebody wants a prefix. `false` when there are too many to note another.
    pub(super) fn subscribed(&mut self, prefix: &[u8]) -> bool {
        if let Some(until) = self.prefixes.get_mut(prefix) {
            *until = None;
            return true;
        }
        if self.prefixes.len() >= SUBSCRIPTIONS_NOTED_MAX {
            return false;
        }
        self.prefixes.insert(prefix.into(), None);
        *self.lengths.entry(prefix.len()).or_default() += 1;
        self.names.clear();
        true
    }

    /// Notes that a subscription was cancelled.
    pub(super) fn cancelled(&mut self, prefix: &[u8], now: Duration) {
        if let Some(until @ None) = self.prefixes.get_mut(prefix) {
            let end = now + CANCEL_DOUBTED;
            *until = Some(end);
            self.cancelled.push_back((end, prefix.into()));
        }
    }

    /// Forgets what was cancelled long enough ago.
    pub(super) fn forget_cancelled(&mut self, now: Duration) {
        while self.cancelled.front().is_some_and(|&(end, _)| end <= now) {
            let Some((end, prefix)) = self.cancelled.pop_front() else { return };
            // It may have been subscribed to again, and cancelled again, since.
            if self.prefixes.get(&prefix) != Some(&Some(end)) {
                continue;
            }
            self.prefixes.remove(&prefix);
            if let Some(count) = self.lengths.get_mut(&prefix.len()) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&prefix.len());
                }
            }
            self.names.clear();
        }
    }

    /// What is known of a name. The result stays right until a subscription changes.
    pub(super) fn get(&mut self, name: &str) -> &Topic {
        if !self.names.contains_key(name) {
            if self.names.len() >= NAMES_CACHED_MAX {
                self.names.clear();
            }
            let wanted = self.wanted(name);
            let name: ArcStr = name.into();
            self.names.insert(name.clone(), Topic { name, wanted });
        }
        &self.names[name]
    }

    /// In which formats a name is wanted.
    pub(super) fn wanted(&self, name: &str) -> Wanted {
        Wanted { v1: self.matches(&v1_prefix(name)), v2: self.matches(&v2_prefix(name)) }
    }

    fn matches(&self, frame_prefix: &[u8]) -> bool {
        let lengths = self.lengths.range(..=frame_prefix.len());
        lengths.into_iter().any(|(&length, _)| self.prefixes.contains_key(&frame_prefix[..length]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(prefixes: &[&[u8]], name: &str, v1: bool, v2: bool) {
        let mut topics = Topics::default();
        for prefix in prefixes {
            topics.subscribed(prefix);
        }
        assert_eq!(topics.get(name).wanted, Wanted { v1, v2 }, "{prefixes:?} {name}");
        for prefix in prefixes {
            topics.cancelled(prefix, Duration::ZERO);
        }
        topics.forget_cancelled(CANCEL_DOUBTED - Duration::from_secs(1));
        assert_eq!(topics.get(name).wanted, Wanted { v1, v2 });
        topics.forget_cancelled(CANCEL_DOUBTED);
        assert!(!topics.get(name).wanted.by_anybody());
        assert!(topics.lengths.is_empty());
    }

    #[test]
    fn a_prefix_wants_what_begins_with_it() {
        check(&[b"greet"], "greet", true, false);
        check(&[b"greet"], "greetings", true, false);
        check(&[b"greet|"], "greetings", false, false);
        check(&[b"\x01greet|"], "greet", false, true);
        check(&[b"\x01greet|"], "greetings", false, false);
        check(&[b"\x01gr"], "greet", false, true);
        check(&[b""], "greet", true, true);
        check(&[b"\x01greet|", b"greet|"], "greet", true, true);
        check(&[b"\x01other|"], "greet", false, false);
    }

    #[test]
    fn a_cancellation_ends_with_the_next_subscription() {
        let mut topics = Topics::default();
        topics.subscribed(b"greet");
        topics.cancelled(b"greet", Duration::ZERO);
        topics.subscribed(b"greet");
        topics.forget_cancelled(CANCEL_DOUBTED);
        assert!(topics.get("greet").wanted.v1);
        topics.cancelled(b"greet", CANCEL_DOUBTED);
        topics.forget_cancelled(CANCEL_DOUBTED * 2);
        assert!(!topics.get("greet").wanted.v1);
    }

    #[test]
    fn names_share_one_copy_and_the_cache_is_bounded() {
        let mut topics = Topics::default();
        let first = topics.get("a").name.clone();
        assert!(ArcStr::ptr_eq(&first, &topics.get("a").name));
        for n in 0..NAMES_CACHED_MAX * 2 {
            topics.get(&n.to_string());
        }
        assert!(topics.names.len() <= NAMES_CACHED_MAX);
    }
}
