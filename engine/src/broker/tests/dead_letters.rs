//! Dead letters: what a group gives up, and when.

use super::groups::{GROUP, ORDERS, ROOMY, WAIT, join, verdict};
use super::native::subscribe;
use super::*;
use crate::limits::LETTERS_SHARE;
use crate::message::{DeadLetter, Format};
use crate::wire::control::{self, Backoff, Control, Group, Kind, Verdict};
use crate::wire::filter::Filter;
use crate::wire::letter::Cause;

const DIED_NS: u64 = 1_763_866_001_000_000_000;
pub(super) const NOW: Verdict<'_> = Verdict::Nak { delay_ms: 0 };
pub(super) const NO: Verdict<'_> = Verdict::Reject { reason: "no such customer" };

/// A member of a group that gives up after so many attempts.
pub(super) fn join_for(number: u32, attempts_max: u16) -> Vec<u8> {
    let group = Group { attempts_max, ..GROUP };
    subscribe(number, Kind::Group(group), ORDERS, ROOMY)
}

pub(super) fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.core.unix_ns = DIED_NS;
    bench
}

/// The letter of message `sequence` of the group `g`.
pub(super) fn letter(sequence: u64, attempts: u16, reason: Option<&str>) -> DeadLetter {
    DeadLetter {
        id: id(sequence),
        group: "g".into(),
        filter_kind: 1,
        filter: "orders".into(),
        cause: reason.map_or(Cause::UsedUp, |reason| Cause::Rejected(reason.into())),
        attempts,
        died_ns: DIED_NS,
        is_done: true,
    }
}

impl Bench {
    pub(super) fn letters(&self) -> Vec<DeadLetter> {
        let letters = &self.core.letters;
        letters.from("", 0, 99).into_iter().map(|n| letters.get(n).unwrap().clone()).collect()
    }

    /// One due attempt after the other fails by `fail`; which attempts there were.
    #[track_caller]
    fn attempts(&mut self, mut fail: impl FnMut(&mut Self)) -> Vec<u16> {
        let mut attempts = Vec::new();
        loop {
            let given = self.given();
            let [(_, _, attempt, sequences)] = &given[..] else {
                assert!(given.is_empty(), "{given:?}");
                return attempts;
            };
            assert_eq!(sequences[..], [1]);
            attempts.push(*attempt);
            assert!(self.letters().is_empty());
            fail(self);
        }
    }
}

#[test]
fn a_message_is_given_up_after_exactly_its_attempts_whichever_way_they_fail() {
    type Fail = fn(&mut Bench);
    let over: Fail = |bench| _ = bench.pass(WAIT + Duration::from_millis(20));
    let nak: Fail = |bench| _ = bench.ask(3, verdict(1, NOW, &[1]));
    let delayed: Fail = |bench| {
        bench.ask(3, verdict(1, Verdict::Nak { delay_ms: 50 }, &[1]));
        bench.pass(Duration::from_millis(70));
    };
    let unsubscribed: Fail = |bench| {
        bench.ask(4, join_for(1, 3));
        bench.ask(3, control::request(&Control::Unsubscribe(1))).ask(3, join_for(1, 3));
        bench.core.disconnected(4);
    };
    for fail in [over, nak, delayed, unsubscribed] {
        let mut bench = bench();
        bench.ask(3, join_for(1, 3)).orders(1, true, 1);
        assert_eq!(bench.attempts(fail), [1, 2, 3]);
        assert_eq!(bench.letters(), [letter(1, 3, None)]);
        // It is done, and kept.
        assert!(bench.pass(WAIT * 5).given().is_empty());
        assert_eq!(bench.core.backlog.view().len(), 1);
        assert_eq!(bench.core.next_due(), None);
        let counters = &bench.core.counters;
        assert_eq!((counters.dead_letters_made.get(), counters.dead_letters_used_up.get()), (1, 1));
        assert_eq!((counters.dead_letters_rejected.get(), counters.settled.get()), (0, 0));
    }
}

