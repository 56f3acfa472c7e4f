//! Durable groups and the journal: what it is told, and what comes back.

use super::dead_letters::NO;
use super::delays::order;
use super::durable::{ASKER, create, delete, join_named, named};
use super::expiry::at_start;
use super::groups::{GROUP, ORDERS, ROOMY, join, verdict};
use super::native::subscribe;
use super::*;
use crate::journal::{JobState, Marks, RecoveredGroup, RecoveredGroups};
use crate::message::{DurableGroup, Format};
use crate::wire::control::{Backoff, Group, Kind, Verdict};
use crate::wire::filter::Filter;
use crate::wire::letter::{self, LetterSelection};

/// A durable core with the group `g`, stored.
fn durable_bench() -> Bench {
    let mut bench = Bench::durable();
    bench.core.prove(ASKER.into(), 77);
    bench.core.request(ASKER, create(ORDERS, GROUP).into(), bench.now);
    assert_eq!(bench.stored(), [Op::Group(group(1, "g"))]);
    assert_eq!(bench.replies(), [(ASKER, Reply::Ok)]);
    bench
}

fn group(number: u64, name: &str) -> DurableGroup {
    DurableGroup {
        number,
        name: name.into(),
        filter_kind: 1,
        filter: "orders".into(),
        ack_wait_ms: 2000,
        in_flight_max: 0,
        attempts_max: 0,
        backoff: Backoff::NONE,
        keeps_expired: false,
    }
}

#[test]
fn creation_and_deletion_are_answered_once_they_are_stored() {
    let mut bench = Bench::durable();
    bench.core.prove(ASKER.into(), 77);
    // Whoever finds it there may not be told so before it is stored.
    for _ in 0..2 {
        bench.core.request(ASKER, create(ORDERS, GROUP).into(), bench.now);
    }
    assert!(bench.replies().is_empty());
    let (number, ops) = bench.core.take_group().unwrap();
    assert_eq!(ops, [Op::Group(group(1, "g"))]);
    assert!(bench.replies().is_empty());
    bench.store(number);
    assert_eq!(bench.replies(), [(ASKER, Reply::Ok), (ASKER, Reply::Ok)]);

    bench.orders(1, true, 1).stored();
    bench.effects();
    bench.core.request(ASKER, delete("g").into(), bench.now);
    while bench.core.turn(bench.now) {}
    let (number, ops) = bench.core.take_group().unwrap();
    assert_eq!(ops, [Op::Settle(id(1)), Op::EndGroup(1)], "the group's end comes last");
    assert!(bench.replies().is_empty());
    bench.store(number);
    assert_eq!(bench.replies(), [(ASKER, Reply::Ok)]);
    bench.core.request(ASKER, create(ORDERS, GROUP).into(), bench.now);
    assert_eq!(bench.stored(), [Op::Group(group(2, "g"))], "another number");
}

#[test]
fn without_a_journal_that_works_none_is_created_or_deleted() {
    let mut bench = durable_bench();
    bench.core.request(ASKER, create(ORDERS, named("h")).into(), bench.now);
    bench.core.journal_failed("the disk is gone", false);
    assert!(matches!(
        &bench.replies()[..],
        [(ASKER, Reply::Refused(Refusal::JournalFailed(_), _))]
    ));
    for body in [create(ORDERS, named("i")), delete("g")] {
        assert_eq!(bench.refused(body).0, ErrorCode::JournalFailed);
    }
    let mut bench = durable_bench();
    bench.core.request(ASKER, delete("g").into(), bench.now);
    bench.core.journal_failed("the disk is gone", false);
    while bench.core.turn(bench.now) {}
    assert!(matches!(
        &bench.replies()[..],
        [(ASKER, Reply::Refused(Refusal::JournalFailed(_), _))]
    ));
}

