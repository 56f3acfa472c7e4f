//! Messages that expire in groups that keep them: they become dead letters.

use super::dead_letters::NO;
use super::durable::{create, join_named, named};
use super::expiry::{START_MS, at_start, record_with};
use super::groups::{GROUP, ORDERS, ROOMY, verdict};
use super::native::{grant, subscribe};
use super::*;
use crate::journal::{JobState, LetterEnd, Marks, RecoveredGroup, RecoveredGroups};
use crate::limits::LETTERS_SHARE;
use crate::message::{DeadLetter, DurableGroup, Format};
use crate::wire::control::{Backoff, Group, Kind, Verdict};
use crate::wire::letter::{self, Cause, LetterSelection, Request};
use crate::wire::properties::Properties;

const SHORT: Duration = Duration::from_millis(500);
const KEEPING: Group<'static> = Group { keeps_expired: true, ..GROUP };
const ALL: LetterSelection<'static> = LetterSelection::Range { from: 0, to: 0, name: "" };

fn until(expires_ms: u64, deliver_at_ms: Option<u64>) -> Properties<'static> {
    let expires_ms = Some(START_MS + expires_ms);
    Properties { expires_ms, deliver_at_ms, ..Properties::default() }
}

/// A frame of one message for `orders` that expires so many milliseconds after the start.
fn order(sequence: u64, ack: bool, expires_ms: u64) -> Bytes {
    let record = record_with("orders", sequence, ack, &until(expires_ms, None));
    [&v2_prefix("orders")[..], &record].concat().into()
}

fn member(group: Group<'_>, credit: u64) -> Vec<u8> {
    subscribe(1, Kind::Group(group), ORDERS, credit)
}

/// The letter of a message that group `g` kept when it expired, after so many attempts.
fn expired(sequence: u64, attempts: u16, died_ms: u64) -> DeadLetter {
    DeadLetter {
        cause: Cause::Expired,
        died_ns: (START_MS + died_ms) * 1_000_000,
        ..super::dead_letters::letter(sequence, attempts, None)
    }
}

impl Bench {
    /// Creates a durable group for orders, and stores it.
    #[track_caller]
    fn create_stored(&mut self, group: Group<'_>) {
        self.core.prove(20, 77);
        self.core.request(20, create(ORDERS, group).into(), self.now);
        assert!(matches!(self.stored()[..], [Op::Group(_)]));
        self.effects();
    }

    #[track_caller]
    fn replay(&mut self) {
        self.core.prove(20, 77);
        self.request(20, letter::request(&Request::Replay { group: "g", which: ALL }));
    }

    #[track_caller]
    fn check_counted(&self, expired: u64, letters: u64) {
        let counters = &self.core.counters;
        let found = (counters.expired.get(), counters.dead_letters_expired.get());
        assert_eq!((found, counters.dead_letters_made.get()), ((expired, letters), letters));
    }
}

#[test]
fn what_expires_becomes_a_dead_letter_wherever_it_is() {
    let mut bench = at_start(Bench::new());
    let narrow = Group { in_flight_max: 1, ..KEEPING };
    bench.ask(3, member(narrow, ROOMY));
    for sequence in 1..=3 {
        bench.request(4, order(sequence, true, 500));
    }
    // One is under way, one was refused for later, and one never had its turn.
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    bench.ask(3, verdict(1, Verdict::Nak { delay_ms: 9000 }, &[1]));
    assert_eq!(bench.given(), [(3, 1, 1, vec![2])]);
    bench.pass_on_both(SHORT - Duration::from_millis(1));
    assert_eq!(bench.letters(), []);
    bench.pass_on_both(Duration::from_millis(1));
    assert_eq!(bench.letters(), [expired(1, 1, 500), expired(2, 1, 500), expired(3, 0, 500)]);
    bench.check_counted(3, 3);
    assert!(bench.core.groups.has_no_jobs());
    // Its member has room again, and says what it likes too late.
    bench.orders(4, true, 1);
    assert_eq!(bench.given(), [(3, 1, 1, vec![4])]);
    let why = ErrorCode::Subscription;
    bench.check_control_refused(verdict(1, Verdict::Ack, &[2]), why, "not under way");
    assert!(bench.pass_on_both(INTERVAL * 3).given().iter().all(|(.., of)| of[..] == [4]));
}

