//! A disk that is really full: nobody is told OK for what is not stored, and nothing that was is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use mezzenger::MessageId;
use mezzenger::wire::reply::{self, ErrorCode, Reply};
use rustix::process::Signal;

use crate::harness::native::{assert_ok, assert_refused};
use crate::harness::server::Refused;
use crate::harness::small_disk::SmallDisk;
use crate::harness::{Native, NativeSubscriber, Server};

const SMALL_KIB: usize = 512;
const ROOMY_KIB: usize = 16 * 1024;

#[track_caller]
fn start(disk: &SmallDisk, args: &[&str]) -> Server {
    Server::started(disk.server().args(args))
}

/// What was answered OK, and the frame that no longer was.
struct Published {
    stored: BTreeMap<MessageId, Vec<u8>>,
    refused: (MessageId, Vec<u8>),
}

/// Publishes kept messages until one is refused.
#[track_caller]
fn publish_until_full(publisher: &mut Native) -> Published {
    let mut stored = BTreeMap::new();
    for n in 0..1000_u32 {
        let payload = n.to_le_bytes().repeat(5000);
        let frame = publisher.frame("task", &payload, true);
        let reply = publisher.request(&frame);
        if !matches!(reply::read(&reply), Some(Reply::Ok { .. })) {
            let text = assert_refused(&reply, ErrorCode::JournalFailed);
            assert!(text.contains("No space left on device"), "{text}");
            return Published { stored, refused: (publisher.last_id(), frame) };
        }
        stored.insert(publisher.last_id(), payload);
    }
    panic!("the disk was never full");
}

/// Expects these messages, and takes no more than as many.
#[track_caller]
fn expect_all(subscriber: &mut NativeSubscriber, stored: &BTreeMap<MessageId, Vec<u8>>) {
    let found: BTreeMap<_, _> = (0..stored.len())
        .map(|_| subscriber.next())
        .map(|delivery| (delivery.id, delivery.payload))
        .collect();
    assert!(found == *stored, "{} of {} are there", found.len(), stored.len());
}

#[test]
fn what_was_stored_is_there_when_the_disk_has_room_again() {
    let Some(disk) = SmallDisk::mount(SMALL_KIB) else { return };
    for killed in [true, false] {
        let mut server = start(&disk, &[]);
        let mut publisher = Native::connect(&server);
        let Published { stored, refused } = publish_until_full(&mut publisher);
        assert!(stored.len() > 5, "{} stored", stored.len());

        // The server goes on with all that need not be stored, and takes nothing else, however small.
        let mut subscriber = NativeSubscriber::new(&server, "news");
        publisher.publish("news", b"not kept", false);
        assert_eq!(subscriber.next().payload, b"not kept");
        let small = publisher.frame("task", b"small", true);
        assert_refused(&publisher.request(&small), ErrorCode::JournalFailed);
        publisher.ping();
        server.log_line("the journal failed");
        if killed {
            server.process.kill();
        } else {
            let status = server.signal_and_wait(Signal::TERM);
            assert_eq!(status.code(), Some(1), "{}", server.process.stderr());
        }

        disk.resize(ROOMY_KIB);
        let server = start(&disk, &[]);
        let mut subscriber = NativeSubscriber::new(&server, "task");
        expect_all(&mut subscriber, &stored);
        // What was refused is published again, and taken.
        let again = publisher.again(&server);
        assert_ok(&again.request(&refused.1));
        assert_eq!(subscriber.next().id, refused.0);
        again.ack(&stored.into_keys().chain([refused.0]).collect::<Vec<_>>());
        server.terminate();
        fs::remove_file(disk.seen_from_outside(&disk.journal())).unwrap();
        disk.resize(SMALL_KIB);
    }
}

#[test]
fn an_acknowledgement_that_came_while_the_disk_was_full_holds_once_there_is_room() {
    let Some(disk) = SmallDisk::mount(SMALL_KIB) else { return };
    let mut server = start(&disk, &[]);
    let mut publisher = Native::connect(&server);
    let Published { stored, .. } = publish_until_full(&mut publisher);
    let ids: Vec<_> = stored.into_keys().collect();
    let (settled, kept) = ids.split_at(ids.len() / 2);
    // Answered OK.
    publisher.ack(settled);
    disk.resize(ROOMY_KIB);
    let status = server.signal_and_wait(Signal::TERM);
    assert_eq!(status.code(), Some(1), "the journal had failed: {}", server.process.stderr());

    let server = start(&disk, &[]);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let found: Vec<_> = kept.iter().map(|_| subscriber.next().id).collect();
    assert!(kept.iter().all(|id| found.contains(id)), "{found:?} of {kept:?}");
    // What is kept comes at once, and in one go; this comes behind it.
    let last = Native::connect(&server).publish("task", b"last", true);
    assert_eq!(subscriber.next().id, last);
    server.terminate();
}

