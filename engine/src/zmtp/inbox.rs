//! Received bytes, cut into frames.

use std::io;

use bytes::{Buf, Bytes, BytesMut};

use super::error::ConnectionError;
use super::frame::Head;
use crate::limits::{BATCH_BYTES_MAX, REQUEST_OVERHEAD_BYTES};

/// Room for what one read may find.
pub(crate) const SCRATCH_BYTES: usize = 128 * 1024;

/// A frame of this many bytes, its head included, has a buffer made to its measure, and the system writes most
/// of it there; for a smaller one another read costs more than the copy.
pub(crate) const LARGE_FRAME_BYTES: usize = 4096;

/// Times its bytes that the buffer may have in which a frame is handed out: who keeps the frame keeps all of
/// the buffer. In a larger one it is copied.
const BUFFER_SHARE_MAX: usize = 4;

/// Bytes that are read behind a large frame, or where one is expected: heads, so that the frame that they
/// announce can be read to its place.
const LOOKAHEAD_BYTES: usize = 64;

/// Bytes of a buffer that may be used again: the largest frame of several messages fits, with its head and what is
/// read beyond it.
const REUSED_BYTES_MAX: usize = BATCH_BYTES_MAX + 2 * REQUEST_OVERHEAD_BYTES;

/// Where a read puts what is there.
#[derive(Debug)]
pub(crate) enum Room<'a> {
    /// Behind what the buffer holds, as far as its capacity goes.
    Behind(&'a mut Vec<u8>),
    /// Over these bytes.
    Over(&'a mut [u8]),
}

#[cfg(test)]
impl Room<'_> {
    /// How many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Behind(buffer) => buffer.capacity() - buffer.len(),
            Self::Over(bytes) => bytes.len(),
        }
    }

    /// Takes all of these bytes, for which it has room.
    pub(crate) fn put(self, found: &[u8]) -> usize {
        match self {
            Self::Behind(buffer) => buffer.extend_from_slice(found),
            Self::Over(bytes) => bytes[..found.len()].copy_from_slice(found),
        }
        found.len()
    }
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// Bytes, and perhaps more behind them.
    Full,
    /// All that was there.
    Drained,
    /// No byte.
    Nothing,
}

/// What an inbox holds next.
#[derive(Debug)]
pub(crate) enum Next {
    /// A whole frame.
    Frame(Head, Bytes),
    /// A frame over the bound. Its body is dropped as it comes in.
    Oversize {
        /// The frame's head.
        head: Head,
        /// The first byte of its body.
        first: u8,
    },
    /// Nothing before more bytes come in.
    Nothing,
}

/// What is received and not taken yet.
///
/// The system writes to a buffer that all connections of a thread share. When a good part of it is filled, it
/// is given away, and the next read gets another one; when it is not, what is there is copied. What is there of
/// a frame that is not whole is put aside, so that a connection from which nothing is waited for holds no
/// buffer. A large frame is read on to a buffer made to its measure, and with it the heads of what
/// follows. So of large frames that follow one another, only the first few bytes of each are copied.
///
/// A frame shares its buffer with others only if it is a good part of it.
///
/// An inbox whose owner is soon done with each frame may use its buffer again ([`Self::reusing`]): then large
/// frames go to one that stays in the processor's cache, instead of to whichever the allocator has not handed out
/// for longest.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Whole frames, or the raw bytes before the first one.
    ready: Bytes,
    /// Bytes of the buffer that it lies in.
    buffer_bytes: usize,
    /// What comes after them: part of a frame.
    part: Vec<u8>,
    /// Bytes of the frame that `part` begins, with its head; 0 while unknown.
    wanted: usize,
    /// The last frame was large, and so the next one may be.
    expects_large: bool,
    /// Bytes of a frame over the bound that have not come in yet, and are dropped when they do.
    skipping: u64,
    /// Whether a buffer is used again.
    reuses: bool,
    /// The last buffer of a large frame. Frames may still lie in it.
    used: Bytes,
    /// Used again, in place of `part`: initialised bytes, of which this many are filled.
    again: BytesMut,
    filled: usize,
}

impl Inbox {
    /// One that uses the buffer of a large frame again when nobody has the frame any more. It keeps one.
    pub(crate) fn reusing() -> Self {
        Self { reuses: true, ..Self::default() }
    }

