//! Publishers' own keys: what comes again under one is answered, and not published.

use super::expiry::{START_MS, at_start, record_with};
use super::*;
use crate::limits::{KEY_BYTES_MAX, KEYS_MAX};
use crate::message::MessageKey;
use crate::wire::properties::Properties;

const TICK: Duration = Duration::from_millis(1);

fn keyed(key: &str) -> Properties<'_> {
    Properties { key: Some(key), ..Properties::default() }
}

/// A frame of `orders`: the sequence, whether it asks for acknowledgement, and the key of each message.
fn orders(messages: &[(u64, bool, &str)]) -> Bytes {
    let record = |&(sequence, ack, key): &(u64, bool, &str)| match key {
        "" => record_with("orders", sequence, ack, &Properties::default()),
        key => record_with("orders", sequence, ack, &keyed(key)),
    };
    [v2_prefix("orders"), messages.iter().flat_map(record).collect()].concat().into()
}

/// The same of another publisher.
fn of_another(messages: &[(u64, bool, &str)]) -> Vec<u8> {
    let mut out = v2_prefix("orders");
    for &(sequence, ack, key) in messages {
        let mut payload = b"x".to_vec();
        keyed(key).append_to(&mut payload).unwrap();
        let record = Record {
            id: MessageId { publisher: 6, sequence },
            ordinal: 0,
            timestamp_ns: TIMESTAMP_NS,
            checksum: checksum::native("orders", &payload, TIMESTAMP_NS),
            ack,
            has_properties: true,
            encoding: Encoding::Text,
            payload: &payload,
        };
        record.append_to(&mut out).unwrap();
    }
    out
}

fn counts(bench: &Bench) -> (u64, u64) {
    (bench.core.counters.accepted.get(), bench.core.counters.duplicates.get())
}

#[test]
fn a_second_message_under_a_key_is_answered_and_not_published_within_the_window() {
    for ack in [false, true] {
        let mut bench = at_start(Bench::new());
        bench.subscribe(b"\x01orders|").subscribe(b"orders|");
        bench.request(4, orders(&[(1, ack, "k")]));
        assert_eq!(bench.effects().0.len(), 2);
        bench.pass_on_both(INTERVAL - TICK).effects();
        // Also of another publisher: the first one was started anew.
        bench.request(5, of_another(&[(1, ack, "k")])).request(4, orders(&[(2, !ack, "k")]));
        assert_eq!(bench.effects(), (vec![], vec![(5, Reply::Ok), (4, Reply::Ok)]));
        assert_eq!((counts(&bench), bench.core.backlog.view().len()), ((1, 2), usize::from(ack)));
        // Another name, another key.
        let other = [&v2_prefix("x")[..], &record_with("x", 3, ack, &keyed("k"))].concat();
        bench.request(4, other).request(4, orders(&[(4, ack, "l")]));
        assert_eq!(counts(&bench), (3, 2));
        bench.pass_on_both(TICK).effects();
        bench.request(5, of_another(&[(2, ack, "k")]));
        assert_eq!((bench.effects().0.len(), counts(&bench)), (2, (4, 2)));
        // Nothing is left of those whose time is over.
        bench.pass_on_both(INTERVAL + TICK);
        assert_eq!(bench.core.keys.len(), 0);
    }
}

#[test]
fn of_a_frame_the_rest_is_published() {
    let mut bench = at_start(Bench::new());
    bench.subscribe(b"\x01orders|").request(4, orders(&[(1, true, "a")])).effects();
    let messages =
        [(2, true, "a"), (3, true, "b"), (4, false, ""), (5, true, "b"), (6, false, "c")];
    bench.request(4, orders(&messages));
    let (frames, replies) = bench.effects();
    assert_eq!((frames.len(), sequences(&frames[0])), (1, vec![3, 4, 6]));
    assert_eq!((replies, counts(&bench)), (vec![(4, Reply::Ok)], (4, 2)));
    assert_eq!(bench.core.backlog.view().len(), 2);
    // All of it is known by its numbers now, and a part of a longer one.
    bench
        .request(4, orders(&messages))
        .request(4, orders(&[(6, false, "c"), (7, false, "d"), (8, false, "a")]));
    assert_eq!(bench.published().iter().map(|it| sequences(it)).collect::<Vec<_>>(), [[7]]);
}

