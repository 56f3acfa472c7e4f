//! A cache of which subscriptions match a name. It may be emptied at any time.

use std::collections::HashMap;

use arcstr::ArcStr;

use super::Topic;
use crate::limits::NAMES_CACHED_MAX;
use crate::wire::frame::V2;
use crate::wire::name::SEPARATOR;

/// Topics by name. Each entry is good for one state of the subscriptions.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<ArcStr, (u64, Topic)>,
    state: u64,
}

impl Names {
    /// All that is known may be wrong now.
    pub(super) fn all_changed(&mut self) {
        self.state += 1;
    }

    /// What begins with this has another subscription, or one less: only the names that it fits are affected. For a
    /// pattern it is the pattern, which ends with no separator.
    pub(super) fn changed(&mut self, prefix: &[u8]) {
        let name = prefix.strip_prefix(&[V2]).unwrap_or(prefix);
        match name.strip_suffix(&[SEPARATOR]).map(std::str::from_utf8) {
            Some(Ok(name)) => _ = self.known.remove(name),
            _ => self.all_changed(),
        }
    }

    /// Whether [`Self::topic`] has what is known of a name.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.known.get(name).is_some_and(|&(state, _)| state == self.state)
    }

    /// A topic that was added.
    pub(super) fn topic(&self, name: &str) -> &Topic {
        &self.known[name].1
    }

    /// The copy of a name that messages share already, or another one.
    pub(super) fn shared(&self, name: &str) -> ArcStr {
        self.known.get_key_value(name).map_or_else(|| name.into(), |(name, _)| name.clone())
    }

    pub(super) fn add(&mut self, topic: Topic) {
        if self.known.len() >= NAMES_CACHED_MAX {
            self.known.clear();
        }
        self.known.insert(topic.name.clone(), (self.state, topic));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}
