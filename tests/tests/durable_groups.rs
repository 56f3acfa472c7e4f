//! Durable groups of the real server: their jobs wait for members, over kills.

use std::collections::BTreeSet;

use mezzenger::wire::control::{self, Control, Group, Kind, Verdict};
use mezzenger::wire::durable::{self, Request, Unsettled};
use mezzenger::wire::filter::Filter;
use mezzenger::wire::frame::split_v2;
use mezzenger::wire::id::MessageId;
use rustix::process::Signal;

use crate::check_journal;
use crate::harness::Server;
use crate::one_connection::{One, subscribe};

const ORDERS: Filter<'_> = Filter::Pattern("orders.*");

fn create(name: &str) -> Vec<u8> {
    durable::request(&Request::Create { filter: ORDERS, group: Group::named(name) })
}

fn delete(name: &str) -> Vec<u8> {
    durable::request(&Request::Delete { name, unsettled: Unsettled::Discarded })
}

/// A member of this group, which may get so many bytes.
fn member(server: &Server, name: &str, credit: u64) -> One {
    let mut member = One::connect(server);
    let answer = member.request(&subscribe(1, Kind::Group(Group::named(name)), ORDERS, credit));
    // How long it may take: the retry interval.
    assert_eq!(answer, [&b"OK"[..], &3_600_000_u32.to_le_bytes()].concat());
    member
}

fn ack(ids: &[MessageId]) -> Vec<u8> {
    let ids: Vec<u8> = ids.iter().flat_map(|id| id.to_bytes()).collect();
    control::request(&Control::Settle { number: 1, verdict: Verdict::Ack, ids: &ids })
}

/// The next so many messages that a member gets.
#[track_caller]
fn next(member: &mut One, count: usize) -> Vec<MessageId> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let [_, frame] = member.delivery();
        let (_, records) = split_v2(&frame).unwrap();
        ids.extend(records.map(|record| record.unwrap().1.id));
    }
    assert_eq!(ids.len(), count);
    ids
}

/// Each group: whether it is durable, its members, and what waits.
fn list(asker: &mut One) -> Vec<(String, u32, u64)> {
    let answer = asker.request(&durable::request(&Request::List { from: "", limit: 0 }));
    let (listed, mut rest) = durable::read_listed(&answer).unwrap();
    let mut groups = Vec::new();
    while !rest.is_empty() {
        let (entry, behind) = durable::read_entry(rest).unwrap();
        assert!(entry.is_durable && entry.filter == ORDERS);
        groups.push((entry.group.name.to_owned(), entry.members, entry.waiting + entry.in_flight));
        rest = behind;
    }
    assert_eq!((listed.total as usize, listed.next), (groups.len(), ""));
    groups
}

#[test]
fn their_jobs_outlive_killed_servers_and_are_done_once_by_each_group() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let start = || Server::start_with_journal(&journal, &["--retry-interval", "1h"]);
    let mut server = start();
    let mut publisher = One::connect(&server);
    let early = publisher.publish("orders.early", b"before any group");
    publisher.ask(&create("packers"));
    publisher.ask(&create("billing"));
    let first: Vec<_> =
        (0..20).map(|n| publisher.publish("orders.new", format!("{n}").as_bytes())).collect();
    // One is done with half of them.
    let mut packer = member(&server, "packers", 1 << 20);
    let got = next(&mut packer, 20);
    assert_eq!(got, first);
    packer.ask(&ack(&got[..10]));
    // An acknowledgement is answered before it is written, and a creation once all before it is.
    packer.ask(&create("packers"));
    server.signal_and_wait(Signal::KILL);

    let mut server = start();
    let mut publisher = One::connect(&server);
    publisher.ask(&create("late"));
    let second: Vec<_> =
        (0..5).map(|n| publisher.publish("orders.old", format!("{n}").as_bytes())).collect();
    let waiting = |name: &str, jobs| (name.to_owned(), 0, jobs);
    let expected = [waiting("billing", 25), waiting("late", 5), waiting("packers", 15)];
    assert_eq!(list(&mut publisher), expected);
    server.signal_and_wait(Signal::KILL);

    let server = start();
    let mut publisher = One::connect(&server);
    assert_eq!(list(&mut publisher), expected);
    let all = |ids: &[&[MessageId]]| ids.concat().into_iter().collect::<BTreeSet<_>>();
    for (name, mine) in [
        ("packers", all(&[&first[10..], &second])),
        ("billing", all(&[&first, &second])),
        ("late", all(&[&second])),
    ] {
        let mut worker = member(&server, name, 1 << 20);
        let got = next(&mut worker, mine.len());
        assert_eq!(got.iter().copied().collect::<BTreeSet<_>>(), mine, "{name}");
        worker.ask(&ack(&got));
    }
    // What came before all of them is anybody's.
    let mut broadcast = One::connect(&server);
    broadcast.ask(&subscribe(1, Kind::Broadcast, ORDERS, 1 << 20));
    assert_eq!(next(&mut broadcast, 1), [early]);
    server.terminate();
    let report = check_journal::report(&journal, 0);
    assert!(report.contains("26 appended, 25 settled, 1 live\n"), "{report}");
    assert!(report.contains("durable groups: 3\n"), "{report}");
}

#[test]
fn a_deletion_that_was_answered_outlives_a_killed_server_and_so_does_what_others_need() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let start = || Server::start_with_journal(&journal, &["--retry-interval", "1h"]);
    let mut server = start();
    let mut asker = One::connect(&server);
    asker.ask(&create("packers"));
    let only = asker.publish("orders.new", b"for one");
    asker.ask(&create("billing"));
    let both = asker.publish("orders.new", b"for both");
    asker.ask(&delete("packers"));
    server.signal_and_wait(Signal::KILL);

    let server = start();
    let mut asker = One::connect(&server);
    assert_eq!(list(&mut asker), [("billing".to_owned(), 0, 1)]);
    let mut worker = member(&server, "billing", 1 << 20);
    assert_eq!(next(&mut worker, 1), [both]);
    let refused = String::from_utf8(asker.request(&delete("billing"))[3..].to_vec()).unwrap();
    assert!(refused.contains("'billing' has 1 member:"), "{refused}");
    // One of that name is another one, whose jobs come from now on.
    asker.ask(&create("packers"));
    let again = asker.publish("orders.new", b"again");
    assert_ne!(only, again);
    let mut packer = member(&server, "packers", 1 << 20);
    assert_eq!(next(&mut packer, 1), [again]);
    server.terminate();
}
