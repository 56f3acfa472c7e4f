//! Groups: each message goes to one member, which settles it or gives it back.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::native::{grant, subscribe};
use super::*;
use crate::limits::{IN_FLIGHT_MAX, JOBS_TAKEN_BACK_PER_TURN_MAX};
use crate::wire::control::{self, Backoff, Control, Group, Kind, Verdict};
use crate::wire::filter::Filter;

pub(super) const ROOMY: u64 = 1 << 20;
pub(super) const WAIT: Duration = Duration::from_secs(2);
pub(super) const GROUP: Group<'_> = Group {
    name: "g",
    ack_wait_ms: 2000,
    in_flight_max: 0,
    attempts_max: 0,
    backoff: Backoff::NONE,
    keeps_expired: false,
};
pub(super) const ORDERS: Filter<'_> = Filter::Prefix("orders");

pub(super) fn join(number: u32, credit: u64) -> Vec<u8> {
    subscribe(number, Kind::Group(GROUP), ORDERS, credit)
}

pub(super) fn verdict(number: u32, verdict: Verdict<'_>, sequences: &[u64]) -> Vec<u8> {
    let ids: Vec<u8> = sequences.iter().flat_map(|&n| id(n).to_bytes()).collect();
    control::request(&Control::Settle { number, verdict, ids: &ids })
}

impl Bench {
    /// What members got since: the connection, the subscription, the attempt, and the sequences.
    #[track_caller]
    pub(super) fn given(&mut self) -> Vec<(ConnectionId, u32, u16, Vec<u64>)> {
        self.pass(Duration::ZERO);
        while self.core.next_due().is_some_and(|due| due <= self.now) {
            self.pass(Duration::ZERO);
        }
        let mut out = Vec::new();
        for super::Delivery { frame, direct, .. } in self.deliveries().0 {
            for Direct { connection, delivery, .. } in direct {
                assert_eq!(delivery.again, delivery.attempt > 1);
                out.push((connection, delivery.number, delivery.attempt, sequences(&frame)));
            }
        }
        out
    }

    pub(super) fn orders(&mut self, first: u64, ack: bool, count: usize) -> &mut Self {
        self.request(99, frame("orders", first, ack, &vec!["x"; count]))
    }
}

#[test]
fn each_message_goes_to_one_member_and_all_get_a_share() {
    for ack in [false, true] {
        let mut bench = Bench::new();
        bench.ask(3, join(1, ROOMY)).ask(4, join(1, ROOMY)).ask(4, join(2, ROOMY));
        bench.orders(1, ack, 7);
        let given = bench.given();
        let counts: Vec<_> = given.iter().map(|it| (it.0, it.1, it.3.len())).collect();
        assert_eq!(counts, [(3, 1, 3), (4, 1, 3), (4, 2, 1)]);
        let all: BTreeSet<u64> = given.iter().flat_map(|it| it.3.clone()).collect();
        assert!(all.into_iter().eq(1..=7));
        // Whoever has least gets the next.
        bench.ask(4, grant(1, 1000));
        assert_eq!(bench.orders(8, ack, 1).given(), [(4, 1, 1, vec![8])]);
    }
}

#[test]
fn a_whole_frame_for_one_member_is_not_copied() {
    let mut bench = Bench::new();
    bench.ask(3, join(1, ROOMY));
    let sent = frame("orders", 1, false, &["a", "b"]);
    bench.request(99, sent.clone());
    assert_eq!(bench.published()[0].as_ptr(), sent.as_ptr());
}

