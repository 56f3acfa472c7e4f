//! Received bytes, cut into frames.

use std::io;

use bytes::{Buf, Bytes};

use super::socket::ByteStream;
use crate::zmtp::error::ConnectionError;
use crate::zmtp::frame::Head;

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
    /// Reads once, when all that [`Self::next`] had is taken; also how many bytes that were.
    ///
    /// # Errors
    /// When the connection is lost or ended.
    pub(crate) fn fill(
        &mut self,
        stream: &mut impl ByteStream,
        scratch: &mut Vec<u8>,
    ) -> Result<(Filled, usize), ConnectionError> {
        debug_assert!(self.ready.is_empty() && self.part.len() <= self.wanted.max(SCRATCH_BYTES));
        if self.wanted > SCRATCH_BYTES {
            // One at a time: what follows it stays with the system until it is whole.
            let filled = read(stream, &mut self.part)?;
            if self.part.len() >= self.wanted {
                self.wanted = 0;
                self.ready = std::mem::take(&mut self.part).into();
            }
            return Ok(filled);
        }
        scratch.clear();
        scratch.reserve_exact(SCRATCH_BYTES);
        scratch.extend_from_slice(&self.part);
        let filled = read(stream, scratch)?;
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
fn read(
    stream: &mut impl ByteStream,
    buffer: &mut Vec<u8>,
) -> Result<(Filled, usize), ConnectionError> {
    match stream.read(buffer) {
        Ok(0) => Err(ConnectionError::Closed),
        Ok(bytes) if buffer.len() == buffer.capacity() => Ok((Filled::Full, bytes)),
        Ok(bytes) => Ok((Filled::Drained, bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((Filled::Nothing, 0)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::IoSlice;

    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 20;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Head::message(body.len(), false).append_to(&mut bytes);
        bytes.extend(body);
        bytes
    }

    /// Bytes in the pieces in which they come in.
    struct Pieces(VecDeque<Vec<u8>>);

    impl Pieces {
        /// Cuts a stream into pieces of these sizes, again and again.
        fn cut(mut rest: &[u8], sizes: &[usize]) -> Self {
            let mut pieces = VecDeque::new();
            for &size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let piece;
                (piece, rest) = rest.split_at(size.min(rest.len()));
                pieces.push_back(piece.to_vec());
            }
            Self(pieces)
        }
    }

    impl ByteStream for Pieces {
        fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
            let room = buffer.capacity() - buffer.len();
            assert!(room > 0, "nothing can be read");
            let Some(piece) = self.0.front_mut() else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            let taken = room.min(piece.len());
            buffer.extend(piece.drain(..taken));
            if piece.is_empty() {
                self.0.pop_front();
            }
            Ok(taken)
        }

        fn write(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
            unreachable!("nobody writes")
        }
    }

    /// What came out: a body, or the length and the first byte of one over the bound.
    #[derive(Debug, PartialEq)]
    enum Out {
        Body(Bytes),
        Oversize(u64, u8),
    }

    #[derive(Default)]
    struct Reader {
        inbox: Inbox,
        scratch: Vec<u8>,
        out: Vec<Out>,
    }

    impl Reader {
        fn take(&mut self, max: usize) {
            loop {
                self.out.push(match self.inbox.next(max).unwrap() {
                    Next::Nothing => return,
                    Next::Frame(head, body) => {
                        assert_eq!(head.body_bytes, body.len() as u64);
                        Out::Body(body)
                    }
                    Next::Oversize { head, first } => Out::Oversize(head.body_bytes, first),
                });
            }
        }

        fn fill(&mut self, stream: &mut Pieces) -> (Filled, usize) {
            self.inbox.fill(stream, &mut self.scratch).unwrap()
        }

        fn read(&mut self, stream: &mut Pieces, max: usize) {
            while !stream.0.is_empty() {
                self.fill(stream);
                self.take(max);
                // As often as one likes.
                self.take(max);
            }
        }

        /// Whether it holds no memory.
        #[track_caller]
        fn check_idle(&self) {
            let Inbox { ready, part, wanted: _, skipping } = &self.inbox;
            assert!(ready.is_empty() && !ready.is_unique(), "a buffer is kept for nothing");
            assert_eq!((part.capacity(), *skipping), (0, 0));
            assert!(!self.inbox.is_within_frame());
            assert_eq!(self.inbox.held_bytes(), 0);
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            sizes in prop::collection::vec(
                prop_oneof![
                    4 => 0..300_usize,
                    2 => SCRATCH_BYTES - 20..SCRATCH_BYTES + 20,
                    1 => 250_000..400_000_usize,
                ],
                1..12,
            ),
            pieces in prop::collection::vec(
                prop_oneof![1..20_usize, 1..40_000_usize, SCRATCH_BYTES - 1..300_000_usize],
                1..20,
            ),
            max in prop_oneof![Just(MAX), Just(SCRATCH_BYTES), Just(100)],
        ) {
            let bodies: Vec<Vec<u8>> =
                sizes.iter().enumerate().map(|(n, &size)| vec![n as u8; size]).collect();
            let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
            let mut reader = Reader::default();
            reader.read(&mut Pieces::cut(&stream, &pieces), max);
            let expected: Vec<Out> = bodies
                .into_iter()
                .map(|body| match body.first() {
                    Some(&first) if body.len() > max => Out::Oversize(body.len() as u64, first),
                    _ => Out::Body(body.into()),
                })
                .collect();
            prop_assert_eq!(&reader.out, &expected);
            reader.out.clear();
            reader.check_idle();
        }
    }

    #[test]
    fn a_frame_over_the_bound_is_told_with_its_first_byte_and_skipped_to_its_last() {
        let body: Vec<u8> = (0..1000).map(|n| 7 + (n % 200) as u8).collect();
        let stream = [frame(&body), frame(b"behind it")].concat();
        for cut in 1..frame(&body).len() + 3 {
            let mut reader = Reader::default();
            reader.read(&mut Pieces::cut(&stream, &[cut, stream.len()]), 999);
            let behind = Out::Body(Bytes::from_static(b"behind it"));
            assert_eq!(reader.out, [Out::Oversize(1000, 7), behind], "cut at {cut}");
        }
        // It is told as soon as its first byte is there, and waited for without memory.
        let mut reader = Reader::default();
        let mut endless = Vec::new();
        Head { more: false, command: false, body_bytes: u64::MAX }.append_to(&mut endless);
        reader.read(&mut Pieces::cut(&endless, &[endless.len()]), 999);
        assert!(reader.out.is_empty() && reader.inbox.is_within_frame());
        reader.read(&mut Pieces::cut(&vec![9; 3 * SCRATCH_BYTES], &[SCRATCH_BYTES / 2]), 999);
        assert_eq!(reader.out, [Out::Oversize(u64::MAX, 9)]);
        assert!(reader.inbox.is_within_frame());
        assert_eq!((reader.inbox.held_bytes(), reader.inbox.part.capacity()), (0, 0));
        assert!(!reader.inbox.ready.is_unique(), "what is dropped is not kept");
    }

    #[test]
    fn a_large_frame_has_one_buffer_made_to_its_measure_whatever_is_asked_meanwhile() {
        let large = frame(&vec![1; 3 * SCRATCH_BYTES]);
        let mut reader = Reader::default();
        let mut stream = Pieces::cut(&[&large[..], &frame(b"next")].concat(), &[10_000]);
        reader.fill(&mut stream);
        reader.take(MAX);
        let (buffer, capacity) = (reader.inbox.part.as_ptr(), reader.inbox.part.capacity());
        assert!((large.len()..large.len() + 64).contains(&capacity), "{capacity}");
        while reader.out.is_empty() {
            // Nothing new came in: the size that is waited for must not be forgotten.
            reader.take(MAX);
            assert_eq!(reader.inbox.wanted, large.len());
            assert_eq!(reader.fill(&mut Pieces(VecDeque::new())), (Filled::Nothing, 0));
            reader.take(MAX);
            assert_eq!(reader.inbox.part.as_ptr(), buffer, "it moved");
            reader.fill(&mut stream);
            reader.take(MAX);
        }
        let Out::Body(body) = &reader.out[0] else { panic!() };
        assert_eq!(body.as_ptr(), buffer.wrapping_add(9), "it was copied");
        reader.read(&mut stream, MAX);
        assert_eq!(reader.out[1], Out::Body(Bytes::from_static(b"next")));
        // What came behind it does not share its buffer.
        let Out::Body(body) = reader.out.remove(0) else { panic!() };
        assert!(body.is_unique());
    }

    #[test]
    fn a_small_frame_does_not_keep_the_buffer_of_all_connections() {
        let mut reader = Reader::default();
        let stream = |bytes: &[u8]| Pieces(VecDeque::from([bytes.to_vec()]));
        reader.read(&mut stream(&frame(b"small")), MAX);
        let shared = reader.scratch.as_ptr_range();
        assert!(reader.scratch.capacity() >= SCRATCH_BYTES, "it was handed out");
        let Out::Body(small) = &reader.out[0] else { panic!() };
        assert!(!shared.contains(&small.as_ptr()));
        // A good part of a buffer is handed out without a copy.
        reader.out.clear();
        reader.read(&mut stream(&frame(&vec![3; SCRATCH_BYTES / 2])), MAX);
        let Out::Body(body) = &reader.out[0] else { panic!() };
        assert_eq!(body.as_ptr(), shared.start.wrapping_add(9));
        reader.check_idle();
    }

    #[test]
    fn a_part_is_kept_in_what_it_needs() {
        let whole = frame(b"hello");
        let mut reader = Reader::default();
        let mut stream = Pieces::cut(&whole, &[3, 4]);
        assert_eq!(reader.fill(&mut stream), (Filled::Drained, 3));
        reader.take(MAX);
        assert!(reader.inbox.is_within_frame());
        assert_eq!((reader.inbox.held_bytes(), reader.inbox.part.capacity()), (3, 3));
        reader.read(&mut stream, MAX);
        assert_eq!(reader.out, [Out::Body(Bytes::from_static(b"hello"))]);
        reader.check_idle();
    }

    #[test]
    fn raw_bytes_are_taken_once_they_are_all_there() {
        let mut reader = Reader::default();
        let mut stream = Pieces::cut(&[b"greeting", &frame(b"first")[..]].concat(), &[5, 100]);
        reader.fill(&mut stream);
        assert_eq!(reader.inbox.raw(), b"greet");
        assert_eq!(reader.inbox.take_raw::<8>(), None);
        assert_eq!(reader.inbox.take_raw::<8>(), None);
        reader.fill(&mut stream);
        assert_eq!(reader.inbox.take_raw::<8>(), Some(*b"greeting"));
        reader.take(MAX);
        assert_eq!(reader.out, [Out::Body(Bytes::from_static(b"first"))]);
        reader.check_idle();
    }

    #[test]
    fn an_end_and_flags_without_a_meaning_are_errors() {
        struct Ended;
        impl ByteStream for Ended {
            fn read(&mut self, _: &mut Vec<u8>) -> io::Result<usize> {
                Ok(0)
            }

            fn write(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
                unreachable!("nobody writes")
            }
        }
        let ended = Inbox::default().fill(&mut Ended, &mut Vec::new());
        assert!(matches!(ended, Err(ConnectionError::Closed)));
        let mut reader = Reader::default();
        reader.fill(&mut Pieces::cut(&[8, 0], &[2]));
        assert!(matches!(reader.inbox.next(MAX), Err(ConnectionError::Malformed)));
    }
}