#[test]
fn the_journal_says_what_a_group_is_done_with_while_others_need_it() {
    let mut bench = durable_bench();
    bench.core.request(ASKER, create(ORDERS, named("h")).into(), bench.now);
    bench.stored();
    bench.ask(3, join(1, ROOMY)).ask(4, join_named(1, "h")).ask(5, join_named(1, "passing"));
    bench.orders(1, true, 4).stored();
    bench.given();
    let jobs = |group, state, ids: &[u64]| Op::Jobs {
        group,
        state,
        ids: ids.iter().copied().map(id).collect(),
    };
    bench.ask(3, verdict(1, Verdict::Ack, &[1, 2]));
    assert_eq!(bench.stored(), [jobs(1, JobState::Done, &[1, 2])]);
    // Of one that ends with its members nothing is said: after a restart it is not there.
    bench.ask(5, verdict(1, Verdict::Ack, &[1, 2]));
    assert_eq!(bench.stored(), []);
    bench.ask(4, verdict(1, Verdict::Ack, &[1]));
    assert_eq!(bench.stored(), [Op::Settle(id(1))]);
    // A dead letter says it as well, until it is purged.
    bench.request(3, verdict(1, NO, &[3]));
    assert!(matches!(&bench.stored()[..], [Op::Letter(letter)] if !letter.is_done));
    let which = LetterSelection::Range { from: 0, to: 0, name: "" };
    bench.request(ASKER, letter::request(&letter::Request::Purge { group: "g", which }));
    let ops = bench.stored();
    assert!(
        matches!(&ops[..], [done, Op::EndLetter { .. }] if *done == jobs(1, JobState::Done, &[3])),
        "{ops:?}"
    );
    bench.request(3, verdict(1, NO, &[4]));
    bench.stored();
    bench.request(ASKER, letter::request(&letter::Request::Replay { group: "g", which }));
    let ops = bench.stored();
    assert!(
        matches!(&ops[..], [open, Op::EndLetter { .. }] if *open == jobs(1, JobState::Open, &[4])),
        "{ops:?}"
    );
}

#[test]
fn the_journal_says_what_a_group_is_done_with_while_another_may_replay_it() {
    let mut bench = durable_bench();
    bench.ask(3, join(1, ROOMY)).ask(5, join_named(1, "passing"));
    bench.orders(1, true, 1).stored();
    bench.given();
    bench.request(5, verdict(1, NO, &[1]));
    bench.stored();
    bench.ask(3, verdict(1, Verdict::Ack, &[1]));
    let done = Op::Jobs { group: 1, state: JobState::Done, ids: vec![id(1)] };
    let ops = bench.stored();
    assert!(matches!(&ops[..], [first, Op::Letter(it)] if *first == done && it.is_done), "{ops:?}");
}

#[test]
fn one_that_expired_for_a_group_is_not_its_job_again_when_another_replays_it() {
    let mut bench = at_start(durable_bench());
    bench.core.request(ASKER, create(ORDERS, named("h")).into(), bench.now);
    bench.stored();
    let expires_ms = Some(super::expiry::START_MS + 500);
    let properties = crate::wire::properties::Properties { expires_ms, ..Default::default() };
    let record = super::expiry::record_with("orders", 1, true, &properties);
    bench.ask(3, join(1, ROOMY));
    bench.request(9, [&v2_prefix("orders")[..], &record].concat()).stored();
    bench.given();
    bench.request(3, verdict(1, NO, &[1])).stored();
    bench.pass_on_both(Duration::from_millis(600)).stored();
    assert!(bench.core.backlog.is_dead(id(1)), "kept for the letter alone");
    let which = LetterSelection::Range { from: 0, to: 0, name: "" };
    bench.request(ASKER, letter::request(&letter::Request::Replay { group: "g", which }));
    let ops = bench.stored();
    let done = Op::Jobs { group: 2, state: JobState::Done, ids: vec![id(1)] };
    assert!(ops.contains(&done), "after a restart it would be a job of 'h': {ops:?}");
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
}

fn message(n: u64) -> Message {
    let body = record("orders", n, true, b"x").into();
    Message { id: id(n), name: "orders".into(), format: Format::V2, body }
}

