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
    assert_eq!(bench.core.backlog.view().len(), 0);
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
fn who_wants_a_name_is_found_out_for_each_frame_and_not_for_each_message() {
    let mut bench = Bench::new();
    bench.subscribe(b"\x01greet|");
    bench.request(1, frame("greet", 1, true, &["x"; 50])).effects();
    for _ in 0..2 {
        let before = bench.core.subscribers.looks.get();
        let again = bench.pass(INTERVAL + Duration::from_millis(200)).published();
        assert_eq!(again.iter().map(|frame| sequences(frame).len()).sum::<usize>(), 50);
        let looks = bench.core.subscribers.looks.get() - before;
        assert!(looks <= 3, "{looks}");
    }
}

#[test]
fn a_message_waits_for_its_first_subscriber_who_gets_it_at_once() {
    for prefix in [&b"\x01greet|"[..], b"\x01gr", b""] {
        let mut bench = Bench::new();
        bench.request(1, frame("greet", 1, true, &["a", "b"]));
        bench.effects();
        bench.subscribe(b"\x01other|").pass(INTERVAL * 2);
        assert!(bench.published().is_empty());
        assert_eq!(bench.core.next_due(), None, "no timer runs for it");
        bench.subscribe(prefix);
        assert_eq!(bench.core.next_due(), Some(Duration::ZERO));
        bench.pass(Duration::ZERO);
        let frames = bench.published();
        assert_eq!(sequences(&frames[frames.len() - 1]), [1, 2]);
    }
}

#[test]
fn a_cancelled_subscription_ends_at_once_and_only_for_its_connection() {
    let mut bench = Bench::new();
    bench.subscribe_as(1, b"\x01greet|").subscribe_as(2, b"\x01greet|");
    bench.request(1, frame("greet", 1, true, &["a"]));
    assert_eq!(bench.receivers(), [[1, 2]]);
    bench.core.cancelled(1, b"\x01greet|");
    bench.request(1, frame("greet", 2, false, &["b"]));
    assert_eq!(bench.receivers(), [[2]]);
    bench.pass(INTERVAL + Duration::from_secs(1));
    assert_eq!(bench.receivers(), [[2]], "what is sent again");
    bench.core.cancelled(2, b"\x01greet|");
    bench.request(1, frame("greet", 3, false, &["c"])).pass(INTERVAL * 2);
    assert!(bench.published().is_empty());
    // The unacknowledged one waits for the next subscriber.
    bench.subscribe_as(3, b"\x01greet|").pass(Duration::ZERO);
    let (deliveries, _) = bench.deliveries();
    assert_eq!(sequences(&deliveries[0].frame), [1]);
    assert_eq!(deliveries[0].to, [3]);
}

#[test]
fn a_connection_that_leaves_ends_its_subscriptions() {
    let mut bench = Bench::new();
    bench.subscribe_as(1, b"\x01greet|").subscribe_as(1, b"greet").subscribe_as(2, b"\x01");
    bench.core.disconnected(1);
    // Before any turn has ended them.
    bench.request(1, frame("greet", 1, false, &["a"]));
    assert_eq!(bench.receivers(), [[2]]);
    bench.core.disconnected(2);
    bench.request(1, frame("greet", 2, true, &["b"])).pass(INTERVAL * 2);
    assert!(bench.published().is_empty());
    assert_eq!(bench.core.subscribers.len(), 0);
    assert_eq!(bench.core.next_due(), None);
}

#[test]
fn the_cancellation_of_a_stranger_changes_nothing() {
    let mut bench = Bench::new();
    bench.subscribe_as(1, b"\x01greet|").subscribe_as(2, b"\x01other|");
    bench.core.cancelled(2, b"\x01greet|");
    bench.core.cancelled(3, b"\x01greet|");
    bench.core.cancelled(1, b"\x01gree");
    bench.core.cancelled(1, b"greet|");
    bench.request(1, frame("greet", 1, false, &["a"]));
    assert_eq!(bench.receivers(), [[1]]);
    assert_eq!(bench.core.subscribers.len(), 2);
}

