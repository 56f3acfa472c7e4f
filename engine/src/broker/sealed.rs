//! Bounds what is sealed with CURVE, in a turn and in memory. What is sealed is one connection's alone: a frame for many of
//! them takes time and room for each.

use crate::limits::{SEALED_AT_ONCE_BYTES, SEALED_PER_TURN_BYTES_MAX};

/// Bytes that are sealed and have not left.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sealed {
    pub(super) bytes: usize,
    /// Whether a large frame is among them.
    pub(super) is_large: bool,
}

/// What is sealed for all connections.
#[derive(Debug)]
pub(super) struct SealedBytes {
    held: usize,
    /// Of those, what stands with large frames.
    large: usize,
    large_max: usize,
    in_turn: usize,
    /// A large frame waits: no other one goes ahead of it.
    is_awaited: bool,
    /// Some of the room for large frames became free.
    is_freed: bool,
}

impl Default for SealedBytes {
    fn default() -> Self {
        let (held, large, in_turn, is_awaited, is_freed) = Default::default();
        Self { held, large, large_max: usize::MAX, in_turn, is_awaited, is_freed }
    }
}

impl SealedBytes {
    /// A turn begins in which this many bytes may stand with large frames, or those of one.
    pub(super) fn begin_turn(&mut self, large_max: usize) {
        (self.large_max, self.in_turn) = (large_max, 0);
    }

    /// Bytes that are sealed and have not left.
    pub(super) fn bytes(&self) -> usize {
        self.held
    }

    /// Whether as much was sealed in this turn as may be.
    pub(super) fn is_spent(&self) -> bool {
        self.in_turn >= SEALED_PER_TURN_BYTES_MAX
    }

    /// Whether large frames of connections wait for room.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// Whether a frame of this many bytes is one that may have to wait for room.
    pub(super) fn is_large(bytes: usize) -> bool {
        bytes > SEALED_AT_ONCE_BYTES
    }

    /// Whether there is room for a large frame of this many bytes. If not, there is none for others either until some
    /// became free: otherwise smaller ones would take all that does.
    pub(super) fn has_room_for(&mut self, bytes: usize) -> bool {
        let fits = self.large == 0 || self.large.saturating_add(bytes) <= self.large_max;
        self.is_awaited |= !fits;
        !self.is_awaited
    }

    /// This many bytes were sealed.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.in_turn += bytes;
    }

    /// This much is held from now on.
    pub(super) fn add(&mut self, sealed: Sealed) {
        self.held += sealed.bytes;
        if sealed.is_large {
            self.large += sealed.bytes;
        }
    }

    /// This much has left, or is not to.
    pub(super) fn remove(&mut self, sealed: Sealed) {
        self.held -= sealed.bytes;
        if sealed.is_large {
            self.large -= sealed.bytes;
            self.is_freed = true;
        }
    }

    /// Whether large frames that wait are to be tried, the one that has waited longest first.
    pub(super) fn take_freed(&mut self) -> bool {
        let is_freed = std::mem::take(&mut self.is_freed);
        self.is_awaited &= !is_freed;
        is_freed
    }
}
