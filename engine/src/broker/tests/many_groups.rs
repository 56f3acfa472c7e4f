//! Groups beside others: what happens when some come or end, and what they may cost all.

use super::groups::{GROUP, ORDERS, ROOMY, WAIT, join, verdict};
use super::native::subscribe;
use super::*;
use crate::limits::{ACK_BYTES_MAX, CREDIT_BYTES_MAX, IN_FLIGHT_MAX};
use crate::wire::control::{self, Control, Group, Kind, Verdict};
use crate::wire::filter::Filter;

#[test]
fn what_was_sent_to_somebody_who_is_gone_goes_to_a_group_that_came_since() {
    type Leave = fn(&mut Bench);
    let leaving: [(&[u8], Leave); 3] = [
        (b"", |bench| _ = bench.ask(5, control::request(&Control::Unsubscribe(1)))),
        (b"\x01orders|", |bench| bench.core.disconnected(7)),
        (b"\x01orders|", |bench| bench.core.cancelled(7, b"\x01orders|")),
    ];
    for (topic, leave) in leaving {
        let mut bench = Bench::new();
        match topic {
            b"" => bench.ask(5, subscribe(1, Kind::Broadcast, ORDERS, ROOMY)),
            topic => bench.subscribe_as(7, topic),
        };
        bench.orders(1, true, 1).effects();
        bench.now += Duration::from_secs(1);
        bench.ask(3, join(1, ROOMY));
        assert!(bench.given().is_empty());
        leave(&mut bench);
        let given = bench.pass(INTERVAL * 2).given();
        assert_eq!(given, [(3, 1, 1, vec![1])], "{topic:?}");
    }
}

#[test]
fn what_waits_goes_to_a_group_though_another_subscriber_has_no_credit() {
    let mut bench = Bench::new();
    bench.orders(1, true, 3).effects();
    bench.ask(5, subscribe(1, Kind::Broadcast, ORDERS, 0)).ask(3, join(1, ROOMY));
    assert_eq!(bench.given(), [(3, 1, 1, vec![1, 2, 3])]);
}

#[test]
fn what_one_request_settles_is_bounded() {
    let mut bench = Bench::new();
    bench.ask(3, join(1, ROOMY));
    let many: Vec<u64> = (1..=ACK_BYTES_MAX as u64 / 16 + 1).collect();
    for says in [Verdict::Ack, Verdict::Nak { delay_ms: 0 }, Verdict::Extend] {
        let max = ACK_BYTES_MAX.to_string();
        bench.check_control_refused(verdict(1, says, &many), ErrorCode::TooLarge, &max);
    }
}

#[test]
fn a_message_of_a_group_that_ended_is_given_to_the_next_one_no_sooner_than_it_is_stored() {
    let mut bench = Bench::durable();
    bench.ask(3, join(1, ROOMY));
    bench.orders(1, true, 1);
    let other = Kind::Group(Group { name: "other", ..GROUP });
    bench.ask(4, subscribe(1, other, ORDERS, ROOMY));
    bench.ask(3, control::request(&Control::Unsubscribe(1)));
    assert!(bench.given().is_empty());
    let (group, _) = bench.core.take_group().unwrap();
    bench.store(group);
    assert_eq!(bench.given(), [(4, 1, 1, vec![1])]);
}

#[test]
fn a_busy_group_keeps_no_other_one_waiting() {
    let mut bench = Bench::limited(false, Limits { messages: usize::MAX, bytes: usize::MAX });
    let other = Kind::Group(Group { name: "other", ..GROUP });
    bench.ask(3, join(1, CREDIT_BYTES_MAX)).ask(4, subscribe(1, other, Filter::Name("n"), ROOMY));
    for first in 0..40 {
        bench.orders(1 + first * 500, true, 500);
    }
    bench.request(99, frame("n", 50_000, true, &["x"]));
    bench.effects();
    for _ in 0..2 {
        bench.core.serve(bench.now);
    }
    let got: Vec<ConnectionId> = bench
        .deliveries()
        .0
        .iter()
        .flat_map(|it| it.direct.iter().map(|it| it.connection))
        .collect();
    assert!(got.contains(&4), "{got:?}");
}

