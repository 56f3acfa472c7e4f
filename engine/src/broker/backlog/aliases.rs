//! The v1 checksums by which native messages may be acknowledged.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use crate::wire::checksum::Checksum;
use crate::wire::id::MessageId;

/// Which native messages were handed to v1 subscribers under which checksum.
///
/// Messages with the same content in the same hundredth of a second share a v1 checksum; each
/// acknowledgement then settles the oldest of them.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// In the order in which they were added.
    ids: HashMap<Checksum, BTreeMap<u64, MessageId>>,
    checksums: HashMap<MessageId, (Checksum, u64)>,
    added: u64,
}

impl Aliases {
    pub(super) fn add(&mut self, checksum: Checksum, id: MessageId) {
        if let Entry::Vacant(entry) = self.checksums.entry(id) {
            self.added += 1;
            entry.insert((checksum, self.added));
            self.ids.entry(checksum).or_default().insert(self.added, id);
        }
    }

    pub(super) fn oldest(&self, checksum: Checksum) -> Option<MessageId> {
        self.ids.get(&checksum)?.values().next().copied()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.checksums.is_empty()
    }

    pub(super) fn remove(&mut self, id: MessageId) {
        // Most messages never meet a v1 subscriber.
        if self.checksums.is_empty() {
            return;
        }
        if let Some((checksum, order)) = self.checksums.remove(&id)
            && let Some(ids) = self.ids.get_mut(&checksum)
        {
            ids.remove(&order);
            if ids.is_empty() {
                self.ids.remove(&checksum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_checksums_settle_one_message_each_oldest_first() {
        let mut aliases = Aliases::default();
        let [a, b] = [1, 2].map(|sequence| MessageId { publisher: 1, sequence });
        aliases.add([7; 16], a);
        aliases.add([7; 16], b);
        aliases.add([7; 16], a);
        assert_eq!(aliases.oldest([7; 16]), Some(a));
        aliases.remove(a);
        assert_eq!(aliases.oldest([7; 16]), Some(b));
        aliases.remove(b);
        assert!(aliases.is_empty());
    }
}
