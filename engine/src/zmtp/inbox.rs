//! Received bytes, cut into frames.

use std::io;

use bytes::{Buf, Bytes};

use super::error::ConnectionError;
use super::frame::Head;

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
        self.wanted = 0;
        self.buffer_bytes = self.part.capacity();
        self.ready = std::mem::take(&mut self.part).into();
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
            let is_large = wanted >= LARGE_FRAME_BYTES;
            let room = if is_large { wanted + LOOKAHEAD_BYTES } else { self.ready.len() };
            let mut part = Vec::new();
            part.try_reserve_exact(room)
                .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
            part.extend_from_slice(&self.ready);
            self.part = part;
            self.ready = Bytes::new();
        }
        Ok(())
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
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 20;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Head::message(body.len(), false).append_to(&mut bytes);
        bytes.extend(body);
        bytes
    }

    /// An inbox, and what its peer sent and it has not read.
    #[derive(Default)]
    struct Reader {
        inbox: Inbox,
        scratch: Vec<u8>,
        sent: Vec<u8>,
        /// Where each read put what it found.
        places: Vec<std::ops::Range<*const u8>>,
    }

    impl Reader {
        /// Reads once.
        fn fill(&mut self) -> Filled {
            let (sent, places) = (&mut self.sent, &mut self.places);
            let read = |buffer: &mut Vec<u8>| {
                let room = buffer.capacity() - buffer.len();
                assert!(room > 0, "an end of the stream would be read");
                if sent.is_empty() {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                let bytes = room.min(sent.len());
                let before = buffer.len();
                buffer.extend(sent.drain(..bytes));
                places.push(buffer[before..].as_ptr_range());
                Ok(bytes)
            };
            self.inbox.fill(read, &mut self.scratch).unwrap().0
        }

        /// Takes all frames that are whole, and the sizes of those that are over the bound.
        fn take(&mut self, bytes_max: usize) -> (Vec<Bytes>, Vec<(u64, u8)>) {
            let (mut bodies, mut oversize) = (Vec::new(), Vec::new());
            loop {
                match self.inbox.next(bytes_max).unwrap() {
                    Next::Frame(_, body) => bodies.push(body),
                    Next::Oversize { head, first } => oversize.push((head.body_bytes, first)),
                    // Nothing changes by asking again.
                    Next::Nothing if matches!(self.inbox.next(bytes_max), Ok(Next::Nothing)) => {
                        return (bodies, oversize);
                    }
                    Next::Nothing => panic!("it had something the second time"),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            sizes in prop::collection::vec(
                prop_oneof![0..300_usize, 60_000..70_000_usize, 130_000..300_000_usize], 1..10,
            ),
            pieces in prop::collection::vec(1..90_000_usize, 1..20),
        ) {
            let bodies: Vec<Vec<u8>> =
                sizes.iter().enumerate().map(|(n, &size)| vec![n as u8; size]).collect();
            let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
            let (mut reader, mut received, mut rest) = (Reader::default(), Vec::new(), &stream[..]);
            for piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at((*piece).min(rest.len()));
                reader.sent.extend(now);
                while reader.fill() != Filled::Nothing {
                    received.extend(reader.take(MAX).0);
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert!(received.iter().eq(&bodies));
            prop_assert_eq!(reader.inbox.held_bytes(), 0);
            prop_assert_eq!(reader.inbox.part.capacity(), 0, "an idle connection holds a buffer");
        }

        #[test]
        fn a_frame_over_the_bound_is_dropped_and_what_follows_it_is_not(
            sizes in prop::collection::vec(0..2000_usize, 1..20), piece in 1..3000_usize,
        ) {
            let bodies: Vec<Vec<u8>> =
                sizes.iter().enumerate().map(|(n, &size)| vec![n as u8; size]).collect();
            let (mut reader, mut all) = (Reader::default(), (Vec::new(), Vec::new()));
            let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
            for piece in stream.chunks(piece) {
                reader.sent.extend(piece);
                while reader.fill() != Filled::Nothing {
                    let (bodies, oversize) = reader.take(1000);
                    all.0.extend(bodies);
                    all.1.extend(oversize);
                    prop_assert!(reader.inbox.held_bytes() <= 1009);
                }
            }
            let (kept, dropped): (Vec<_>, Vec<_>) =
                bodies.iter().partition(|body| body.len() <= 1000);
            prop_assert!(all.0.iter().eq(kept));
            let dropped: Vec<_> =
                dropped.iter().map(|body| (body.len() as u64, body[0])).collect();
            prop_assert_eq!(all.1, dropped);
        }
    }

    #[test]
    fn who_keeps_a_frame_keeps_little_else() {
        // What comes with it: nothing, one frame, or so many that the buffer of the read is given away.
        for (beside, beside_bytes) in [(0, 0), (1, 9000), (100, 100), (100, 700), (9, 12_000)] {
            for bytes in [1, 100, 3000, 5000] {
                let mut reader = Reader::default();
                reader.sent.extend(frame(&vec![b'k'; bytes]));
                (0..beside).for_each(|_| reader.sent.extend(frame(&vec![b'-'; beside_bytes])));
                let mut kept = Vec::new();
                while reader.fill() != Filled::Nothing {
                    let bodies = reader.take(MAX).0;
                    kept.extend(bodies.into_iter().filter(|body| body[0] == b'k'));
                }
                // Nobody else has its buffer.
                let kept = kept.pop().unwrap().try_into_mut().unwrap();
                let bytes_max = BUFFER_SHARE_MAX * (bytes + 9) + LOOKAHEAD_BYTES;
                assert!(kept.capacity() <= bytes_max, "{bytes}: {}", kept.capacity());
            }
        }
    }

    #[test]
    fn a_large_frame_lies_in_a_buffer_made_to_its_measure() {
        let mut reader = Reader::default();
        reader.sent.extend(frame(&[1; 3 * SCRATCH_BYTES]));
        reader.sent.extend(frame(b"behind it"));
        let mut bodies = Vec::new();
        while reader.fill() != Filled::Nothing {
            bodies.extend(reader.take(MAX).0);
        }
        assert_eq!(bodies.pop().unwrap(), "behind it");
        let body = bodies.pop().unwrap().try_into_mut().unwrap();
        assert!(body.capacity() <= 3 * SCRATCH_BYTES + LOOKAHEAD_BYTES, "{}", body.capacity());
    }

    #[test]
    fn large_frames_that_follow_one_another_are_read_to_their_place() {
        for body_bytes in [LARGE_FRAME_BYTES, 50_000, 3 * SCRATCH_BYTES] {
            // What is read before any large frame came is copied, in part at least.
            let (mut reader, mut bodies) = (Reader::default(), Vec::new());
            for frames in [1, 4] {
                for n in 0..frames {
                    // Each is announced by a frame of its own, as in requests.
                    reader.sent.extend(frame(b""));
                    reader.sent.extend(frame(&vec![n; body_bytes]));
                }
                bodies.clear();
                while reader.fill() != Filled::Nothing {
                    bodies.extend(reader.take(MAX).0);
                }
                bodies.retain(|body| !body.is_empty());
                assert_eq!(bodies.len(), usize::from(frames));
            }
            for body in bodies {
                let place = body.as_ptr_range();
                let read: usize = (reader.places.iter())
                    .map(|written| {
                        let start = written.start.max(place.start) as usize;
                        (written.end.min(place.end) as usize).saturating_sub(start)
                    })
                    .sum();
                assert!(read + LOOKAHEAD_BYTES >= body_bytes, "{read} of {body_bytes}");
            }
        }
    }

    #[test]
    fn the_end_of_the_stream_is_an_error() {
        let ended = Inbox::default().fill(|_| Ok(0), &mut Vec::new());
        assert!(matches!(ended, Err(ConnectionError::Closed)));
    }
}
