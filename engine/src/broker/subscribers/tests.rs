use std::collections::BTreeSet;

use super::*;
use crate::limits::NAMES_CACHED_MAX;
use crate::wire::control::{Kind, Overflow, Subscribe};
use crate::wire::filter::Filter;
use proptest::prelude::*;

fn wanted(subscribers: &mut Subscribers, name: &str) -> [Vec<ConnectionId>; 2] {
    let topic = subscribers.topic(name);
    [topic.v1.to_vec(), topic.v2.to_vec()]
}

#[track_caller]
fn check(prefixes: &[&[u8]], name: &str, v1: bool, v2: bool) {
    let mut subscribers = Subscribers::default();
    let ids = |is: bool| if is { vec![7] } else { vec![] };
    for _ in 0..2 {
        for prefix in prefixes {
            subscribers.subscribe(7, prefix, Duration::ZERO).unwrap();
        }
    }
    assert_eq!(wanted(&mut subscribers, name), [ids(v1), ids(v2)], "{prefixes:?} {name}");
    for prefix in prefixes {
        subscribers.cancel(8, prefix);
    }
    assert_eq!(wanted(&mut subscribers, name), [ids(v1), ids(v2)]);
    for prefix in prefixes {
        subscribers.cancel(7, prefix);
        subscribers.cancel(7, prefix);
    }
    assert!(!subscribers.topic(name).is_wanted());
    assert_eq!(
        (subscribers.len(), subscribers.bytes, subscribers.prefixes.lengths(usize::MAX).count()),
        (0, 0, 0)
    );
}

#[test]
fn a_prefix_wants_what_begins_with_it() {
    check(&[b"greet"], "greet", true, false);
    check(&[b"greet"], "greetings", true, false);
    check(&[b"greet|"], "greetings", false, false);
    check(&[b"\x01greet|"], "greet", false, true);
    check(&[b"\x01greet|"], "greetings", false, false);
    check(&[b"\x01gr"], "greet", false, true);
    check(&[b""], "greet", true, true);
    check(&[b"\x01greet|", b"greet|"], "greet", true, true);
    check(&[b"\x01other|"], "greet", false, false);
    check(&[b"greet|(dp0"], "greet", true, false);
}

#[test]
fn one_cancellation_ends_a_subscription_however_often_it_was_asked_for() {
    let mut subscribers = Subscribers::default();
    for _ in 0..3 {
        subscribers.subscribe(1, b"greet", Duration::ZERO).unwrap();
    }
    subscribers.cancel(1, b"greet");
    assert!(!subscribers.topic("greet").is_wanted());
}

#[test]
fn a_connection_that_is_gone_wants_nothing_and_leaves_nothing() {
    let mut subscribers = Subscribers::default();
    for n in 0..SUBSCRIPTIONS_ENDED_PER_TURN_MAX + 1 {
        subscribers.subscribe(1, format!("a{n}|").as_bytes(), Duration::ZERO).unwrap();
    }
    subscribers.subscribe(2, b"a1|", Duration::ZERO).unwrap();
    subscribers.disconnect(1);
    assert!(!subscribers.topic("a0").is_wanted());
    assert_eq!(wanted(&mut subscribers, "a1"), [vec![2], vec![]]);
    assert!(subscribers.turn(|_| {}), "it takes turns");
    assert!(!subscribers.turn(|_| {}));
    assert_eq!((subscribers.len(), subscribers.prefixes.lengths(usize::MAX).count()), (1, 1));
}

#[test]
fn names_share_one_copy_and_the_cache_is_bounded() {
    let mut subscribers = Subscribers::default();
    let first = subscribers.topic("a").name.clone();
    subscribers.subscribe(1, b"", Duration::ZERO).unwrap();
    assert!(ArcStr::ptr_eq(&first, &subscribers.topic("a").name));
    for n in 0..NAMES_CACHED_MAX * 2 {
        subscribers.topic(&n.to_string());
    }
    assert!(subscribers.names.len() <= NAMES_CACHED_MAX);
}

