//! The output queue of one connection.

mod sealing;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use self::sealing::Sealing;
use super::frames::{FrameId, Frames};
use crate::net::socket::ByteStream;
use crate::wire::control::{self, DELIVERY_BYTES, Delivery};
use crate::zmtp::curve::traffic::Sealer;
use crate::zmtp::frame::MORE;

/// Slices handed to the system in one call; three for each frame at most.
const SLICES_PER_CALL: usize = 128;

/// Room that stays for the next answers of a connection that has none waiting.
const OWN_BYTES_KEPT: usize = 4096;

/// Bytes that go ahead of a shared frame on this connection: whole frames of a message that the shared one ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FramePrefix {
    bytes: [u8; LEAD_BYTES],
    is_there: bool,
}

/// An empty frame, and one that names a subscription: each has a head of two bytes.
const LEAD_BYTES: usize = 2 + 2 + DELIVERY_BYTES;

impl FramePrefix {
    /// What stands before a delivery.
    pub(super) fn delivery(delivery: Delivery) -> Self {
        let mut bytes = [0; LEAD_BYTES];
        bytes[0] = MORE;
        bytes[2] = MORE;
        bytes[3] = DELIVERY_BYTES as u8;
        bytes[4..].copy_from_slice(&control::delivery(delivery));
        Self { bytes, is_there: true }
    }

    fn bytes(&self) -> &[u8] {
        if self.is_there { &self.bytes } else { &[] }
    }
}

/// A frame in the queue.
#[derive(Clone, Copy, Debug)]
struct Queued {
    id: FrameId,
    lead: FramePrefix,
}

impl Queued {
    fn bytes(&self, frames: &Frames) -> usize {
        self.lead.bytes().len() + frames.wire_bytes(self.id)
    }

    /// Appends what is left behind this many of its bytes.
    fn append_slices<'a>(
        &'a self,
        sent_bytes: usize,
        frames: &'a Frames,
        out: &mut impl Extend<IoSlice<'a>>,
    ) {
        let lead = self.lead.bytes();
        if let Some(rest) = lead.get(sent_bytes..)
            && !rest.is_empty()
        {
            out.extend([IoSlice::new(rest)]);
        }
        frames.append_slices(self.id, sent_bytes.saturating_sub(lead.len()), out);
    }
}

/// Bytes of the connection's own (answers, commands), and frames that it shares with others.
///
/// The connection's own bytes go ahead of shared frames, but never into the midst of one.
#[derive(Debug, Default)]
pub(super) struct Output {
    own: Vec<u8>,
    own_sent: usize,
    frames: VecDeque<Queued>,
    /// Bytes of the first frame that the system has.
    frame_sent: usize,
    frame_bytes: usize,
    /// This many of the first frames may not be dropped, or have been begun: none of them is looked at again.
    kept: usize,
    is_blocked: bool,
    /// With CURVE.
    sealing: Option<Box<Sealing>>,
}

impl Output {
    /// From now on all is sealed; what waits leaves as it is, and must be the connection's own.
    pub(super) fn seal(&mut self, sealer: Sealer) {
        debug_assert!(
            self.frames.is_empty(),
            "nothing is published to a connection in its handshake"
        );
        self.sealing = Some(Box::new(Sealing::new(sealer, self.own_bytes())));
    }

    /// Where to append the connection's own bytes: whole frames, or what stands before the first one.
    pub(super) fn own(&mut self) -> &mut Vec<u8> {
        &mut self.own
    }

    /// Bytes of the connection's own that wait.
    pub(super) fn own_bytes(&self) -> usize {
        self.own.len() - self.own_sent
    }

