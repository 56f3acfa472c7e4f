//! Requests that take long to check: what happens to them, and around them, until there is a verdict.

use super::*;
use crate::broker::transcode;
use crate::broker::transcode_queue::transcode_message;
use crate::limits::{
    BATCH_BYTES_MAX, CARRYING_MAX, CHECKED_AT_ONCE_BYTES_MAX, TRANSCODED_BYTES_PER_TURN_MAX,
};

/// A bench on which large requests are no larger than they may be.
fn bench(durable: bool) -> Bench {
    let mut bench = Bench::limited(durable, Limits { messages: 100, bytes: 1 << 24 });
    bench.core.rules.max_message_bytes = 4 << 20;
    bench
}

fn long_text() -> String {
    "x".repeat(BATCH_BYTES_MAX + 1)
}

/// A large request of each kind, right or wrong: one native message, one of the original format, several.
fn large(is_right: bool) -> [Bytes; 3] {
    let text = long_text();
    let part = &text[..CHECKED_AT_ONCE_BYTES_MAX / 2];
    let requests = [
        frame("greet", 1, true, &[&text]),
        frame_v1("greet", &text, true).0,
        frame("greet", 1, true, &[part, part, "z"]),
    ];
    requests.map(|request| {
        let mut request = Vec::from(request);
        if !is_right {
            let middle = request.len() / 2;
            request[middle] = b'y';
        }
        request.into()
    })
}

/// How many messages one of them holds.
fn messages(request: &[u8]) -> usize {
    match Frame::parse(request).unwrap() {
        Frame::V1 { .. } => 1,
        Frame::V2 { body, .. } => Records::new(body).count(),
    }
}

impl Bench {
    /// Whether a request that is not answered leads to a check; the answer otherwise.
    fn is_checked(&mut self, request: impl Into<Bytes>) -> Result<(), Reply> {
        self.request(1, request);
        match self.replies().pop() {
            Some((_, reply)) => Err(reply),
            None => {
                assert_eq!(self.checks.len(), 1);
                self.check(false).effects();
                Ok(())
            }
        }
    }
}

