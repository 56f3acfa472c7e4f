//! Durable groups: their jobs wait for members, and they are there until they are deleted.

use super::dead_letters::{NO, NOW};
use super::groups::{GROUP, ORDERS, ROOMY, WAIT, join, verdict};
use super::native::subscribe;
use super::*;
use crate::limits::{DELETING_MAX, DURABLE_GROUPS_MAX, GROUPS_LISTED_MAX, IN_FLIGHT_MAX};
use crate::wire::control::{Backoff, Group, Kind, Verdict};
use crate::wire::durable::{self, Entry, Request, Unsettled};
use crate::wire::filter::Filter;
use crate::wire::letter::{self, LetterSelection};
use crate::wire::reply::number;

/// Whoever asks for groups.
pub(super) const ASKER: u32 = 50;

pub(super) fn create(filter: Filter<'_>, group: Group<'_>) -> Vec<u8> {
    durable::request(&Request::Create { filter, group })
}

pub(super) fn delete(name: &str) -> Vec<u8> {
    durable::request(&Request::Delete { name, unsettled: Unsettled::Discarded })
}

pub(super) fn named(name: &str) -> Group<'_> {
    Group { name, ..GROUP }
}

/// Members of this group, which leave all to it.
pub(super) fn join_named(number: u32, name: &str) -> Vec<u8> {
    subscribe(number, Kind::Group(Group::named(name)), ORDERS, ROOMY)
}

impl Bench {
    /// With a durable group `g` for orders.
    pub(super) fn with_group() -> Self {
        let mut bench = Self::new();
        bench.ask_groups(create(ORDERS, GROUP));
        bench
    }

    /// A request about groups that is taken.
    #[track_caller]
    pub(super) fn ask_groups(&mut self, body: Vec<u8>) -> &mut Self {
        self.core.prove(ASKER.into(), 77);
        self.core.request(ASKER, body.into(), self.now);
        while self.core.turn(self.now) {}
        let last = self.core.out.queue.pop_back();
        assert!(matches!(last, Some(Effect::Reply(ASKER, Reply::Ok))), "{last:?}");
        self
    }

