//! Messages that are delivered later: at their time, to those who are there then.

use super::durable::{create, delete, join_named, named};
use super::expiry::{START_MS, at_start, record_with};
use super::groups::{GROUP, ORDERS, ROOMY, join, verdict};
use super::native::subscribe;
use super::*;
use crate::access::{Access, Identity, Permissions};
use crate::broker::permits::Permits;
use crate::limits::{
    CARRYING_BYTES_MAX, DELAY_DAYS_MAX, DELAYED_PER_TURN_MAX, TRANSCODED_BYTES_PER_TURN_MAX,
};
use crate::message::Format;
use crate::wire::control::{self, Kind, Verdict};
use crate::wire::properties::Properties;

const SHORT: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(1);

fn after(time: Duration) -> Properties<'static> {
    Properties { deliver_at_ms: Some(START_MS + time.as_millis() as u64), ..Properties::default() }
}

fn frame_with(sequence: u64, ack: bool, properties: &Properties<'_>) -> Bytes {
    [&v2_prefix("orders")[..], &record_with("orders", sequence, ack, properties)].concat().into()
}

/// A frame of one message for `orders`.
pub(super) fn order(sequence: u64, ack: bool, time: Duration) -> Bytes {
    frame_with(sequence, ack, &after(time))
}

#[test]
fn it_is_delivered_at_its_time_and_not_before_to_those_who_are_there_then() {
    for ack in [false, true] {
        let mut bench = at_start(Bench::new());
        bench.subscribe_as(9, b"\x01orders|");
        bench.request(4, order(1, ack, SHORT * 2)).request(4, order(2, ack, SHORT));
        assert_eq!(bench.effects(), (vec![], vec![(4, Reply::Ok), (4, Reply::Ok)]));
        assert_eq!(bench.core.next_due(), Some(SHORT));
        // Who was there goes, and others come: also who looks on.
        bench.core.disconnected(9);
        bench.subscribe_as(1, b"\x01orders|").subscribe_as(2, b"orders|");
        bench.ask(3, subscribe(1, Kind::Observer, ORDERS, ROOMY)).ask(5, join(1, ROOMY));
        assert!(bench.pass_on_both(SHORT - TICK).got().is_empty());
        for sequence in [2, 1] {
            bench.pass_on_both(TICK);
            let mut to = Vec::new();
            for delivery in bench.deliveries().0 {
                if delivery.frame[0] == 1 {
                    assert_eq!(sequences(&delivery.frame), [sequence]);
                }
                to.extend(delivery.to);
                for Direct { connection, delivery, .. } in delivery.direct {
                    assert!(!delivery.again);
                    to.push(connection);
                }
            }
            to.extend(bench.given().into_iter().map(|(member, ..)| member));
            to.sort();
            assert_eq!(to, [1, 2, 3, 5]);
            assert_eq!(bench.core.counters.resent.get(), 0);
            bench.pass_on_both(SHORT - TICK);
        }
        // What is kept is settled like any other.
        assert_eq!(bench.core.backlog.view().len(), if ack { 2 } else { 0 });
        if ack {
            bench.ask(5, verdict(1, Verdict::Ack, &[1, 2]));
        }
        assert!(bench.core.backlog.is_empty());
    }
}

#[test]
fn nobody_gets_it_before_its_time_whoever_comes() {
    let mut bench = at_start(Bench::new());
    bench.request(4, order(1, true, INTERVAL * 5)).effects();
    bench.subscribe(b"\x01orders|").ask(3, subscribe(1, Kind::Broadcast, ORDERS, ROOMY));
    bench.ask(5, join(1, ROOMY));
    // Each of them would get it at once, and again, and from another one that is gone.
    assert!(bench.pass(Duration::ZERO).got().is_empty() && bench.given().is_empty());
    bench.pass_on_both(INTERVAL * 3);
    bench.core.disconnected(SUBSCRIBER);
    bench.core.disconnected(5);
    bench.subscribe(b"\x01orders|").pass_on_both(INTERVAL);
    assert!(bench.got().is_empty() && bench.given().is_empty());
    // From its time on it is sent again as others are.
    bench.pass_on_both(INTERVAL);
    assert_eq!(bench.got(), [[1]]);
    bench.pass_on_both(INTERVAL + SHORT);
    assert_eq!(bench.got()[0], [1]);
}

#[test]
fn one_whose_time_has_passed_is_delivered_at_once_beside_others() {
    let mut bench = at_start(Bench::new());
    bench.subscribe(b"\x01orders|");
    let records = [
        record_with("orders", 1, false, &after(Duration::ZERO)),
        record_with("orders", 2, true, &after(SHORT)),
        record_with("orders", 3, false, &Properties::default()),
        record_with("orders", 4, false, &after(SHORT)),
        record_with("orders", 5, true, &Properties::default()),
    ];
    bench.request(4, [v2_prefix("orders"), records.concat()].concat());
    assert_eq!(bench.got(), [[1, 3, 5]]);
    assert_eq!(bench.core.backlog.view().len(), 3);
    assert_eq!(bench.pass_on_both(SHORT).got(), [[2], [4]]);
    assert_eq!(bench.core.backlog.view().len(), 2);
}