    /// Reads once, when all that [`Self::next`] had is taken; also how many bytes that were. `read` puts
    /// what is there to its place, no more than that has room for.
    ///
    /// # Errors
    /// When the connection is lost or ended.
    pub(crate) fn fill(
        &mut self,
        read: impl FnOnce(Room<'_>) -> io::Result<usize>,
        scratch: &mut Vec<u8>,
    ) -> Result<(Filled, usize), ConnectionError> {
        debug_assert!(self.ready.is_empty() && self.part.len() <= self.wanted.max(SCRATCH_BYTES));
        if !self.again.is_empty() {
            let room = &mut self.again[self.filled..self.wanted + LOOKAHEAD_BYTES];
            let room_bytes = room.len();
            let found = found(read(Room::Over(room)), |bytes| bytes == room_bytes)?;
            self.filled += found.1;
            if self.filled >= self.wanted {
                let buffer_bytes = self.again.capacity();
                let buffer = std::mem::take(&mut self.again).freeze();
                let filled = std::mem::take(&mut self.filled);
                self.finish(buffer, filled, buffer_bytes);
            }
            return Ok(found);
        }
        if self.wanted >= LARGE_FRAME_BYTES {
            let filled = read_to(&mut self.part, read)?;
            if self.part.len() >= self.wanted {
                self.finish_part();
            }
            return Ok(filled);
        }
        if self.expects_large && self.skipping == 0 {
            self.part.reserve_exact(LOOKAHEAD_BYTES);
            let filled = read_to(&mut self.part, read)?;
            if filled.0 != Filled::Nothing {
                self.expects_large = false;
                self.finish_part();
            } else if self.part.is_empty() {
                self.part = Vec::new();
            }
            return Ok(filled);
        }
        scratch.clear();
        scratch.reserve_exact(SCRATCH_BYTES);
        scratch.extend_from_slice(&self.part);
        let filled = read_to(scratch, read)?;
        if filled.0 == Filled::Nothing {
            return Ok(filled);
        }
        self.part = Vec::new();
        if self.skipping > 0 {
            let dropped = scratch.len().min(usize::try_from(self.skipping).unwrap_or(usize::MAX));
            self.skipping -= dropped as u64;
            scratch.drain(..dropped);
        }
        if scratch.len().saturating_mul(BUFFER_SHARE_MAX) < scratch.capacity() {
            self.ready = Bytes::copy_from_slice(scratch);
            self.buffer_bytes = self.ready.len();
        } else {
            self.buffer_bytes = scratch.capacity();
            self.ready = std::mem::take(scratch).into();
        }
        Ok(filled)
    }

    fn finish_part(&mut self) {
        let part = std::mem::take(&mut self.part);
        let (filled, buffer_bytes) = (part.len(), part.capacity());
        self.finish(part.into(), filled, buffer_bytes);
    }

    /// A frame is whole, in the first bytes of a buffer.
    fn finish(&mut self, mut buffer: Bytes, filled: usize, buffer_bytes: usize) {
        self.wanted = 0;
        self.buffer_bytes = buffer_bytes;
        if self.reuses && (LARGE_FRAME_BYTES..=REUSED_BYTES_MAX).contains(&buffer_bytes) {
            // All that is initialised of it.
            self.used = buffer.clone();
        }
        buffer.truncate(filled);
        self.ready = buffer;
    }

    /// Moves what there is of a large frame of this many bytes to the buffer that the rest of it goes to: to `again`
    /// if the last one can be used again, to `part` otherwise.
    ///
    /// # Errors
    /// When there is no memory for it.
    fn begin_large(&mut self, frame_bytes: usize) -> io::Result<()> {
        let ready = std::mem::take(&mut self.ready);
        let mut begun = [0; LOOKAHEAD_BYTES];
        match begun.get_mut(..ready.len()) {
            Some(begun) if self.reuses => {
                begun.copy_from_slice(&ready);
                // It may lie in the last buffer, which is nobody's then.
                drop(ready);
                if self.begin_again(frame_bytes, begun) {
                    return Ok(());
                }
                self.begin_part(frame_bytes, begun)
            }
            _ => self.begin_part(frame_bytes, &ready),
        }
    }

    /// Whether the last buffer can be used again; then `begun` lies in it.
    fn begin_again(&mut self, frame_bytes: usize, begun: &[u8]) -> bool {
        let room = frame_bytes + LOOKAHEAD_BYTES;
        let Ok(mut again) = std::mem::take(&mut self.used).try_into_mut() else { return false };
        if !(room..=BUFFER_SHARE_MAX * frame_bytes).contains(&again.capacity()) {
            return false;
        }
        // More than any frame in this buffer had.
        if again.len() < room {
            again.resize(room, 0);
        }
        again[..begun.len()].copy_from_slice(begun);
        (self.again, self.filled) = (again, begun.len());
        true
    }

    fn begin_part(&mut self, frame_bytes: usize, begun: &[u8]) -> io::Result<()> {
        let mut part = Vec::new();
        part.try_reserve_exact(frame_bytes + LOOKAHEAD_BYTES)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        part.extend_from_slice(begun);
        self.part = part;
        Ok(())
    }

    /// Takes the next whole frame. One with a body of more than `body_bytes_max` bytes is dropped as it
    /// comes in.
    ///
    /// # Errors
    /// [`ConnectionError::Malformed`] for flags that have no meaning, [`ConnectionError::System`] when there
    /// is no memory for the frame that has begun.
    pub(crate) fn next(&mut self, body_bytes_max: usize) -> Result<Next, ConnectionError> {
        if self.ready.is_empty() {
            // What is known of a part stays known.
            return Ok(Next::Nothing);
        }
        let Some((head, head_bytes)) = Head::read(&self.ready)? else {
            self.keep_part(0)?;
            return Ok(Next::Nothing);
        };
        match usize::try_from(head.body_bytes) {
            Ok(body_bytes) if body_bytes <= body_bytes_max => {
                let bytes = head_bytes + body_bytes;
                if bytes > self.ready.len() {
                    self.keep_part(bytes)?;
                    return Ok(Next::Nothing);
                }
                // A head or a delimiter says nothing of what follows it.
                if bytes > LOOKAHEAD_BYTES {
                    self.expects_large = bytes >= LARGE_FRAME_BYTES;
                }
                let mut frame = self.ready.split_to(bytes);
                let body = if bytes.saturating_mul(BUFFER_SHARE_MAX) < self.buffer_bytes {
                    Bytes::copy_from_slice(&frame[head_bytes..])
                } else {
                    frame.split_off(head_bytes)
                };
                Ok(Next::Frame(head, body))
            }
            _ => {
                let Some(&first) = self.ready.get(head_bytes) else {
                    self.keep_part(head_bytes + 1)?;
                    return Ok(Next::Nothing);
                };
                let here = (self.ready.len() - head_bytes) as u64;
                let dropped = here.min(head.body_bytes);
                self.skipping = head.body_bytes - dropped;
                // No more than is here. Split off, so that no empty rest keeps the buffer.
                drop(self.ready.split_to(head_bytes + dropped as usize));
                Ok(Next::Oversize { head, first })
            }
        }
    }

    /// What is there and not taken, before the first frame: a greeting.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.ready
    }

