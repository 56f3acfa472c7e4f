//! Messages that came in the original format, as native frames: carrying one over takes time, and it may be delivered to
//! several, or again.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::hash::IdHashes;
use crate::limits::{CARRIED_KEPT_BYTES_MAX, CARRIED_KEPT_OVERHEAD_BYTES};
use crate::wire::id::MessageId;

/// The frames of the messages that were carried over last, as many as there is room for, and of the last one at least.
#[derive(Debug, Default)]
pub(super) struct CarriedFrames {
    /// Each with its number.
    frames: HashMap<MessageId, (u64, Bytes), IdHashes>,
    /// In the order in which they came.
    ids: BTreeMap<u64, MessageId>,
    added: u64,
    bytes: usize,
}

fn cost(frame: &Bytes) -> usize {
    frame.len() + CARRIED_KEPT_OVERHEAD_BYTES
}

impl CarriedFrames {
    pub(super) fn add(&mut self, id: MessageId, frame: Bytes) {
        self.remove(id);
        self.added += 1;
        self.bytes += cost(&frame);
        self.frames.insert(id, (self.added, frame));
        self.ids.insert(self.added, id);
        while self.bytes > CARRIED_KEPT_BYTES_MAX
            && self.ids.len() > 1
            && let Some((_, oldest)) = self.ids.first_key_value()
        {
            self.remove(*oldest);
        }
    }

    pub(super) fn get(&self, id: MessageId) -> Option<&Bytes> {
        self.frames.get(&id).map(|(_, frame)| frame)
    }

    pub(super) fn remove(&mut self, id: MessageId) {
        // Most messages are native ones.
        if self.frames.is_empty() {
            return;
        }
        if let Some((number, frame)) = self.frames.remove(&id) {
            self.ids.remove(&number);
            self.bytes -= cost(&frame);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.ids.is_empty() && self.bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_frames_are_kept_as_far_as_there_is_room() {
        let mut carried = CarriedFrames::default();
        let id = |sequence| MessageId { publisher: 1, sequence };
        let third = Bytes::from(vec![0; CARRIED_KEPT_BYTES_MAX / 3 - CARRIED_KEPT_OVERHEAD_BYTES]);
        for sequence in 1..=3 {
            carried.add(id(sequence), third.clone());
        }
        carried.add(id(1), third.clone());
        assert!((1..=3).all(|sequence| carried.get(id(sequence)).is_some()));
        carried.add(id(4), third.clone());
        assert!(carried.get(id(2)).is_none() && carried.get(id(1)).is_some());
        carried.add(id(5), vec![0; CARRIED_KEPT_BYTES_MAX + 1].into());
        assert!(carried.get(id(5)).is_some() && carried.get(id(4)).is_none());
        carried.remove(id(5));
        assert!(carried.is_empty());
    }
}
