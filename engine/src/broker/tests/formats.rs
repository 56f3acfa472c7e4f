//! Messages between the two formats.

use super::*;
use crate::broker::transcode;
use crate::limits::{BATCH_BYTES_MAX, TRANSCODED_PER_TURN_MAX};

#[test]
fn a_message_is_made_in_the_other_format_only_for_who_wants_it() {
    let native = frame("greet", 1, false, &["a"]);
    let (original, _) = frame_v1("greet", "b", false);
    let published = |prefixes: &[&[u8]]| {
        let mut bench = Bench::new();
        bench.subscribe(b"other").subscribe(b"\x01other|");
        for (prefix, connection) in prefixes.iter().zip(2..) {
            bench.subscribe_as(connection, prefix);
        }
        bench.request(1, native.clone()).request(1, original.clone());
        let (deliveries, replies) = bench.deliveries();
        assert_eq!(replies.len(), 2);
        let is_v2 = |frame: &Bytes| matches!(Frame::parse(frame), Ok(Frame::V2 { .. }));
        deliveries.iter().map(|it| (is_v2(&it.frame), it.to.clone())).collect::<Vec<_>>()
    };
    assert_eq!(published(&[]), []);
    assert_eq!(published(&[b"\x01greet|"]), [(true, vec![2]), (true, vec![2])]);
    assert_eq!(published(&[b"greet|"]), [(false, vec![2]), (false, vec![2])]);
    let both = [(true, vec![2]), (false, vec![3]), (false, vec![3]), (true, vec![2])];
    assert_eq!(published(&[b"\x01greet|", b"greet|"]), both);
}

#[test]
fn a_v1_message_reaches_v1_subscribers_as_it_arrived_and_native_ones_whole() {
    let mut bench = Bench::new();
    bench.subscribe(b"greet").subscribe(b"\x01greet|");
    let (sent, sum) = frame_v1("greet", "hello", true);
    bench.request(1, sent.clone());
    let (frames, replies) = bench.effects();
    assert_eq!(replies, [(1, Reply::Ok)]);
    assert_eq!(frames[0].as_ptr(), sent.as_ptr());
    let Ok(Frame::V2 { name: "greet", body }) = Frame::parse(&frames[1]) else { panic!() };
    let (_, record) = Records::new(body).next().unwrap().unwrap();
    assert_eq!(record.encoding, Encoding::Pickle);
    assert_eq!(record.payload, &sent[6..]);
    assert_eq!(record.id, MessageId::from_v1_checksum(sum));
    // The native subscriber's acknowledgement settles it for both.
    bench.request(2, ack::frame(&[record.id]));
    assert_eq!(bench.core.backlog.view().len(), 0);
}

#[test]
fn a_v1_message_with_a_checksum_that_is_pending_is_the_same_message() {
    let mut bench = Bench::new();
    bench.subscribe(b"greet");
    let (sent, _) = frame_v1("greet", "hello", true);
    bench.request(1, sent.clone()).request(1, sent);
    let (frames, replies) = bench.effects();
    assert_eq!((frames.len(), replies.len()), (1, 2));
}

#[test]
fn a_native_message_reaches_v1_subscribers_and_their_acknowledgement_comes_back() {
    let mut bench = Bench::new();
    bench.subscribe(b"greet").subscribe(b"\x01greet|");
    bench.request(1, frame("greet", 1, true, &["hello"]));
    let frames = bench.published();
    let Ok(Frame::V1 { name: "greet", pickle }) = Frame::parse(&frames[1]) else { panic!() };
    let fields = pickle::scan(pickle).unwrap();
    assert!(fields.ack);
    let sum = checksum::to_hex(fields.checksum);
    let (dict, _) = pickle::write("ack", pickle::Plain::Text(&sum), false, TIMESTAMP_NS);
    bench.request(2, [&b"ack|"[..], &dict].concat());
    assert_eq!(bench.replies(), [(2, Reply::Ok)]);
    assert_eq!(bench.core.backlog.view().len(), 0);
    assert!(bench.pass(INTERVAL * 2).published().is_empty());
}