#[test]
fn a_member_that_is_gone_with_a_last_attempt_leaves_a_dead_letter() {
    let mut bench = bench();
    bench.ask(3, join_for(1, 1)).ask(4, join_for(1, 1)).orders(1, true, 2);
    assert_eq!(bench.given().len(), 2);
    bench.core.disconnected(3);
    assert!(bench.given().is_empty());
    assert_eq!(bench.letters(), [letter(1, 1, None)]);
    // The last member's, too, although its group is over.
    bench.core.disconnected(4);
    assert!(bench.given().is_empty());
    assert_eq!(bench.letters(), [letter(1, 1, None), letter(2, 1, None)]);
    assert!(bench.core.groups.has_no_group() && bench.core.groups.has_no_jobs());
    // Nobody gets them, whoever comes.
    bench.subscribe(b"\x01orders|").ask(5, join(1, ROOMY));
    bench.ask(6, subscribe(1, Kind::Broadcast, ORDERS, ROOMY));
    assert!(bench.pass(INTERVAL * 3).given().is_empty());
    bench.request(7, ack::frame(&[id(1), id(2)]));
    assert_eq!((bench.letters().len(), bench.core.backlog.view().len()), (2, 2));
}

#[test]
fn without_attempts_max_there_is_no_end() {
    let mut bench = bench();
    bench.ask(3, join(1, ROOMY)).orders(1, true, 1).given();
    for attempt in 2..300 {
        bench.ask(3, verdict(1, NOW, &[1]));
        assert_eq!(bench.given(), [(3, 1, attempt, vec![1])]);
    }
    assert!(bench.letters().is_empty());
}

#[test]
fn a_rejected_message_is_given_up_at_once_and_says_why() {
    for attempts_max in [0, 3] {
        let mut bench = bench();
        bench.ask(3, join_for(1, attempts_max)).orders(1, true, 3);
        assert_eq!(bench.given(), [(3, 1, 1, vec![1, 2, 3])]);
        bench.ask(3, verdict(1, NO, &[1, 3]));
        let why = Some("no such customer");
        assert_eq!(bench.letters(), [letter(1, 1, why), letter(3, 1, why)]);
        assert_eq!(bench.core.counters.dead_letters_rejected.get(), 2);
        let says = format!("message {} is not under way", id(1));
        bench.check_control_refused(verdict(1, NO, &[1, 2]), ErrorCode::Subscription, &says);
        assert_eq!(bench.letters().len(), 3, "the others of the request count");
        assert!(bench.pass(INTERVAL * 3).given().is_empty());
    }
}

#[test]
fn of_several_groups_each_gives_up_for_itself() {
    let other = Kind::Group(Group { name: "other", ..GROUP });
    for is_first in [true, false] {
        let mut bench = bench();
        bench.ask(3, join(1, ROOMY)).ask(4, subscribe(1, other, Filter::Pattern("*"), ROOMY));
        bench.orders(1, true, 1);
        assert_eq!(bench.given().len(), 2);
        if is_first {
            bench.ask(3, verdict(1, NO, &[1]));
            assert!(!bench.letters()[0].is_done);
            // The other group gets it again, and this one does not.
            assert_eq!(bench.pass(WAIT * 2).given(), [(4, 1, 2, vec![1])]);
            bench.ask(4, verdict(1, Verdict::Ack, &[1]));
            assert_eq!(bench.core.counters.settled.get(), 1);
        } else {
            bench.ask(4, verdict(1, Verdict::Ack, &[1])).ask(3, verdict(1, NO, &[1]));
        }
        assert!(bench.core.backlog.is_dead(id(1)));
        assert_eq!(bench.letters().len(), 1);
        assert!(bench.pass(INTERVAL * 3).given().is_empty());
    }
}

#[test]
fn whom_a_group_leaves_a_message_that_another_gave_up() {
    let mut bench = bench();
    let other = Kind::Group(Group { name: "other", ..GROUP });
    bench.ask(3, join(1, ROOMY)).ask(4, subscribe(1, other, ORDERS, ROOMY)).orders(1, true, 1);
    bench.given();
    bench.ask(3, verdict(1, NO, &[1]));
    // The other group is over: the message is anybody's, but for the group that gave it up.
    bench.core.disconnected(4);
    assert!(bench.given().is_empty());
    bench.subscribe(b"\x01orders|");
    bench.pass(Duration::ZERO);
    assert_eq!(bench.receivers(), [[SUBSCRIBER]]);
    bench.request(1, ack::frame(&[id(1)]));
    assert!(bench.core.backlog.is_dead(id(1)));
    assert_eq!(bench.letters().len(), 1);
}