    /// Bytes of shared frames that wait, with their heads.
    pub(super) fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.frames.is_empty()
    }

    /// Whether the system took no more.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// The system takes bytes again.
    pub(super) fn unblock(&mut self) {
        self.is_blocked = false;
    }

    /// Queues a frame, of which the caller made a reference for this queue, and what goes ahead of it.
    pub(super) fn push(&mut self, id: FrameId, lead: FramePrefix, frames: &Frames) {
        let queued = Queued { id, lead };
        self.frame_bytes += queued.bytes(frames);
        self.frames.push_back(queued);
    }

    /// When the frame that has waited longest was queued.
    pub(super) fn oldest(&self, frames: &Frames) -> Option<Duration> {
        self.frames.front().map(|queued| frames.since(queued.id))
    }

    /// Drops the oldest frames that may be lost until no more than this many bytes wait, and says how many
    /// that were. The first one stays once a part of it left.
    pub(super) fn drop_oldest(&mut self, bytes_max: usize, frames: &mut Frames) -> usize {
        let sealed = self.sealing.as_ref().map_or(0, |sealing| sealing.frames());
        let begun = usize::from(self.frame_sent > 0).max(sealed);
        let (mut at, mut dropped) = (self.kept.max(begun), 0);
        while self.frame_bytes > bytes_max
            && let Some(&queued) = self.frames.get(at)
        {
            // One with a lead took credit, which only its receiver can give back.
            if queued.lead.bytes().is_empty() && frames.is_droppable(queued.id) {
                self.frames.remove(at);
                self.frame_bytes -= queued.bytes(frames);
                frames.release(queued.id);
                dropped += 1;
            } else {
                at += 1;
            }
        }
        self.kept = at;
        dropped
    }

    /// Gives the system what it takes now, and says how many bytes it took. What is sealed for it has a bound for each
    /// call, and for all connections in a turn and in memory; then something is left although the system would take it.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(super) fn write(
        &mut self,
        stream: &mut impl ByteStream,
        frames: &mut Frames,
    ) -> io::Result<usize> {
        if self.sealing.is_some() {
            return self.write_sealed(stream, frames);
        }
        let mut written = 0;
        while !self.is_empty() && !self.is_blocked {
            let mut slices = Slices::default();
            let mut queue = self.frames.iter();
            if self.frame_sent > 0
                && let Some(first) = queue.next()
            {
                first.append_slices(self.frame_sent, frames, &mut slices);
            }
            if self.own_bytes() > 0 {
                slices.extend([IoSlice::new(&self.own[self.own_sent..])]);
            }
            while slices.has_room()
                && let Some(queued) = queue.next()
            {
                queued.append_slices(0, frames, &mut slices);
            }
            let offered = slices.bytes;
            match stream.write(slices.as_slice()) {
                Ok(bytes) => {
                    written += bytes;
                    self.is_blocked = bytes < offered;
                    self.advance(bytes, frames);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_blocked = true,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    fn advance(&mut self, mut bytes: usize, frames: &mut Frames) {
        if self.frame_sent > 0 {
            bytes = self.advance_frame(bytes, frames);
        }
        let own = bytes.min(self.own_bytes());
        bytes -= own;
        self.advance_own(own);
        while bytes > 0 {
            bytes = self.advance_frame(bytes, frames);
        }
    }

    /// Books bytes of the connection's own.
    fn advance_own(&mut self, bytes: usize) {
        self.own_sent += bytes;
        if self.own_sent == self.own.len() {
            self.own_sent = 0;
            self.own.clear();
            if self.own.capacity() > OWN_BYTES_KEPT {
                self.own = Vec::new();
            }
        } else if self.own_sent > self.own.len() / 2 {
            self.own.drain(..self.own_sent);
            self.own_sent = 0;
        }
    }

    /// Books bytes of the first frame, and returns those that belong to what follows it.
    fn advance_frame(&mut self, bytes: usize, frames: &mut Frames) -> usize {
        let Some(&queued) = self.frames.front() else { return 0 };
        let left = queued.bytes(frames) - self.frame_sent;
        if bytes < left {
            self.frame_sent += bytes;
            return 0;
        }
        self.frame_sent = 0;
        self.frame_bytes -= queued.bytes(frames);
        self.frames.pop_front();
        self.kept = self.kept.saturating_sub(1);
        frames.release(queued.id);
        bytes - left
    }

    /// Lets go of all shared frames.
    pub(super) fn clear(&mut self, frames: &mut Frames) {
        for queued in self.frames.drain(..) {
            frames.release(queued.id);
        }
        if let Some(sealing) = &mut self.sealing {
            sealing.clear(frames);
        }
        *self = Self::default();
    }
}

/// The slices of one call.
struct Slices<'a> {
    slices: [IoSlice<'a>; SLICES_PER_CALL],
    count: usize,
    bytes: usize,
}

impl Default for Slices<'_> {
    fn default() -> Self {
        Self { slices: [IoSlice::new(&[]); SLICES_PER_CALL], count: 0, bytes: 0 }
    }
}

impl<'a> Slices<'a> {
    /// Whether another frame has room: what goes ahead of it, its head and its body.
    fn has_room(&self) -> bool {
        self.count + 3 <= SLICES_PER_CALL
    }

    fn as_slice(&self) -> &[IoSlice<'a>] {
        &self.slices[..self.count]
    }
}

impl<'a> Extend<IoSlice<'a>> for Slices<'a> {
    fn extend<I: IntoIterator<Item = IoSlice<'a>>>(&mut self, slices: I) {
        for slice in slices {
            self.bytes += slice.len();
            self.slices[self.count] = slice;
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    use crate::zmtp::inbox::Room;

    /// Takes this many bytes a call.
    pub(super) struct Takes(pub(super) usize, pub(super) Vec<u8>);

    impl ByteStream for Takes {
        fn read(&mut self, _: Room<'_>) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let taken = all.len().min(self.0);
            self.1.extend(&all[..taken]);
            Ok(taken)
        }
    }

    pub(super) fn frame(body: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        crate::zmtp::frame::Head::message(body.len(), false).append_to(&mut frame);
        frame.extend(body);
        frame
    }

    proptest! {
        /// Frames of the connection's own come between shared ones, each whole, each kind in order.
        #[test]
        fn what_leaves_in_pieces_of_any_size_arrives_whole(
            pushes in prop::collection::vec((any::<bool>(), 0..600_usize), 1..80),
            piece in 1..2000_usize,
        ) {
            let (mut frames, mut output) = (Frames::default(), Output::default());
            let mut stream = Takes(piece, Vec::new());
            let (mut own, mut shared) = (Vec::new(), Vec::new());
            for (n, (is_own, bytes)) in pushes.into_iter().enumerate() {
                let mut body = vec![n as u8; bytes];
                body.insert(0, u8::from(is_own));
                if is_own {
                    output.own().extend(frame(&body));
                    own.push(body);
                } else {
                    let id = frames.add(body.clone().into(), 1, false, Duration::ZERO);
                    output.push(id, FramePrefix::default(), &frames);
                    shared.push(body);
                }
                output.unblock();
                output.write(&mut stream, &mut frames).unwrap();
            }
            while !output.is_empty() {
                output.unblock();
                output.write(&mut stream, &mut frames).unwrap();
            }
            prop_assert_eq!((frames.bytes(), output.frame_bytes(), output.own_bytes()), (0, 0, 0));
            let (mut rest, mut arrived) = (Bytes::from(stream.1), [Vec::new(), Vec::new()]);
            while let Some((head, head_bytes)) = crate::zmtp::frame::Head::read(&rest).unwrap() {
                let mut whole = rest.split_to(head_bytes + head.body_bytes as usize);
                let body = whole.split_off(head_bytes);
                arrived[usize::from(body[0])].push(body);
            }
            prop_assert_eq!(&arrived[0], &shared);
            prop_assert_eq!(&arrived[1], &own);
        }
    }

    #[test]
    fn a_delivery_that_took_credit_is_not_dropped() {
        let (mut frames, mut output) = (Frames::default(), Output::default());
        let delivery = Delivery { number: 1, again: false, retained: false, attempt: 0 };
        for lead in [FramePrefix::delivery(delivery), FramePrefix::default()] {
            let id = frames.add(Bytes::from(vec![0; 98]), 1, true, Duration::ZERO);
            output.push(id, lead, &frames);
        }
        assert_eq!(output.drop_oldest(0, &mut frames), 1);
        assert!(output.frame_bytes() > 98, "the one with a lead stays");
    }

    #[test]
    fn only_what_may_be_lost_is_dropped_and_the_oldest_first() {
        let (mut frames, mut output) = (Frames::default(), Output::default());
        for (n, droppable) in [(0, true), (1, false), (2, true), (3, true)] {
            let id = frames.add(Bytes::from(vec![n; 98]), 1, droppable, Duration::ZERO);
            output.push(id, FramePrefix::default(), &frames);
        }
        assert_eq!(output.drop_oldest(250, &mut frames), 2);
        let mut stream = Takes(usize::MAX, Vec::new());
        output.write(&mut stream, &mut frames).unwrap();
        assert_eq!(stream.1, [frame(&[1; 98]), frame(&[3; 98])].concat());
        // What was found to stay leaves, a part of it at a time, and what comes behind it may be dropped.
        let mut stream = Takes(150, Vec::new());
        for (n, droppable) in [(4, false), (5, true), (6, false), (7, true)] {
            let id = frames.add(Bytes::from(vec![n; 98]), 1, droppable, Duration::ZERO);
            output.push(id, FramePrefix::default(), &frames);
            assert_eq!(output.drop_oldest(350, &mut frames), usize::from(n == 7));
        }
        let id = frames.add(Bytes::from(vec![8; 98]), 1, true, Duration::ZERO);
        output.push(id, FramePrefix::default(), &frames);
        output.unblock();
        output.write(&mut stream, &mut frames).unwrap();
        assert_eq!(stream.1.len(), 150);
        assert_eq!(output.drop_oldest(0, &mut frames), 2);
        stream.0 = usize::MAX;
        output.unblock();
        output.write(&mut stream, &mut frames).unwrap();
        assert_eq!(stream.1, [frame(&[4; 98]), frame(&[6; 98])].concat());
    }
}
