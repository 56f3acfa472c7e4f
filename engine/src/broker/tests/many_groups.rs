//! Groups beside others: what happens when some come or end, and what they may cost all.

use std::collections::BTreeSet;

use super::durable::{create, named};
use super::groups::{GROUP, ORDERS, ROOMY, WAIT, join, verdict};
use super::native::{grant, subscribe};
use super::*;
use crate::limits::{
    ACK_BYTES_MAX, CREDIT_BYTES_MAX, GROUPS_MAX, IN_FLIGHT_MAX, JOBS_CHANGED_PER_TURN_MAX,
    JOBS_TAKEN_BACK_PER_TURN_MAX, MEMBERSHIPS_MAX_EACH,
};
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
fn a_group_whose_members_are_gone_keeps_no_other_one_waiting() {
    let mut bench = Bench::limited(false, Limits { messages: usize::MAX, bytes: usize::MAX });
    let members = 6;
    for number in 0..members {
        bench.ask(3, join(number, CREDIT_BYTES_MAX));
    }
    let count = JOBS_TAKEN_BACK_PER_TURN_MAX as u64 * 4;
    for first in (1..=count).step_by(500) {
        bench.orders(first, true, 500).given();
    }
    let other = Kind::Group(Group { name: "other", ..GROUP });
    bench.ask(4, subscribe(1, other, Filter::Name("n"), ROOMY));
    bench.ask(5, subscribe(1, other, Filter::Name("n"), 1));
    bench.ask(6, join(1, CREDIT_BYTES_MAX));
    bench.core.disconnected(3);
    let first = count + 500;
    bench.request(99, frame("n", first, true, &["x"]));
    let one_turn = |bench: &mut Bench| -> Vec<(ConnectionId, Vec<u64>)> {
        let is_left = bench.core.turn(bench.now);
        bench.core.serve(bench.now);
        assert!(is_left);
        let given = bench.deliveries().0.into_iter();
        given.map(|it| (it.direct[0].connection, sequences(&it.frame))).collect()
    };
    assert_eq!(one_turn(&mut bench), [(4, vec![first])]);
    // Nor does it keep another one waiting that has to take back only a little.
    bench.core.disconnected(4);
    let mut got = one_turn(&mut bench);
    got.extend(one_turn(&mut bench));
    assert!(got.contains(&(5, vec![first])), "{got:?}");
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
    assert!(text.contains("90 of 100 messages") && text.contains("adds 30:"), "{text}");
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

/// The jobs that each turn adds until all are there, with what the broker does in one.
fn jobs_of_each_turn(bench: &mut Bench) -> Vec<usize> {
    let (mut each, mut before) = (Vec::new(), bench.core.groups.added());
    for _ in 0..10_000 {
        let mut is_left = bench.core.turn(bench.now);
        is_left |= bench.core.serve(bench.now);
        bench.core.resend_due(bench.now);
        let added = bench.core.groups.added();
        each.push(added - before);
        before = added;
        if !is_left && bench.core.next_due().is_none_or(|due| due > bench.now) {
            return each;
        }
    }
    panic!("it never ends");
}

/// Groups that all want the orders, the first one with a member that has credit.
fn join_many(bench: &mut Bench, groups: u32) {
    for number in 0..groups {
        let name = format!("g{number}");
        let group = Kind::Group(Group { name: &name, ..GROUP });
        let credit = if number == 0 { CREDIT_BYTES_MAX } else { 0 };
        bench.ask(3, subscribe(number, group, ORDERS, credit));
    }
}

#[test]
fn jobs_of_many_groups_are_added_a_part_in_each_turn_and_in_order() {
    let (groups, messages) = (100, 300);
    let all: Vec<u64> = (1..=messages).collect();
    for waits in [true, false] {
        let mut bench = Bench::limited(false, Limits { messages: 1 << 20, bytes: 1 << 30 });
        if waits {
            for sequence in 1..=messages {
                bench.orders(sequence, true, 1);
            }
            join_many(&mut bench, groups);
        } else {
            join_many(&mut bench, groups);
            bench.request(99, frame("orders", 1, true, &vec!["x"; messages as usize]));
        }
        let before = bench.core.groups.added();
        let each = jobs_of_each_turn(&mut bench);
        let total = before + each.iter().sum::<usize>();
        assert_eq!(total, groups as usize * messages as usize);
        let most = before.max(each.into_iter().max().unwrap_or(0));
        assert!(most <= JOBS_CHANGED_PER_TURN_MAX, "{most} in one turn, {waits}");
        let got: Vec<u64> = bench.given().into_iter().flat_map(|it| it.3).collect();
        assert_eq!(got, all, "{waits}");
        for number in 1..groups {
            bench.ask(3, grant(number, ROOMY));
            let got: Vec<u64> = bench.given().into_iter().flat_map(|it| it.3).collect();
            assert_eq!(got, all, "{waits} {number}");
        }
    }
}

#[test]
fn what_is_published_while_waiting_messages_become_jobs_stays_behind_them_and_is_the_groups() {
    for durable in [false, true] {
        let (groups, waiting, all) = (100, 100, 200);
        let mut bench = Bench::limited(durable, Limits { messages: 1 << 20, bytes: 1 << 30 });
        let store = |bench: &mut Bench| {
            if let Some((group, _)) = bench.core.take_group() {
                bench.store(group);
            }
        };
        for sequence in 1..=waiting {
            bench.orders(sequence, true, 1);
        }
        store(&mut bench);
        bench.ask(5, subscribe(1, Kind::Broadcast, ORDERS, ROOMY)).effects();
        join_many(&mut bench, groups);
        for sequence in waiting + 1..=all {
            bench.orders(sequence, true, 1);
            if sequence % 10 == 0 {
                store(&mut bench);
                // A listener takes no job from its workers.
                bench.request(5, ack::frame(&[id(sequence), id(1), id(waiting)])).effects();
            }
            if sequence % 4 == 0 {
                bench.core.turn(bench.now);
                bench.core.resend_due(bench.now);
            }
        }
        store(&mut bench);
        assert_eq!(bench.core.backlog.view().len() as u64, all, "{durable}");
        for number in 0..groups {
            if number > 0 {
                bench.ask(3, grant(number, ROOMY));
            }
            let given = bench.given().into_iter().filter(|it| (it.0, it.1) == (3, number));
            let got: Vec<u64> = given.flat_map(|it| it.3).collect();
            assert!(got.iter().copied().eq(1..=all), "{durable} {number} {got:?}");
            bench.ask(3, verdict(number, Verdict::Ack, &got));
        }
        assert!(bench.core.backlog.is_empty());
    }
}

#[test]
fn a_name_with_many_groups_keeps_no_other_one_waiting() {
    let mut bench = Bench::limited(false, Limits { messages: 1 << 20, bytes: 1 << 30 });
    join_many(&mut bench, 100);
    let other = Kind::Group(Group { name: "other", ..GROUP });
    let (n, m) = (Filter::Name("n"), Filter::Pattern("n.*"));
    bench.ask(4, subscribe(1, other, n, ROOMY));
    let more = Kind::Group(Group { name: "more", ..GROUP });
    bench.ask(5, subscribe(1, more, m, ROOMY));
    bench.ask(6, subscribe(1, Kind::Group(Group { name: "most", ..GROUP }), m, ROOMY));
    bench.request(99, frame("orders", 1, true, &vec!["x"; 1000]));
    bench.request(99, frame("n", 1001, true, &["x"]));
    bench.request(99, frame("n.x", 1002, true, &["x"]));
    for _ in 0..3 {
        bench.core.turn(bench.now);
        bench.core.serve(bench.now);
    }
    let got: BTreeSet<ConnectionId> = bench
        .deliveries()
        .0
        .iter()
        .flat_map(|it| it.direct.iter().map(|it| it.connection))
        .collect();
    assert!([4, 5, 6].iter().all(|it| got.contains(it)), "{got:?}");
    bench.given();
    for from in 3..=6 {
        bench.core.disconnected(from);
    }
    bench.given();
    assert!(bench.core.groups.is_empty());
}

#[test]
fn a_group_that_ends_while_jobs_are_added_leaves_nothing_behind() {
    let mut bench = Bench::limited(false, Limits { messages: 1 << 20, bytes: 1 << 30 });
    join_many(&mut bench, 100);
    bench.ask(5, subscribe(1, Kind::Group(Group { name: "stays", ..GROUP }), ORDERS, ROOMY));
    bench.request(99, frame("orders", 1, true, &vec!["x"; 200]));
    bench.core.disconnected(3);
    // A group that comes now may have the number of one that ended.
    for number in 0..100 {
        let name = format!("h{number}");
        let group = Kind::Group(Group { name: &name, ..GROUP });
        bench.ask(6, subscribe(number, group, Filter::Name("other"), ROOMY));
        bench.core.turn(bench.now);
    }
    let given = bench.given();
    assert!(given.iter().all(|it| it.0 == 5), "{given:?}");
    let got: Vec<u64> = given.into_iter().flat_map(|it| it.3).collect();
    assert!(got.iter().copied().eq(1..=200));
    bench.ask(5, verdict(1, Verdict::Ack, &got));
    assert!(bench.core.backlog.is_empty());
    for from in [5, 6] {
        bench.core.disconnected(from);
    }
    bench.given();
    assert!(bench.core.groups.is_empty());
}

#[test]
fn messages_that_waited_become_no_more_jobs_than_there_may_be() {
    let mut bench = Bench::new();
    for sequence in 1..=60 {
        bench.orders(sequence, true, 1);
    }
    bench.effects();
    for number in 0..3 {
        let name = format!("g{number}");
        let group = Kind::Group(Group { name: &name, ..GROUP });
        bench.ask(3, subscribe(number, group, ORDERS, ROOMY));
    }
    let mut left: [BTreeSet<u64>; 3] = [0; 3].map(|_| (1..=60).collect());
    for _ in 0..10 {
        let given = bench.given();
        assert!(bench.core.groups.jobs() <= 100, "{}", bench.core.groups.jobs());
        for (_, number, _, sequences) in given {
            for sequence in &sequences {
                assert!(left[number as usize].remove(sequence), "given twice");
            }
            bench.ask(3, verdict(number, Verdict::Ack, &sequences));
        }
    }
    assert!(left.iter().all(BTreeSet::is_empty), "{left:?}");
    assert!(bench.core.backlog.is_empty());
}

#[test]
fn groups_that_a_message_is_not_for_do_not_hold_it_up() {
    let mut bench = Bench::new();
    bench.orders(1, true, 1);
    for name in ["g", "h"] {
        bench.ask_groups(create(ORDERS, named(name)));
    }
    // As many jobs as there may be.
    bench.orders(2, true, 50).effects();
    bench.subscribe(b"\x01orders|").pass(Duration::ZERO);
    assert_eq!(bench.got(), [[1]]);
}

fn member(number: u32, name: &str) -> Vec<u8> {
    subscribe(number, Kind::Group(Group { name, ..GROUP }), Filter::Name(name), ROOMY)
}

#[test]
fn groups_and_the_memberships_of_a_connection_are_limited_in_number() {
    let mut bench = Bench::new();
    let each = MEMBERSHIPS_MAX_EACH as u32;
    let last = GROUPS_MAX as u32 - 1;
    for n in 0..last {
        bench.ask(3 + n / each, member(n % each, &format!("g{n}")));
    }
    bench.effects();
    // The first of the connections has as many as it may, and others are not held up by it.
    let says = "this connection has 1000 subscriptions in groups";
    bench.check_control_refused(member(each, "more"), ErrorCode::Subscription, says);
    bench.ask(500, member(0, "more")).effects();
    // There is no room for a further group, and some for members of one that is there.
    let says = "there are 100000 groups";
    bench.check_control_refused(member(each, "one too many"), ErrorCode::Subscription, says);
    bench.check_group_refused(create(Filter::Name("a"), named("one too many")), &[says]);
    bench.ask(500, member(1, "g7"));
    bench.ask(500, control::request(&Control::Unsubscribe(0)));
    bench.ask(500, member(2, "one too many"));
}
