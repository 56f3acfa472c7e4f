//! Encrypts what is sent on a connection with CURVE. Each connection has its own keys, so sealed bytes are not shared.

use std::io::{self, IoSlice};

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
    /// Bytes that are booked with those of all frames.
    booked: usize,
}

impl Sealing {
    pub(super) fn new(sealer: Sealer, plain_bytes: usize) -> Self {
        let (sealed, sent, own_bytes, frames, booked) = Default::default();
        Self { sealer, plain_bytes, sealed, sent, own_bytes, frames, booked }
    }

    /// How many of the first frames in the queue are sealed.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Forgets what is sealed.
    pub(super) fn clear(&mut self, frames: &mut Frames) {
        frames.unbook(std::mem::take(&mut self.booked));
    }
}

impl Output {
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
                if sealed >= SEALED_PER_CALL_BYTES_MAX {
                    break;
                }
                sealed += self.seal_some(frames);
            }
            let Some(sealing) = &mut self.sealing else { break };
            let rest = &sealing.sealed[sealing.sent..];
            match stream.write(&[IoSlice::new(rest)]) {
                Ok(bytes) => {
                    written += bytes;
                    self.is_blocked = bytes < rest.len();
                    sealing.sent += bytes;
                    if !self.is_blocked {
                        self.finish_sealed(frames);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_blocked = true,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Seals the connection's own bytes, and some of the frames behind them, at least one; how many bytes that came to.
    fn seal_some(&mut self, frames: &mut Frames) -> usize {
        let Some(sealing) = &mut self.sealing else { return 0 };
        let own = &self.own[self.own_sent..];
        let (plain, own_frames) = own.split_at(sealing.plain_bytes);
        sealing.sealed.extend_from_slice(plain);
        sealing.plain_bytes = 0;
        sealing.sealer.push(own_frames, &mut sealing.sealed);
        sealing.own_bytes = own.len();
        for queued in &self.frames {
            if sealing.sealed.len() >= SEALED_AT_ONCE_BYTES {
                break;
            }
            let mut slices = Slices::default();
            queued.append_slices(0, frames, &mut slices);
            for slice in slices.as_slice() {
                sealing.sealer.push(slice, &mut sealing.sealed);
            }
            sealing.frames += 1;
        }
        debug_assert!(sealing.sealer.is_between_frames());
        if sealing.frames > 0 {
            sealing.booked = sealing.sealed.len();
            frames.book(sealing.booked);
        }
        sealing.sealed.len()
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