#[test]
fn what_is_held_counts_in_the_limits_and_comes_out_of_them() {
    let mut bench = at_start(Bench::with(false, 2));
    bench.request(4, order(1, false, SHORT)).request(4, order(2, true, SHORT)).effects();
    for ack in [false, true] {
        bench.check_refused(order(3, ack, SHORT), ErrorCode::PendingFull, Dialect::V2);
    }
    // One that is not held needs no room.
    bench.request(4, order(3, false, Duration::ZERO));
    assert_eq!(bench.replies(), [(4, Reply::Ok)]);
    bench.pass_on_both(SHORT).request(4, order(4, true, SHORT * 2));
    assert_eq!(bench.replies(), [(4, Reply::Ok)]);
    // A part of a request that was taken before needs room for the rest alone.
    let records = [5, 6, 7].map(|n| record_with("orders", n, false, &after(SHORT * 2)));
    let again = [4, 5].map(|n| record_with("orders", n, n == 4, &after(SHORT * 2)));
    bench.check_refused(
        [v2_prefix("orders"), records.concat()].concat(),
        ErrorCode::PendingFull,
        Dialect::V2,
    );
    bench.check_refused(
        [v2_prefix("orders"), again.concat()].concat(),
        ErrorCode::PendingFull,
        Dialect::V2,
    );
    assert_eq!(bench.core.backlog.view().len(), 2);
}

#[test]
fn it_is_stored_before_it_is_answered_and_delivered_after_that() {
    let mut bench = at_start(Bench::durable());
    bench.subscribe(b"\x01orders|");
    bench.request(4, order(1, true, SHORT)).request(4, order(2, false, SHORT));
    assert_eq!(bench.effects(), (vec![], vec![]));
    // The disk takes longer than the time.
    assert!(bench.pass_on_both(SHORT * 2).got().is_empty());
    let (group, ops) = bench.core.take_group().unwrap();
    assert!(matches!(&ops[..], [Op::Append(message)] if message.id == id(1)));
    bench.store(group);
    assert_eq!(bench.pass(Duration::ZERO).got(), [[2], [1]]);
    // One that the journal lost is delivered to nobody.
    let later = SHORT * 4;
    bench.request(4, order(3, true, later)).request(4, order(4, false, later)).core.take_group();
    bench.core.journal_failed("disk gone", false);
    assert_eq!(bench.core.backlog.view().len(), 2);
    assert_eq!(bench.pass_on_both(SHORT * 4).got(), [[4]]);
}

#[test]
fn after_a_restart_it_waits_for_its_time_as_before() {
    let mut bench = at_start(Bench::durable());
    for (sequence, time) in [(1, SHORT), (2, Duration::ZERO), (3, SHORT)] {
        bench.core.restore(Message {
            id: id(sequence),
            name: "orders".into(),
            format: Format::V2,
            body: order(sequence, true, time).slice(v2_prefix("orders").len()..),
        });
    }
    bench.subscribe(b"\x01orders|");
    assert_eq!(bench.pass(Duration::ZERO).got(), [[2]]);
    // It can be settled before.
    bench.request(2, ack::frame(&[id(3)]));
    assert!(bench.pass_on_both(SHORT - TICK).got().is_empty());
    assert_eq!(bench.pass_on_both(TICK).got(), [[1]]);
    assert_eq!(bench.core.backlog.view().len(), 2);
}

#[test]
fn it_is_taken_back_before_its_time_and_by_nobody_from_then_on() {
    let mut bench = at_start(Bench::with_group());
    bench.request(4, order(1, true, SHORT)).request(4, order(2, true, SHORT));
    bench.request(2, ack::frame(&[id(1)])).effects();
    // Its time has come, and no turn yet, as after a restart: the group has it.
    let now_ns = bench.core.unix_ns + SHORT.as_nanos() as u64;
    bench.core.set_clock(bench.now, now_ns);
    bench.request(2, ack::frame(&[id(2)]));
    assert_eq!(bench.core.backlog.view().len(), 1);
    bench.ask(5, join(1, ROOMY));
    assert_eq!(bench.given(), [(5, 1, 1, vec![2])]);
    // Without a group it is settled like any other.
    let mut bench = at_start(Bench::new());
    bench.request(4, order(1, true, SHORT)).effects();
    bench.core.set_clock(bench.now, now_ns);
    bench.request(2, ack::frame(&[id(1)]));
    assert!(bench.core.backlog.is_empty());
}