#[test]
fn a_message_is_done_when_its_member_says_so_and_nobody_else_can() {
    let mut bench = Bench::new();
    bench.subscribe_as(7, b"\x01orders|").ask(3, join(1, ROOMY)).ask(4, join(1, ROOMY));
    bench.ask(5, subscribe(1, Kind::Broadcast, ORDERS, ROOMY));
    bench.orders(1, true, 1).given();
    // A listener takes no job from its workers.
    bench.request(7, ack::frame(&[id(1)])).request(5, ack::frame(&[id(1)]));
    assert_eq!(bench.core.backlog.view().len(), 1);
    for (from, number, says) in
        [(4, 1, "not under way"), (5, 1, "not in a group"), (3, 9, "no subscription 9")]
    {
        bench.effects();
        let body = verdict(number, Verdict::Ack, &[1]);
        bench.request(from, body);
        let (_, replies) = bench.effects();
        let [(_, Reply::Refused(why, _))] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!(why.code(), ErrorCode::Subscription);
        assert!(why.to_string().contains(says), "{why}");
    }
    bench.ask(3, verdict(1, Verdict::Ack, &[1]));
    assert!(bench.core.backlog.is_empty() && bench.core.counters.settled.get() == 1);
    assert!(bench.pass(WAIT * 5).given().is_empty());
    // A nak after the ack.
    bench.request(3, verdict(1, Verdict::Nak { delay_ms: 0 }, &[1]));
    assert!(matches!(&bench.replies()[..], [(3, Reply::Refused(..))]));
}

#[test]
fn a_message_of_two_groups_is_done_when_both_are() {
    let mut bench = Bench::new();
    let other = Kind::Group(Group { name: "other", ..GROUP });
    bench.ask(3, join(1, ROOMY)).ask(3, subscribe(2, other, Filter::Pattern("*"), ROOMY));
    bench.orders(1, true, 1);
    assert_eq!(bench.given(), [(3, 1, 1, vec![1]), (3, 2, 1, vec![1])]);
    bench.ask(3, verdict(2, Verdict::Ack, &[1]));
    assert_eq!(bench.core.backlog.view().len(), 1);
    assert_eq!(bench.pass(WAIT + Duration::from_millis(20)).given(), [(3, 1, 2, vec![1])]);
    bench.ask(3, verdict(1, Verdict::Ack, &[1]));
    assert!(bench.core.backlog.is_empty());
}

#[test]
fn the_time_counts_from_the_hand_over_and_ends_at_another_member() {
    let mut bench = Bench::new();
    let one = frame("orders", 1, true, &["x"]).len() as u64;
    bench.ask(3, join(1, one));
    bench.orders(1, true, 1).orders(2, true, 1);
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    // However long it waits for a free member, it is not given out twice for that.
    assert!(bench.pass(WAIT * 10).given().is_empty());
    bench.ask(3, grant(1, ROOMY));
    assert_eq!(bench.given(), [(3, 1, 2, vec![1]), (3, 1, 1, vec![2])]);
}

#[test]
fn a_member_that_takes_too_long_loses_its_job_to_another() {
    let mut bench = Bench::new();
    bench.ask(3, join(1, ROOMY));
    bench.orders(1, true, 1);
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    bench.ask(4, join(1, ROOMY));
    assert!(bench.pass(WAIT - Duration::from_millis(20)).given().is_empty());
    bench.ask(3, verdict(1, Verdict::Extend, &[1]));
    assert!(bench.pass(WAIT - Duration::from_millis(20)).given().is_empty(), "it has more time");
    assert_eq!(bench.pass(Duration::from_millis(40)).given(), [(4, 1, 2, vec![1])]);
    bench.request(3, verdict(1, Verdict::Ack, &[1]));
    assert!(matches!(&bench.replies()[..], [(3, Reply::Refused(..))]), "it is another's now");
    bench.ask(4, verdict(1, Verdict::Ack, &[1]));
    assert!(bench.core.backlog.is_empty());
}

#[test]
fn a_refused_job_comes_again_after_its_delay() {
    let mut bench = Bench::new();
    bench.ask(3, join(1, ROOMY));
    bench.orders(1, true, 2).given();
    bench.ask(3, verdict(1, Verdict::Nak { delay_ms: 0 }, &[1]));
    assert_eq!(bench.given(), [(3, 1, 2, vec![1])]);
    bench.ask(3, verdict(1, Verdict::Nak { delay_ms: 5000 }, &[2]));
    bench.ask(3, verdict(1, Verdict::Ack, &[1]));
    assert!(bench.pass(Duration::from_millis(4980)).given().is_empty());
    assert_eq!(bench.pass(Duration::from_millis(40)).given(), [(3, 1, 2, vec![2])]);
}

