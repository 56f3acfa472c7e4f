//! What the subscriptions of one connection want of the queue, and how far it is written.

use std::io::IoSlice;
use std::ops::Range;

use bytes::Bytes;

use super::queue::{Queue, body};
use crate::target::native::{LEAD_BYTES, Subscribe};

/// Frames that are written at once.
const FRAMES_MAX: u64 = 1023;

/// A frame that more of its message follows.
const MORE: u8 = 1;

/// A subscription of a client, or all that a SUB socket has.
struct Subscription {
    number: u32,
    /// What stands before each frame: two whole frames of the same message, or nothing for a SUB socket.
    lead: Vec<u8>,
    /// What the bodies of its frames begin with; nothing for a SUB socket, which gets every frame.
    topic: Vec<u8>,
    /// Bytes that may be delivered. Clients read on while their readers are busy, so without it what waits there
    /// would have no bound.
    credit: i64,
    /// The numbers of the frames that it gets, if they fit.
    frames: Range<u64>,
}

impl Subscription {
    fn wants(&self, number: u64, frame: &[u8]) -> bool {
        self.frames.contains(&number) && body(frame).starts_with(&self.topic)
    }
}

/// The subscriptions of a connection, and its place in the queue. Frames leave in their order, so a subscription without
/// credit holds up the others of its connection.
#[derive(Default)]
pub(super) struct Deliveries {
    subscriptions: Vec<Subscription>,
    /// The number of the next frame, where there are subscriptions.
    next: Option<u64>,
    /// Bytes of that frame, and of what stands before it, that are written.
    written: usize,
    /// Subscriptions paid for the frames with lower numbers.
    paid: u64,
    /// One cannot pay for the frame with this number.
    is_broke: bool,
}

impl Deliveries {
    /// Everything from now on, as a SUB socket gets it.
    pub(super) fn take_all(&mut self, queue: &Queue) {
        let (number, lead, topic) = Default::default();
        let frames = queue.end()..u64::MAX;
        self.add(Subscription { number, lead, topic, credit: i64::MAX, frames }, queue);
    }

    /// What fits the subscription from now on.
    pub(super) fn subscribe(&mut self, wanted: Subscribe, queue: &Queue) {
        let head = [MORE, 0, MORE, LEAD_BYTES as u8];
        let lead = [&head[..], &wanted.lead()].concat();
        let Subscribe { number, credit, topic } = wanted;
        let credit = credit.try_into().unwrap_or(i64::MAX);
        self.add(
            Subscription { number, lead, topic, credit, frames: queue.end()..u64::MAX },
            queue,
        );
    }

    fn add(&mut self, subscription: Subscription, queue: &Queue) {
        if self.next.is_none() {
            (self.next, self.paid) = (Some(queue.end()), queue.end());
        }
        self.subscriptions.push(subscription);
    }

    pub(super) fn unsubscribe(&mut self, number: u32) {
        for ended in self.subscriptions.iter_mut().filter(|of| of.number == number) {
            // What it paid for may be half written.
            ended.frames.end = ended.frames.end.min(self.paid);
        }
        self.is_broke = false;
        self.forget_ended();
    }

    fn forget_ended(&mut self) {
        let Some(next) = self.next else { return };
        self.subscriptions.retain(|subscription| subscription.frames.end > next);
        if self.subscriptions.is_empty() {
            self.next = None;
        }
    }

    pub(super) fn grant(&mut self, number: u32, bytes: u64) {
        for granted in self.subscriptions.iter_mut().filter(|of| of.number == number) {
            granted.credit = granted.credit.saturating_add_unsigned(bytes);
        }
        self.is_broke = false;
    }