    /// Takes bytes that are no frame, once they are all there.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub(crate) fn take_raw<const N: usize>(&mut self) -> Result<Option<[u8; N]>, ConnectionError> {
        let Some(&bytes) = self.ready.first_chunk() else {
            self.keep_part(N)?;
            return Ok(None);
        };
        self.ready.advance(N);
        Ok(Some(bytes))
    }

    /// Puts the beginning of something aside until the rest of it comes in: `wanted` bytes in all.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn keep_part(&mut self, wanted: usize) -> Result<(), ConnectionError> {
        self.wanted = wanted;
        if !self.ready.is_empty() {
            if wanted >= LARGE_FRAME_BYTES {
                self.begin_large(wanted)?;
            } else {
                self.part = self.ready.to_vec();
                self.ready = Bytes::new();
            }
        }
        Ok(())
    }

    /// Lets go of the buffer that is kept to be used again.
    pub(crate) fn forget_used(&mut self) {
        self.used = Bytes::new();
    }

    /// Whether a frame has begun and is not whole.
    pub(crate) fn is_within_frame(&self) -> bool {
        !self.part.is_empty() || self.filled > 0 || self.skipping > 0
    }

    /// Bytes of the frame that is not whole, with its head; 0 while unknown.
    pub(crate) fn wanted_bytes(&self) -> usize {
        self.wanted
    }

    /// Bytes that are held for a frame that is not whole.
    pub(crate) fn held_bytes(&self) -> usize {
        self.part.len() + self.filled
    }
}

/// Reads once, behind what the buffer holds.
fn read_to(
    buffer: &mut Vec<u8>,
    read: impl FnOnce(Room<'_>) -> io::Result<usize>,
) -> Result<(Filled, usize), ConnectionError> {
    let result = read(Room::Behind(buffer));
    found(result, |_| buffer.len() == buffer.capacity())
}

/// What a read of this many bytes means. `is_full`: whether it filled all of its room.
fn found(
    result: io::Result<usize>,
    is_full: impl FnOnce(usize) -> bool,
) -> Result<(Filled, usize), ConnectionError> {
    match result {
        Ok(0) => Err(ConnectionError::Closed),
        Ok(bytes) if is_full(bytes) => Ok((Filled::Full, bytes)),
        Ok(bytes) => Ok((Filled::Drained, bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((Filled::Nothing, 0)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