#[test]
fn those_refused_in_one_request_come_again_in_their_order() {
    for delay_ms in [0, 500] {
        let mut bench = Bench::new();
        bench.ask(3, join(1, ROOMY));
        bench.orders(1, true, 6).given();
        bench.ask(3, verdict(1, Verdict::Nak { delay_ms }, &[2, 3, 4, 5]));
        let given = bench.pass(Duration::from_millis(600)).given();
        assert_eq!(given, [(3, 1, 2, vec![2, 3, 4, 5])], "{delay_ms}");
        // The first that it does not have is named.
        let body = verdict(1, Verdict::Nak { delay_ms }, &[2, 8, 3, 9]);
        let says = format!("message {} is not under way", id(8));
        bench.check_control_refused(body, ErrorCode::Subscription, &says);
        let given = bench.pass(Duration::from_millis(600)).given();
        assert_eq!(given, [(3, 1, 3, vec![2, 3])], "{delay_ms}");
    }
}

#[test]
fn who_leaves_gives_back_what_it_has_at_once_and_in_order() {
    for is_gone in [false, true] {
        let mut bench = Bench::new();
        bench.ask(3, join(1, ROOMY));
        bench.orders(1, true, 3).given();
        bench.ask(3, verdict(1, Verdict::Ack, &[2]));
        bench.ask(4, join(1, ROOMY)).orders(4, true, 1);
        assert_eq!(bench.given(), [(4, 1, 1, vec![4])]);
        if is_gone {
            bench.core.disconnected(3);
        } else {
            bench.ask(3, control::request(&Control::Unsubscribe(1)));
        }
        assert_eq!(bench.given(), [(4, 1, 2, vec![1, 3])]);
    }
}

#[test]
fn what_many_had_who_are_gone_is_taken_back_in_parts_and_given_out_once() {
    let mut bench = Bench::limited(false, Limits { messages: usize::MAX, bytes: usize::MAX });
    let members = 3;
    for number in 0..members {
        bench.ask(3, join(number, 1 << 30));
    }
    let count = JOBS_TAKEN_BACK_PER_TURN_MAX as u64 * 2 + 10;
    for n in 0..count {
        bench.orders(n + 1, true, 1);
        if n % 1000 == 0 {
            bench.given();
        }
    }
    assert!(bench.given().len() > 1);
    bench.ask(4, join(1, 1 << 30)).ask(5, join(1, 1 << 30)).ask(6, join(1, 1 << 30));
    bench.core.disconnected(3);
    let mut given: Vec<u64> = Vec::new();
    while bench.core.turn(bench.now) {
        let parts = bench.given();
        given.extend(parts.into_iter().flat_map(|(_, _, attempt, of)| {
            assert_eq!(attempt, 2);
            of
        }));
    }
    given.sort_unstable();
    assert!(given.into_iter().eq(1..=count));
}

#[test]
fn with_its_last_member_a_group_is_over_and_its_messages_are_anybodys() {
    let mut bench = Bench::new();
    bench.ask(3, join(1, ROOMY));
    bench.orders(1, true, 2).given();
    bench.core.disconnected(3);
    assert!(bench.pass(WAIT * 3).given().is_empty());
    assert!(bench.core.groups.is_empty());
    bench.subscribe_as(7, b"\x01orders|").pass(Duration::ZERO);
    assert_eq!(sequences(&bench.published()[0]), [1, 2]);
    bench.request(7, ack::frame(&[id(1), id(2)]));
    assert!(bench.core.backlog.is_empty());
}

#[test]
fn what_waited_for_anybody_goes_to_the_group_that_comes() {
    let mut bench = Bench::new();
    bench.orders(1, true, 2).effects();
    bench.pass(WAIT).ask(3, join(1, ROOMY));
    assert_eq!(bench.given(), [(3, 1, 1, vec![1, 2])]);
    bench.ask(3, verdict(1, Verdict::Ack, &[1, 2]));
    assert!(bench.core.backlog.is_empty());
}

#[test]
fn a_journaled_message_is_handed_over_once_it_is_stored() {
    let mut bench = Bench::durable();
    bench.ask(3, join(1, ROOMY)).orders(1, true, 1);
    assert!(bench.given().is_empty());
    let (group, _) = bench.core.take_group().unwrap();
    bench.store(group);
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    bench.ask(3, verdict(1, Verdict::Ack, &[1]));
    assert_eq!(bench.core.take_group().unwrap().1, [Op::Settle(id(1))]);
}