#[test]
fn further_attempts_wait_as_their_group_says() {
    let tick = Duration::from_millis(20);
    let backoff = Backoff::new(&[100, 500]).unwrap();
    let group = Kind::Group(Group { backoff, attempts_max: 5, ..GROUP });
    for fails_by_time in [true, false] {
        let mut bench = bench();
        bench.ask(3, subscribe(1, group, ORDERS, ROOMY)).orders(1, true, 1);
        assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
        for (attempt, delay) in [(2, 100), (3, 500), (4, 500)] {
            if fails_by_time {
                bench.pass(WAIT + tick);
            } else {
                bench.ask(3, verdict(1, NOW, &[1]));
            }
            let delay = Duration::from_millis(delay);
            assert!(bench.pass(delay - tick * 2).given().is_empty(), "{attempt}");
            assert_eq!(bench.pass(tick * 3).given(), [(3, 1, attempt, vec![1])]);
        }
        // A delay that a member asks for is its own.
        bench.ask(3, verdict(1, Verdict::Nak { delay_ms: 50 }, &[1]));
        assert_eq!(bench.pass(Duration::from_millis(70)).given(), [(3, 1, 5, vec![1])]);
        bench.ask(3, verdict(1, NOW, &[1]));
        assert_eq!(bench.letters().len(), 1);
    }
    // One that is given back does not wait.
    let mut bench = bench();
    bench.ask(3, subscribe(1, group, ORDERS, ROOMY)).orders(1, true, 1).given();
    bench.ask(4, subscribe(1, group, ORDERS, ROOMY));
    bench.core.disconnected(3);
    assert_eq!(bench.given(), [(4, 1, 2, vec![1])]);
}

#[test]
fn members_agree_on_attempts_and_delays() {
    let mut bench = bench();
    bench.ask(3, join_for(1, 3)).ask(4, join_for(1, 3));
    let refused = ErrorCode::Subscription;
    bench.check_control_refused(join_for(3, 4), refused, "its attempts are 3, not 4");
    // Whoever says nothing takes what is there.
    bench.ask(3, join(2, ROOMY));
    let backoff = Backoff::new(&[5]).unwrap();
    let group = Kind::Group(Group { backoff, attempts_max: 3, ..GROUP });
    bench.check_control_refused(
        subscribe(3, group, ORDERS, ROOMY),
        refused,
        "its delays between attempts are [] ms, not [5] ms",
    );
}

#[test]
fn one_that_waits_for_credit_elsewhere_is_not_delivered_once_it_is_given_up() {
    let mut bench = bench();
    bench.ask(3, join(1, ROOMY)).ask(5, subscribe(1, Kind::Broadcast, ORDERS, 0));
    bench.orders(1, true, 1);
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    bench.ask(3, verdict(1, NO, &[1])).ask(5, super::native::grant(1, ROOMY));
    assert!(bench.given().is_empty());
}

#[test]
fn at_the_limit_messages_stay_in_their_group_and_are_delivered_again() {
    let mut bench = Bench::with(false, 3 * LETTERS_SHARE);
    bench.ask(3, join_for(1, 1)).orders(1, true, 5).given();
    bench.ask(3, verdict(1, NOW, &[1, 2]));
    // A member that rejects is told; one that refuses for now need not know.
    let says = "dead letter limit reached: 3 of 3 dead letters";
    bench.check_control_refused(verdict(1, NO, &[3, 4]), ErrorCode::Letter, says);
    bench.ask(3, verdict(1, NOW, &[5]));
    assert_eq!(bench.letters().len(), 3);
    assert_eq!(bench.core.counters.dead_letters_put_off.get(), 2);
    assert!(bench.pass(INTERVAL - Duration::from_millis(20)).given().is_empty());
    assert_eq!(bench.pass(Duration::from_millis(40)).given(), [(3, 1, 2, vec![4, 5])]);
    // It may be done after all, or be given up once there is room.
    bench.ask(3, verdict(1, Verdict::Ack, &[4]));
    bench.core.letters.remove(1);
    bench.ask(3, verdict(1, NOW, &[5]));
    assert_eq!(bench.letters().last().map(|letter| (letter.id, letter.attempts)), Some((id(5), 2)));
}

#[test]
fn bytes_are_limited_likewise() {
    let mut bench = Bench::limited(false, Limits { messages: 100, bytes: 2 * LETTERS_SHARE * 400 });
    bench.ask(3, join(1, ROOMY)).orders(1, true, 4).given();
    bench.check_control_refused(verdict(1, NO, &[1, 2, 3, 4]), ErrorCode::Letter, "of 800 bytes");
    assert_eq!(bench.letters().len(), 2);
}

