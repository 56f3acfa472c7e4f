//! Messages that are stored before they are answered.

use super::*;

#[test]
fn ok_waits_for_the_journal() {
    let mut bench = Bench::durable();
    bench.subscribe(b"\x01greet|");
    let sent = frame("greet", 1, true, &["a"]);
    bench.request(1, sent.clone());
    assert_eq!(bench.effects(), (vec![], vec![]));
    let (group, ops) = bench.core.take_group().unwrap();
    assert!(matches!(&ops[..], [Op::Append(message)] if message.id == id(1)));
    // Sent again while the first is under way: it must not be answered earlier.
    bench.request(1, sent.clone());
    assert_eq!(bench.effects(), (vec![], vec![]));
    bench.store(group);
    assert_eq!(bench.effects(), (vec![sent], vec![(1, Reply::Ok), (1, Reply::Ok)]));
    bench.request(2, ack::frame(&[id(1)]));
    assert!(matches!(&bench.core.take_group().unwrap().1[..], [Op::Settle(_)]));
}

#[test]
fn messages_of_one_publisher_stay_in_order_around_the_journal() {
    let mut bench = Bench::durable();
    bench.subscribe(b"\x01greet|");
    bench.request(1, frame("greet", 1, true, &["kept"]));
    let (group, _) = bench.core.take_group().unwrap();
    bench.request(1, frame("greet", 2, false, &["not kept"]));
    assert_eq!(bench.effects(), (vec![], vec![]));
    bench.store(group);
    assert_eq!(bench.published().iter().map(|f| sequences(f)).collect::<Vec<_>>(), [[1], [2]]);
    bench.request(1, frame("greet", 3, false, &["c"]));
    assert_eq!(bench.published().len(), 1);
}

#[test]
fn a_turn_that_is_full_changes_no_order() {
    let mut bench = Bench::durable();
    bench.subscribe(b"\x01greet|");
    let kept = frame("greet", 1, true, &["kept"]);
    bench.request(1, kept.clone());
    let (group, _) = bench.core.take_group().unwrap();
    // Stored, and not answered in this turn any more.
    bench.core.durable(group);
    bench.request(1, frame("greet", 2, false, &["not kept"])).request(2, kept);
    assert_eq!(bench.effects(), (vec![], vec![]));
    bench.store(group);
    let (frames, replies) = bench.effects();
    assert_eq!(frames.iter().map(|f| sequences(f)).collect::<Vec<_>>(), [[1], [2]]);
    assert_eq!(replies.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [1, 1, 2]);
}

#[test]
fn a_message_behind_those_of_another_publisher_is_not_overtaken() {
    let mut bench = Bench::durable();
    bench.subscribe(b"\x01greet|");
    bench.request(1, frame("greet", 1, true, &["kept"]));
    let (first, _) = bench.core.take_group().unwrap();
    bench.request(2, frame_v1("other", "kept", true).0);
    let (second, _) = bench.core.take_group().unwrap();
    let behind = frame("greet", 2, false, &["not kept"]);
    bench.request(3, behind.clone());
    bench.store(first);
    bench.request(4, frame("greet", 3, false, &["not kept"])).request(5, behind);
    let (frames, replies) = bench.effects();
    assert_eq!(frames.iter().map(|f| sequences(f)).collect::<Vec<_>>(), [[1], [2], [3]]);
    assert_eq!(replies.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [1, 3, 4, 5]);
    bench.store(second);
    assert_eq!(bench.replies(), [(2, Reply::Ok)]);
}

#[test]
fn a_failed_journal_refuses_what_waits_and_what_follows() {
    let mut bench = Bench::durable();
    bench.subscribe(b"\x01greet|").subscribe(b"greet");
    bench.request(1, frame("greet", 1, true, &["a"]));
    bench.request(1, frame("greet", 2, false, &["b"]));
    bench.request(2, frame_v1("greet", "c", true).0);
    bench.core.take_group();
    bench.core.journal_failed("disk gone", false);
    let (frames, replies) = bench.effects();
    assert_eq!(frames.len(), 2, "the message that nothing had to store goes out, in both formats");
    assert!(matches!(
        &replies[..],
        [
            (1, Reply::Refused(Refusal::JournalFailed(_), Dialect::V2)),
            (1, Reply::Ok),
            (2, Reply::Refused(Refusal::JournalFailed(_), Dialect::V1)),
        ]
    ));
    assert_eq!(bench.core.backlog.view().len(), 0);
    assert!(bench.pass(INTERVAL * 2).published().is_empty());
    let again = frame("greet", 1, true, &["a"]);
    bench.check_refused(again, ErrorCode::JournalFailed, Dialect::V2);
    bench.request(1, frame("greet", 3, false, &["d"]));
    assert_eq!(bench.replies(), [(1, Reply::Ok)]);
}