#[test]
fn what_a_failed_journal_did_not_store_is_no_job() {
    let mut bench = Bench::durable();
    bench.ask(3, join(1, ROOMY)).orders(1, true, 1);
    bench.core.take_group();
    bench.core.journal_failed("the disk is full", false);
    assert!(bench.given().is_empty() && bench.core.backlog.is_empty());
    assert!(bench.core.groups.has_no_jobs());
    bench.core.disconnected(3);
    bench.pass(Duration::ZERO);
    assert!(bench.core.groups.is_empty());
}

#[test]
fn credit_and_jobs_under_way_bound_what_a_member_gets() {
    let mut bench = Bench::new();
    let one = (frame("orders", 1, true, &["x"]).len()) as u64;
    bench.ask(3, join(1, 1));
    bench.orders(1, true, 5);
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    bench.ask(3, grant(1, one));
    assert_eq!(bench.given(), [(3, 1, 1, vec![2])]);
    let mut bench = Bench::new();
    let two = Kind::Group(Group { in_flight_max: 2, ..GROUP });
    bench.ask(3, subscribe(1, two, ORDERS, ROOMY)).orders(1, true, 5);
    assert_eq!(bench.given(), [(3, 1, 1, vec![1, 2])]);
    bench.ask(3, verdict(1, Verdict::Ack, &[2]));
    assert_eq!(bench.given(), [(3, 1, 1, vec![3])]);
    assert!(bench.given().is_empty());
    let mut bench = Bench::limited(false, Limits { messages: usize::MAX, bytes: usize::MAX });
    bench.ask(3, join(1, 1 << 30));
    for n in 0..u64::from(IN_FLIGHT_MAX) + 5 {
        bench.orders(n + 1, true, 1);
    }
    let given: usize = bench.given().into_iter().map(|it| it.3.len()).sum();
    assert_eq!(given, IN_FLIGHT_MAX as usize);
}

#[test]
fn a_group_is_what_its_members_agree_on() {
    let mut bench = Bench::new();
    bench.ask(3, join(1, ROOMY));
    let other = Kind::Group(Group { ack_wait_ms: 3000, ..GROUP });
    let code = ErrorCode::Subscription;
    bench.check_control_refused(
        subscribe(2, other, ORDERS, 1),
        code,
        "its time to acknowledge is 2s, not 3s",
    );
    let body = subscribe(2, Kind::Group(GROUP), Filter::Name("orders"), 1);
    bench.check_control_refused(
        body,
        code,
        "its filter is the prefix 'orders', not the name 'orders'",
    );
    bench.core.disconnected(3);
    bench.ask(4, subscribe(2, other, ORDERS, 1));
}

