//! Frames in flight to subscribers: each is held once, however many queues it stands in.

use std::io::IoSlice;
use std::time::Duration;

use bytes::Bytes;

use super::sealed::SealedBytes;
use crate::zmtp::frame::{HEAD_BYTES_MAX, Head};

/// A frame's place. It stays the frame's until the last queue is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameId(u32);

#[derive(Debug)]
struct Slot {
    body: Bytes,
    /// When it was queued.
    since: Duration,
    /// Queues that it stands in; of a free slot, the next free one.
    references: u32,
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: u8,
    /// Whether a subscriber may lose it without harm to a promise.
    droppable: bool,
}

/// The frames that some queue holds.
#[derive(Debug, Default)]
pub(super) struct Frames {
    slots: Vec<Slot>,
    free: Option<u32>,
    bytes: usize,
    /// What is sealed of them for single connections.
    pub(super) sealed: SealedBytes,
    head: Vec<u8>,
}

impl Frames {
    /// Bytes of all frames that some queue holds, and of what is sealed of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.sealed.bytes()
    }

    /// Adds a frame for this many queues, at least one.
    pub(super) fn add(
        &mut self,
        body: Bytes,
        references: u32,
        droppable: bool,
        since: Duration,
    ) -> FrameId {
        debug_assert!(references > 0);
        self.bytes += body.len();
        self.head.clear();
        Head::message(body.len(), false).append_to(&mut self.head);
        let mut head = [0; HEAD_BYTES_MAX];
        head[..self.head.len()].copy_from_slice(&self.head);
        let head_bytes = self.head.len() as u8;
        let slot = Slot { body, since, references, head, head_bytes, droppable };
        match self.free {
            Some(at) => {
                let place = &mut self.slots[at as usize];
                self.free = (place.references != u32::MAX).then_some(place.references);
                *place = slot;
                FrameId(at)
            }
            None => {
                self.slots.push(slot);
                FrameId(self.slots.len() as u32 - 1)
            }
        }
    }

    /// One queue is done with a frame.
    pub(super) fn release(&mut self, id: FrameId) {
        let slot = &mut self.slots[id.0 as usize];
        slot.references -= 1;
        if slot.references == 0 {
            self.bytes -= slot.body.len();
            slot.body = Bytes::new();
            slot.references = self.free.unwrap_or(u32::MAX);
            self.free = Some(id.0);
        }
        if self.bytes == 0 && self.slots.len() > SLOTS_KEPT {
            // Nothing is held, unless it is empty: gives the memory of a burst back.
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        let mut free = 0;
        let mut next = self.free;
        while let Some(at) = next {
            free += 1;
            let following = self.slots[at as usize].references;
            next = (following != u32::MAX).then_some(following);
        }
        if free == self.slots.len() {
            (self.slots, self.free) = (Vec::new(), None);
        }
    }

    /// Bytes of a frame with its head.
    pub(super) fn wire_bytes(&self, id: FrameId) -> usize {
        let slot = &self.slots[id.0 as usize];
        usize::from(slot.head_bytes) + slot.body.len()
    }

    /// When a frame was queued.
    pub(super) fn since(&self, id: FrameId) -> Duration {
        self.slots[id.0 as usize].since
    }

    /// Whether a subscriber may lose a frame without harm to a promise.
    pub(super) fn is_droppable(&self, id: FrameId) -> bool {
        self.slots[id.0 as usize].droppable
    }

    /// Appends what is left of a frame behind this many of its bytes.
    pub(super) fn append_slices<'a>(
        &'a self,
        id: FrameId,
        sent_bytes: usize,
        out: &mut impl Extend<IoSlice<'a>>,
    ) {
        let slot = &self.slots[id.0 as usize];
        let head = &slot.head[..usize::from(slot.head_bytes)];
        match head.get(sent_bytes..) {
            Some(rest) if !rest.is_empty() => {
                out.extend([IoSlice::new(rest), IoSlice::new(&slot.body)]);
            }
            _ => out.extend([IoSlice::new(&slot.body[sent_bytes - head.len()..])]),
        }
    }
}

/// Free slots that stay for the next frames.
const SLOTS_KEPT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_held_until_its_last_queue_is_done_with_it() {
        let mut frames = Frames::default();
        let [a, b] =
            [3, 5].map(|bytes| frames.add(Bytes::from(vec![0; bytes]), 2, false, Duration::ZERO));
        assert_eq!(frames.bytes(), 8);
        frames.release(a);
        assert_eq!(frames.bytes(), 8);
        frames.release(a);
        assert_eq!(frames.bytes(), 5);
        let c = frames.add(Bytes::from_static(b"new"), 1, true, Duration::ZERO);
        assert_eq!(c, a, "the place is used again");
        frames.release(c);
        frames.release(b);
        frames.release(b);
        assert_eq!(frames.bytes(), 0);
    }

    #[test]
    fn what_is_left_of_a_frame_follows_at_every_byte() {
        let mut frames = Frames::default();
        let id = frames.add(Bytes::from(vec![7; 300]), 1, false, Duration::ZERO);
        let whole = [&[2, 0, 0, 0, 0, 0, 0, 1, 44][..], &[7; 300]].concat();
        assert_eq!(frames.wire_bytes(id), whole.len());
        for sent in 0..whole.len() {
            let mut slices = Vec::new();
            frames.append_slices(id, sent, &mut slices);
            let rest: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            assert_eq!(rest, whole[sent..]);
        }
    }
}