#[test]
fn a_letter_counts_among_the_messages_that_wait() {
    let mut bench = Bench::with(false, 4);
    bench.ask(3, join(1, ROOMY)).orders(1, true, 2).given();
    bench.ask(3, verdict(1, NO, &[1, 2]));
    assert_eq!(bench.core.backlog.view().len(), 2);
    bench.check_refused(frame("orders", 3, true, &["x"; 3]), ErrorCode::PendingFull, Dialect::V2);
    // What comes again is known.
    bench.request(9, frame("orders", 1, true, &["x"; 2]));
    assert_eq!(bench.replies(), [(9, Reply::Ok)]);
    assert_eq!(bench.core.counters.duplicates.get(), 2);
}

/// A durable core with a message that a member has.
fn stored(attempts_max: u16) -> Bench {
    let mut bench = Bench::durable();
    bench.core.unix_ns = DIED_NS;
    bench.ask(3, join_for(1, attempts_max)).orders(1, true, 1);
    let (group, _) = bench.core.take_group().unwrap();
    bench.store(group);
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    bench
}

#[test]
fn a_verdict_is_answered_once_the_letter_is_stored() {
    for (says, reason) in [(NOW, None), (NO, Some("no such customer"))] {
        let mut bench = stored(1);
        bench.request(3, verdict(1, says, &[1]));
        assert!(bench.replies().is_empty());
        let (group, ops) = bench.core.take_group().unwrap();
        assert_eq!(ops, [Op::Letter(letter(1, 1, reason))]);
        bench.store(group);
        assert_eq!(bench.replies(), [(3, Reply::Ok)]);
    }
}

#[test]
fn without_a_journal_that_works_messages_stay_in_their_group() {
    // A letter that is not stored yet is refused, and in memory until the end.
    let mut bench = stored(0);
    bench.request(3, verdict(1, NO, &[1]));
    let (_, ops) = bench.core.take_group().unwrap();
    assert_eq!(ops.len(), 1);
    bench.core.journal_failed("the disk is gone", true);
    assert!(matches!(&bench.replies()[..], [(3, Reply::Refused(Refusal::JournalFailed(_), _))]));
    assert_eq!(bench.letters().len(), 1);

    let mut bench = stored(0);
    bench.core.journal_failed("the disk is gone", true);
    bench.check_control_refused(verdict(1, NO, &[1]), ErrorCode::JournalFailed, "disk");
    assert!(bench.letters().is_empty() && bench.core.take_group().is_none());
    assert_eq!(bench.pass(INTERVAL + Duration::from_millis(20)).given(), [(3, 1, 2, vec![1])]);
}

#[test]
fn letters_are_there_again_after_a_restart() {
    let message = |n| {
        let body = record("orders", n, true, b"x").into();
        Message { id: id(n), name: "orders".into(), format: Format::V2, body }
    };
    let mut bench = Bench::durable();
    for n in 1..=3 {
        bench.core.restore(message(n));
    }
    let letters = [letter(1, 3, None), DeadLetter { is_done: false, ..letter(2, 1, Some("no")) }];
    for letter in letters.clone() {
        bench.core.restore_letter(letter);
    }
    // One without its message is nothing.
    bench.core.restore_letter(letter(9, 1, None));
    assert_eq!(bench.letters(), letters);
    // The group gets what it did not give up; others what was not done.
    bench.ask(3, join(1, ROOMY));
    assert_eq!(bench.given(), [(3, 1, 1, vec![3])]);
    let other = Kind::Group(Group { name: "other", ..GROUP });
    bench.ask(4, subscribe(1, other, ORDERS, ROOMY));
    assert_eq!(bench.given(), [(4, 1, 1, vec![2])]);
    bench.ask(4, verdict(1, Verdict::Ack, &[2]));
    let (_, ops) = bench.core.take_group().unwrap();
    assert_eq!(ops, [Op::Letter(letter(2, 1, Some("no")))], "it says that its message is done");
}

#[test]
fn many_that_die_at_once_are_letters_after_some_turns() {
    let mut bench = Bench::limited(false, Limits { messages: 40_000, bytes: 1 << 30 });
    bench.ask(3, join_for(1, 1));
    for part in 0..8 {
        bench.orders(part * 1000 + 1, true, 1000);
    }
    bench.given();
    bench.core.disconnected(3);
    assert!(bench.core.turn(bench.now), "not all in one turn");
    assert!(bench.core.letters.len() < 8000);
    while bench.core.turn(bench.now) {}
    let letters = bench.core.letters.from("g", 0, 9000);
    assert!(letters.into_iter().eq(1..=8000));
    assert!(bench.core.groups.has_no_jobs() && bench.core.groups.has_no_group());
}