#[test]
fn groups_that_do_not_keep_it_are_done_with_it() {
    let mut bench = at_start(Bench::durable());
    for group in [KEEPING, named("other")] {
        bench.create_stored(group);
    }
    bench.ask(5, member(named("passing"), 0));
    bench.request(4, order(1, true, 500));
    bench.stored();
    bench.pass_on_both(SHORT);
    assert_eq!(bench.letters(), [expired(1, 0, 500)]);
    let done = Op::Jobs { group: 2, state: JobState::Done, ids: vec![id(1)] };
    assert_eq!(bench.stored(), [done, Op::Letter(expired(1, 0, 500))]);
    // Its replay is for the one group.
    bench.ask(6, join_named(1, "other")).ask(5, grant(1, ROOMY));
    bench.replay();
    assert!(bench.given().is_empty());
    bench.ask(3, join_named(1, "g"));
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    bench.ask(3, verdict(1, Verdict::Ack, &[1]));
    assert!(bench.core.backlog.is_empty() && bench.core.groups.has_no_jobs());
}

#[test]
fn what_is_replayed_does_not_expire_again_also_after_a_restart() {
    let mut bench = at_start(Bench::durable());
    bench.create_stored(KEEPING);
    bench.request(4, order(1, true, 500));
    bench.stored();
    bench.pass_on_both(SHORT * 2);
    bench.stored();
    bench.replay();
    let open = Op::Jobs { group: 1, state: JobState::Open, ids: vec![id(1)] };
    let end = Op::EndLetter { id: id(1), group: "g".into(), end: LetterEnd::Replayed };
    assert_eq!(bench.stored(), [open, end]);
    assert!(bench.pass_on_both(SHORT).letters().is_empty());

    let mut again = at_start(Bench::durable());
    let unix_ns = bench.core.unix_ns;
    again.core.set_clock(again.now, unix_ns);
    let group = DurableGroup {
        number: 1,
        name: "g".into(),
        filter_kind: 1,
        filter: "orders".into(),
        ack_wait_ms: 2000,
        in_flight_max: 0,
        attempts_max: 0,
        backoff: Backoff::NONE,
        keeps_expired: true,
    };
    let message = |sequence| Message {
        id: id(sequence),
        name: "orders".into(),
        format: Format::V2,
        body: order(sequence, true, 500).slice(v2_prefix("orders").len()..),
    };
    let marks: Marks = [(id(1), vec![(1, JobState::Open)])].into();
    let all = vec![RecoveredGroup { group, before: 0 }];
    let groups = RecoveredGroups { all, last_number: 1, marks };
    let mut restoring = again.core.restore_groups(groups, &[]);
    again.core.restore_for(message(1), &mut restoring);
    // One that nobody replayed is over by now.
    again.core.restore_for(message(2), &mut restoring);
    again.pass_on_both(SHORT);
    assert!(again.letters().iter().map(|letter| letter.id).eq([id(2)]));
    again.ask(3, join_named(1, "g"));
    assert_eq!(again.given(), [(3, 1, 1, vec![1])]);
}

#[test]
fn one_that_was_rejected_before_its_time_does_not_expire_after_its_replay() {
    let mut bench = at_start(Bench::new());
    bench.ask(3, member(GROUP, ROOMY)).request(4, order(1, true, 500));
    bench.given();
    bench.ask(3, verdict(1, NO, &[1]));
    bench.replay();
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    bench.pass_on_both(SHORT * 2);
    assert_eq!((bench.letters(), bench.core.counters.expired.get()), (vec![], 0));
    bench.ask(3, verdict(1, Verdict::Ack, &[1]));
    assert!(bench.core.backlog.is_empty());
}