#[test]
fn a_connection_gets_a_frame_once_however_many_of_its_prefixes_fit() {
    let mut bench = Bench::new();
    for prefix in [&b"\x01greet|"[..], b"\x01gr", b"", b"\x01greet|"] {
        bench.subscribe_as(7, prefix);
    }
    bench.subscribe_as(5, b"\x01g").request(1, frame("greet", 1, false, &["a"]));
    // The empty prefix also wants the original format.
    assert_eq!(bench.receivers(), [vec![5, 7], vec![7]]);
}

#[test]
fn a_message_is_sent_again_to_those_who_keep_up_alone() {
    let mut bench = Bench::new();
    bench.request(1, frame("greet", 1, true, &["waits"])).effects();
    bench.subscribe_as(1, b"\x01greet|").subscribe_as(2, b"\x01").subscribe_as(3, b"greet|");
    bench.core.subscribers.set_behind(2, true);
    bench.pass(Duration::ZERO);
    assert_eq!(bench.receivers(), [[3], [1]], "what waited for a subscriber");
    bench.request(1, frame("greet", 2, true, &["new"]));
    assert_eq!(bench.receivers(), [vec![1, 2], vec![3]], "new messages go to all");
    bench.pass(INTERVAL + Duration::from_secs(1));
    // One by one in the original format, both in one frame in the native one.
    assert_eq!(bench.receivers(), [[3], [3], [1]]);
    bench.core.keeps_up(2);
    bench.pass(INTERVAL + Duration::from_secs(1));
    assert_eq!(bench.receivers(), [vec![3], vec![3], vec![1, 2]]);
}

#[test]
fn nothing_is_sent_again_to_a_name_of_which_no_subscriber_keeps_up() {
    let mut bench = Bench::new();
    bench.request(1, frame("greet", 1, true, &["waits"])).effects();
    bench.subscribe_as(1, b"\x01greet|").subscribe_as(2, b"\x01greet|");
    bench.subscribe_as(3, b"\x01other|").request(1, frame("other", 2, true, &["o"])).effects();
    bench.core.subscribers.set_behind(1, true);
    bench.core.subscribers.set_behind(2, true);
    bench.pass(Duration::ZERO);
    assert!(bench.published().is_empty(), "what waited for a subscriber");
    bench.request(1, frame("greet", 3, true, &["new"]));
    assert_eq!(bench.receivers(), [[1, 2]], "new messages are not held up here");
    bench.pass(INTERVAL + Duration::from_secs(1));
    assert_eq!(bench.receivers(), [[3]], "another name is not affected");
    assert_ne!(bench.core.next_due(), Some(Duration::ZERO), "it would spin");
    bench.core.keeps_up(1);
    bench.core.keeps_up(2);
    assert_eq!(bench.core.next_due(), Some(Duration::ZERO));
    bench.pass(Duration::ZERO);
    assert_eq!(sequences(&bench.published()[0]), [1]);
    bench.pass(INTERVAL + Duration::from_secs(1));
    let again: Vec<_> = bench.published().iter().flat_map(|frame| sequences(frame)).collect();
    assert!([1, 3].iter().all(|sequence| again.contains(sequence)), "{again:?}");
}

