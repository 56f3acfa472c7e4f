//! Messages on their way between the two formats.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use crate::wire::checksum::{self, Checksum};
use crate::wire::frame::{v1_prefix, v2_prefix};
use crate::wire::id::MessageId;
use crate::wire::pickle::{self, V1Fields};
use crate::wire::record::{Encoding, Record};

/// The v1 frame of a native record, and the v1 checksum by which it will be acknowledged.
pub(super) fn to_v1(name: &str, record: &Record<'_>) -> (Vec<u8>, Checksum) {
    let payload = match (record.encoding, std::str::from_utf8(record.payload)) {
        (Encoding::Text, Ok(text)) => pickle::Plain::Text(text),
        _ => pickle::Plain::Bytes(record.payload),
    };
    let (dict, checksum) = pickle::write(name, payload, record.ack, record.timestamp_ns);
    let mut frame = v1_prefix(name);
    frame.extend_from_slice(&dict);
    (frame, checksum)
}

/// Appends a v1 message, dict and all, as a native record.
pub(super) fn append_v2(name: &str, dict: &[u8], fields: &V1Fields<'_>, out: &mut Vec<u8>) {
    let record = Record {
        id: MessageId::from_v1_checksum(fields.checksum),
        ordinal: 0,
        timestamp_ns: fields.timestamp_ns,
        checksum: checksum::native(name, dict, fields.timestamp_ns),
        ack: fields.ack,
        encoding: Encoding::Pickle,
        payload: dict,
    };
    // A request is far smaller than the 2 GiB at which this fails.
    let appended = record.append_to(out);
    debug_assert!(appended.is_ok());
}

/// The native frame of a v1 message.
pub(super) fn to_v2(name: &str, dict: &[u8], fields: &V1Fields<'_>) -> Vec<u8> {
    let mut frame = v2_prefix(name);
    append_v2(name, dict, fields, &mut frame);
    frame
}

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
