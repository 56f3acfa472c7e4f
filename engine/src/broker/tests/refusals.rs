//! What is refused, and how.

use super::*;

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
    assert_eq!(bench.core.pending.view().len(), 0);
    assert_eq!(bench.core.pending.view().bytes(), 0);
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
    assert_eq!(bench.core.pending.view().len(), 0);
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
