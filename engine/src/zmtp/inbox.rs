//! Received bytes, cut into frames.

use std::io;

use bytes::{Buf, Bytes};

use super::error::ConnectionError;
use super::frame::Head;

/// Room for what one read may find. A larger frame has a buffer made to its measure.
pub(crate) const SCRATCH_BYTES: usize = 128 * 1024;

/// A buffer with this many times the bytes of its frames is not handed out with them: who keeps one
/// would keep all of it. They are copied.
const WASTE_MAX: usize = 4;

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
/// The system writes to a buffer that all connections of a thread share. When a good part of it is whole
/// frames, they keep it, handed out as slices, and the next read gets another one; when it is not, they are
/// copied out. A frame too large for it has its buffer made to measure as soon as its head is there. So a
/// connection from which nothing is waited for holds no buffer.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Whole frames, or the raw bytes before the first one.
    ready: Bytes,
    /// What comes after them: part of a frame.
    part: Vec<u8>,
    /// Bytes of the frame that `part` begins, with its head; 0 while unknown.
    wanted: usize,
    /// Bytes of a frame over the bound that have not come in yet, and are dropped when they do.
    skipping: u64,
}

impl Inbox {
    /// Reads once, when all that [`Self::next`] had is taken; also how many bytes that were. `read` appends
    /// what is there to a buffer, no more than it has room for.
    ///
    /// # Errors
    /// When the connection is lost or ended.
    pub(crate) fn fill(
        &mut self,
        read: impl FnOnce(&mut Vec<u8>) -> io::Result<usize>,
        scratch: &mut Vec<u8>,
    ) -> Result<(Filled, usize), ConnectionError> {
        debug_assert!(self.ready.is_empty() && self.part.len() <= self.wanted.max(SCRATCH_BYTES));
        if self.wanted > SCRATCH_BYTES {
            // One at a time: what follows it stays with the system until it is whole.
            let filled = read_to(&mut self.part, read)?;
            if self.part.len() >= self.wanted {
                self.wanted = 0;
                self.ready = std::mem::take(&mut self.part).into();
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
        self.ready = if scratch.len().saturating_mul(WASTE_MAX) < scratch.capacity() {
            Bytes::copy_from_slice(scratch)
        } else {
            Bytes::from(std::mem::take(scratch))
        };
        Ok(filled)
    }

    /// Takes the next whole frame. One with a body of more than `body_bytes_max` bytes is dropped as it
    /// comes in.
    ///
    /// # Errors
    /// [`ConnectionError::Malformed`] for flags that have no meaning.
    pub(crate) fn next(&mut self, body_bytes_max: usize) -> Result<Next, ConnectionError> {
        if self.ready.is_empty() {
            // What is known of a part stays known.
            return Ok(Next::Nothing);
        }
        let Some((head, head_bytes)) = Head::read(&self.ready)? else {
            self.keep_part(0);
            return Ok(Next::Nothing);
        };
        match usize::try_from(head.body_bytes) {
            Ok(body_bytes) if body_bytes <= body_bytes_max => {
                let bytes = head_bytes + body_bytes;
                if bytes > self.ready.len() {
                    self.keep_part(bytes);
                    return Ok(Next::Nothing);
                }
                let mut frame = self.ready.split_to(bytes);
                Ok(Next::Frame(head, frame.split_off(head_bytes)))
            }
            _ => {
                let Some(&first) = self.ready.get(head_bytes) else {
                    self.keep_part(head_bytes + 1);
                    return Ok(Next::Nothing);
                };
                let here = (self.ready.len() - head_bytes) as u64;
                let dropped = here.min(head.body_bytes);
                self.skipping = head.body_bytes - dropped;
                // No more than is here.
                self.ready.advance(head_bytes + dropped as usize);
                Ok(Next::Oversize { head, first })
            }
        }
    }

    /// What is there and not taken, before the first frame: a greeting.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.ready
    }

    /// Takes bytes that are no frame, once they are all there.
    pub(crate) fn take_raw<const N: usize>(&mut self) -> Option<[u8; N]> {
        let Some(&bytes) = self.ready.first_chunk() else {
            self.keep_part(N);
            return None;
        };
        self.ready.advance(N);
        Some(bytes)
    }

    /// Puts the beginning of something aside until the rest of it comes in: `wanted` bytes in all.
    pub(crate) fn keep_part(&mut self, wanted: usize) {
        self.wanted = wanted;
        if !self.ready.is_empty() {
            // Room for all of a large frame, which then need not move.
            let room = if wanted > SCRATCH_BYTES { wanted } else { self.ready.len() };
            let mut part = Vec::with_capacity(room);
            part.extend_from_slice(&self.ready);
            self.part = part;
            self.ready = Bytes::new();
        }
    }

    /// Whether a frame has begun and is not whole.
    pub(crate) fn is_within_frame(&self) -> bool {
        !self.part.is_empty() || self.skipping > 0
    }

    /// Bytes that are held for a frame that is not whole.
    pub(crate) fn held_bytes(&self) -> usize {
        self.part.len()
    }
}

/// Reads once, behind what the buffer holds.
fn read_to(
    buffer: &mut Vec<u8>,
    read: impl FnOnce(&mut Vec<u8>) -> io::Result<usize>,
) -> Result<(Filled, usize), ConnectionError> {
    match read(buffer) {
        Ok(0) => Err(ConnectionError::Closed),
        Ok(bytes) if buffer.len() == buffer.capacity() => Ok((Filled::Full, bytes)),
        Ok(bytes) => Ok((Filled::Drained, bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((Filled::Nothing, 0)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 20;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Head::message(body.len(), false).append_to(&mut bytes);
        bytes.extend(body);
        bytes
    }

    fn pair() -> (UnixStream, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (near, far)
    }

    fn receive(inbox: &mut Inbox, near: &UnixStream) -> Vec<Bytes> {
        let mut bodies = Vec::new();
        loop {
            let filled = inbox.fill(near.as_fd()).unwrap();
            inbox.cut(MAX).unwrap();
            while let Some((_, body)) = inbox.take().unwrap() {
                bodies.push(body);
            }
            if filled != Filled::Full {
                return bodies;
            }
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            sizes in prop::collection::vec(prop_oneof![0..300_usize, 60_000..70_000_usize], 1..12),
            pieces in prop::collection::vec(1..40_000_usize, 1..20),
        ) {
            let bodies: Vec<Vec<u8>> =
                sizes.iter().enumerate().map(|(n, &size)| vec![n as u8; size]).collect();
            let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
            let (near, mut far) = pair();
            let (mut inbox, mut received, mut rest) = (Inbox::default(), Vec::new(), &stream[..]);
            for piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at((*piece).min(rest.len()));
                far.write_all(now).unwrap();
                received.extend(receive(&mut inbox, &near));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert!(received.iter().eq(&bodies));
        }
    }

    #[test]
    fn a_small_frame_does_not_keep_the_buffer_of_a_large_one() {
        let (near, mut far) = pair();
        let large = vec![1; 2 * ROOM_BYTES_MAX];
        let writer = std::thread::spawn(move || {
            far.write_all(&[frame(&large), frame(b"small")].concat()).unwrap();
            far
        });
        let (mut inbox, mut bodies) = (Inbox::default(), Vec::new());
        while bodies.len() < 2 {
            // Twice what is wanted, so that both frames meet in one buffer.
            inbox.part.reserve_exact(4 * ROOM_BYTES_MAX);
            inbox.fill(near.as_fd()).unwrap();
            inbox.cut(4 * ROOM_BYTES_MAX).unwrap();
            while let Some((_, body)) = inbox.take().unwrap() {
                bodies.push(body);
            }
        }
        writer.join().unwrap();
        assert_eq!(bodies[1], "small");
        // Nobody else has the buffer.
        assert!(bodies.pop().unwrap().try_into_mut().is_ok());
        drop(inbox);
        assert!(bodies.pop().unwrap().try_into_mut().is_ok());
    }

    #[test]
    fn an_end_and_a_frame_beyond_the_bound_are_errors() {
        let (near, mut far) = pair();
        let mut inbox = Inbox::default();
        far.write_all(&frame(&[0; 300])).unwrap();
        inbox.fill(near.as_fd()).unwrap();
        assert!(matches!(
            inbox.cut(299),
            Err(ConnectionError::TooLarge { bytes: 300, bytes_max: 299 })
        ));
        drop(far);
        assert!(matches!(Inbox::default().fill(near.as_fd()), Err(ConnectionError::Closed)));
    }
}