#[test]
fn bytes_of_one_connection_are_bounded() {
    let mut subscribers = Subscribers::default();
    let refused = (0..).find_map(|n| {
        subscribers.subscribe(1, format!("{n:01000}").as_bytes(), Duration::ZERO).err()
    });
    assert_eq!(refused, Some(SubscriptionLimit::EachBytes(SUBSCRIPTION_BYTES_MAX_EACH)));
    subscribers.subscribe(2, b"others are served", Duration::ZERO).unwrap();
    let bytes = subscribers.bytes;
    assert!(subscribers.subscribe(1, &[b'x'; 1000], Duration::ZERO).is_err());
    assert_eq!(subscribers.bytes, bytes);
}

/// Subscribes to `a`, `b` and so on as one connection after the other, and a last time on both ports as a further one;
/// expects that this is refused, that nothing changes, and that it is taken once somebody is gone.
#[track_caller]
fn check_bound_of_all(limits: Limits, room_for: u64, refusal: SubscriptionLimit) {
    let mut subscribers = Subscribers { limits, ..Subscribers::default() };
    for id in 0..room_for {
        let topic = [b'a' + id as u8];
        subscribers.subscribe(id, &topic, Duration::ZERO).unwrap();
        // What a connection has already is not counted again.
        subscribers.subscribe(id, &topic, Duration::ZERO).unwrap();
    }
    let booked = (subscribers.len(), subscribers.bytes);
    let (kind, overflow, filter) = (Kind::Observer, Overflow::Drop, Filter::Name("z"));
    let native = Subscribe { number: 1, kind, overflow, filter, credit: 1, with_last: false };
    assert_eq!(subscribers.subscribe(99, b"z", Duration::ZERO), Err(refusal));
    assert_eq!(subscribers.add_native(99, &native, Duration::ZERO), Err(refusal.into()));
    assert_eq!((subscribers.len(), subscribers.bytes), booked);
    assert!(!subscribers.topic("z").is_wanted());
    subscribers.disconnect(0);
    while subscribers.turn(|_| {}) {}
    subscribers.add_native(99, &native, Duration::ZERO).unwrap();
    assert_eq!(subscribers.subscribe(99, b"z", Duration::ZERO), Err(refusal));
}

#[test]
fn subscriptions_of_all_connections_are_bounded() {
    let limits = Limits { all: 5, ..Limits::default() };
    check_bound_of_all(limits, 5, SubscriptionLimit::All(5));
}

#[test]
fn bytes_of_all_connections_are_bounded() {
    let bytes_all = 6 * cost(b"a") - 1;
    let limits = Limits { bytes_all, ..Limits::default() };
    check_bound_of_all(limits, 5, SubscriptionLimit::AllBytes(bytes_all));
}

proptest! {
    #[test]
    fn it_agrees_with_a_plain_list(
        steps in prop::collection::vec((0_u8..8, 0_usize..4, "[ab]{0,3}", any::<bool>()), 1..120),
    ) {
        let mut subscribers = Subscribers::default();
        let mut model: BTreeSet<(u64, String)> = BTreeSet::new();
        // No number comes again.
        let mut ids = [0, 1, 2, 3];
        for (kind, nth, name, whole) in steps {
            let id = ids[nth];
            let topic = if whole { format!("{name}|") } else { name };
            match kind {
                0..4 => {
                    subscribers.subscribe(id, topic.as_bytes(), Duration::ZERO).unwrap();
                    model.insert((id, topic));
                }
                4..7 => {
                    subscribers.cancel(id, topic.as_bytes());
                    model.remove(&(id, topic));
                }
                _ => {
                    subscribers.disconnect(id);
                    ids[nth] += 4;
                    model.retain(|&(other, _)| other != id);
                    if whole {
                        while subscribers.turn(|_| {}) {}
                    }
                }
            }
            for name in ["a", "ab", "aab", "b"] {
                let frame = format!("{name}|");
                let expected: BTreeSet<u64> = model
                    .iter()
                    .filter(|(_, topic)| frame.starts_with(topic.as_str()))
                    .map(|&(id, _)| id)
                    .collect();
                prop_assert!(subscribers.topic(name).v1.iter().copied().eq(expected));
            }
        }
        while subscribers.turn(|_| {}) {}
        prop_assert_eq!(subscribers.len(), model.len());
    }
}