#[test]
fn the_second_is_answered_when_the_first_is_stored_and_refused_with_it() {
    let mut bench = at_start(Bench::durable());
    bench.subscribe(b"\x01orders|").request(4, orders(&[(1, true, "k"), (2, false, "l")]));
    let (group, ops) = bench.core.take_group().unwrap();
    let key = MessageKey {
        name: "orders".into(),
        key: "k".into(),
        at_ms: START_MS,
        until_ms: START_MS + INTERVAL.as_millis() as u64,
    };
    assert!(matches!(&ops[..], [Op::Append(_), Op::Key(stored)] if *stored == key), "{ops:?}");
    // One of which nothing else is stored waits for the first one, too.
    bench.request(5, of_another(&[(1, false, "l")])).request(5, of_another(&[(2, true, "k")]));
    assert_eq!(bench.effects(), (vec![], vec![]));
    bench.store(group);
    let (frames, replies) = bench.effects();
    assert_eq!((frames.len(), replies.len()), (1, 3));
    assert_eq!(bench.core.take_group(), None);
    // Of one that is not stored nothing is known afterwards.
    bench.request(4, orders(&[(3, true, "m"), (4, false, "n")])).core.take_group();
    bench.request(5, of_another(&[(3, true, "m")])).request(5, of_another(&[(4, false, "n")]));
    bench.core.journal_failed("disk gone", false);
    let replies = bench.replies();
    assert_eq!(replies.len(), 3);
    assert!(replies.iter().all(|(_, reply)| matches!(reply, Reply::Refused(..))), "{replies:?}");
    bench.request(5, of_another(&[(5, false, "n")]));
    assert_eq!(bench.published().len(), 1);
}

#[test]
fn after_a_restart_a_key_counts_as_long_as_before() {
    let mut bench = at_start(Bench::durable());
    let key = |key: &str, until| MessageKey {
        name: "orders".into(),
        key: key.into(),
        at_ms: START_MS,
        until_ms: START_MS + until,
    };
    bench.core.restore_key(&key("k", 500));
    bench.core.restore_key(&key("l", 0));
    bench.request(4, orders(&[(1, false, "k"), (2, false, "l")])).effects();
    assert_eq!(counts(&bench), (1, 1));
    bench.pass_on_both(Duration::from_millis(500));
    bench.request(4, orders(&[(3, false, "k")]));
    assert_eq!(counts(&bench), (2, 1));
}

#[test]
fn too_many_keys_are_refused_and_so_is_one_that_breaks_a_rule() {
    let mut bench = at_start(Bench::new());
    let name = "orders".into();
    for n in 0..KEYS_MAX {
        bench.core.keys.add(&name, &n.to_string(), START_MS + 500, 0);
    }
    bench.check_refused(orders(&[(1, false, "new")]), ErrorCode::PendingFull, Dialect::V2);
    // What has no key is taken, and what has one when others count no longer.
    bench.request(4, orders(&[(1, false, "")]));
    assert_eq!(bench.replies(), [(4, Reply::Ok)]);
    bench.pass_on_both(Duration::from_millis(500)).request(4, orders(&[(2, false, "new")]));
    assert_eq!((bench.replies(), bench.core.keys.len()), (vec![(4, Reply::Ok)], 1));
    let long = "k".repeat(KEY_BYTES_MAX);
    bench.request(4, orders(&[(3, false, &long)]));
    assert_eq!(bench.replies(), [(4, Reply::Ok)]);
    let mut counted = orders(&[(4, false, "k")]).to_vec();
    let at = counted.len() - 42;
    counted[at] = 1;
    bench.check_refused(counted, ErrorCode::Malformed, Dialect::V2);
}