#[test]
fn one_that_is_taken_back_before_it_is_stored_is_given_to_nobody() {
    for time in [SHORT * 2, SHORT / 2] {
        let mut bench = at_start(Bench::durable());
        bench.subscribe(b"\x01orders|").request(4, order(1, true, time));
        bench.request(2, ack::frame(&[id(1)]));
        assert_eq!(bench.effects(), (vec![], vec![(2, Reply::Ok)]));
        bench.pass_on_both(SHORT);
        let (group, _) = bench.core.take_group().unwrap();
        bench.store(group);
        assert_eq!(bench.effects(), (vec![], vec![(4, Reply::Ok)]));
        assert!(bench.pass_on_both(SHORT * 3).got().is_empty());
        assert!(bench.core.backlog.is_empty());
    }
}

#[test]
fn one_that_expires_before_its_time_is_over() {
    let mut bench = at_start(Bench::new());
    bench.subscribe(b"\x01orders|");
    for (sequence, ack) in [(1, false), (2, true)] {
        let properties = Properties { expires_ms: Some(START_MS + 400), ..after(SHORT) };
        bench.request(4, frame_with(sequence, ack, &properties));
        assert_eq!(bench.replies(), [(4, Reply::Ok)]);
        assert_eq!(bench.core.counters.expired.get(), sequence);
        let properties = Properties { expires_ms: Some(START_MS + 600), ..after(SHORT) };
        bench.request(4, frame_with(sequence + 2, ack, &properties)).effects();
    }
    assert_eq!(bench.pass_on_both(SHORT).got(), [[3], [4]]);
    bench.pass_on_both(SHORT);
    assert_eq!(bench.core.counters.expired.get(), 3);
    assert!(bench.core.backlog.is_empty());
}

#[test]
fn ten_years_are_the_most_and_an_ordinal_is_refused() {
    let mut bench = at_start(Bench::new());
    let day = Duration::from_secs(24 * 60 * 60);
    let most = day * DELAY_DAYS_MAX as u32;
    bench.request(4, order(1, true, most));
    assert_eq!(bench.replies(), [(4, Reply::Ok)]);
    bench.check_refused(order(2, true, most + TICK), ErrorCode::Malformed, Dialect::V2);
    let at_ms = Some(u64::MAX);
    let never = Properties { deliver_at_ms: at_ms, expires_ms: at_ms, ..Properties::default() };
    bench.check_refused(frame_with(2, true, &never), ErrorCode::Malformed, Dialect::V2);
    let mut counted = order(2, true, SHORT).to_vec();
    let at = counted.len() - 42;
    counted[at] = 1;
    bench.check_refused(counted, ErrorCode::Malformed, Dialect::V2);
    assert_eq!(bench.core.backlog.view().len(), 1);
}

#[test]
fn groups_get_it_as_far_as_there_is_room_for_jobs() {
    let mut bench = at_start(Bench::with(false, 4));
    let other = control::Group { name: "h", ..GROUP };
    bench.request(4, order(1, true, SHORT)).effects();
    // As many jobs as may be, of both groups, come meanwhile.
    bench.ask(3, join(1, ROOMY)).ask(5, subscribe(1, Kind::Group(other), ORDERS, ROOMY));
    bench.orders(2, true, 2);
    assert_eq!(bench.given().len(), 2);
    bench.pass_on_both(SHORT);
    assert!(bench.given().is_empty());
    bench.ask(3, verdict(1, Verdict::Ack, &[2])).ask(5, verdict(1, Verdict::Ack, &[2]));
    let given: Vec<_> = bench.given().into_iter().map(|given| given.3).collect();
    assert_eq!(given, [[1], [1]]);
}

#[test]
fn a_turn_delivers_a_bounded_number_in_the_order_of_their_times() {
    let count = DELAYED_PER_TURN_MAX as u64 + 10;
    let limits = Limits { messages: 2 * count as usize, bytes: 1 << 30 };
    let mut bench = at_start(Bench::limited(false, limits));
    bench.subscribe(b"\x01orders|");
    for n in 1..=count {
        bench.request(4, order(n, n % 2 == 0, SHORT - Duration::from_micros(n)));
    }
    bench.effects();
    let now_ns = bench.core.unix_ns + SHORT.as_nanos() as u64;
    bench.core.set_clock(bench.now, now_ns);
    assert!(bench.core.serve(bench.now));
    assert_eq!(bench.published().len(), DELAYED_PER_TURN_MAX);
    assert_eq!(bench.core.backlog.count_later(), 10);
    bench.core.serve(bench.now);
    assert_eq!((bench.published().len(), bench.core.backlog.count_later()), (10, 0));
}