#[test]
fn connections_whose_numbers_look_alike_are_kept_apart() {
    let mut subscribers = Subscribers::default();
    for filter in [Filter::Name("a"), Filter::Pattern("*")] {
        for id in [1, 1 + (1 << 32), 1 + (2 << 32)] {
            let number = u32::from(filter == Filter::Name("a"));
            let wanted = Subscribe {
                number,
                kind: Kind::Observer,
                overflow: Overflow::Drop,
                filter,
                credit: 1,
                with_last: false,
            };
            subscribers.add_native(id, &wanted, Duration::ZERO).unwrap();
            // The first one to a name is not counted.
            let wide = usize::from(filter != Filter::Name("a"));
            assert_eq!(subscribers.connections[&id].wide, wide);
        }
    }
    assert_eq!(subscribers.topic("a").native.len(), 6);
}

#[test]
fn further_subscriptions_to_one_name_are_counted_until_they_end() {
    let mut subscribers = Subscribers::default();
    let filter = Filter::Name("a");
    for kind in [Kind::Observer, Kind::Broadcast] {
        for number in [1, 2, 3] {
            let number = number + 10 * u32::from(kind == Kind::Observer);
            let wanted = Subscribe {
                number,
                kind,
                overflow: Overflow::Drop,
                filter,
                credit: 1,
                with_last: false,
            };
            subscribers.add_native(7, &wanted, Duration::ZERO).unwrap();
        }
    }
    assert_eq!(subscribers.connections[&7].wide, 4);
    for (number, left) in [(1, 3), (11, 2), (12, 1), (3, 0), (2, 0), (13, 0)] {
        subscribers.remove_native(7, number).unwrap();
        assert_eq!(subscribers.connections[&7].wide, left, "{number}");
    }
}

fn observer(filter: Filter<'_>) -> Subscribe<'_> {
    let (number, kind, overflow) = (1, Kind::Observer, Overflow::Drop);
    Subscribe { number, kind, overflow, filter, credit: 1, with_last: false }
}

/// As somebody does who waits for each answer under a name of its own.
#[test]
fn a_subscription_for_each_request_costs_as_much_however_many_there_were() {
    let mut subscribers = Subscribers::default();
    let busy = ["orders", "bills", "prices"];
    for (id, name) in (1..).zip(busy) {
        subscribers.add_native(id, &observer(Filter::Name(name)), Duration::ZERO).unwrap();
        subscribers.topic(name);
    }
    let sizes = |subscribers: &Subscribers| {
        let lengths = subscribers.native_prefixes.lengths(usize::MAX).count();
        (subscribers.len(), subscribers.natives.len(), lengths, subscribers.names.len())
    };
    let (before, searches) = (sizes(&subscribers), subscribers.searches);
    for n in 0..NAMES_CACHED_MAX + 1 {
        let answer = format!("answers.{n}");
        subscribers.add_native(9, &observer(Filter::Name(&answer)), Duration::ZERO).unwrap();
        assert_eq!(subscribers.topic(&answer).native.len(), 1);
        for name in busy {
            assert_eq!(subscribers.topic(name).native.len(), 1);
        }
        subscribers.remove_native(9, 1).unwrap();
        // Whoever wants the answer is looked for, and nobody else.
        assert_eq!((subscribers.searches - searches, sizes(&subscribers)), (n + 1, before));
    }
}