#[test]
fn one_that_came_too_late_or_can_never_be_delivered_is_a_dead_letter_at_once() {
    let mut bench = at_start(Bench::durable());
    bench.create_stored(KEEPING);
    bench.ask(3, join_named(1, "g"));
    bench.request(4, order(1, true, 0));
    let never = until(900, Some(START_MS + 1000));
    let record = record_with("orders", 2, true, &never);
    bench.request(4, [&v2_prefix("orders")[..], &record].concat());
    bench.pass_on_both(Duration::ZERO).stored();
    assert_eq!(bench.letters(), [expired(1, 0, 0), expired(2, 0, 0)]);
    assert!(bench.pass_on_both(SHORT * 3).given().is_empty());
    bench.check_counted(2, 2);
    // Without ack there is nothing to keep.
    bench.request(4, order(3, false, 0));
    bench.pass_on_both(Duration::ZERO);
    assert_eq!(bench.letters().len(), 2);
}

#[test]
fn one_that_waits_for_its_time_of_delivery_is_a_job_of_those_that_it_was_published_for() {
    let mut bench = at_start(Bench::new());
    bench.ask_groups(create(ORDERS, KEEPING));
    let later = until(1500, Some(START_MS + 1000));
    let record = record_with("orders", 1, true, &later);
    bench.request(4, [&v2_prefix("orders")[..], &record].concat());
    bench.pass_on_both(SHORT);
    // Over both times in one step.
    bench.pass_on_both(SHORT * 4);
    assert_eq!(bench.letters().len(), 1);
    assert!(bench.core.groups.has_no_jobs());
}

#[test]
fn without_room_it_stays_is_given_to_nobody_and_is_a_letter_when_there_is_room() {
    let limits = Limits { messages: LETTERS_SHARE, bytes: 1 << 20 };
    let mut bench = at_start(Bench::limited(false, limits));
    bench.ask(3, member(KEEPING, 0));
    for sequence in [1, 2] {
        bench.request(4, order(sequence, true, 500));
    }
    bench.pass_on_both(SHORT);
    assert_eq!(bench.letters(), [expired(1, 0, 500)]);
    assert_eq!(bench.core.counters.dead_letters_put_off.get(), 1);
    bench.check_counted(1, 1);
    bench.ask(3, grant(1, ROOMY));
    bench.pass_on_both(INTERVAL - SHORT);
    assert!(bench.given().is_empty() && bench.core.backlog.view().contains(&id(2)));
    bench.core.prove(20, 77);
    bench.request(20, letter::request(&Request::Purge { group: "g", which: ALL }));
    bench.pass_on_both(SHORT * 2);
    assert!(bench.given().is_empty());
    assert!(bench.letters().iter().map(|letter| letter.id).eq([id(2)]));
    bench.check_counted(2, 2);
}

#[test]
fn of_many_groups_all_that_keep_it_have_a_letter_also_those_that_it_was_on_its_way_to() {
    const GROUPS: usize = 1500;
    let limits = Limits { messages: 100 * GROUPS, bytes: 1 << 30 };
    let mut bench = at_start(Bench::limited(false, limits));
    let names: Vec<String> = (0..GROUPS).map(|n| format!("g{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        let group = Group { keeps_expired: n % 3 > 0, ..named(name) };
        bench.ask_groups(create(ORDERS, group));
    }
    prove_publisher(&mut bench.core, 4, &order(1, true, 500));
    for sequence in 1..=6 {
        bench.core.request(4, order(sequence, true, 500), bench.now);
    }
    assert!(bench.core.groups.is_enlisting("orders"));
    let unix_ns = bench.core.unix_ns + SHORT.as_nanos() as u64;
    bench.core.set_clock(bench.now + SHORT, unix_ns);
    bench.pass(SHORT);
    assert_eq!(bench.core.letters.len(), 6 * GROUPS / 3 * 2);
    assert!((1..=6).all(|n| bench.core.backlog.is_dead(id(n))));
    assert!(bench.core.groups.has_no_jobs());
    bench.check_counted(6, (6 * GROUPS / 3 * 2) as u64);
}

#[test]
fn what_members_agree_on_names_it() {
    let mut bench = at_start(Bench::new());
    bench.ask_groups(create(ORDERS, GROUP));
    let why = "messages that expire are no more, not become dead letters";
    bench.check_control_refused(member(KEEPING, 0), ErrorCode::Subscription, why);
    bench.check_group_refused(create(ORDERS, KEEPING), &[why]);
    bench.ask_groups(create(ORDERS, Group { name: "h", ..KEEPING })).ask(3, join_named(1, "h"));
}
