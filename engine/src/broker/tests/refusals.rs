//! What is refused, and how.

use super::*;
use crate::limits::{ACK_BYTES_MAX, BATCH_BYTES_MAX};
use crate::wire::hello;

/// A native frame of one message of this publisher.
fn frame_of(publisher: u64, name: &str, sequence: u64, payload: &[u8]) -> Bytes {
    let mut out = v2_prefix(name);
    let record = Record {
        id: MessageId { publisher, sequence },
        ordinal: sequence,
        timestamp_ns: TIMESTAMP_NS,
        checksum: checksum::native(name, payload, TIMESTAMP_NS),
        ack: false,
        has_properties: false,
        encoding: Encoding::Bytes,
        payload,
    };
    record.append_to(&mut out).unwrap();
    out.into()
}

#[test]
fn a_refused_frame_can_be_sent_again() {
    let mut bench = Bench::with(false, 1);
    bench.subscribe(b"\x01greet|");
    bench.request(1, frame("greet", 1, true, &["a"])).effects();
    bench.check_refused(frame("greet", 2, true, &["b"]), ErrorCode::PendingFull, Dialect::V2);
    bench.request(1, frame("greet", 3, false, &["c"])).effects();
    bench.request(1, ack::frame(&[id(1)])).effects();
    bench.request(1, frame("greet", 2, true, &["b"]));
    assert_eq!(bench.published().iter().map(|f| sequences(f)).collect::<Vec<_>>(), [[2]]);
}

#[test]
fn a_request_over_the_pending_limit_is_refused_whole() {
    let mut bench = Bench::with(false, 2);
    let three = frame("greet", 1, true, &["a", "b", "c"]);
    bench.check_refused(three, ErrorCode::PendingFull, Dialect::V2);
    assert_eq!(bench.core.backlog.view().len(), 0);
    assert_eq!(bench.core.backlog.view().bytes(), 0);
}

#[test]
fn each_bad_request_is_refused_in_its_dialect() {
    let mut bench = Bench::new();
    let mut check = |body: &[u8], code, dialect| {
        bench.check_refused(Bytes::copy_from_slice(body), code, dialect);
    };
    use Dialect::{V1, V2};
    use ErrorCode::{ChecksumMismatch, Malformed, TooLarge, UnsupportedVersion};
    check(b"", Malformed, V1);
    check(b"no separator", Malformed, V1);
    check(b"greet|no pickle", Malformed, V1);
    check(&frame_v1("ping", "reserved", false).0[1..], Malformed, V1);
    check(&[b"other|", &frame_v1("greet", "x", false).0[6..]].concat(), Malformed, V1);
    check(b"\x05greet|", UnsupportedVersion, V2);
    check(b"\x01greet", Malformed, V2);
    check(b"\x01greet|", Malformed, V2);
    check(b"\x01greet|\xff\xff\xff\xff", Malformed, V2);
    check(b"\x01ack|123", Malformed, V2);
    check(&vec![1; (1 << 20) + 1], TooLarge, V2);
    check(&vec![b'a'; (1 << 20) + 1], TooLarge, V1);

    let good = record("greet", 1, true, b"hello");
    let framed = |records: &[&[u8]]| [&v2_prefix("greet"), &records.concat()[..]].concat();
    let mut forged = good.clone();
    forged[4] ^= 1;
    check(&framed(&[&forged]), ChecksumMismatch, V2);
    check(&framed(&[&good[..good.len() - 1]]), Malformed, V2);
    check(&framed(&[&good, &record("greet", 3, true, b"gap")]), Malformed, V2);
    check(&framed(&[&record("greet", 0, true, b"no sequence")]), Malformed, V2);
    assert_eq!(bench.core.backlog.view().len(), 0);
}

#[test]
fn checksums_are_checked_as_configured() {
    let mut forged = v2_prefix("greet");
    let at = forged.len() + 4;
    forged.extend(record("greet", 1, false, b"hello"));
    forged[at] ^= 1;
    let forged = Bytes::from(forged);
    let mut bench = Bench::new();
    bench.request(1, forged.clone());
    assert_eq!(bench.replies(), [(1, Reply::Ok)]);
    bench = Bench::new();
    bench.core.rules.verify = Verify::Always;
    bench.check_refused(forged, ErrorCode::ChecksumMismatch, Dialect::V2);
}

#[test]
fn refusals_say_what_to_do() {
    let too_large = Refusal::TooLarge { bytes: 11, max: 10 };
    assert!(too_large.to_string().contains("--max-message-size"));
    let version = Refusal::Frame(FrameError::Version { version: 5 });
    assert_eq!(version.code(), ErrorCode::UnsupportedVersion);
}

