//! Numbers that come again: with what was taken under them, and with something else.

use super::*;
use crate::limits::NUMBERS_REMEMBERED_MAX;

/// A bench at which `greet` 1 and 2 were taken as "a" and "b", for somebody who hears `greet` and `other`.
fn bench(ack: bool) -> Bench {
    let mut bench = Bench::new();
    bench.subscribe(b"\x01greet|").subscribe(b"\x01other|");
    bench.request(1, frame("greet", 1, ack, &["a", "b"]));
    assert_eq!(bench.replies(), [(1, Reply::Ok)]);
    bench
}

#[track_caller]
fn check_differs(bench: &mut Bench, body: impl Into<Bytes>, number: u64) {
    bench.request(9, body);
    match &bench.effects() {
        (frames, replies) if frames.is_empty() => match &replies[..] {
            [(9, Reply::Refused(Refusal::Reused { publisher: 5, sequence }, Dialect::V2))] => {
                assert_eq!(*sequence, number);
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// It is answered OK, and of these messages alone anything is published.
#[track_caller]
fn check_taken(bench: &mut Bench, body: impl Into<Bytes>, new: &[u64]) {
    bench.request(1, body);
    let (frames, replies) = bench.effects();
    assert_eq!(replies, [(1, Reply::Ok)]);
    let published: Vec<u64> = frames.iter().flat_map(|frame| sequences(frame)).collect();
    assert_eq!(published, new);
}

#[test]
fn all_or_a_part_of_a_request_with_another_content_is_refused() {
    for ack in [false, true] {
        let mut bench = bench(ack);
        check_differs(&mut bench, frame("greet", 1, ack, &["z"]), 1);
        check_differs(&mut bench, frame("greet", 2, ack, &["z"]), 2);
        check_differs(&mut bench, frame("greet", 1, ack, &["a", "z"]), 2);
        check_differs(&mut bench, frame("other", 1, ack, &["a", "b"]), 1);
        check_differs(&mut bench, frame("other", 2, ack, &["b"]), 2);
        // A repeat, in whatever cut.
        check_taken(&mut bench, frame("greet", 1, ack, &["a"]), &[]);
        check_taken(&mut bench, frame("greet", 2, ack, &["b"]), &[]);
        check_taken(&mut bench, frame("greet", 1, ack, &["a", "b"]), &[]);
    }
}

#[test]
fn new_messages_behind_old_numbers_with_another_content_are_refused_with_them() {
    let mut bench = bench(true);
    check_differs(&mut bench, frame("other", 2, true, &["z", "new"]), 2);
    check_differs(&mut bench, frame("greet", 2, true, &["z", "new"]), 2);
    assert_eq!(bench.core.backlog.view().len(), 2);
    check_taken(&mut bench, frame("greet", 2, true, &["b", "new"]), &[3]);
    // What came with old ones is known, too.
    check_differs(&mut bench, frame("greet", 3, true, &["newer"]), 3);
    check_taken(&mut bench, frame("greet", 1, true, &["a", "b", "new"]), &[]);
}

#[test]
fn a_checksum_counts_with_each_of_its_bytes() {
    let mut bench = Bench::new();
    let mut frame = frame("greet", 1, false, &["a"]).to_vec();
    bench.request(1, frame.clone());
    assert_eq!(bench.replies(), [(1, Reply::Ok)]);
    // Behind it are the encoding, the payload's place and its length.
    let end = frame.len() - 10;
    for byte in end - 16..end {
        frame[byte] ^= 0x80;
        check_differs(&mut bench, frame.clone(), 1);
        frame[byte] ^= 0x80;
    }
    check_taken(&mut bench, frame, &[]);
}

#[test]
fn it_is_the_same_after_many_other_requests_and_with_gaps_that_are_filled_late() {
    let mut bench = bench(true);
    bench.core.rules.verify = Verify::Never;
    // Fewer gaps than runs are remembered.
    for number in (4..100).rev().step_by(2).chain((4..100).step_by(2)) {
        bench.request(1, frame("greet", number, false, &["c"])).effects();
    }
    check_differs(&mut bench, frame("other", 1, true, &["p", "q"]), 1);
    check_differs(&mut bench, frame("greet", 50, false, &["d"]), 50);
    check_differs(&mut bench, frame("greet", 51, false, &["d"]), 51);
    check_taken(&mut bench, frame("greet", 48, false, &["c"; 4]), &[]);
    check_taken(&mut bench, frame("greet", 1, true, &["a", "b"]), &[]);
}

#[test]
fn also_when_it_is_checked_beside() {
    let mut bench = Bench::limited(false, Limits { messages: 100, bytes: 1 << 24 });
    let (long, other) = ("x".repeat(50_000), "y".repeat(50_000));
    let sent = frame("greet", 1, true, &[&long, &long]);
    bench.request(1, sent.clone()).check(false).effects();
    bench.request(9, frame("greet", 2, true, &[&other, &long])).check(false);
    let replies = bench.replies();
    assert!(matches!(replies[..], [(9, Reply::Refused(Refusal::Reused { sequence: 2, .. }, _))]));
    bench.request(1, sent).check(false);
    assert_eq!(bench.replies(), [(1, Reply::Ok)]);
}

#[test]
fn what_is_forgotten_counts_as_a_repeat() {
    let mut bench = bench(false);
    let each = 8192;
    for request in 0..(NUMBERS_REMEMBERED_MAX as u64).div_ceil(each) {
        let mut out = v2_prefix("greet");
        for sequence in 3 + request * each..3 + (request + 1) * each {
            out.extend(record("greet", sequence, false, b""));
        }
        bench.request(1, out).effects();
    }
    check_taken(&mut bench, frame("greet", 1, false, &["z"]), &[]);
    check_differs(&mut bench, frame("greet", 3 + each, false, &["z"]), 3 + each);
}

#[test]
fn after_a_restart_only_the_numbers_are_known() {
    let mut bench = Bench::new();
    bench.subscribe(b"\x01greet|");
    bench.core.restore_seen(5, 1, 2);
    check_taken(&mut bench, frame("greet", 1, true, &["z"]), &[]);
    check_taken(&mut bench, frame("greet", 2, true, &["z", "new"]), &[3]);
    check_differs(&mut bench, frame("greet", 2, true, &["z", "newer"]), 3);
}