#[test]
fn a_message_sent_again_while_it_is_being_stored_is_refused_with_the_first() {
    let mut bench = Bench::durable();
    let sent = frame("greet", 1, true, &["a"]);
    let (original, _) = frame_v1("greet", "b", true);
    bench.request(1, sent.clone()).request(2, original.clone());
    bench.core.take_group();
    bench.request(3, sent).request(4, original);
    bench.core.journal_failed("disk gone", false);
    let refused: Vec<_> = bench
        .replies()
        .into_iter()
        .map(|(to, reply)| (to, matches!(reply, Reply::Refused(Refusal::JournalFailed(_), _))))
        .collect();
    assert_eq!(refused, [(1, true), (2, true), (3, true), (4, true)]);
}

#[test]
fn a_failed_journal_does_not_lose_what_it_had_stored_before() {
    let mut bench = Bench::durable();
    bench.request(1, frame("greet", 1, true, &["a"]));
    let (group, _) = bench.core.take_group().unwrap();
    bench.store(group);
    bench.request(1, frame("greet", 1, true, &["a", "b"]));
    bench.core.journal_failed("disk gone", false);
    assert!(bench.core.backlog.view().contains(&id(1)));
    assert!(!bench.core.backlog.view().contains(&id(2)));
}

#[test]
fn a_frame_that_repeats_what_is_being_stored_is_refused_with_it() {
    let mut bench = Bench::durable();
    let kept = record("greet", 1, true, b"kept");
    let not_kept = record("greet", 2, false, b"not kept");
    bench.request(1, [&v2_prefix("greet"), &kept[..]].concat());
    bench.core.take_group();
    bench.request(2, [&v2_prefix("greet"), &kept[..], &not_kept].concat());
    bench.core.journal_failed("disk gone", false);
    let (frames, replies) = bench.effects();
    assert!(frames.is_empty());
    for (_, reply) in &replies {
        assert!(matches!(reply, Reply::Refused(Refusal::JournalFailed(_), _)), "{replies:?}");
    }
}

#[test]
fn a_failed_journal_does_not_lose_what_it_had_stored_of_a_forgotten_publisher() {
    let mut bench = Bench::durable();
    let sent = frame("greet", 1, true, &["a"]);
    bench.request(1, sent.clone());
    let (group, _) = bench.core.take_group().unwrap();
    bench.store(group);
    bench.core.publishers = crate::broker::publishers::Publishers::default();
    bench.request(2, frame_v1("greet", "b", true).0).request(1, sent);
    bench.core.journal_failed("disk gone", false);
    assert!(bench.core.backlog.view().contains(&id(1)));
}

#[test]
fn a_new_subscriber_gets_nothing_before_it_is_stored() {
    for prefix in [&b"\x01greet|"[..], b"\x01gr"] {
        let mut bench = Bench::durable();
        bench.request(1, frame("greet", 1, true, &["a"]));
        let (group, _) = bench.core.take_group().unwrap();
        bench.subscribe(prefix).pass(Duration::ZERO);
        assert!(bench.published().is_empty());
        assert_ne!(bench.core.next_due(), Some(Duration::ZERO), "it would spin");
        bench.store(group);
        bench.pass(Duration::ZERO);
        assert_eq!(sequences(&bench.published()[0]), [1]);
    }
}

#[test]
fn nothing_is_sent_again_before_it_is_stored() {
    let mut bench = Bench::durable();
    bench.subscribe(b"\x01greet|").request(1, frame("greet", 1, true, &["stored"]));
    let (group, _) = bench.core.take_group().unwrap();
    bench.store(group);
    bench.request(1, frame("greet", 2, true, &["not stored yet"])).effects();
    let (group, _) = bench.core.take_group().unwrap();
    for _ in 0..3 {
        let again = bench.pass(INTERVAL + Duration::from_secs(1)).published();
        assert_eq!(again.iter().map(|f| sequences(f)).collect::<Vec<_>>(), [[1]]);
    }
    bench.store(group);
    assert_eq!(sequences(&bench.published()[0]), [2]);
    let again = bench.pass(INTERVAL + Duration::from_secs(1)).published();
    assert_eq!(sequences(&again[0]), [1, 2]);
}