/// The one answer, a refusal.
#[track_caller]
fn refusal(replies: &[(u32, Reply)]) -> &Refusal {
    match replies {
        [(_, Reply::Refused(why, _))] => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_right_is_taken_once_that_is_known() {
    for request in large(true) {
        let mut bench = bench(false);
        bench.subscribe(if request[0] == 1 { b"\x01greet|" } else { b"greet|" });
        bench.request(1, request.clone());
        assert_eq!(bench.effects(), (vec![], vec![]));
        assert!(bench.core.backlog.view().is_empty());
        bench.check(false);
        let kept = messages(&request);
        assert_eq!(bench.effects(), (vec![request], vec![(1, Reply::Ok)]));
        assert_eq!(bench.core.backlog.view().len(), kept);
    }
}

#[test]
fn what_is_wrong_is_refused_and_its_number_stays_free() {
    for (wrong, right) in large(false).into_iter().zip(large(true)) {
        let mut bench = bench(false);
        bench.request(1, wrong).check(false);
        assert_eq!(refusal(&bench.replies()), &Refusal::Checksum);
        assert!(bench.core.backlog.view().is_empty());
        bench.request(1, right).check(false);
        assert_eq!(bench.replies(), [(1, Reply::Ok)]);
    }
}

#[test]
fn a_connection_that_ends_meanwhile_has_its_request_taken() {
    for request in large(true) {
        let mut bench = bench(false);
        bench.subscribe_as(2, b"\x01greet|").subscribe_as(2, b"greet|");
        bench.request(1, request.clone());
        bench.core.disconnected(1);
        bench.check(false);
        let (published, replies) = bench.effects();
        assert!(published.contains(&request));
        assert_eq!(replies, [(1, Reply::Ok)]);
    }
}

#[test]
fn the_same_request_sent_again_while_the_first_is_checked_is_one_message() {
    for request in large(true) {
        for backwards in [false, true] {
            let mut bench = bench(true);
            bench.request(1, request.clone()).request(2, request.clone()).check(backwards);
            assert_eq!(bench.replies(), [], "neither is stored");
            let (group, ops) = bench.core.take_group().unwrap();
            assert_eq!(ops.len(), messages(&request));
            bench.store(group);
            let mut replies = bench.replies();
            replies.sort_unstable_by_key(|(to, _)| *to);
            assert_eq!(replies, [(1, Reply::Ok), (2, Reply::Ok)]);
            assert_eq!(bench.core.backlog.view().len(), messages(&request));
        }
    }
}

#[test]
fn a_journal_that_fails_meanwhile_refuses_what_it_would_have_to_store() {
    for request in large(true) {
        let mut bench = bench(true);
        bench.request(1, request);
        bench.core.journal_failed("disk gone", false);
        bench.check(false);
        assert!(matches!(refusal(&bench.replies()), Refusal::JournalFailed(_)));
        assert!(bench.core.backlog.view().is_empty());
        assert!(bench.core.take_group().is_none());
    }
}

#[test]
fn the_limit_of_pending_messages_counts_when_the_verdict_comes() {
    for request in large(true) {
        let mut bench = Bench::limited(false, Limits { messages: 1, bytes: 1 << 24 });
        bench.core.rules.max_message_bytes = 4 << 20;
        bench.request(1, request).request(2, frame_v1("other", "x", true).0);
        bench.core.out.queue.retain(|effect| matches!(effect, Effect::Check(..)));
        bench.check(false);
        assert!(matches!(refusal(&bench.replies()), Refusal::PendingFull(_)));
    }
}

#[test]
fn a_large_message_is_carried_over_elsewhere_to_be_sent_again() {
    let text = "x".repeat(TRANSCODED_BYTES_PER_TURN_MAX);
    for (is_native, settles) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut bench = bench(false);
        if is_native {
            bench.request(1, frame("greet", 1, true, &[&text])).effects();
        } else {
            bench.request(1, frame_v1("greet", &text, true).0).check(false).effects();
        }
        bench.subscribe_as(2, if is_native { b"greet|" } else { b"\x01greet|" });
        bench.effects();
        bench.pass(Duration::ZERO).pass(INTERVAL + Duration::from_secs(1));
        assert!(bench.published().is_empty());
        assert_eq!(bench.carries.len(), 1, "once is enough");
        let message = bench.carries.pop().unwrap();
        if settles {
            bench.request(1, ack::frame(&[message.id])).effects();
        }
        bench.core.carried(&message, transcode_message(&message));
        let published = bench.published();
        if settles {
            assert!(published.is_empty(), "it was acknowledged meanwhile");
            continue;
        }
        assert_eq!(published.len(), 1);
        assert_eq!(published[0][0] == 1, !is_native);
        let again = bench.pass(INTERVAL + Duration::from_secs(1)).published();
        // What came in the original format is there still.
        let expected = if is_native { (0, 1) } else { (1, 0) };
        assert_eq!((again.len(), bench.carries.len()), expected, "after an interval");
    }
}

#[test]
fn however_many_are_to_be_carried_over_each_goes_out_once_without_another_interval() {
    const MESSAGES: u64 = 3 * CARRYING_MAX as u64;
    let text = "x".repeat(TRANSCODED_BYTES_PER_TURN_MAX);
    let mut bench = bench(false);
    for number in 1..=MESSAGES {
        bench.request(1, frame("greet", number, true, &[&text])).effects();
    }
    bench.subscribe_as(2, b"greet|").effects();
    let mut carried = Vec::new();
    loop {
        bench.pass(Duration::ZERO);
        assert!(bench.published().is_empty());
        assert!(bench.carries.len() <= CARRYING_MAX);
        // One at a time, so that others begin while others are under way.
        let Some(message) = bench.carries.pop() else { break };
        bench.core.carried(&message, transcode_message(&message));
        assert_eq!(bench.published().len(), 1);
        carried.push(message.id);
    }
    carried.sort_unstable();
    assert_eq!(carried, (1..=MESSAGES).map(id).collect::<Vec<_>>());
    assert_eq!(bench.core.counters.resent.get(), MESSAGES);
}

#[test]
fn a_request_whose_check_has_not_begun_is_refused_at_the_end() {
    for request in large(true) {
        let mut bench = bench(false);
        bench.request(1, request).effects();
        bench.core.drain();
        bench.core.refuse_check(bench.checks[0].number);
        assert_eq!(refusal(&bench.replies()), &Refusal::ShuttingDown);
        assert!(bench.core.checking.is_empty());
    }
}

#[test]
fn an_end_finishes_checks_that_have_begun_and_begins_no_others() {
    for request in large(true) {
        let mut bench = bench(false);
        bench.request(1, request.clone());
        bench.core.drain();
        bench.check(false);
        assert_eq!(bench.replies(), [(1, Reply::Ok)]);
        let dialect = if request[0] == 1 { Dialect::V2 } else { Dialect::V1 };
        let refused = Reply::Refused(Refusal::ShuttingDown, dialect);
        if messages(&request) > 1 {
            // Several are checked at once then, and what was taken before is told so.
            assert_eq!(bench.is_checked(request), Err(Reply::Ok));
            let part = &long_text()[..CHECKED_AT_ONCE_BYTES_MAX / 2];
            let others = frame("greet", 4, true, &[part, part]);
            assert_eq!(bench.is_checked(others), Err(refused));
        } else {
            assert_eq!(bench.is_checked(request), Err(refused));
        }
    }
}

#[test]
fn what_is_still_being_checked_at_the_end_is_refused_and_its_verdict_changes_nothing() {
    for request in large(true) {
        let mut bench = bench(false);
        bench.request(1, request).effects();
        bench.core.drain();
        bench.core.abandon();
        assert!(bench.core.checking.is_empty());
        assert_eq!(refusal(&bench.replies()), &Refusal::ShuttingDown);
        bench.check(false);
        assert_eq!(bench.effects(), (vec![], vec![]));
        assert!(bench.core.backlog.view().is_empty());
    }
}

#[test]
fn a_stranger_is_told_so_before_anything_dear_is_done() {
    let [wrong, ..] = large(false);
    let mut small = Vec::from(frame("greet", 1, true, &["hello"]));
    small[12] ^= 1;
    for request in [wrong, small.into()] {
        let mut bench = bench(false);
        bench.core.request(1, request, bench.now);
        let replies = bench.replies();
        assert!(matches!(refusal(&replies), Refusal::NotYours { publisher: 5 }), "{replies:?}");
        assert!(bench.checks.is_empty());
    }
}

#[test]
fn only_what_takes_long_is_checked_elsewhere() {
    let text = long_text();
    let mut bench = bench(false);
    // What is not verified, and what is fast to verify.
    assert_eq!(bench.is_checked(frame("greet", 1, false, &[&text])), Err(Reply::Ok));
    assert_eq!(bench.is_checked(frame("greet", 2, true, &[&text[..1 << 19]])), Err(Reply::Ok));
    let half = &text[..CHECKED_AT_ONCE_BYTES_MAX / 2 - 100];
    assert_eq!(bench.is_checked(frame("greet", 3, true, &[half, half])), Err(Reply::Ok));
    // Several messages.
    let half = &text[..CHECKED_AT_ONCE_BYTES_MAX / 2];
    assert_eq!(bench.is_checked(frame("greet", 5, false, &[half, half])), Err(Reply::Ok));
    assert_eq!(bench.is_checked(frame("greet", 7, true, &[half, half])), Ok(()));
    let (dict, _) = frame_v1("greet", &text[..CHECKED_AT_ONCE_BYTES_MAX - 200], false);
    assert_eq!(bench.is_checked(dict), Err(Reply::Ok));
    // A dict must be read, whether it is verified or not.
    let (dict, _) = frame_v1("greet", &text[..CHECKED_AT_ONCE_BYTES_MAX], false);
    assert_eq!(bench.is_checked(dict), Ok(()));
    bench.core.rules.verify = Verify::Always;
    assert_eq!(bench.is_checked(frame("greet", 9, false, &[&text])), Ok(()));
    assert_eq!(bench.is_checked(frame("greet", 10, false, &[half, half])), Ok(()));
}

#[test]
fn what_cannot_be_taken_is_refused_before_it_is_checked() {
    let text = long_text();
    let mut bench = bench(false);
    let mut check = |request: Bytes, code| {
        let Err(Reply::Refused(why, _)) = bench.is_checked(request) else { panic!() };
        assert_eq!(why.code(), code, "{why}");
    };
    use ErrorCode::{Malformed, TooLarge};
    check(frame("greet", 1, true, &[&text, &text]), TooLarge);
    check(frame("greet", 0, true, &[&text]), Malformed);
    check(frame_v1("ack", &text, true).0, Malformed);
    check(frame("greet", 1, true, &[&text.repeat(4)]), TooLarge);
    check(frame_v1("greet", &text.repeat(4), true).0, TooLarge);
}

#[test]
fn a_large_message_is_carried_over_where_it_is_checked() {
    let text = long_text();
    let short = &text[..TRANSCODED_BYTES_PER_TURN_MAX];
    for (request, other) in [
        (frame("greet", 1, true, &[&text]), b"greet|".as_slice()),
        // Nothing to verify, but much to carry over.
        (frame("greet", 1, false, &[short]), b"greet|"),
        (frame_v1("greet", &text, true).0, b"\x01greet|"),
    ] {
        for is_late in [false, true] {
            let mut bench = bench(false);
            bench.core.rules.verify = Verify::Always;
            if !is_late {
                bench.subscribe(other);
            }
            bench.subscribe_as(2, if request[0] == 1 { b"\x01greet|" } else { b"greet|" });
            bench.request(1, request.clone());
            if is_late && request.len() <= BATCH_BYTES_MAX {
                // It was taken at once.
                continue;
            }
            bench.effects();
            if is_late {
                // Who subscribes meanwhile gets it as well.
                bench.subscribe(other).check(false);
            }
            bench.check(false);
            let (deliveries, replies) = bench.deliveries();
            assert_eq!(replies, [(1, Reply::Ok)]);
            let [own, carried] = &deliveries[..] else { panic!("{} frames", deliveries.len()) };
            assert_eq!((&own.frame, &own.to[..]), (&request, &[2][..]));
            assert_eq!(carried.to, [SUBSCRIBER]);
            let expected: Bytes = match Frame::parse(&request).unwrap() {
                Frame::V1 { name, pickle } => {
                    let fields = pickle::scan(pickle).unwrap();
                    transcode::to_v2(name, pickle, &(&fields).into()).into()
                }
                Frame::V2 { name, body } => {
                    let (_, record) = Records::new(body).next().unwrap().unwrap();
                    transcode::to_v1(name, &record).0.into()
                }
            };
            assert!(carried.frame == expected);
            if let Ok(Frame::V1 { pickle, .. }) = Frame::parse(&carried.frame) {
                // Its acknowledgement finds back.
                let sum = checksum::to_hex(pickle::scan(pickle).unwrap().checksum);
                bench.request(3, frame_v1("ack", &sum, false).0).effects();
                assert!(bench.core.backlog.view().is_empty());
            }
        }
    }
}