#[test]
fn after_a_restart_messages_are_jobs_of_the_groups_that_are_not_done_with_them() {
    let recovered =
        |number, name: &str, before| RecoveredGroup { group: group(number, name), before };
    let other = DurableGroup { filter: "elsewhere".into(), ..group(5, "other") };
    let mut marks = Marks::new();
    marks.insert(id(4), vec![(2, JobState::Done)]);
    marks.insert(id(1), vec![(3, JobState::Open), (5, JobState::Open)]);
    marks.insert(id(3), vec![(2, JobState::Done), (9, JobState::Open)]);
    let all = vec![
        recovered(2, "g", 2),
        recovered(3, "h", 4),
        RecoveredGroup { group: other, before: 0 },
    ];
    let groups = RecoveredGroups { all, last_number: 9, marks };
    let letter = |sequence, is_done| crate::message::DeadLetter {
        group: "g".into(),
        is_done,
        ..super::dead_letters::letter(sequence, 1, None)
    };
    let letters = [letter(5, false), letter(6, true)];
    let mut bench = Bench::durable();
    let mut restoring = bench.core.restore_groups(groups, &letters);
    for n in 1..=7 {
        bench.core.restore_for(message(n), &mut restoring);
    }
    for letter in letters {
        bench.core.restore_letter(letter);
    }
    // What they are done with, or what came before them, waits for anybody; what they had is nobody else's.
    bench.ask(6, join_named(1, "passing"));
    assert_eq!(bench.given(), [(6, 1, 1, vec![2, 3, 4])]);
    bench.ask(3, join(1, ROOMY)).ask(4, join_named(1, "h"));
    let elsewhere =
        subscribe(1, Kind::Group(Group::named("other")), Filter::Prefix("elsewhere"), ROOMY);
    bench.ask(5, elsewhere);
    let mut given = bench.given();
    given.sort_unstable();
    assert_eq!(given, [(3, 1, 1, vec![7]), (4, 1, 1, vec![1, 5, 7]), (5, 1, 1, vec![1])]);
    // The same again changes nothing, and the next one has a number of its own.
    bench.core.prove(ASKER.into(), 77);
    bench.core.request(ASKER, create(ORDERS, GROUP).into(), bench.now);
    assert_eq!(bench.replies(), [(ASKER, Reply::Ok)]);
    bench.core.request(ASKER, create(ORDERS, named("i")).into(), bench.now);
    assert_eq!(bench.stored(), [Op::Group(group(10, "i"))]);
    bench.ask(4, verdict(1, Verdict::Ack, &[1, 5, 7])).ask(3, verdict(1, Verdict::Ack, &[7]));
    bench.ask(5, verdict(1, Verdict::Ack, &[1])).ask(6, verdict(1, Verdict::Ack, &[2, 3, 4]));
    assert_eq!(bench.core.counters.settled.get(), 6);
    assert_eq!(bench.core.backlog.view().len(), 2, "those with letters");
}

#[test]
fn one_for_later_is_a_job_of_groups_that_were_there_when_it_was_published() {
    let later = Duration::from_millis(500);
    let mut bench = at_start(Bench::new());
    bench.ask_groups(create(ORDERS, GROUP)).request(9, order(1, true, later));
    bench.ask_groups(create(ORDERS, named("late")));
    bench.ask(3, join(1, ROOMY)).ask(4, join_named(1, "late")).effects();
    assert_eq!(bench.given(), []);
    bench.pass_on_both(later);
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);

    // The same when its time comes after a restart.
    let mut bench = at_start(Bench::durable());
    let all = [("g", 1, 0), ("late", 2, 1)]
        .map(|(name, number, before)| RecoveredGroup { group: group(number, name), before });
    let marks = Marks::new();
    let groups = RecoveredGroups { all: all.into(), last_number: 2, marks };
    let mut restoring = bench.core.restore_groups(groups, &[]);
    let frame = order(1, true, later);
    let body = frame.slice(v2_prefix("orders").len()..);
    let message = Message { id: id(1), name: "orders".into(), format: Format::V2, body };
    bench.core.restore_for(message, &mut restoring);
    bench.ask(3, join(1, ROOMY)).ask(4, join_named(1, "late"));
    assert_eq!(bench.given(), []);
    bench.pass_on_both(later);
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    bench.ask(3, verdict(1, Verdict::Ack, &[1]));
    assert!(bench.core.backlog.is_empty());
}

#[test]
fn one_that_expires_is_no_job_any_more() {
    let later = Duration::from_millis(500);
    let mut bench = at_start(Bench::new());
    bench.ask_groups(create(ORDERS, GROUP));
    let properties = crate::wire::properties::Properties {
        expires_ms: Some(super::expiry::START_MS + 500),
        ..Default::default()
    };
    let record = super::expiry::record_with("orders", 1, true, &properties);
    bench.request(9, [&v2_prefix("orders")[..], &record].concat()).effects();
    assert_eq!(bench.core.groups.jobs_of("g"), [id(1)]);
    bench.pass_on_both(later);
    assert!(bench.core.groups.has_no_jobs() && bench.core.backlog.is_empty());
}