#[test]
fn a_message_whose_publisher_was_forgotten_is_kept_once() {
    let mut bench = Bench::durable();
    let sent = frame("greet", 1, true, &["a"]);
    bench.request(1, sent.clone());
    bench.core.publishers = crate::broker::publishers::Publishers::default();
    bench.request(1, sent);
    let (_, ops) = bench.core.take_group().unwrap();
    assert_eq!(ops.len(), 1);
    bench.subscribe(b"\x01greet|").pass(Duration::ZERO);
    bench.request(2, ack::frame(&[id(1)])).effects();
    assert_eq!(bench.core.next_due(), None);
}

#[test]
fn a_kept_message_that_comes_again_does_not_wait_for_a_group_that_never_fills() {
    let mut bench = Bench::durable();
    let sent = frame("greet", 1, true, &["a"]);
    bench.request(1, sent.clone());
    let (group, _) = bench.core.take_group().unwrap();
    bench.store(group);
    bench.effects();
    bench.core.publishers = crate::broker::publishers::Publishers::default();
    bench.request(1, sent);
    assert!(bench.core.take_group().is_none());
    assert_eq!(bench.replies(), [(1, Reply::Ok)]);
}

#[test]
fn requests_that_wait_for_the_journal_are_bounded() {
    let mut bench = Bench::durable();
    bench.request(1, frame("greet", 1, true, &["a"]));
    let payload = "x".repeat(1 << 19);
    let mut sequence = 2;
    while bench.core.has_room() {
        bench.request(1, frame("greet", sequence, false, &[&payload]));
        sequence += 1;
        assert!(sequence < 1000, "no bound");
    }
    let (group, _) = bench.core.take_group().unwrap();
    bench.store(group);
    assert!(bench.core.has_room());
}

#[test]
fn what_the_journal_held_is_sent_to_the_first_subscriber() {
    let mut bench = Bench::durable();
    bench.request(1, frame("greet", 1, true, &["a", "b"]));
    let (_, ops) = bench.core.take_group().unwrap();
    let mut again = Bench::durable();
    for op in ops {
        let Op::Append(message) = op else { panic!() };
        again.core.restore(message);
    }
    again.core.restore_seen(5, 1, 2);
    again.subscribe(b"\x01greet|").pass(Duration::ZERO);
    assert_eq!(sequences(&again.published()[0]), [1, 2]);
    again.request(1, frame("greet", 1, true, &["a", "b"]));
    assert_eq!(again.effects(), (vec![], vec![(1, Reply::Ok)]));
}

#[test]
fn a_draining_core_refuses_messages_and_takes_acknowledgements() {
    let mut bench = Bench::durable();
    bench.request(1, frame("greet", 1, true, &["a"]));
    let (group, _) = bench.core.take_group().unwrap();
    bench.core.drain();
    bench.check_refused(frame("greet", 2, true, &["b"]), ErrorCode::ShuttingDown, Dialect::V2);
    bench.store(group);
    assert_eq!(bench.replies(), [(1, Reply::Ok)]);
    // Taken before, and so not a new message.
    bench.request(1, frame("greet", 1, true, &["a"]));
    assert_eq!(bench.replies(), [(1, Reply::Ok)]);
    bench.request(1, ack::frame(&[id(1)]));
    assert_eq!(bench.core.backlog.view().len(), 0);
}

#[test]
fn a_prefix_asked_for_before_a_message_came_does_not_send_it_before_it_is_stored() {
    let mut bench = Bench::durable();
    // So that a name waits, and the prefix has something to look for.
    bench.request(1, frame("grab", 1, true, &["a"]));
    let (group, _) = bench.core.take_group().unwrap();
    bench.store(group);
    bench.subscribe_as(1, b"\x01gr");
    bench.core.cancelled(1, b"\x01gr");
    bench.request(1, frame("greet", 2, true, &["b"]));
    bench.subscribe_as(2, b"\x01greet").effects();
    bench.pass(Duration::ZERO);
    assert_eq!(bench.published(), Vec::<Bytes>::new(), "it is not stored");
    let (group, _) = bench.core.take_group().unwrap();
    bench.store(group);
    bench.pass(Duration::ZERO);
    assert_eq!(sequences(&bench.published()[0]), [2]);
}