#[test]
fn time_is_right_after_years() {
    let mut bench = Bench::new();
    bench.now = Duration::from_secs(600 * 24 * 3600);
    bench.ask(3, join(1, ROOMY));
    bench.orders(1, true, 1).given();
    assert!(
        bench.core.next_due().is_some_and(|due| due > bench.now),
        "{:?}",
        bench.core.next_due()
    );
    assert_eq!(bench.pass(WAIT * 2).given(), [(3, 1, 2, vec![1])]);
}

#[test]
fn a_group_that_is_done_with_a_message_does_not_get_it_again_when_another_one_ends() {
    for comes_back in [false, true] {
        let mut bench = Bench::new();
        let audit = || {
            let group = Kind::Group(Group { name: "audit", ..GROUP });
            subscribe(1, group, Filter::Prefix(""), ROOMY)
        };
        bench.ask(3, join(1, ROOMY)).ask(4, audit());
        bench.orders(1, true, 2).given();
        bench.ask(3, verdict(1, Verdict::Ack, &[1, 2]));
        bench.core.disconnected(4);
        assert!(bench.given().is_empty());
        if comes_back {
            // The other group's members may come anew, too.
            bench.core.disconnected(3);
            bench.ask(3, join(1, ROOMY)).ask(4, audit());
            assert_eq!(bench.given(), [(4, 1, 1, vec![1, 2])]);
            bench.ask(4, verdict(1, Verdict::Ack, &[1, 2]));
        } else {
            bench.request(5, ack::frame(&[id(1), id(2)]));
            bench.core.disconnected(3);
        }
        bench.given();
        assert!(bench.core.backlog.is_empty(), "{comes_back}");
        bench.core.disconnected(4);
        bench.core.disconnected(3);
        bench.given();
        assert!(bench.core.groups.is_empty());
    }
}

#[test]
fn jobs_are_bounded_like_messages() {
    let mut bench = Bench::new();
    for number in 0..30 {
        let name = number.to_string();
        let group = Kind::Group(Group { name: &name, ..GROUP });
        bench.ask(3, subscribe(number, group, ORDERS, 0));
    }
    bench.orders(1, true, 3).effects();
    bench.request(99, frame("orders", 4, true, &["x"]));
    let replies = bench.replies();
    let [(99, Reply::Refused(why, _))] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(why.code(), ErrorCode::PendingFull);
    let text = why.to_string();
    assert!(
        text.contains("90 messages") && text.contains("of 100") && text.contains("30 "),
        "{text}"
    );
}

#[test]
fn jobs_that_are_done_count_until_their_message_is() {
    let mut bench = Bench::new();
    for number in 0..30 {
        let name = number.to_string();
        let group = Kind::Group(Group { name: &name, ..GROUP });
        bench.ask(3, subscribe(number, group, ORDERS, ROOMY));
    }
    bench.orders(1, true, 3).given();
    for number in 1..30 {
        bench.ask(3, verdict(number, Verdict::Ack, &[1, 2, 3]));
    }
    bench.request(99, frame("orders", 4, true, &["x"]));
    assert!(matches!(&bench.replies()[..], [(99, Reply::Refused(..))]));
    bench.ask(3, verdict(0, Verdict::Ack, &[1, 2, 3]));
    bench.request(99, frame("orders", 4, true, &["x"]));
    assert_eq!(bench.replies(), [(99, Reply::Ok)]);
}

#[test]
fn more_under_way_than_may_be_is_refused() {
    let mut bench = Bench::new();
    let group = Kind::Group(Group { in_flight_max: IN_FLIGHT_MAX + 1, ..GROUP });
    let says = (IN_FLIGHT_MAX + 1).to_string();
    bench.check_control_refused(subscribe(1, group, ORDERS, 1), ErrorCode::Subscription, &says);
}