#[test]
fn only_what_nobody_has_to_acknowledge_may_be_dropped() {
    let mut bench = Bench::new();
    bench.subscribe(b"\x01greet|").subscribe(b"greet|");
    let mut droppable = |body: Bytes| {
        bench.request(1, body);
        bench.deliveries().0.iter().map(|delivery| delivery.droppable).collect::<Vec<_>>()
    };
    assert_eq!(droppable(frame("greet", 1, false, &["a"])), [true, true]);
    assert_eq!(droppable(frame("greet", 2, true, &["b"])), [false, false]);
    assert_eq!(droppable(frame_v1("greet", "c", false).0), [true, true]);
    assert_eq!(droppable(frame_v1("greet", "d", true).0), [false, false]);
    let mixed = [record("greet", 3, false, b"e"), record("greet", 4, true, b"f")].concat();
    let mixed = [v2_prefix("greet"), mixed].concat().into();
    assert!(droppable(mixed).iter().all(|droppable| !droppable));
    bench.pass(INTERVAL * 2);
    let again = bench.deliveries().0;
    assert!(!again.is_empty() && again.iter().all(|delivery| !delivery.droppable));
}

#[test]
fn a_backlog_whose_subscriber_left_neither_spins_nor_holds_up_others() {
    let mut bench = Bench::with(false, 20_000);
    let payloads = vec!["x"; 10_000];
    bench.request(1, frame("backlog", 1, true, &payloads));
    bench.subscribe_as(1, b"\x01other|").request(2, frame("other", 10_001, true, &["y"]));
    bench.subscribe_as(2, b"\x01backlog|").pass(Duration::ZERO);
    bench.core.disconnected(2);
    bench.effects();
    bench.pass(INTERVAL);
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
    assert_eq!(bench.core.backlog.view().len(), 2);
}

#[test]
fn of_a_frame_sent_again_with_more_only_the_rest_is_published() {
    let mut bench = Bench::new();
    bench.subscribe(b"\x01greet|");
    bench.request(1, frame("greet", 2, false, &["b"])).effects();
    bench.request(1, frame("greet", 1, true, &["a", "b", "c"]));
    let frames = bench.published();
    assert_eq!(frames.iter().map(|f| sequences(f)).collect::<Vec<_>>(), [[1], [3]]);
    assert_eq!(bench.core.backlog.view().len(), 2);
}

#[test]
fn what_went_to_nobody_who_is_left_is_due_at_once_and_the_rest_is_not() {
    let mut bench = Bench::new();
    bench.subscribe_as(1, b"\x01greet|").subscribe_as(3, b"\x01other|").pass(INTERVAL / 8);
    bench.request(1, frame("greet", 1, true, &["to 1 alone"]));
    bench.request(1, frame("other", 2, true, &["to 3"]));
    bench.pass(INTERVAL / 2).subscribe_as(2, b"\x01greet|");
    bench.pass(INTERVAL / 8).request(1, frame("greet", 3, true, &["to 1 and 2"])).effects();
    bench.core.disconnected(1);
    let published = bench.pass(Duration::ZERO).published();
    assert_eq!(published.iter().map(|frame| sequences(frame)).collect::<Vec<_>>(), [[1]]);
    // Its interval begins anew.
    let published = bench.pass(INTERVAL / 2).published();
    assert_eq!(published.iter().map(|frame| sequences(frame)).collect::<Vec<_>>(), [[2]]);
    assert_eq!(bench.pass(INTERVAL / 2).published().len(), 1);
}

#[test]
fn what_went_to_the_last_one_waits_for_the_next_one_however_many_there_are() {
    let mut bench = Bench::with(false, 5000);
    bench.subscribe_as(1, b"\x01greet|");
    for n in 0..5000 {
        bench.request(1, frame("greet", n + 1, true, &["x"]));
    }
    bench.pass(INTERVAL / 2).effects();
    bench.core.disconnected(1);
    let mut turns = 0;
    while bench.core.turn(bench.now) {
        turns += 1;
    }
    assert!(turns >= 5, "{turns}");
    bench.subscribe_as(2, b"\x01greet|");
    let mut received = Vec::new();
    while received.len() < 5000 {
        let published = bench.pass(Duration::ZERO).published();
        assert!(!published.is_empty());
        received.extend(published.iter().flat_map(|frame| sequences(frame)));
    }
    received.sort_unstable();
    assert!(received.iter().copied().eq(1..=5000));
}
