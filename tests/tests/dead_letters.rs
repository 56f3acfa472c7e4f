//! Dead letters of the real server: kept through a crash, listed, and replayed.

use mezzenger::wire::control::{self, Backoff, Control, Group, Kind, Verdict};
use mezzenger::wire::filter::Filter;
use mezzenger::wire::frame::split_v2;
use mezzenger::wire::hello;
use mezzenger::wire::id::MessageId;
use mezzenger::wire::letter::{self, Cause, Changed, LetterSelection, Request};
use rustix::process::Signal;

use crate::check_journal;
use crate::harness::native::now_ns;
use crate::harness::raw::request;
use crate::harness::{Raw, Server};
use crate::one_connection::{One, subscribe};

fn join() -> Vec<u8> {
    let backoff = Backoff::new(&[1, 50]).unwrap();
    let group = Group { attempts_max: 3, backoff, ..Group::named("packers") };
    subscribe(1, Kind::Group(group), Filter::Pattern("orders.*"), 1 << 20)
}

fn settle(verdict: Verdict<'_>, id: MessageId) -> Vec<u8> {
    control::request(&Control::Settle { number: 1, verdict, ids: &id.to_bytes() })
}

/// The next message that a member gets, and which attempt that is.
#[track_caller]
fn next(member: &mut One) -> (MessageId, u16) {
    let [head, frame] = member.delivery();
    let attempt = control::read_delivery(&head).unwrap().attempt;
    let (_, mut records) = split_v2(&frame).unwrap();
    let (_, record) = records.next().unwrap().unwrap();
    assert!(records.next().is_none());
    (record.id, attempt)
}

/// They are small, and the answers are not.
#[test]
fn requests_to_show_one_take_bounded_memory_however_many_come_at_once() {
    const MIB: usize = 1024 * 1024;
    const REQUESTS: usize = 250;
    let server = Server::start::<&str>(&[]);
    let mut member = One::connect(&server);
    member.ask(&join());
    let id = member.publish("orders.new", &vec![7; 4 * MIB]);
    assert_eq!(next(&mut member), (id, 1));
    member.ask(&settle(Verdict::Reject { reason: "too large" }, id));
    let before = server.process.memory_max_bytes();
    let mut raw = Raw::connect(server.recv_addr, "DEALER");
    raw.say(&request(&hello::request(&[7; 16])));
    raw.hear().unwrap();
    let show = letter::request(&Request::Show { group: "packers", id });
    raw.say(&request(&show).repeat(REQUESTS));
    for _ in 0..REQUESTS {
        let answer = raw.hear().unwrap();
        let (entry, frame) = letter::read_shown(&answer).unwrap();
        assert_eq!((entry.id, frame.len() > 4 * MIB), (id, true));
    }
    let more = server.process.memory_max_bytes() - before;
    assert!(more < 100 * MIB, "{more} bytes more");
}

#[test]
fn they_outlive_a_killed_server_and_are_delivered_again_when_they_are_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let mut server = Server::start_with_journal(&journal, &["--retry-interval", "1h"]);
    let began_ns = now_ns();
    let mut member = One::connect(&server);
    member.ask(&join());
    let used_up = member.publish("orders.new", b"used up");
    for attempt in 1..=3 {
        assert_eq!(next(&mut member), (used_up, attempt));
        member.ask(&settle(Verdict::Nak { delay_ms: 0 }, used_up));
    }
    let rejected = member.publish("orders.old", b"rejected");
    assert_eq!(next(&mut member), (rejected, 1));
    member.ask(&settle(Verdict::Reject { reason: "no such customer" }, rejected));
    let left = member.publish("orders.new", b"left");
    assert_eq!(next(&mut member), (left, 1));

    // What was answered is stored.
    server.signal_and_wait(Signal::KILL);
    let server = Server::start_with_journal(&journal, &["--retry-interval", "1h"]);
    let mut asker = One::connect(&server);
    let group = "packers";
    let answer = asker.request(&letter::request(&Request::List { group, from: 0, limit: 0 }));
    let (listed, rest) = letter::read_listed(&answer).unwrap();
    let (first, rest) = letter::read_entry(rest).unwrap();
    let (second, rest) = letter::read_entry(rest).unwrap();
    assert_eq!((listed.total, listed.next, rest), (2, 0, &b""[..]));
    assert_eq!((first.id, first.attempts, first.cause), (used_up, 3, Cause::UsedUp));
    let cause = Cause::Rejected("no such customer");
    assert_eq!((second.id, second.attempts, second.cause), (rejected, 1, cause));
    assert_eq!((second.name, second.filter), ("orders.old", "orders.*"));
    let times = [began_ns, first.published_ns, first.died_ns, second.died_ns, now_ns()];
    assert!(times.is_sorted(), "{times:?}");
    let answer = asker.request(&letter::request(&Request::Show { group, id: rejected }));
    let (_, frame) = letter::read_shown(&answer).unwrap();
    let (name, mut records) = split_v2(frame).unwrap();
    assert_eq!(
        (name, records.next().unwrap().unwrap().1.payload),
        ("orders.old", &b"rejected"[..])
    );

    // They do not come by themselves.
    let replay =
        Request::Replay { group, which: LetterSelection::Range { from: 0, to: 0, name: "" } };
    let replay = letter::request(&replay);
    let refused = String::from_utf8(asker.request(&replay)[3..].to_vec()).unwrap();
    assert!(refused.contains("'packers' has no members"), "{refused}");
    let mut member = One::connect(&server);
    member.ask(&join());
    assert_eq!(next(&mut member), (left, 1));
    let changed = letter::read_changed(&asker.request(&replay));
    assert_eq!(changed, Some(Changed { done: 2, next: 0 }));
    for id in [used_up, rejected] {
        assert_eq!(next(&mut member), (id, 1));
        member.ask(&settle(Verdict::Ack, id));
    }
    member.ask(&settle(Verdict::Reject { reason: "" }, left));
    server.terminate();
    let report = check_journal::report(&journal, 0);
    assert!(report.contains("3 appended, 2 settled, 1 live\n"), "{report}");
    assert!(report.contains("dead letters: 1\n"), "{report}");
}
