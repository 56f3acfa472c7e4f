//! Delivery, and delivery again.

use super::*;

#[test]
fn a_message_reaches_its_subscribers_as_it_arrived_and_is_answered() {
    let mut bench = Bench::new();
    let sent = frame("greet", 1, false, &["a", "b"]);
    bench.subscribe(b"\x01greet|").request(3, sent.clone());
    let (frames, replies) = bench.effects();
    assert_eq!(frames, std::slice::from_ref(&sent));
    assert_eq!(frames[0].as_ptr(), sent.as_ptr(), "the frame was copied");
    assert_eq!(replies, [(3, Reply::Ok)]);
}

#[test]
fn pings_are_answered_in_both_formats() {
    let mut bench = Bench::new();
    bench.request(1, &b"\x01ping|"[..]).request(2, &b"ping|anything"[..]);
    assert_eq!(bench.replies(), [(1, Reply::Ok), (2, Reply::Ok)]);
}

#[test]
fn an_unacknowledged_message_is_sent_again_until_it_is_acknowledged() {
    let mut bench = Bench::new();
    bench.subscribe(b"\x01greet|").request(1, frame("greet", 1, true, &["a"]));
    let sent = bench.published();
    for _ in 0..3 {
        assert!(bench.pass(INTERVAL - Duration::from_millis(1)).published().is_empty());
        assert_eq!(bench.pass(Duration::from_millis(200)).published(), sent);
    }
    bench.request(2, ack::frame(&[id(1)]));
    assert_eq!(bench.replies(), [(2, Reply::Ok)]);
    assert!(bench.pass(INTERVAL * 3).published().is_empty());
    assert_eq!(bench.core.pending.view().len(), 0);
}

#[test]
fn unknown_and_repeated_acknowledgements_are_answered_ok() {
    let mut bench = Bench::new();
    bench.request(1, ack::frame(&[id(1), id(2)])).request(1, ack::frame(&[id(1)]));
    assert_eq!(bench.replies(), [(1, Reply::Ok), (1, Reply::Ok)]);
}

#[test]
fn resent_messages_of_one_name_leave_in_one_frame_in_order() {
    let mut bench = Bench::new();
    bench.subscribe(b"\x01greet|");
    bench.request(1, frame("greet", 1, true, &["a", "b"]));
    bench.request(1, frame("greet", 3, true, &["c"]));
    bench.effects();
    bench.pass(INTERVAL + Duration::from_secs(1));
    let frames = bench.published();
    assert_eq!(frames.len(), 1);
    assert_eq!(sequences(&frames[0]), [1, 2, 3]);
}

#[test]
fn a_message_waits_for_its_first_subscriber_who_gets_it_at_once() {
    for prefix in [&b"\x01greet|"[..], b"\x01gr", b""] {
        let mut bench = Bench::new();
        bench.request(1, frame("greet", 1, true, &["a", "b"]));
        bench.effects();
        bench.subscribe(b"\x01other|").pass(INTERVAL * 2);
        assert!(bench.published().is_empty());
        assert_eq!(bench.core.next_due(), Some(WAITING_RETRIED));
        bench.subscribe(prefix);
        assert_eq!(bench.core.next_due(), Some(Duration::ZERO));
        bench.pass(Duration::ZERO);
        let frames = bench.published();
        assert_eq!(sequences(&frames[frames.len() - 1]), [1, 2]);
    }
}

#[test]
fn a_subscription_counts_for_a_while_after_somebody_cancelled_it() {
    let mut bench = Bench::new();
    bench.subscribe(b"\x01greet|").request(1, frame("greet", 1, true, &["a"]));
    bench.effects();
    // Whoever cancelled it may never have had it.
    bench.core.cancelled(b"\x01greet|", bench.now);
    assert_eq!(bench.pass(INTERVAL * 2).published().len(), 1);
    bench.pass(CANCEL_DOUBTED).effects();
    assert!(bench.pass(INTERVAL * 2).published().is_empty());
    bench.subscribe(b"\x01greet|").pass(Duration::ZERO);
    assert_eq!(bench.published().len(), 1);
}

#[test]
fn what_nobody_seems_to_want_is_sent_now_and_then_all_the_same() {
    let mut bench = Bench::new();
    bench.request(1, frame("greet", 1, true, &["a", "b"])).effects();
    for _ in 0..3 {
        let frames = bench.pass(WAITING_RETRIED).published();
        assert_eq!(sequences(frames.last().unwrap()), [1, 2]);
        assert!(bench.pass(Duration::ZERO).published().is_empty());
    }
}

#[test]
fn a_backlog_whose_subscriber_left_neither_spins_nor_holds_up_others() {
    let mut bench = Bench::with(false, 20_000);
    let payloads = vec!["x"; 10_000];
    bench.request(1, frame("backlog", 1, true, &payloads));
    bench.subscribe(b"\x01other|").request(2, frame("other", 10_001, true, &["y"]));
    bench.subscribe(b"\x01backlog|").pass(Duration::ZERO);
    bench.core.cancelled(b"\x01backlog|", bench.now);
    bench.effects();
    bench.pass(CANCEL_DOUBTED);
    let mut names: Vec<Bytes> = Vec::new();
    for _ in 0..20 {
        names.extend(bench.pass(Duration::ZERO).published().iter().map(|frame| frame.slice(1..6)));
    }
    assert!(names.contains(&Bytes::from_static(b"other")));
    assert_ne!(bench.core.next_due(), Some(Duration::ZERO));
}

#[test]
fn a_frame_sent_again_is_answered_ok_and_not_published_twice() {
    let mut bench = Bench::new();
    bench.subscribe(b"\x01greet|");
    let sent = frame("greet", 1, true, &["a", "b"]);
    bench.request(1, sent.clone()).request(1, sent.clone());
    let (frames, replies) = bench.effects();
    assert_eq!(frames, [sent]);
    assert_eq!(replies, [(1, Reply::Ok), (1, Reply::Ok)]);
    assert_eq!(bench.core.pending.view().len(), 2);
}

#[test]
fn of_a_frame_sent_again_with_more_only_the_rest_is_published() {
    let mut bench = Bench::new();
    bench.subscribe(b"\x01greet|");
    bench.request(1, frame("greet", 2, false, &["b"])).effects();
    bench.request(1, frame("greet", 1, true, &["a", "b", "c"]));
    let frames = bench.published();
    assert_eq!(frames.iter().map(|f| sequences(f)).collect::<Vec<_>>(), [[1], [3]]);
    assert_eq!(bench.core.pending.view().len(), 2);
}

#[test]
fn a_confirmation_is_published_to_whoever_asks_and_to_nobody_else() {
    let mut bench = Bench::new();
    let topic = confirm::topic(77);
    bench.subscribe(&topic);
    assert_eq!(bench.published(), [&topic[..]]);
    bench.core.cancelled(&topic, Duration::ZERO);
    bench.subscribe(b"\x02short");
    assert!(bench.published().is_empty());
}