/// More records than three turns carry over.
fn long_frame(first: u64) -> (Bytes, usize) {
    let count = TRANSCODED_PER_TURN_MAX * 5 / 2;
    let payload = "x".repeat(BATCH_BYTES_MAX * 9 / 10 / count - 60);
    (frame("greet", first, false, &vec![&payload[..]; count]), count)
}

#[test]
fn a_long_frame_is_carried_over_in_turns_and_what_follows_stays_behind_it() {
    let mut bench = Bench::new();
    bench.subscribe_as(2, b"\x01greet|").subscribe_as(3, b"greet|");
    let (long, count) = long_frame(1);
    let (original, _) = frame_v1("greet", "behind it", false);
    bench.request(1, long.clone()).request(2, original.clone());
    let (mut deliveries, replies) = bench.deliveries();
    assert_eq!(replies, [(1, Reply::Ok), (2, Reply::Ok)]);
    // The native subscriber has all at once.
    let (native, mut v1): (Vec<_>, Vec<_>) =
        deliveries.drain(..).partition(|delivery| delivery.to == [2]);
    assert_eq!(native[0].frame, long);
    assert_eq!(native.len(), 2);
    let mut turns = vec![v1.len()];
    loop {
        let is_left = bench.core.turn(bench.now);
        let more = bench.deliveries().0;
        turns.push(more.len());
        v1.extend(more);
        if !is_left {
            break;
        }
    }
    // The last turn also carries what stood behind.
    let left = count - 2 * TRANSCODED_PER_TURN_MAX + 1;
    assert_eq!(turns, [TRANSCODED_PER_TURN_MAX, TRANSCODED_PER_TURN_MAX, left]);
    assert!(v1.iter().all(|delivery| delivery.to == [3] && delivery.droppable));
    assert_eq!(v1.pop().unwrap().frame, original);
    let expected: Vec<Bytes> = Records::new(&long[b"\x01greet|".len()..])
        .map(|item| transcode::to_v1("greet", &item.unwrap().1).0.into())
        .collect();
    assert!(v1.iter().map(|delivery| &delivery.frame).eq(&expected));
}

#[test]
fn frames_that_wait_to_be_carried_over_are_bounded_and_end_with_their_subscriber() {
    let mut bench = Bench::new();
    bench.subscribe_as(3, b"greet|");
    let mut first = 1;
    while bench.core.has_room() {
        let (long, count) = long_frame(first);
        bench.request(1, long);
        first += count as u64;
        assert!(first < 100_000, "no bound");
    }
    let mut turns = 0;
    while bench.core.turn(bench.now) {
        turns += 1;
    }
    assert!(turns >= 5, "{turns}");
    assert!(bench.core.has_room());
    bench.request(1, long_frame(first).0).effects();
    bench.core.disconnected(3);
    assert!(!bench.core.turn(bench.now));
    assert_eq!(bench.effects(), (vec![], vec![]));
}

#[test]
fn an_acknowledgement_by_checksum_finds_what_a_later_turn_carried_over() {
    let mut bench = Bench::with(false, 10_000);
    bench.subscribe_as(3, b"greet|");
    let payloads = vec!["x"; TRANSCODED_PER_TURN_MAX + 1];
    bench.request(1, frame("greet", 1, true, &payloads)).effects();
    assert!(!bench.core.turn(bench.now));
    let last = bench.published().pop().unwrap();
    let Ok(Frame::V1 { pickle, .. }) = Frame::parse(&last) else { panic!() };
    let sum = checksum::to_hex(pickle::scan(pickle).unwrap().checksum);
    let before = bench.core.backlog.view().len();
    bench.request(2, frame_v1("ack", &sum, false).0);
    assert_eq!(bench.core.backlog.view().len(), before - 1);
}
