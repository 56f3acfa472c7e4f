//! What clients ask about dead letters.

use super::dead_letters::{NO, bench as fresh, join_for};
use super::durable::{create, named};
use super::groups::{GROUP, ORDERS, ROOMY, join, verdict};
use super::native::subscribe;
use super::*;
use crate::journal::LetterEnd;
use crate::limits::{LETTERS_CHANGED_MAX, LETTERS_LISTED_MAX, LETTERS_TOLD_MAX};
use crate::wire::control::{self, Control, Group, Kind, Verdict};
use crate::wire::filter::Filter;
use crate::wire::letter::{self, Cause, Changed, LetterSelection, Listed, Request};

/// Asks on a connection that said hello, and is answered.
const ASKER: u32 = 20;
const ALL: LetterSelection<'_> = LetterSelection::Range { from: 0, to: 0, name: "" };

impl Bench {
    fn request_letters(&mut self, request: &Request<'_>) -> Vec<(u32, Reply)> {
        self.core.prove(ASKER.into(), 77);
        self.core.request(ASKER, letter::request(request).into(), self.now);
        self.replies()
    }

    #[track_caller]
    fn ask_letters(&mut self, request: &Request<'_>) -> Vec<u8> {
        match self.request_letters(request).pop() {
            Some((ASKER, Reply::Answer(answer))) => answer,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn check_letters_refused(&mut self, request: &Request<'_>, code: ErrorCode, says: &str) {
        match &self.request_letters(request)[..] {
            [(ASKER, Reply::Refused(why, Dialect::V2))] => {
                assert_eq!(why.code(), code);
                assert!(why.to_string().contains(says), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn change(&mut self, request: &Request<'_>) -> (u32, u64) {
        let Changed { done, next } = letter::read_changed(&self.ask_letters(request)).unwrap();
        (done, next)
    }

    /// What is told of the letters of a group: their numbers and sequences.
    #[track_caller]
    fn list(&mut self, group: &str, from: u64, limit: u16) -> (Listed, Vec<(u64, u64)>) {
        let answer = self.ask_letters(&Request::List { group, from, limit });
        let (listed, mut rest) = letter::read_listed(&answer).unwrap();
        let mut found = Vec::new();
        while let Some((entry, behind)) = letter::read_entry(rest) {
            found.push((entry.number, entry.id.sequence));
            rest = behind;
        }
        assert!(rest.is_empty());
        (listed, found)
    }
}

/// Messages from 1 on, of which a member of `g` rejected so many.
fn rejected(count: usize) -> Bench {
    let mut bench = Bench::limited(false, Limits { messages: 10_000, bytes: 1 << 24 });
    bench.ask(3, join(1, ROOMY));
    for first in (1..=count).step_by(500) {
        bench.orders(first as u64, true, 500.min(count + 1 - first));
    }
    bench.given();
    let all: Vec<u64> = (1..=count as u64).collect();
    bench.ask(3, verdict(1, NO, &all));
    assert_eq!(bench.letters().len(), count.min(99));
    bench
}

fn ids(sequences: &[u64]) -> Vec<u8> {
    sequences.iter().flat_map(|&n| id(n).to_bytes()).collect()
}

#[test]
fn letters_are_listed_in_the_order_in_which_they_died_a_part_at_a_time() {
    let mut bench = rejected(3);
    let other = Kind::Group(Group { name: "other", ..GROUP });
    bench.ask(4, subscribe(1, other, ORDERS, ROOMY)).orders(4, true, 1).given();
    bench.ask(4, verdict(1, NO, &[4]));
    let listed = |total, next| Listed { total, next, end: 5 };
    assert_eq!(bench.list("g", 0, 2), (listed(3, 3), vec![(1, 1), (2, 2)]));
    assert_eq!(bench.list("g", 3, 2), (listed(3, 0), vec![(3, 3)]));
    assert_eq!(bench.list("", 3, 0), (listed(4, 0), vec![(3, 3), (4, 4)]));
    assert_eq!(bench.list("g", u64::MAX, 0), (listed(3, 0), Vec::new()));
    // A group without letters, and none at all.
    bench.ask(4, subscribe(2, Kind::Group(Group::named("new")), ORDERS, 0));
    assert_eq!(bench.list("new", 0, 0), (listed(0, 0), Vec::new()));
    assert_eq!(bench.list("x", 0, 0), (listed(0, 0), Vec::new()));

    let mut bench = rejected(LETTERS_LISTED_MAX + 1);
    let (listed, found) = bench.list("g", 0, u16::MAX);
    assert_eq!((listed.next, found.len()), (LETTERS_LISTED_MAX as u64 + 1, LETTERS_LISTED_MAX));
}

#[test]
fn a_letter_is_shown_with_its_message() {
    let mut bench = rejected(1);
    bench.core.disconnected(3);
    bench.given();
    let show = |n| Request::Show { group: "g", id: id(n) };
    let answer = bench.ask_letters(&show(1));
    let (entry, shown) = letter::read_shown(&answer).unwrap();
    assert_eq!(shown, frame("orders", 1, true, &["x"]));
    assert_eq!((entry.number, entry.id, entry.attempts), (1, id(1), 1));
    let cause = Cause::Rejected("no such customer");
    assert_eq!((entry.published_ns, entry.cause), (TIMESTAMP_NS, cause));
    assert_eq!((entry.group, entry.filter_kind, entry.filter), ("g", 1, "orders"));
    assert_eq!((entry.name, entry.bytes), ("orders", record("orders", 1, true, b"x").len() as u32));
    let says = format!("no dead letter of message {}", id(2));
    bench.check_letters_refused(&show(2), ErrorCode::Letter, &says);

    // One in the original format, as it came.
    let mut bench = fresh();
    bench.ask(3, join(1, ROOMY));
    let (sent, sum) = frame_v1("orders", "x", true);
    let id = MessageId::from_v1_checksum(sum);
    bench.request(7, sent.clone());
    bench.given();
    let ids = &id.to_bytes();
    bench.ask(3, control::request(&Control::Settle { number: 1, verdict: NO, ids }));
    let answer = bench.ask_letters(&Request::Show { group: "g", id });
    let (entry, shown) = letter::read_shown(&answer).unwrap();
    assert_eq!((shown, entry.published_ns), (&sent[..], 0));
}

#[test]
fn a_replayed_letter_is_delivered_to_its_group_as_if_it_were_new() {
    let mut bench = fresh();
    bench.ask(3, join_for(1, 2)).orders(1, true, 3).given();
    bench.ask(3, verdict(1, NO, &[1, 2, 3]));
    let (one, two) = (ids(&[2]), ids(&[1, 2, 9]));
    let replay = |which| Request::Replay { group: "g", which };
    assert_eq!(bench.change(&replay(LetterSelection::Ids(&one))), (1, 0));
    assert_eq!(bench.given(), [(3, 1, 1, vec![2])]);
    // Those that are there count.
    let says = format!("no dead letter of message {} (2 of 3", id(2));
    bench.check_letters_refused(&replay(LetterSelection::Ids(&two)), ErrorCode::Letter, &says);
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    assert_eq!(bench.change(&replay(ALL)), (1, 0));
    assert_eq!(bench.given(), [(3, 1, 1, vec![3])]);
    // They have all their attempts again, and are done when they are acknowledged.
    bench.ask(3, verdict(1, Verdict::Nak { delay_ms: 0 }, &[1, 2, 3]));
    assert_eq!(bench.given(), [(3, 1, 2, vec![1, 2, 3])]);
    bench.ask(3, verdict(1, Verdict::Ack, &[1, 2, 3]));
    assert!(bench.core.backlog.is_empty() && bench.core.letters.is_empty());
}

#[test]
fn letters_are_replayed_by_the_name_of_their_messages() {
    let mut bench = fresh();
    bench.ask(3, join(1, ROOMY)).orders(1, true, 1);
    bench.request(99, frame("orders.new", 2, true, &["x"])).orders(3, true, 1).given();
    bench.ask(3, verdict(1, NO, &[1, 2, 3]));
    let by_name = |name| Request::Replay {
        group: "g",
        which: LetterSelection::Range { from: 0, to: 0, name },
    };
    assert_eq!(bench.change(&by_name("orders.new")), (1, 0));
    assert_eq!(bench.given(), [(3, 1, 1, vec![2])]);
    assert_eq!(bench.change(&by_name("nothing")), (0, 0));
    let purge = Request::Purge {
        group: "g",
        which: LetterSelection::Range { from: 2, to: 0, name: "orders" },
    };
    assert_eq!(bench.change(&purge), (1, 0));
    assert_eq!(bench.list("g", 0, 0).1, [(1, 1)]);
}

#[test]
fn without_members_nothing_is_replayed_and_nothing_lost() {
    let mut bench = rejected(2);
    bench.core.disconnected(3);
    bench.given();
    let replay = Request::Replay { group: "g", which: ALL };
    bench.check_letters_refused(&replay, ErrorCode::Letter, "no members");
    let unknown = Request::Replay { group: "x", which: ALL };
    bench.check_letters_refused(&unknown, ErrorCode::Letter, "no group 'x'");
    assert_eq!(bench.list("g", 0, 0).0.total, 2);
    // A group of the name, with any filter.
    let other = subscribe(1, Kind::Group(GROUP), Filter::Name("other"), ROOMY);
    bench.ask(4, other);
    assert_eq!(bench.change(&replay), (2, 0));
    assert_eq!(bench.given(), [(4, 1, 1, vec![1, 2])]);
}

#[test]
fn a_replay_of_a_message_that_others_have_is_one_more_job() {
    let mut bench = fresh();
    let other = Kind::Group(Group { name: "other", ..GROUP });
    bench.ask(3, join(1, ROOMY)).ask(4, subscribe(1, other, ORDERS, ROOMY)).orders(1, true, 1);
    bench.given();
    bench.ask(3, verdict(1, NO, &[1]));
    let replay = Request::Replay { group: "g", which: ALL };
    assert_eq!(bench.change(&replay), (1, 0));
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    bench.ask(4, verdict(1, Verdict::Ack, &[1]));
    assert_eq!(bench.core.backlog.view().len(), 1, "the other one is not done");
    bench.ask(3, verdict(1, Verdict::Ack, &[1]));
    assert!(bench.core.backlog.is_empty() && bench.core.letters.is_empty());

    // The same of a message that waits for anybody by now.
    let mut bench = fresh();
    bench.ask(3, join(1, ROOMY)).ask(4, subscribe(1, other, ORDERS, ROOMY)).orders(1, true, 1);
    bench.given();
    bench.ask(3, verdict(1, NO, &[1]));
    bench.core.disconnected(4);
    assert!(bench.given().is_empty());
    assert_eq!(bench.change(&replay), (1, 0));
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    bench.ask(3, verdict(1, Verdict::Ack, &[1]));
    assert!(bench.core.backlog.is_empty());
}

#[test]
fn who_was_done_with_a_message_does_not_get_it_after_a_replay_and_who_replayed_it_does() {
    let mut bench = fresh();
    let other = subscribe(1, Kind::Group(Group { name: "other", ..GROUP }), ORDERS, ROOMY);
    bench.ask(3, join(1, ROOMY)).ask(4, other.clone()).orders(1, true, 1).given();
    bench.ask(3, verdict(1, NO, &[1])).ask(4, verdict(1, Verdict::Ack, &[1]));
    assert_eq!(bench.change(&Request::Replay { group: "g", which: ALL }), (1, 0));
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    // Its group is over before it is done.
    bench.core.disconnected(3);
    assert!(bench.given().is_empty());
    bench.ask(4, subscribe(2, Kind::Group(Group::named("new")), Filter::Name("x"), ROOMY));
    bench.ask(5, other);
    assert!(bench.given().is_empty());
    bench.ask(3, join(1, ROOMY));
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
}

#[test]
fn a_purged_letter_is_gone_and_its_message_with_the_last_one() {
    let mut bench = fresh();
    let other = Kind::Group(Group { name: "other", ..GROUP });
    bench.ask(3, join(1, ROOMY)).ask(4, subscribe(1, other, ORDERS, ROOMY)).orders(1, true, 2);
    bench.given();
    bench.ask(3, verdict(1, NO, &[1, 2])).ask(4, verdict(1, NO, &[1]));
    let (one, nine) = (ids(&[1]), ids(&[9]));
    let purge = |group, which| Request::Purge { group, which };
    bench.check_letters_refused(
        &purge("g", LetterSelection::Ids(&nine)),
        ErrorCode::Letter,
        "1 of 1",
    );
    assert_eq!(bench.change(&purge("g", ALL)), (2, 0));
    // One has another letter, one another job.
    assert_eq!((bench.letters().len(), bench.core.backlog.view().len()), (1, 2));
    assert_eq!(bench.change(&purge("other", LetterSelection::Ids(&one))), (1, 0));
    assert_eq!(bench.core.backlog.view().len(), 1);
    bench.ask(4, verdict(1, Verdict::Ack, &[2]));
    assert!(bench.core.backlog.is_empty() && bench.core.letters.is_empty());
    bench.check_letters_refused(&purge("x", ALL), ErrorCode::Letter, "no group 'x'");
    bench.core.disconnected(3);
    bench.core.disconnected(4);
    while bench.core.turn(bench.now) {}
    assert!(bench.core.groups.is_empty());
}

#[test]
fn a_request_does_a_bounded_part_and_says_where_to_go_on() {
    let count = LETTERS_CHANGED_MAX * 2 + 1;
    let part = LETTERS_CHANGED_MAX as u64;
    let mut bench = rejected(count);
    let range = |from| LetterSelection::Range { from, to: 0, name: "" };
    let mut purge = |from| bench.change(&Request::Purge { group: "g", which: range(from) });
    assert_eq!(purge(0), (part as u32, part + 1));
    assert_eq!(purge(part + 1), (part as u32, part * 2 + 1));
    assert_eq!(purge(part * 2 + 1), (1, 0));
    assert!(bench.core.backlog.is_empty());

    let mut bench = rejected(count);
    let mut replay = |from| bench.change(&Request::Replay { group: "g", which: range(from) });
    assert_eq!(replay(0), (part as u32, part + 1));
    assert_eq!(replay(0), (part as u32, part * 2 + 1));
    let too_many = ids(&(1..=part + 1).collect::<Vec<_>>());
    let request = Request::Purge { group: "g", which: LetterSelection::Ids(&too_many) };
    bench.check_letters_refused(&request, ErrorCode::TooLarge, "at most 16384");
    let none = Request::Purge { group: "g", which: LetterSelection::Ids(&[]) };
    bench.check_letters_refused(&none, ErrorCode::Malformed, "0 bytes");
}

#[test]
fn a_replay_stops_early_where_many_groups_are_told() {
    const GROUPS: usize = 2000;
    let part = (LETTERS_TOLD_MAX / GROUPS + 1) as u64;
    let all = part + 5;
    let many = || {
        let mut bench = rejected(usize::try_from(all).unwrap());
        for n in 0..GROUPS {
            bench.ask_groups(create(ORDERS, named(&format!("other{n}"))));
        }
        bench
    };
    let replay = |which| Request::Replay { group: "g", which };
    let mut bench = many();
    let range = LetterSelection::Range { from: 0, to: all + 1, name: "" };
    assert_eq!(bench.change(&replay(range)), (part as u32, part + 1));
    assert_eq!(bench.change(&replay(range)), ((all - part) as u32, 0));
    assert!(bench.letters().is_empty());

    let mut bench = many();
    let (these, rest) = (ids(&(1..=all).collect::<Vec<_>>()), ids(&[all]));
    assert_eq!(bench.change(&replay(LetterSelection::Ids(&these))), (part as u32, part));
    assert_eq!(bench.letters().len(), 5);
    assert_eq!(bench.change(&replay(LetterSelection::Ids(&rest))), (1, 0));
}

#[test]
fn they_are_for_clients_that_said_hello() {
    let mut bench = rejected(1);
    let list = Request::List { group: "g", from: 0, limit: 0 };
    bench.check_control_refused(letter::request(&list), ErrorCode::Malformed, "hello");
    bench.core.drain();
    let replay = Request::Replay { group: "g", which: ALL };
    bench.check_letters_refused(&replay, ErrorCode::ShuttingDown, "ending");
    assert_eq!(bench.list("g", 0, 0).0.total, 1);
}

#[test]
fn ends_of_letters_are_stored() {
    let mut bench = Bench::durable();
    let other = Kind::Group(Group { name: "other", ..GROUP });
    bench.ask(3, join(1, ROOMY)).ask(4, subscribe(1, other, ORDERS, ROOMY)).orders(1, true, 2);
    let (group, _) = bench.core.take_group().unwrap();
    bench.store(group);
    bench.given();
    bench.request(3, verdict(1, NO, &[1, 2])).request(4, verdict(1, NO, &[1]));
    let (group, ops) = bench.core.take_group().unwrap();
    bench.store(group);
    let done: Vec<bool> =
        ops.iter().map(|op| matches!(op, Op::Letter(letter) if letter.is_done)).collect();
    assert_eq!(done, [false, false, true]);
    bench.effects();
    let mut end = |request: &Request<'_>| {
        assert_eq!(bench.change(request), (1, 0));
        let (_, ops) = bench.core.take_group().unwrap();
        let [Op::EndLetter { id, group, end }] = &ops[..] else { panic!("{ops:?}") };
        (id.sequence, group.to_string(), *end)
    };
    let (one, two) = (ids(&[1]), ids(&[2]));
    let purge = |group, which| Request::Purge { group, which };
    let expected = (1, "g".to_owned(), LetterEnd::Purged);
    assert_eq!(end(&purge("g", LetterSelection::Ids(&one))), expected);
    let expected = (1, "other".to_owned(), LetterEnd::Done);
    assert_eq!(end(&purge("other", LetterSelection::Ids(&one))), expected);
    let expected = (2, "g".to_owned(), LetterEnd::Replayed);
    let replay = Request::Replay { group: "g", which: LetterSelection::Ids(&two) };
    assert_eq!(end(&replay), expected);
}

#[test]
fn whatever_a_request_holds_it_is_answered_and_the_connection_lives_on() {
    let mut bench = rejected(2);
    bench.core.prove(ASKER.into(), 77);
    let mut random = fastrand::Rng::with_seed(7);
    for kind in 5..=10 {
        for _ in 0..5000 {
            let mut body = vec![2, kind];
            if random.bool() {
                body.extend(b"\x01g");
            }
            body.extend((0..random.usize(0..40)).map(|_| random.u8(..) & random.u8(..)));
            bench.core.request(ASKER, body.into(), bench.now);
            assert_eq!(bench.replies().len(), 1);
            assert!(bench.pass(Duration::ZERO).checks.is_empty());
        }
    }
    bench.request(ASKER, v2_prefix("ping"));
    assert_eq!(bench.replies(), [(ASKER, Reply::Ok)]);
}

#[test]
fn what_a_failed_journal_would_not_keep_is_refused() {
    let mut bench = Bench::durable();
    bench.ask(3, join(1, ROOMY)).orders(1, true, 1).stored();
    bench.given();
    bench.request(3, verdict(1, NO, &[1])).stored();
    bench.effects();
    bench.core.journal_failed("disk gone", true);
    for request in
        [Request::Purge { group: "g", which: ALL }, Request::Replay { group: "g", which: ALL }]
    {
        bench.check_letters_refused(&request, ErrorCode::JournalFailed, "disk gone");
    }
    // It is there after a restart, and till then.
    assert_eq!(bench.list("g", 0, 0).0.total, 1);
}
