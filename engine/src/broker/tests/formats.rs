//! Messages between the two formats.

use super::*;

#[test]
fn a_message_is_made_in_the_other_format_only_for_who_wants_it() {
    let mut bench = Bench::new();
    let native = frame("greet", 1, false, &["a"]);
    let (original, _) = frame_v1("greet", "b", false);
    bench.subscribe(b"other").subscribe(b"\x01other|");
    bench.request(1, native.clone()).request(1, original.clone());
    assert_eq!(bench.published(), [native, original]);
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
    assert_eq!(bench.core.pending.view().len(), 0);
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
    assert_eq!(bench.core.pending.view().len(), 0);
    assert!(bench.pass(INTERVAL * 2).published().is_empty());
}
