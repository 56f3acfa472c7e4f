//! Encrypts what is sent on a connection with CURVE. Each connection has its own keys, so sealed bytes are not shared.

use std::io::{self, IoSlice};

use super::super::sealed::{Sealed, SealedBytes};
use super::{Frames, OWN_BYTES_KEPT, Output, Slices};
use crate::limits::{SEALED_AT_ONCE_BYTES, SEALED_PER_CALL_BYTES_MAX};
use crate::net::socket::ByteStream;
use crate::zmtp::curve::traffic::Sealer;

/// The frames that are sealed and have not left, and what they were. These stay in their queues until the system has
/// taken all of it, so that what waits is counted as it is without CURVE.
#[derive(Debug)]
pub(super) struct Sealing {
    sealer: Sealer,
    /// The next bytes of the connection's own are part of the handshake, and leave as they are.
    plain_bytes: usize,
    sealed: Vec<u8>,
    sent: usize,
    own_bytes: usize,
    frames: usize,
    /// What of it is counted with that of all connections.
    counted: Sealed,
    /// The next frame is large, and there is no room for it.
    awaits_room: bool,
}

impl Sealing {
    pub(super) fn new(sealer: Sealer, plain_bytes: usize) -> Self {
        let (sealed, sent, own_bytes, frames, counted) = Default::default();
        let awaits_room = false;
        Self { sealer, plain_bytes, sealed, sent, own_bytes, frames, counted, awaits_room }
    }

    /// How many of the first frames in the queue are sealed.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Forgets what is sealed.
    pub(super) fn clear(&mut self, frames: &mut Frames) {
        frames.sealed.remove(std::mem::take(&mut self.counted));
    }
}

impl Output {
    /// Whether what it sends is sealed.
    pub(in super::super) fn is_sealed(&self) -> bool {
        self.sealing.is_some()
    }

    /// Whether its next frame is large, and waits until others' have left.
    pub(in super::super) fn awaits_room(&self) -> bool {
        self.sealing.as_ref().is_some_and(|sealing| sealing.awaits_room)
    }

    /// Whether a large frame is sealed for it and has not left.
    pub(in super::super) fn takes_room(&self) -> bool {
        self.sealing.as_ref().is_some_and(|sealing| sealing.counted.is_large)
    }

    /// As [`Output::write`], with CURVE.
    pub(super) fn write_sealed(
        &mut self,
        stream: &mut impl ByteStream,
        frames: &mut Frames,
    ) -> io::Result<usize> {
        let (mut written, mut sealed) = (0, 0);
        while !self.is_empty() && !self.is_blocked {
            let Some(sealing) = &self.sealing else { break };
            if sealing.sealed.is_empty() {
                if sealed >= SEALED_PER_CALL_BYTES_MAX || frames.sealed.is_spent() {
                    break;
                }
                let more = self.seal_some(frames);
                if more == 0 {
                    break;
                }
                sealed += more;
            }
            let Some(sealing) = &mut self.sealing else { break };
            let rest = &sealing.sealed[sealing.sent..];
            match stream.write(&[IoSlice::new(rest)]) {
                Ok(bytes) => {
                    written += bytes;
                    self.is_blocked = bytes < rest.len();
                    sealing.sent += bytes;
                    if !self.is_blocked {
                        let took_room = sealing.counted.is_large;
                        self.finish_sealed(frames);
                        if took_room {
                            // Others may have waited for it.
                            break;
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_blocked = true,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Seals the connection's own bytes, and some of the frames behind them; how many bytes that came to. None if there is
    /// nothing but a large frame, and no room for it.
    fn seal_some(&mut self, frames: &mut Frames) -> usize {
        let Some(sealing) = &mut self.sealing else { return 0 };
        let own = &self.own[self.own_sent..];
        let (plain, own_frames) = own.split_at(sealing.plain_bytes);
        sealing.sealed.extend_from_slice(plain);
        sealing.plain_bytes = 0;
        sealing.sealer.push(own_frames, &mut sealing.sealed);
        sealing.own_bytes = own.len();
        sealing.awaits_room = false;
        let mut is_large = false;
        for queued in &self.frames {
            if sealing.sealed.len() >= SEALED_AT_ONCE_BYTES {
                break;
            }
            let bytes = queued.bytes(frames);
            if SealedBytes::is_large(bytes) {
                is_large = frames.sealed.has_room_for(bytes);
                sealing.awaits_room = !is_large;
                if !is_large {
                    break;
                }
            }
            let mut slices = Slices::default();
            queued.append_slices(0, frames, &mut slices);
            for slice in slices.as_slice() {
                sealing.sealer.push(slice, &mut sealing.sealed);
            }
            sealing.frames += 1;
        }
        debug_assert!(sealing.sealer.is_between_frames());
        let bytes = sealing.sealed.len();
        frames.sealed.spend(bytes);
        if sealing.frames > 0 {
            sealing.counted = Sealed { bytes, is_large };
            frames.sealed.add(sealing.counted);
        }
        bytes
    }

    /// All that was sealed has left.
    fn finish_sealed(&mut self, frames: &mut Frames) {
        let Some(sealing) = &mut self.sealing else { return };
        sealing.clear(frames);
        sealing.sent = 0;
        sealing.sealed.clear();
        if sealing.sealed.capacity() > OWN_BYTES_KEPT {
            sealing.sealed = Vec::new();
        }
        let own_bytes = std::mem::take(&mut sealing.own_bytes);
        let count = std::mem::take(&mut sealing.frames);
        self.advance_own(own_bytes);
        for _ in 0..count {
            self.advance_frame(usize::MAX, frames);
        }
    }
}

#[cfg(test)]
mod tests;