/// The text of the refusal of a request.
#[track_caller]
fn refused_text(bench: &mut Bench, body: impl Into<Bytes>) -> String {
    bench.request(9, body);
    match &bench.replies()[..] {
        [(9, Reply::Refused(why, Dialect::V2))] if why.code() == ErrorCode::TooLarge => {
            why.to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn several_messages_in_one_request_are_limited_and_one_alone_is_not() {
    let mut bench = Bench::limited(false, Limits { messages: 100, bytes: 1 << 24 });
    bench.core.rules.max_message_bytes = 4 << 20;
    let half = "x".repeat(BATCH_BYTES_MAX / 2);
    let text = refused_text(&mut bench, frame("greet", 1, true, &[&half, &half]));
    assert!(text.contains(&format!("at most {BATCH_BYTES_MAX}")), "{text}");
    assert!(bench.core.backlog.view().is_empty());
    bench.request(1, frame("greet", 1, true, &[&half.repeat(3)])).check(false);
    assert_eq!(bench.replies(), [(1, Reply::Ok)]);
    // The longest request with several messages.
    let empty = record("greet", 2, true, b"").len() + record("greet", 3, true, b"").len();
    let rest = "x".repeat(BATCH_BYTES_MAX - half.len() - empty);
    let longest = frame("greet", 2, true, &[&half, &rest]);
    let text = refused_text(&mut bench, frame("greet", 2, true, &[&half, &format!("{rest}x")]));
    assert!(text.contains(&format!("has {} bytes", BATCH_BYTES_MAX + 1)), "{text}");
    bench.request(1, longest).check(false);
    assert_eq!(bench.replies(), [(1, Reply::Ok)]);
}

#[test]
fn acknowledgements_in_one_request_are_limited() {
    let mut bench = Bench::new();
    bench.request(1, frame("greet", 1, true, &["a"])).effects();
    let ids: Vec<MessageId> = (1..=ACK_BYTES_MAX as u64 / 16 + 1).map(id).collect();
    let text = refused_text(&mut bench, ack::frame(&ids));
    assert!(text.contains(&format!("at most {}", ACK_BYTES_MAX)), "{text}");
    assert_eq!(bench.core.backlog.view().len(), 1, "none of them counts");
    bench.request(1, ack::frame(&ids[..ids.len() - 1]));
    assert_eq!(bench.replies(), [(1, Reply::Ok)]);
    assert!(bench.core.backlog.view().is_empty());
}

#[test]
fn a_message_over_the_limit_is_told_the_limit_that_was_set() {
    let mut bench = Bench::new();
    bench.core.rules.max_message_bytes = 700;
    let text = refused_text(&mut bench, frame("greet", 1, true, &[&"x".repeat(800)]));
    assert!(text.contains("limit is 700;") && text.contains("--max-message-size"), "{text}");
    bench.core.too_large(9, 5_000_000_000, Dialect::V2);
    let (_, replies) = bench.effects();
    let refusal = Refusal::TooLarge { bytes: 5_000_000_000, max: 700 };
    assert_eq!(replies, [(9, Reply::Refused(refusal, Dialect::V2))]);
    bench.check_refused(vec![b'a'; 701], ErrorCode::TooLarge, Dialect::V1);
    // A native request may hold several that are small enough.
    let small = "x".repeat(600);
    bench.request(1, frame("greet", 1, true, &[&small, &small]));
    assert_eq!(bench.replies(), [(1, Reply::Ok)]);
}

#[test]
fn nobody_publishes_under_the_id_of_another() {
    let mut bench = Bench::new();
    bench.subscribe(b"\x01greet|");
    let (mine, theirs) = ([1; 16], [2; 16]);
    let hello_frame = |secret| Bytes::from(hello::request(&secret));
    bench.core.request(1, hello_frame(mine), bench.now);
    bench.core.request(2, hello_frame(theirs), bench.now);
    let answers = bench.replies();
    assert!(matches!(answers[..], [(1, Reply::Hello(..)), (2, Reply::Hello(..))]), "{answers:?}");
    let of_mine = frame_of(hello::publisher(&mine), "greet", 1, b"x");
    bench.core.request(2, of_mine.clone(), bench.now);
    match &bench.replies()[..] {
        [(2, Reply::Refused(why, Dialect::V2))] => assert_eq!(why.code(), ErrorCode::NotYours),
        other => panic!("{other:?}"),
    }
    // The number is still free for its owner.
    bench.core.request(1, of_mine.clone(), bench.now);
    assert_eq!(bench.effects(), (vec![of_mine.clone()], vec![(1, Reply::Ok)]));
    // Also on another connection, once it said hello there, and not after that is gone.
    bench.core.disconnected(1);
    bench.core.request(1, of_mine.clone(), bench.now);
    assert!(matches!(bench.replies()[..], [(1, Reply::Refused(..))]));
    bench.core.request(3, hello_frame(mine), bench.now);
    bench.effects();
    bench.core.request(3, of_mine, bench.now);
    assert_eq!(bench.effects(), (vec![], vec![(3, Reply::Ok)]), "a repeat");
}

#[test]
fn numbers_that_come_again_with_another_content_are_no_repeat() {
    let mut bench = Bench::new();
    bench.subscribe(b"\x01greet|").subscribe(b"\x01other|");
    let sent = frame("greet", 1, true, &["a", "b"]);
    bench.request(1, sent.clone()).effects();
    bench.check_refused(frame("greet", 1, true, &["a", "c"]), ErrorCode::Malformed, Dialect::V2);
    bench.check_refused(frame("other", 1, true, &["a", "b"]), ErrorCode::Malformed, Dialect::V2);
    bench.request(1, sent);
    assert_eq!(bench.effects(), (vec![], vec![(1, Reply::Ok)]));
    assert_eq!(bench.core.backlog.view().len(), 2);
}

#[test]
fn what_is_no_hello_behind_its_first_byte_is_malformed() {
    let mut bench = Bench::new();
    for body in [
        &b"\x02"[..],
        b"\x02\x01",
        b"\x02\x010123456789abcde",
        b"\x02\x020123456789abcdef",
        b"\x02\x010123456789abcdef\x02n",
        b"\x02\x010123456789abcdef\x01\n",
    ] {
        bench.check_refused(body, ErrorCode::Malformed, Dialect::V2);
    }
}
