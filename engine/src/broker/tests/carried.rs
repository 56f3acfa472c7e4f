//! Messages of original clients that are delivered in the native format later than when they were published.

use super::groups::{GROUP, ORDERS, join};
use super::native::{grant, subscribe};
use super::*;
use crate::broker::transcode_queue::transcode_message;
use crate::limits::{CARRIED_KEPT_BYTES_MAX, CREDIT_BYTES_MAX, TRANSCODED_BYTES_PER_TURN_MAX};
use crate::wire::control::{self, Control, Kind, Verdict};

fn bench() -> Bench {
    let mut bench = Bench::limited(false, Limits { messages: 1000, bytes: 1 << 30 });
    bench.core.rules.max_message_bytes = 8 << 20;
    bench
}

impl Bench {
    /// An original client publishes an order that begins with this text and has about so many bytes.
    fn original(&mut self, text: &str, bytes: usize) -> MessageId {
        let text = text.to_owned() + &"x".repeat(bytes);
        let (request, checksum) = frame_v1("orders", &text, true);
        self.request(99, request);
        for check in std::mem::take(&mut self.checks) {
            self.core.checked(check.number, check.run(), self.now);
        }
        self.effects();
        for check in std::mem::take(&mut self.checks) {
            self.core.checked(check.number, check.run(), self.now);
        }
        MessageId::from_v1_checksum(checksum)
    }

    /// One turn: the ids that were delivered in it, and how many bytes that were.
    fn one_turn(&mut self) -> (Vec<MessageId>, usize) {
        self.core.turn(self.now);
        self.core.serve(self.now);
        self.core.resend_due(self.now);
        let (mut ids, mut bytes) = (Vec::new(), 0);
        for super::Delivery { frame, .. } in self.deliveries().0 {
            let Ok(Frame::V2 { body, .. }) = Frame::parse(&frame) else { panic!("{frame:?}") };
            ids.extend(Records::new(body).map(|item| item.unwrap().1.id));
            bytes += frame.len();
        }
        (ids, bytes)
    }

    /// As many turns as it takes.
    fn all_turns(&mut self) -> Vec<MessageId> {
        let mut ids = self.one_turn().0;
        while self.core.next_due().is_some_and(|due| due <= self.now) {
            ids.extend(self.one_turn().0);
        }
        ids
    }

    pub(super) fn carry_next(&mut self) {
        let message = self.carries.remove(0);
        self.core.carried(&message, transcode_message(&message));
    }
}

fn nak(ids: &[MessageId]) -> Vec<u8> {
    let ids: Vec<u8> = ids.iter().flat_map(|id| id.to_bytes()).collect();
    control::request(&Control::Settle {
        number: 1,
        verdict: Verdict::Nak { delay_ms: 0 },
        ids: &ids,
    })
}

#[test]
fn a_large_one_that_waited_for_a_group_is_carried_over_elsewhere_and_once() {
    let mut bench = bench();
    let sent = [
        bench.original("1", 10),
        bench.original("2", TRANSCODED_BYTES_PER_TURN_MAX + 1),
        bench.original("3", 10),
    ];
    bench.ask(3, join(1, CREDIT_BYTES_MAX));
    assert_eq!(bench.all_turns(), sent[..1]);
    assert_eq!(bench.carries.len(), 1);
    assert!(bench.all_turns().is_empty() && bench.carries.len() == 1, "it spins, or asks twice");
    bench.carry_next();
    assert_eq!(bench.all_turns(), sent[1..]);
    bench.ask(3, nak(&sent));
    let again = bench.all_turns();
    assert_eq!((again.len(), bench.carries.len()), (3, 0));
    // One that is carried over for a member is no resend to others.
    assert_eq!(bench.core.counters.resent.get(), 3);
}

#[test]
fn one_that_is_published_to_a_group_is_not_carried_over_again() {
    let mut bench = bench();
    bench.ask(3, join(1, CREDIT_BYTES_MAX));
    let other = control::Group { name: "other", ..GROUP };
    bench.ask(4, subscribe(1, Kind::Group(other), ORDERS, CREDIT_BYTES_MAX));
    let sent = bench.original("1", TRANSCODED_BYTES_PER_TURN_MAX + 1);
    assert_eq!(bench.all_turns(), [sent, sent]);
    assert!(bench.carries.is_empty());
}

#[test]
fn a_group_is_served_when_the_one_it_waited_for_is_gone() {
    let mut bench = bench();
    let sent = [bench.original("1", TRANSCODED_BYTES_PER_TURN_MAX + 1), bench.original("2", 10)];
    bench.ask(3, join(1, CREDIT_BYTES_MAX));
    assert!(bench.all_turns().is_empty());
    // Nobody but a failed journal takes it away.
    bench.core.settle_now(sent[0]);
    bench.carry_next();
    assert_eq!(bench.all_turns(), sent[1..]);
}

#[test]
fn what_waited_for_credit_is_carried_over_elsewhere_if_it_is_large_and_in_order() {
    let mut bench = bench();
    bench.ask(3, subscribe(1, Kind::Broadcast, ORDERS, 0));
    let bytes = 4 << 20;
    let count = CARRIED_KEPT_BYTES_MAX / bytes + 2;
    let sent: Vec<MessageId> = (0..count).map(|n| bench.original(&n.to_string(), bytes)).collect();
    bench.ask(3, grant(1, CREDIT_BYTES_MAX));
    let mut got = bench.all_turns();
    assert!(!bench.carries.is_empty() && got.is_empty());
    while !bench.carries.is_empty() {
        assert_eq!(bench.carries.len(), 1);
        bench.carry_next();
        got.extend(bench.all_turns());
    }
    assert_eq!(got, sent);
}

#[test]
fn a_turn_carries_over_a_bounded_part_of_what_waited() {
    let bytes = 60 << 10;
    for is_group in [true, false] {
        let mut bench = bench();
        if !is_group {
            bench.ask(3, subscribe(1, Kind::Broadcast, ORDERS, 0));
            // More than are kept carried over.
            let count = CARRIED_KEPT_BYTES_MAX / bytes + 5;
            (0..count).for_each(|n| _ = bench.original(&n.to_string(), bytes));
        }
        let sent: Vec<MessageId> =
            (1000..1040).map(|n| bench.original(&n.to_string(), bytes)).collect();
        if is_group {
            bench.ask(3, join(1, CREDIT_BYTES_MAX));
        } else {
            bench.ask(3, grant(1, CREDIT_BYTES_MAX));
        }
        let (mut got, mut turns) = (Vec::new(), 0);
        while got.len() < sent.len() {
            let (ids, delivered) = bench.one_turn();
            assert!(delivered <= TRANSCODED_BYTES_PER_TURN_MAX + bytes + 1000, "{delivered}");
            got.extend(ids);
            turns += 1;
            assert!(turns < 100);
        }
        if is_group {
            assert_eq!(got, sent);
        }
    }
}
