//! The frames that some subscriber has not got, one queue for all of them.

use std::collections::VecDeque;

use bytes::Bytes;

/// The body of a whole frame.
pub(super) fn body(frame: &[u8]) -> &[u8] {
    &frame[if frame[0] & LONG == 0 { 2 } else { 9 }..]
}

/// The flag of a frame whose length takes eight bytes instead of one.
pub(super) const LONG: u8 = 2;

/// Frames are numbered from the relay's start.
#[derive(Default)]
pub(super) struct Queue {
    frames: VecDeque<Bytes>,
    /// The number of the first.
    first: u64,
    bytes: usize,
    /// How many connections with subscriptions there are.
    pub(super) readers: u32,
}

impl Queue {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of the next frame to come.
    pub(super) fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    pub(super) fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// The frames from this number on.
    pub(super) fn from(&self, number: u64) -> impl Iterator<Item = &Bytes> + Clone {
        self.frames.range((number - self.first) as usize..)
    }

    pub(super) fn drop_before(&mut self, number: u64) {
        while self.first < number
            && let Some(frame) = self.frames.pop_front()
        {
            self.first += 1;
            self.bytes -= frame.len();
        }
    }
}
