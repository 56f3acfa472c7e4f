//! Received bytes, cut into frames.

use std::io;
use std::os::fd::BorrowedFd;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use crate::zmtp::error::ConnectionError;
use crate::zmtp::frame::Head;

/// Room for what one read may find, beyond a frame that is known to come.
const READ_BYTES: usize = 64 * 1024;

/// Room of a buffer that is not made to measure, at most.
const ROOM_BYTES_MAX: usize = 1024 * 1024;

/// Room beyond what is expected: were a frame a little larger than the last, all of it would move.
const SLACK_BYTES: usize = 4096;

/// A buffer with this many times the bytes of its frames is not handed out with them: who keeps one
/// would keep all of it. They are copied.
const WASTE_MAX: usize = 4;

/// The same for one frame beside a large one, in a buffer that was made for that.
const WASTE_OF_ONE_MAX: usize = 16;

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

/// What is received and not taken yet.
///
/// Frames are handed out as slices of the buffer that the system wrote them to; a large one has its
/// buffer made to measure as soon as its head is there.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Whole frames.
    frames: Bytes,
    /// Bytes of the buffer that holds them.
    frames_room: usize,
    /// What comes after them: part of a frame.
    part: Vec<u8>,
    /// Bytes of the frame that `part` begins, with its head; 0 while unknown.
    wanted: usize,
}

impl Inbox {
    /// Reads once, when all whole frames are taken; [`Self::cut`] makes frames of it.
    ///
    /// # Errors
    /// When the connection is lost or ended.
    pub(crate) fn fill(&mut self, socket: BorrowedFd<'_>) -> Result<Filled, ConnectionError> {
        self.make_room();
        loop {
            match rustix::io::read(socket, spare_capacity(&mut self.part)) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(_) if self.part.len() == self.part.capacity() => return Ok(Filled::Full),
                Ok(_) => return Ok(Filled::Drained),
                Err(Errno::AGAIN) => return Ok(Filled::Nothing),
                Err(Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }

    /// What is there and not cut into frames.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.part
    }

    /// Takes bytes that are no frame, once they are all there.
    pub(crate) fn take_raw<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.part.first_chunk()?;
        self.part.drain(..N);
        Some(bytes)
    }

    /// Takes the next whole frame.
    ///
    /// # Errors
    /// None that [`Self::cut`] did not find.
    pub(crate) fn take(&mut self) -> Result<Option<(Head, Bytes)>, ConnectionError> {
        // Its length has been held against the bound.
        let Some((head, head_bytes)) = Head::read(&self.frames, usize::MAX)? else {
            return Ok(None);
        };
        let mut frame = self.frames.split_to(head_bytes + head.body_bytes);
        let body = frame.split_off(head_bytes);
        let wasteful = self.frames_room > ROOM_BYTES_MAX + SLACK_BYTES
            && body.len().saturating_mul(WASTE_OF_ONE_MAX) < self.frames_room;
        Ok(Some((head, if wasteful { Bytes::copy_from_slice(&body) } else { body })))
    }

    /// Makes frames of what was received. To be called when all earlier ones are taken.
    ///
    /// # Errors
    /// What [`Head::read`] finds wrong.
    pub(crate) fn cut(&mut self, body_bytes_max: usize) -> Result<(), ConnectionError> {
        let mut whole = 0;
        self.wanted = 0;
        while let Some((head, head_bytes)) = Head::read(&self.part[whole..], body_bytes_max)? {
            let bytes = head_bytes + head.body_bytes;
            if bytes > self.part.len() - whole {
                self.wanted = bytes;
                break;
            }
            whole += bytes;
        }
        if whole == 0 {
            return Ok(());
        }
        if whole * WASTE_MAX < self.part.capacity() {
            self.frames = Bytes::copy_from_slice(&self.part[..whole]);
            self.frames_room = whole;
            self.part.drain(..whole);
        } else {
            // The next frames are probably about as large as these.
            let room = whole.clamp(READ_BYTES, ROOM_BYTES_MAX).max(self.wanted) + SLACK_BYTES;
            let mut rest = Vec::with_capacity(room);
            rest.extend_from_slice(&self.part[whole..]);
            self.part.truncate(whole);
            self.frames_room = self.part.capacity();
            self.frames = Bytes::from(std::mem::replace(&mut self.part, rest));
        }
        Ok(())
    }

    fn make_room(&mut self) {
        if self.wanted > self.part.capacity() {
            self.part.reserve_exact(self.wanted - self.part.len());
        } else if self.part.len() == self.part.capacity() {
            self.part.reserve_exact(READ_BYTES);
        }
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
