//! A journal that cannot be used ends the server at once; damage costs the damaged records alone, and
//! only when told so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::harness::{Native, NativeSubscriber, Server};
use crate::start_errors::refusal;

const MESSAGES: usize = 200;

/// Makes a journal with messages that nobody acknowledged.
fn journal_with_messages(path: &Path) -> Vec<mezzenger::MessageId> {
    let server = Server::start_with_journal(path, &[]);
    let mut publisher = Native::connect(&server);
    let ids = (0..MESSAGES).map(|n| publisher.publish("task", &payload(n), true)).collect();
    server.terminate();
    ids
}

fn payload(n: usize) -> Vec<u8> {
    format!("the payload of message {n:05}").into_bytes()
}

#[track_caller]
fn refusal_for(journal: &Path) -> String {
    let journal = journal.to_str().unwrap();
    refusal(&["--pub-port", "0", "--recv-port", "0", "--persist-file", journal])
}

#[test]
fn a_second_server_on_one_journal() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let first = Server::start_with_journal(&journal, &[]);
    let line = refusal_for(&journal);
    assert!(line.contains("in use by another server"), "{line}");
    let mut publisher = Native::connect(&first);
    publisher.publish("task", b"the first goes on", true);
    first.terminate();
    Server::start_with_journal(&journal, &[]).terminate();
}

#[test]
fn a_missing_directory() {
    let directory = tempfile::tempdir().unwrap();
    let line = refusal_for(&directory.path().join("missing/journal"));
    assert!(line.contains("does not exist: create it first"), "{line}");
}

#[test]
fn a_directory_in_place_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let line = refusal_for(directory.path());
    assert!(line.contains("is a directory"), "{line}");
}

#[test]
fn another_programs_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("letter.txt");
    let letter = "Dear Sir or Madam, ".repeat(1000);
    fs::write(&file, &letter).unwrap();
    let line = refusal_for(&file);
    assert!(line.contains("is not a journal"), "{line}");
    assert_eq!(fs::read_to_string(&file).unwrap(), letter);
}

/// Where the payload of a message lies in the journal.
fn offset_of(bytes: &[u8], payload: &[u8]) -> usize {
    bytes.windows(payload.len()).position(|window| window == payload).unwrap()
}

#[test]
fn a_flipped_bit_in_the_middle_needs_repair_which_loses_that_record_alone() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let ids = journal_with_messages(&journal);
    let mut bytes = fs::read(&journal).unwrap();
    let damaged = MESSAGES / 2;
    let at = offset_of(&bytes, &payload(damaged));
    bytes[at + 3] ^= 0x10;
    fs::write(&journal, &bytes).unwrap();

    let line = refusal_for(&journal);
    assert!(line.contains("--repair"), "{line}");
    // Refusing left the file alone.
    assert_eq!(fs::read(&journal).unwrap(), bytes);

    let server = Server::start_with_journal(&journal, &["--repair"]);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let received: Vec<_> = (1..MESSAGES).map(|_| subscriber.next()).collect();
    let mut expected = ids.clone();
    expected.remove(damaged);
    assert_eq!(received.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), expected);
    server.terminate();

    // Repaired once, it needs no repair again, and a copy of what it was is kept.
    Server::start_with_journal(&journal, &[]).terminate();
    let copies = fs::read_dir(directory.path())
        .unwrap()
        .filter(|entry| fs::read(entry.as_ref().unwrap().path()).unwrap() == bytes)
        .count();
    assert_eq!(copies, 1);
}

#[test]
fn a_torn_tail_is_cut_off_at_every_length() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let ids = journal_with_messages(&journal);
    let whole = fs::read(&journal).unwrap();
    let last = offset_of(&whole, &payload(MESSAGES - 1));
    for len in [last, last + 1, last + 10, last + payload(0).len()] {
        fs::write(&journal, &whole[..len]).unwrap();
        let server = Server::start_with_journal(&journal, &[]);
        let mut subscriber = NativeSubscriber::new(&server, "task");
        let received: BTreeSet<_> = (1..MESSAGES).map(|_| subscriber.next().id).collect();
        assert_eq!(received, ids[..MESSAGES - 1].iter().copied().collect());
        server.terminate();
    }
}

#[test]
fn an_empty_file_is_a_new_journal() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    fs::write(&journal, b"").unwrap();
    let server = Server::start_with_journal(&journal, &[]);
    Native::connect(&server).publish("task", b"x", true);
    server.terminate();
}

#[test]
fn every_fsync_policy_serves_and_survives_a_crash_of_the_server() {
    for policy in ["always", "interval=20ms", "never"] {
        let directory = tempfile::tempdir().unwrap();
        let journal = directory.path().join("journal");
        let mut server = Server::start_with_journal(&journal, &["--fsync", policy]);
        let id = Native::connect(&server).publish("task", b"x", true);
        server.process.kill();
        let server = Server::start_with_journal(&journal, &["--fsync", policy]);
        assert_eq!(NativeSubscriber::new(&server, "task").next().id, id, "{policy}");
    }
}