    /// The number of the next frame to write; `None` without subscriptions.
    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }

    /// Whether a part of a frame is written.
    pub(super) fn is_within_frame(&self) -> bool {
        self.written > 0
    }

    /// Whether there is something to write.
    pub(super) fn is_due(&self, queue: &Queue) -> bool {
        let has_unpaid = |next| next < queue.end() && !self.is_broke;
        self.next.is_some_and(|next| next < self.paid || has_unpaid(next))
    }

    /// Lets subscriptions pay for the next frames, as far as their credit goes.
    pub(super) fn pay(&mut self, queue: &Queue) {
        let Some(next) = self.next else { return };
        let room = (next + FRAMES_MAX).saturating_sub(self.paid);
        for frame in queue.from(self.paid).take(room as usize) {
            let number = self.paid;
            let is_broke = |of: &Subscription| of.credit <= 0 && of.wants(number, frame);
            self.is_broke = self.subscriptions.iter().any(is_broke);
            if self.is_broke {
                return;
            }
            for paying in self.subscriptions.iter_mut().filter(|of| of.wants(number, frame)) {
                paying.credit -= body(frame).len() as i64;
            }
            self.paid += 1;
        }
    }

    /// The bytes to write behind those that are, and how many each frame takes in all.
    pub(super) fn gather<'a>(
        &'a self,
        queue: &'a Queue,
        slices: &mut Vec<IoSlice<'a>>,
    ) -> Vec<usize> {
        let first = slices.len();
        let next = self.next.unwrap_or(queue.end());
        let frames = (next..self.paid).zip(queue.from(next));
        let mut gather = |(number, frame): (u64, &'a Bytes)| {
            let mut bytes = 0;
            for wanting in self.subscriptions.iter().filter(|of| of.wants(number, frame)) {
                slices.extend([&wanting.lead, &frame[..]].map(IoSlice::new));
                bytes += wanting.lead.len() + frame.len();
            }
            bytes
        };
        let lengths = frames.map(&mut gather).collect();
        let mut written = self.written;
        for slice in &mut slices[first..] {
            let bytes = written.min(slice.len());
            slice.advance(bytes);
            written -= bytes;
        }
        lengths
    }

    /// This many more bytes are written, of frames that take these in all.
    pub(super) fn advance(&mut self, bytes: usize, lengths: &[usize]) {
        let Some(mut next) = self.next else { return };
        self.written += bytes;
        for &length in lengths {
            if self.written < length {
                break;
            }
            self.written -= length;
            next += 1;
        }
        self.next = Some(next);
        self.forget_ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(number: u32, credit: u64, topic: &[u8]) -> Subscribe {
        Subscribe { number, credit, topic: topic.to_vec() }
    }

    /// Writes all that is due, this many bytes at a time.
    fn written(deliveries: &mut Deliveries, queue: &Queue, piece: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while deliveries.is_due(queue) {
            deliveries.pay(queue);
            let mut slices = Vec::new();
            let lengths = deliveries.gather(queue, &mut slices);
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let bytes = &bytes[..piece.min(bytes.len())];
            all.extend(bytes);
            deliveries.advance(bytes.len(), &lengths);
        }
        all
    }

    #[test]
    fn what_leaves_in_pieces_of_any_size_arrives_whole() {
        let frames = [&b"\0\x05\x01a|11"[..], b"\0\x04\x01b|2", b"\0\x04\x01a|3"];
        let lead = |number: u8| [1, 0, 1, 8, 3, number, 0, 0, 0, 0, 0, 0];
        let expected = [
            [&lead(1)[..], frames[0], &lead(2), frames[0]].concat(),
            [&lead(2)[..], frames[1]].concat(),
            [&lead(1)[..], frames[2], &lead(2), frames[2]].concat(),
        ];
        for piece in 1..60 {
            let (mut deliveries, mut queue) = (Deliveries::default(), Queue::default());
            deliveries.subscribe(subscription(1, 5, b"\x01a|"), &queue);
            deliveries.subscribe(subscription(2, 1000, b"\x01"), &queue);
            frames.iter().for_each(|frame| queue.push(Bytes::from_static(frame)));
            let first = written(&mut deliveries, &queue, piece);
            assert_eq!(first, expected[..2].concat(), "the first subscription has no credit left");
            deliveries.grant(1, 1);
            assert_eq!(written(&mut deliveries, &queue, piece), expected[2]);
            for number in [1, 2] {
                assert_eq!(deliveries.next(), Some(3));
                deliveries.unsubscribe(number);
            }
            assert_eq!(deliveries.next(), None);
        }
    }

    #[test]
    fn what_is_half_written_is_finished_when_its_subscription_ends() {
        let (mut deliveries, mut queue) = (Deliveries::default(), Queue::default());
        deliveries.subscribe(subscription(1, 1, b"\x01"), &queue);
        (0..2).for_each(|_| queue.push(Bytes::from_static(b"\0\x04\x01a|1")));
        deliveries.pay(&queue);
        let lengths = deliveries.gather(&queue, &mut Vec::new());
        assert_eq!(lengths, [18]);
        deliveries.advance(13, &lengths);
        assert!(deliveries.is_within_frame());
        deliveries.unsubscribe(1);
        assert_eq!(written(&mut deliveries, &queue, 2), b"\x04\x01a|1");
        assert_eq!((deliveries.next(), deliveries.is_within_frame()), (None, false));
    }
}