#[test]
fn one_that_is_settled_before_it_is_stored_is_delivered_to_nobody() {
    let mut bench = at_start(Bench::durable());
    bench.subscribe(b"\x01orders|");
    bench.request(4, order(1, true, SHORT)).request(2, ack::frame(&[id(1)]));
    let (group, _) = bench.core.take_group().unwrap();
    bench.store(group);
    assert_eq!(bench.effects().0, Vec::<Bytes>::new());
    assert!(bench.pass_on_both(SHORT).got().is_empty());
    assert!(bench.core.backlog.is_empty());
}

#[test]
fn durable_groups_get_it_that_were_there_when_it_was_published() {
    let mut bench = at_start(Bench::new());
    let all = ["a", "b", "c"];
    for name in &all[..2] {
        bench.ask_groups(create(ORDERS, named(name)));
    }
    bench.request(4, order(1, true, SHORT)).effects();
    // One comes later, and another one takes the name of one that was there.
    bench.ask_groups(delete("b")).ask_groups(create(ORDERS, named("b")));
    bench.ask_groups(create(ORDERS, named("c")));
    for (connection, name) in (5..).zip(all) {
        bench.ask(connection, join_named(1, name));
    }
    bench.pass_on_both(SHORT);
    assert_eq!(bench.given(), [(5, 1, 1, vec![1])]);
    bench.ask(5, verdict(1, Verdict::Ack, &[1]));
    assert!(bench.core.backlog.is_empty() && bench.core.groups.has_no_jobs());
}

#[test]
fn a_large_one_is_carried_over_elsewhere_when_its_time_has_come() {
    for ack in [false, true] {
        let mut bench = at_start(Bench::new());
        bench.subscribe_as(1, b"orders|").subscribe_as(2, b"\x01orders|");
        let mut payload = vec![b'x'; TRANSCODED_BYTES_PER_TURN_MAX + 1];
        after(SHORT).append_to(&mut payload).unwrap();
        let mut out = v2_prefix("orders");
        let record = Record {
            id: id(1),
            ordinal: 0,
            timestamp_ns: TIMESTAMP_NS,
            checksum: checksum::native("orders", &payload, TIMESTAMP_NS),
            ack,
            has_properties: true,
            encoding: Encoding::Text,
            payload: &payload,
        };
        record.append_to(&mut out).unwrap();
        bench.request(4, out);
        // It is checked elsewhere, too.
        bench.effects();
        for check in std::mem::take(&mut bench.checks) {
            bench.core.checked(check.number, check.run(), bench.now);
        }
        assert_eq!(bench.effects(), (vec![], vec![(4, Reply::Ok)]));
        bench.pass_on_both(SHORT);
        assert_eq!(bench.receivers(), [[2]]);
        assert_eq!(bench.carries.len(), 1);
        // Whoever acknowledges it does not take it away from others.
        bench.request(2, ack::frame(&[id(1)])).effects();
        assert!(bench.core.backlog.is_empty());
        bench.carry_next();
        let (deliveries, _) = bench.deliveries();
        let [delivery] = &deliveries[..] else { panic!("{}", deliveries.len()) };
        assert_eq!((&delivery.to[..], delivery.frame[0]), (&[1][..], b'o'));
        assert!(bench.pass_on_both(INTERVAL * 2).receivers().is_empty());
    }
}

#[test]
fn large_ones_wait_for_those_that_are_carried_over() {
    let mut bench = at_start(Bench::new());
    bench.request(4, order(1, false, SHORT)).effects();
    let name = "x".into();
    let body = Bytes::from(vec![0; CARRYING_BYTES_MAX]);
    bench.core.carrying.want_released(Message { id: id(9), name, format: Format::V2, body });
    bench.subscribe(b"\x01orders|").pass_on_both(SHORT);
    assert!(bench.got().is_empty());
    assert_eq!(bench.core.next_due(), None, "it would spin");
    bench.carry_next();
    assert_eq!(bench.core.next_due(), Some(SHORT));
    assert_eq!(bench.pass(Duration::ZERO).got(), [[1]]);
}

#[test]
fn where_clients_have_permissions_its_publisher_alone_takes_it_back() {
    let mut bench = at_start(Bench::new());
    let access = Access::new().others(Permissions::all());
    bench.core.permits = Some(Permits::new(access.into()));
    for connection in [4, 9] {
        bench.core.opened(connection, Identity::Nobody);
    }
    bench.request(4, order(1, true, SHORT)).request(4, order(2, true, SHORT));
    bench.effects();
    bench.request(9, ack::frame(&[id(1)]));
    let replies = bench.effects().1;
    let [(9, Reply::Refused(why, Dialect::V2))] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(why.code(), ErrorCode::NotAllowed);
    bench.request(4, ack::frame(&[id(2)]));
    assert_eq!(bench.effects().1, [(4, Reply::Ok)]);
    assert_eq!(bench.core.backlog.count_later(), 1);
}