proptest! {
    /// Whatever members do, no job is at two of them, none is lost, and each is done once.
    #[test]
    fn every_job_is_done_once(
        steps in prop::collection::vec((0_u8..12, 0_u32..4, 0_usize..8, 0_u64..200), 1..150),
    ) {
        let mut bench = Bench::limited(false, Limits { messages: usize::MAX, bytes: usize::MAX });
        // The connection of each of four workers, and what it has: sequences, and until when.
        let mut workers: [Option<(u32, BTreeMap<u64, Duration>)>; 4] = Default::default();
        let (mut published, mut done, mut next_connection) = (0, BTreeSet::new(), 10);
        let mut attempts: BTreeMap<u64, u16> = BTreeMap::new();
        for (step, worker, nth, size) in steps {
            let place = worker as usize;
            let id_of_nth = |workers: &[Option<(u32, BTreeMap<u64, Duration>)>; 4]| {
                let (connection, jobs) = workers[place].as_ref()?;
                Some((*connection, *jobs.keys().nth(nth)?))
            };
            match step {
                0..3 => {
                    let count = nth + 1;
                    bench.orders(published + 1, true, count);
                    published += count as u64;
                }
                3..5 if workers[place].is_none() => {
                    next_connection += 1;
                    bench.ask(next_connection, join(1, size * 10));
                    workers[place] = Some((next_connection, BTreeMap::new()));
                }
                5 => if let Some((connection, _)) = workers[place].take() {
                    bench.core.disconnected(connection.into());
                },
                6..9 => if let Some((connection, sequence)) = id_of_nth(&workers) {
                    bench.ask(connection, verdict(1, Verdict::Ack, &[sequence]));
                    workers[place].as_mut().unwrap().1.remove(&sequence);
                    prop_assert!(done.insert(sequence), "done twice");
                },
                9 => if let Some((connection, sequence)) = id_of_nth(&workers) {
                    let nak = Verdict::Nak { delay_ms: size as u32 * 10 };
                    bench.ask(connection, verdict(1, nak, &[sequence]));
                    workers[place].as_mut().unwrap().1.remove(&sequence);
                },
                10 => if let Some((connection, sequence)) = id_of_nth(&workers) {
                    bench.ask(connection, verdict(1, Verdict::Extend, &[sequence]));
                    let until = bench.now + WAIT;
                    workers[place].as_mut().unwrap().1.insert(sequence, until);
                },
                _ => {
                    bench.pass(Duration::from_millis(size * 10));
                    if let Some((connection, _)) = workers[place] {
                        bench.ask(connection, grant(1, size * 5));
                    }
                }
            }
            // Those whose time is over have nothing any more.
            let now = bench.now;
            for (_, jobs) in workers.iter_mut().flatten() {
                jobs.retain(|_, until| *until > now);
            }
            for (connection, number, attempt, sequences) in bench.given() {
                prop_assert_eq!(number, 1);
                for sequence in sequences {
                    prop_assert!(!done.contains(&sequence), "given after it was done");
                    let elsewhere = workers.iter().flatten().any(|(_, jobs)| jobs.contains_key(&sequence));
                    prop_assert!(!elsewhere, "{sequence} is at two members");
                    let last = attempts.insert(sequence, attempt).unwrap_or(0);
                    prop_assert!(attempt == 1 || attempt == last + 1, "attempt {last}, then {attempt}");
                    let holder = workers.iter_mut().flatten().find(|it| u64::from(it.0) == connection);
                    // A tick later than its time at the latest.
                    holder.unwrap().1.insert(sequence, bench.now + WAIT);
                }
            }
        }
        bench.ask(9, join(1, 1 << 30));
        for worker in workers.into_iter().flatten() {
            bench.core.disconnected(worker.0.into());
        }
        let mut rest = BTreeSet::new();
        for _ in 0..20 {
            for (_, _, _, sequences) in bench.given() {
                rest.extend(sequences.iter().copied());
                bench.ask(9, verdict(1, Verdict::Ack, &sequences));
            }
            bench.pass(Duration::from_millis(300));
        }
        prop_assert!(rest.is_disjoint(&done));
        prop_assert_eq!((rest.len() + done.len()) as u64, published);
        prop_assert!(bench.core.backlog.is_empty());
        bench.core.disconnected(9);
        bench.pass(Duration::ZERO);
        prop_assert!(bench.core.groups.is_empty());
    }
}

#[test]
fn groups_with_equal_shares_get_the_same_parts_of_a_frame() {
    let mut bench = Bench::new();
    for (connection, group) in (3..).zip(["a", "a", "b", "b", "c", "c", "d", "d", "d"]) {
        let group = Kind::Group(Group { name: group, ..GROUP });
        bench.ask(connection, subscribe(1, group, ORDERS, ROOMY));
    }
    let both = [record("orders", 5, true, b"x"), record("orders", 6, false, b"x")].concat();
    for (sent, distinct) in [
        (frame("orders", 1, false, &["x"; 4]), vec![vec![1, 2], vec![3, 4]]),
        (Bytes::from([v2_prefix("orders"), both].concat()), vec![vec![6]]),
    ] {
        bench.request(99, sent);
        let (mut parts, mut count) = (BTreeMap::<_, BTreeSet<_>>::new(), 0);
        for part in bench.published() {
            parts.entry(sequences(&part)).or_default().insert(part.as_ptr() as usize);
            count += 1;
        }
        assert!(count >= 4);
        for records in distinct {
            assert_eq!(parts[&records].len(), 1, "{records:?}: copied for each group");
        }
    }
}