    #[track_caller]
    pub(super) fn refused(&mut self, body: Vec<u8>) -> (ErrorCode, String) {
        self.core.prove(ASKER.into(), 77);
        self.core.request(ASKER, body.into(), self.now);
        match self.core.out.queue.pop_back() {
            Some(Effect::Reply(ASKER, Reply::Refused(why, Dialect::V2))) => {
                (why.code(), why.to_string())
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn check_group_refused(&mut self, body: Vec<u8>, says: &[&str]) {
        let (code, text) = self.refused(body);
        assert_eq!(code, ErrorCode::Group, "{text}");
        assert!(says.iter().all(|says| text.contains(says)), "{text}");
    }

    /// What a list says: how many there are, from where to go on, and what `show` makes of each.
    fn list_groups<R>(
        &mut self,
        from: &str,
        limit: u16,
        show: impl Fn(Entry<'_>) -> R,
    ) -> (u32, String, Vec<R>) {
        self.core.prove(ASKER.into(), 77);
        let request = durable::request(&Request::List { from, limit });
        self.core.request(ASKER, request.into(), self.now);
        let last = self.core.out.queue.pop_back();
        let Some(Effect::Reply(ASKER, Reply::Answer(answer))) = &last else { panic!("{last:?}") };
        let (listed, mut rest) = durable::read_listed(answer).unwrap();
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let (entry, behind) = durable::read_entry(rest).unwrap();
            entries.push(show(entry));
            rest = behind;
        }
        (listed.total, listed.next.to_owned(), entries)
    }

    /// Who got what, in any order.
    fn received(&mut self) -> Vec<(ConnectionId, Vec<u64>)> {
        self.pass(Duration::ZERO);
        let mut out = Vec::new();
        for super::Delivery { frame, to, direct, .. } in self.deliveries().0 {
            let direct = direct.iter().map(|direct| direct.connection);
            out.extend(to.into_iter().chain(direct).map(|to| (to, sequences(&frame))));
        }
        out.sort_unstable();
        out
    }

    /// Its journal group is stored; what it says.
    #[track_caller]
    pub(super) fn stored(&mut self) -> Vec<Op> {
        let Some((group, ops)) = self.core.take_group() else { return Vec::new() };
        self.store(group);
        ops
    }
}

#[test]
fn its_jobs_wait_for_a_member_and_stay_when_the_last_one_leaves() {
    let mut bench = Bench::new();
    bench.orders(1, true, 1);
    bench.ask_groups(create(ORDERS, GROUP));
    bench.orders(2, true, 2).orders(4, false, 1);
    assert!(bench.pass(INTERVAL * 3).given().is_empty());
    // What was published before is none of its jobs; what asks for no acknowledgement is lost to it.
    bench.ask(3, join(1, ROOMY));
    assert_eq!(bench.given(), [(3, 1, 1, vec![2, 3])]);
    assert_eq!(bench.core.counters.messages_dropped.get(), 1);
    assert_eq!(bench.orders(5, false, 1).given(), [(3, 1, 1, vec![5])]);
    bench.ask(3, verdict(1, Verdict::Ack, &[2]));
    bench.core.disconnected(3);
    assert!(bench.given().is_empty());
    // Nobody else settles them, nor gets them.
    bench.subscribe(b"\x01orders|").ask(5, subscribe(1, Kind::Broadcast, ORDERS, ROOMY));
    assert_eq!(bench.received(), [(1, vec![1]), (5, vec![1])]);
    bench.request(1, ack::frame(&[id(1), id(3)]));
    assert_eq!(bench.core.backlog.view().len(), 1);
    assert_eq!(bench.pass(INTERVAL * 3).received(), []);
    bench.ask(4, join_named(1, "g"));
    assert_eq!(bench.given(), [(4, 1, 2, vec![3])]);
    bench.ask(4, verdict(1, Verdict::Ack, &[3]));
    assert!(bench.core.backlog.is_empty() && bench.core.counters.settled.get() == 3);
}

#[test]
fn what_waits_for_anybody_is_for_other_groups_alone() {
    let mut bench = Bench::new();
    bench.orders(1, true, 3);
    bench.ask_groups(create(ORDERS, GROUP)).orders(4, true, 1);
    bench.ask(3, join(1, ROOMY)).ask(4, join_named(1, "other"));
    let mut given = bench.given();
    given.sort_unstable();
    assert_eq!(given, [(3, 1, 1, vec![4]), (4, 1, 1, vec![1, 2, 3])]);
}

#[test]
fn one_that_comes_behind_others_that_are_becoming_jobs_is_a_job_of_both() {
    let mut bench = Bench::new();
    bench.orders(1, true, 3);
    bench.ask_groups(create(ORDERS, GROUP));
    bench.ask(4, join_named(1, "other")).orders(4, true, 1);
    // Nobody who looks on takes it away meanwhile.
    bench.request(1, ack::frame(&[id(4)]));
    // One that is created later does not get it.
    bench.ask_groups(create(ORDERS, named("late")));
    bench.ask(3, join(1, ROOMY)).ask(5, join_named(1, "late"));
    let given = bench.given();
    let of = |connection| -> Vec<u64> {
        let given = given.iter().filter(|it| it.0 == connection);
        given.flat_map(|it| it.3.clone()).collect()
    };
    assert_eq!((of(4), of(3), of(5)), (vec![1, 2, 3, 4], vec![4], vec![]));
    bench.ask(4, verdict(1, Verdict::Ack, &[1, 2, 3, 4])).ask(3, verdict(1, Verdict::Ack, &[4]));
    assert!(bench.core.backlog.is_empty());
}

#[test]
fn a_message_is_done_when_each_group_is_that_it_fitted() {
    let mut bench = Bench::with_group();
    bench.ask_groups(create(Filter::Pattern("*"), named("two")));
    bench.ask(5, join_named(1, "three"));
    bench.orders(1, true, 1);
    bench.ask_groups(create(ORDERS, named("late")));
    bench.ask(3, join(1, ROOMY));
    bench.given();
    bench.ask(3, verdict(1, Verdict::Ack, &[1])).ask(5, verdict(1, Verdict::Ack, &[1]));
    assert_eq!(bench.core.backlog.view().len(), 1);
    // It comes to none of them again, whatever else ends.
    bench.core.disconnected(5);
    bench.ask(7, join_named(1, "late")).ask(8, join_named(1, "three"));
    assert!(bench.pass(INTERVAL * 2).given().is_empty());
    let member = subscribe(1, Kind::Group(Group::named("two")), Filter::Pattern("*"), ROOMY);
    bench.ask(6, member);
    assert_eq!(bench.given(), [(6, 1, 1, vec![1])]);
    bench.ask(6, verdict(1, Verdict::Ack, &[1]));
    assert!(bench.core.backlog.is_empty());
}

#[test]
fn creating_it_again_is_right_as_it_is_and_refused_as_it_is_not() {
    let backoff = Backoff::new(&[5, 6]).unwrap();
    let group = Group { ack_wait_ms: 2000, in_flight_max: 3, attempts_max: 4, backoff, ..GROUP };
    let mut bench = Bench::new();
    bench.ask_groups(create(ORDERS, group)).ask_groups(create(ORDERS, group));
    let other = create(Filter::Prefix("order"), group);
    bench.check_group_refused(
        other,
        &["'g'", "its filter is the prefix 'orders', not the prefix 'order'"],
    );
    for (group, says) in [
        (
            Group { ack_wait_ms: 0, ..group },
            "with other terms: its time to acknowledge is 2s, not 10s; use",
        ),
        (
            Group { in_flight_max: 0, ..group },
            "terms: a member's messages in flight are at most 3, not 8192; use",
        ),
        (Group { attempts_max: 5, ..group }, "terms: its attempts are 4, not 5; use"),
        (Group { attempts_max: 0, ..group }, "terms: its attempts are 4, not without end; use"),
        (
            Group { backoff: Backoff::NONE, ..group },
            "terms: its delays between attempts are [5, 6] ms, not [] ms; use",
        ),
        (
            Group { keeps_expired: true, ..group },
            "terms: messages that expire are no more, not become dead letters; use",
        ),
    ] {
        bench.check_group_refused(create(ORDERS, group), &[says]);
    }
    let two = Group { ack_wait_ms: 3000, attempts_max: 5, ..group };
    let says = "its time to acknowledge is 2s, not 3s; its attempts are 4, not 5";
    bench.check_group_refused(create(ORDERS, two), &[says]);
    let group = Group { in_flight_max: IN_FLIGHT_MAX + 1, ..group };
    bench.check_group_refused(create(ORDERS, group), &["8193", "at most 8192"]);
    // One that its members made ends with them, and is none that stays.
    bench.ask(3, join_named(1, "h"));
    bench.check_group_refused(create(ORDERS, named("h")), &["'h'", "it ends with its last member"]);
    bench.core.disconnected(3);
    bench.given();
    bench.ask_groups(create(ORDERS, named("h")));
}

#[test]
fn members_take_its_terms_or_say_the_same() {
    let backoff = Backoff::new(&[5, 6]).unwrap();
    let group = Group { in_flight_max: 1, attempts_max: 1, backoff, ..GROUP };
    let mut bench = Bench::new();
    bench.ask_groups(create(ORDERS, group)).orders(1, true, 2).effects();
    // They are told how long they may take.
    bench.core.prove(3, 7);
    bench.request(3, join_named(1, "g"));
    assert_eq!(bench.replies(), [(3, Reply::Answer(number(2000).into()))]);
    bench.ask(4, subscribe(1, Kind::Group(group), ORDERS, ROOMY));
    let given = bench.given();
    assert_eq!(given, [(3, 1, 1, vec![1]), (4, 1, 1, vec![2])], "one under way");
    bench.pass(WAIT + Duration::from_millis(20));
    assert_eq!(bench.core.letters.len(), 2, "one attempt");
    for (group, says) in [
        (Group { ack_wait_ms: 1, ..GROUP }, "its time to acknowledge is 2s, not 1ms"),
        (Group { in_flight_max: 2, ..GROUP }, "in flight are at most 1, not 2"),
        (Group { attempts_max: 2, ..GROUP }, "its attempts are 1, not 2"),
        (Group { backoff: Backoff::new(&[5]).unwrap(), ..GROUP }, "are [5, 6] ms, not [5] ms"),
    ] {
        let body = subscribe(2, Kind::Group(group), ORDERS, ROOMY);
        bench.check_control_refused(body, ErrorCode::Subscription, says);
    }
    let body = subscribe(2, Kind::Group(GROUP), Filter::Name("orders"), ROOMY);
    bench.check_control_refused(
        body,
        ErrorCode::Subscription,
        "its filter is the prefix 'orders', not the name 'orders'",
    );
}

#[test]
fn deleting_it_ends_its_jobs_and_what_nobody_else_needs() {
    let mut bench = Bench::with_group();
    bench.ask_groups(create(ORDERS, named("other"))).orders(1, true, 4);
    bench.ask(4, join_named(1, "other")).given();
    bench.ask(4, verdict(1, Verdict::Ack, &[1, 2])).ask(4, verdict(1, NO, &[3]));
    bench.ask(3, join(1, ROOMY));
    bench.check_group_refused(delete("g"), &["'g' has 1 member:"]);
    bench.core.disconnected(3);
    bench.ask_groups(delete("g"));
    // The other group goes on with the one that it has, and keeps its dead letter.
    let kept = [3, 4].map(|n| bench.core.backlog.view().contains(&id(n)));
    assert_eq!((kept, bench.core.backlog.view().len()), ([true; 2], 2));
    assert!(bench.core.backlog.is_dead(id(3)));
    assert_eq!(
        bench.list_groups("", 0, |it| (it.group.name.to_owned(), it.in_flight)).2,
        [("other".to_owned(), 1)]
    );
    bench.ask(4, verdict(1, Verdict::Ack, &[4]));
    assert_eq!(bench.core.backlog.view().len(), 1);
    for body in [delete("g"), delete("nobody")] {
        bench.check_group_refused(body, &["there is no group '"]);
    }
    // What comes now is anybody's, and a group of that name is another one.
    bench.core.disconnected(4);
    bench.given();
    bench.ask_groups(delete("other")).orders(5, true, 1);
    bench.ask_groups(create(ORDERS, GROUP));
    bench.ask(3, join(1, ROOMY)).ask(5, subscribe(1, Kind::Broadcast, ORDERS, ROOMY));
    assert_eq!(bench.received(), [(5, vec![5])]);
    assert_eq!(bench.core.letters.len(), 1, "until it is purged");
}

#[test]
fn what_members_did_not_settle_is_not_discarded_unless_that_is_said() {
    let mut bench = Bench::limited(false, Limits { messages: 40_000, bytes: 1 << 30 });
    let keep = || durable::request(&Request::Delete { name: "g", unsettled: Unsettled::Kept });
    bench.ask_groups(create(ORDERS, GROUP)).orders(1, true, 3);
    bench.check_group_refused(keep(), &["'g' has 3 messages that no member settled"]);
    bench.ask(3, join(1, ROOMY)).given();
    bench.ask(3, verdict(1, Verdict::Ack, &[1, 2, 3]));
    bench.core.disconnected(3);
    // Those that a turn had no time for count, too.
    for part in 0..10 {
        bench.orders(part * 1000 + 10, true, 1000);
    }
    bench.check_group_refused(keep(), &["'g' has 10000 messages"]);
    bench.effects();
    while bench.core.turn(bench.now) {}
    bench.check_group_refused(keep(), &["'g' has 10000 messages"]);
    bench.ask(3, join(1, ROOMY)).given();
    for part in 0..100 {
        let ids: Vec<_> = (0..100).map(|n| part * 100 + n + 10).collect();
        bench.ask(3, verdict(1, Verdict::Ack, &ids)).given();
    }
    bench.core.disconnected(3);
    bench.ask_groups(keep());
    assert!(bench.list_groups("", 0, |it| it.waiting).2.is_empty());
}

#[test]
fn a_group_that_its_members_made_is_not_deleted() {
    let mut bench = Bench::new();
    bench.ask(3, join(1, ROOMY));
    bench.check_group_refused(delete("g"), &["'g' is not durable"]);
}

#[test]
fn what_it_gave_up_is_replayed_although_nobody_is_there() {
    let mut bench = Bench::with_group();
    bench.orders(1, true, 1).ask(3, join(1, ROOMY)).given();
    bench.ask(3, verdict(1, NO, &[1]));
    bench.core.disconnected(3);
    bench.given();
    let which = LetterSelection::Range { from: 0, to: 0, name: "" };
    let replay = letter::request(&letter::Request::Replay { group: "g", which });
    bench.request(ASKER, replay);
    let [(_, Reply::Answer(answer))] = &bench.replies()[..] else { panic!() };
    assert_eq!(letter::read_changed(answer).unwrap().done, 1);
    bench.ask(4, join(1, ROOMY));
    assert_eq!(bench.given(), [(4, 1, 1, vec![1])]);
}

#[test]
fn many_jobs_end_a_part_in_each_turn_and_then_the_deletion_is_answered() {
    let mut bench = Bench::limited(false, Limits { messages: 40_000, bytes: 1 << 30 });
    bench.ask_groups(create(ORDERS, GROUP));
    for part in 0..10 {
        bench.orders(part * 1000 + 1, true, 1000);
    }
    bench.effects();
    bench.core.request(ASKER, delete("g").into(), bench.now);
    assert!(bench.core.turn(bench.now), "not all in one turn");
    assert!(bench.replies().is_empty() && bench.core.backlog.view().len() > 5000);
    bench.check_group_refused(create(ORDERS, GROUP), &["'g' is being deleted"]);
    for _ in 1..DELETING_MAX {
        bench.core.request(ASKER, delete("g").into(), bench.now);
    }
    bench.check_group_refused(delete("g"), &["'g' is being deleted"]);
    bench.check_control_refused(join(1, ROOMY), ErrorCode::Subscription, "'g' is being deleted");
    // What comes meanwhile is anybody's.
    bench.orders(20_001, true, 1).effects();
    while bench.core.turn(bench.now) {}
    let replies = bench.replies();
    assert_eq!(replies.len(), DELETING_MAX);
    assert!(replies.into_iter().all(|reply| reply == (ASKER, Reply::Ok)));
    assert_eq!(bench.core.backlog.view().len(), 1);
    assert!(bench.core.groups.has_no_group() && bench.core.groups.has_no_jobs());
}

#[test]
fn at_the_end_whoever_deletes_one_is_told_that_it_may_be_there_still() {
    let mut bench = Bench::with_group();
    bench.core.request(ASKER, delete("g").into(), bench.now);
    bench.core.abandon();
    assert_eq!(bench.replies(), [(ASKER, Reply::Refused(Refusal::ShuttingDown, Dialect::V2))]);
    let mut bench = Bench::with_group();
    bench.core.drain();
    for body in [delete("g"), create(ORDERS, named("h"))] {
        assert_eq!(bench.refused(body).0, ErrorCode::ShuttingDown);
    }
}

#[test]
fn groups_are_listed_by_name_a_page_at_a_time() {
    let mut bench = Bench::with(false, 10_000);
    for n in (0..GROUPS_LISTED_MAX + 2).rev() {
        bench.ask_groups(create(ORDERS, named(&format!("g{n:03}"))));
    }
    bench.ask(3, join_named(1, "a")).orders(1, true, 3);
    bench.given();
    bench.ask(3, verdict(1, NO, &[2]));
    let (total, next, entries) = bench.list_groups("", 0, |it| it.group.name.to_owned());
    assert_eq!(
        (total as usize, &*next, entries.len()),
        (GROUPS_LISTED_MAX + 3, "g255", GROUPS_LISTED_MAX)
    );
    assert!(entries.is_sorted() && entries[0] == "a");
    let (_, next, entries) = bench.list_groups("g255", 2, |it| it.group.name.to_owned());
    assert_eq!((&*next, &entries[..]), ("g257", &["g255".to_owned(), "g256".to_owned()][..]));
    let (_, next, entries) = bench.list_groups("g257", 2, |it| it.group.name.to_owned());
    assert_eq!((&*next, entries.len()), ("", 1));
    let show = |it: Entry<'_>| {
        assert_eq!((it.filter, it.group.attempts_max), (ORDERS, 0));
        assert_eq!(it.group.in_flight_max, IN_FLIGHT_MAX);
        (it.is_durable, it.members, it.waiting, it.in_flight, it.letters, it.group.ack_wait_ms)
    };
    let (_, _, entries) = bench.list_groups("", 2, show);
    assert_eq!(entries, [(false, 1, 0, 2, 1, 10_000), (true, 0, 3, 0, 0, 2000)]);
    // Whatever happens to jobs, they are counted.
    bench.ask(3, verdict(1, NOW, &[1])).ask(3, verdict(1, Verdict::Nak { delay_ms: 60_000 }, &[3]));
    assert_eq!(bench.list_groups("", 1, show).2[0].2, 2);
    bench.given();
    assert_eq!(bench.list_groups("", 1, show).2[0], (false, 1, 1, 1, 1, 10_000));
    bench.pass(INTERVAL + Duration::from_millis(20));
    bench.given();
    bench.ask(4, join_named(1, "a"));
    bench.core.disconnected(3);
    bench.given();
    assert_eq!(bench.list_groups("", 1, show).2[0], (false, 1, 1, 1, 1, 10_000));
}

#[test]
fn they_are_limited_in_number() {
    let mut bench = Bench::new();
    for n in 0..DURABLE_GROUPS_MAX {
        let group = format!("g{n}");
        bench.core.prove(ASKER.into(), 77);
        let body = create(Filter::Name(&group), named(&group));
        bench.core.request(ASKER, body.into(), bench.now);
    }
    bench.effects();
    let one_more = create(ORDERS, named("more"));
    bench.check_group_refused(one_more.clone(), &["there are 10000 durable groups"]);
    bench.ask_groups(delete("g7")).ask_groups(one_more);
}

#[test]
fn a_full_backlog_says_that_groups_have_it() {
    let mut bench = Bench::with(false, 4);
    bench.ask_groups(create(ORDERS, GROUP)).orders(1, true, 4).effects();
    bench.request(9, frame("orders", 5, true, &["x"]));
    let [(9, Reply::Refused(why, _))] = &bench.replies()[..] else { panic!() };
    assert_eq!(why.code(), ErrorCode::PendingFull);
    let text = why.to_string();
    assert!(
        text.contains("4 of 4 messages unacknowledged") && text.contains("groups have 4"),
        "{text}"
    );
}

#[test]
fn who_did_not_say_hello_may_not_ask_for_groups() {
    for request in [
        create(ORDERS, GROUP),
        delete("g"),
        durable::request(&Request::List { from: "", limit: 0 }),
    ] {
        let mut bench = Bench::new();
        bench.core.request(ASKER, request.into(), bench.now);
        let [(ASKER, Reply::Refused(why, _))] = &bench.replies()[..] else { panic!() };
        assert_eq!((why.code(), why.to_string().contains("hello")), (ErrorCode::Malformed, true));
    }
}