#[test]
fn a_log_on_the_full_disk_of_the_journal_costs_no_answer_and_no_drain() {
    let Some(disk) = SmallDisk::mount(SMALL_KIB) else { return };
    let log = disk.journal().with_file_name("log");
    let mut command = disk.enter("sh");
    command.args(["-c", r#"exec "$@" 2>"$0""#]).arg(&log);
    let mut server = Server::started(disk.add_server(&mut command).arg("--verbose"));
    let mut publisher = Native::connect(&server);
    let Published { stored, .. } = publish_until_full(&mut publisher);
    fill(&disk);
    // Each of them is worth a line.
    for n in 0..100_u8 {
        let frame = publisher.frame("task", &[n], true);
        assert_refused(&publisher.request(&frame), ErrorCode::JournalFailed);
        publisher.request(b"greet|no pickle");
    }
    let mut subscriber = NativeSubscriber::new(&server, "news");
    publisher.publish("news", b"not kept", false);
    assert_eq!(subscriber.next().payload, b"not kept");
    let status = server.signal_and_wait(Signal::TERM);
    assert_eq!(status.code(), Some(1), "it says that its journal failed, and drains");

    disk.resize(ROOMY_KIB);
    let written = fs::read_to_string(disk.seen_from_outside(&log)).unwrap();
    assert!(written.contains("the journal failed"), "{written}");
    let server = start(&disk, &[]);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    expect_all(&mut subscriber, &stored);
    server.terminate();
}

/// Takes all the room that there is. Returns the file that has it.
fn fill(disk: &SmallDisk) -> PathBuf {
    let ballast = disk.seen_from_outside(&disk.journal().with_file_name("ballast"));
    let error = fs::write(&ballast, vec![1; 2 * SMALL_KIB * 1024]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    ballast
}

#[track_caller]
fn check_refused(disk: &SmallDisk, args: &[&str]) {
    let Err(Refused { code, stderr, .. }) = Server::run(disk.server().args(args)) else {
        panic!("a server started on a full disk");
    };
    assert_eq!(code, Some(1));
    assert!(stderr.contains("No space left on device"), "{stderr}");
    assert!(stderr.contains("free space"), "{stderr}");
}

#[test]
fn a_server_does_not_start_with_a_new_journal_without_room_for_it() {
    let Some(disk) = SmallDisk::mount(SMALL_KIB) else { return };
    let ballast = fill(&disk);
    check_refused(&disk, &[]);
    fs::remove_file(ballast).unwrap();
    let server = start(&disk, &[]);
    Native::connect(&server).publish("task", b"stored", true);
    server.terminate();
}

#[test]
fn a_repair_without_room_changes_nothing() {
    let Some(disk) = SmallDisk::mount(SMALL_KIB) else { return };
    let server = start(&disk, &[]);
    let mut publisher = Native::connect(&server);
    let ids: Vec<_> = (0..10_u8).map(|n| publisher.publish("task", &[n; 10_000], true)).collect();
    server.terminate();
    let journal = disk.seen_from_outside(&disk.journal());
    let mut damaged = fs::read(&journal).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&journal, &damaged).unwrap();

    let ballast = fill(&disk);
    check_refused(&disk, &["--repair"]);
    assert!(fs::read(&journal).unwrap() == damaged);
    let copy = disk.seen_from_outside(&disk.journal().with_extension("damaged-1"));
    assert!(!copy.exists(), "half a copy takes the room that is missing");

    fs::remove_file(ballast).unwrap();
    let server = start(&disk, &["--repair"]);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let found: Vec<_> = (1..ids.len()).map(|_| subscriber.next().id).collect();
    assert_eq!(found.iter().filter(|id| ids.contains(id)).count(), ids.len() - 1);
    assert!(fs::read(copy).unwrap() == damaged);
    server.terminate();
}
