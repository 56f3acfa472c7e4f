//! The journal's files, as the real server makes and finds them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::harness::server::command;
use crate::harness::{Native, NativeSubscriber, Server, eventually};
use crate::start_errors::{refusal, refusal_with};

#[track_caller]
fn refusal_for(journal: &Path) -> String {
    let journal = journal.to_str().unwrap();
    refusal(&["--pub-port", "0", "--recv-port", "0", "--persist-file", journal])
}

#[test]
fn the_journal_is_the_only_file_and_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let server = Server::start_with_journal(&journal, &[]);
    Native::connect(&server).publish("task", b"x", true);
    assert_eq!(fs::metadata(&journal).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    server.terminate();
}

#[test]
fn a_journal_that_others_may_read_is_closed_to_them_and_the_log_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    Server::start_with_journal(&journal, &[]).terminate();
    fs::set_permissions(&journal, fs::Permissions::from_mode(0o644)).unwrap();
    let server = Server::start_with_journal(&journal, &[]);
    assert_eq!(fs::metadata(&journal).unwrap().permissions().mode() & 0o7777, 0o600);
    eventually("the warning", || server.process.stderr().contains("mode 644").then_some(()));
    server.terminate();
}

#[test]
fn a_hard_link_gives_no_second_server_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let [journal, link] = ["journal", "link"].map(|name| directory.path().join(name));
    let first = Server::start_with_journal(&journal, &["--retry-interval", "1h"]);
    fs::hard_link(&journal, &link).unwrap();
    let line = refusal_for(&link);
    assert!(line.contains("in use by another server"), "{line}");
    let id = Native::connect(&first).publish("task", b"the first goes on", true);
    first.terminate();
    let server = Server::start_with_journal(&journal, &["--retry-interval", "1h"]);
    assert_eq!(NativeSubscriber::new(&server, "task").next().id, id);
    server.terminate();
}

#[test]
fn what_is_no_file_is_refused_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let line = refusal_for(&pipe);
    assert!(line.contains("is a named pipe"), "{line}");
}

#[test]
fn a_link_to_no_file_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let [link, none] = ["link", "none"].map(|name| directory.path().join(name));
    symlink(&none, &link).unwrap();
    let line = refusal_for(&link);
    assert!(line.contains("does not exist"), "{line}");
    assert!(!none.exists() && link.is_symlink());
}

#[test]
fn a_flipped_bit_under_fsync_never_costs_one_message_of_2000() {
    const MESSAGES: usize = 2000;
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let never = ["--fsync", "never", "--retry-interval", "1h"];
    let mut server = Server::start_with_journal(&journal, &never);
    let mut publisher = Native::connect(&server);
    let payload = |n: usize| format!("the payload of message {n:05}").into_bytes();
    let ids: Vec<_> = (0..MESSAGES).map(|n| publisher.publish("task", &payload(n), true)).collect();
    server.process.kill();
    let mut bytes = fs::read(&journal).unwrap();
    let first = payload(0);
    let at = bytes.windows(first.len()).position(|window| window == first).unwrap();
    bytes[at] ^= 1;
    fs::write(&journal, &bytes).unwrap();

    let report = command().arg("--check-journal").arg(&journal).output().unwrap();
    let text = String::from_utf8(report.stdout).unwrap();
    assert_eq!(report.status.code(), Some(1), "{text}");
    assert!(text.contains("damage: 1 record in "), "{text}");
    let line = refusal_for(&journal);
    assert!(line.contains("--repair"), "{line}");
    let server = Server::start_with_journal(&journal, &[&never[..], &["--repair"]].concat());
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let received: Vec<_> = (1..MESSAGES).map(|_| subscriber.next().id).collect();
    assert_eq!(received, ids[1..]);
    server.terminate();
}

#[test]
fn a_torn_tail_is_kept_and_the_log_says_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    Server::start_with_journal(&journal, &[]).terminate();
    let sound = fs::read(&journal).unwrap();
    fs::write(&journal, [&sound[..], b"torn"].concat()).unwrap();
    let server = Server::start_with_journal(&journal, &[]);
    let copy = directory.path().join("journal.torn-1");
    assert_eq!(fs::read(&copy).unwrap(), b"torn");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o7777, 0o600);
    eventually("the warning", || {
        let log = server.process.stderr();
        let told = log.contains(&format!("offset={}", sound.len())) && log.contains("bytes=4");
        (told && log.contains("journal.torn-1")).then_some(())
    });
    server.terminate();
}

#[test]
fn a_repair_without_a_journal_is_told() {
    let line = refusal_with(2, &["--pub-port", "0", "--recv-port", "0", "--repair"]);
    assert!(line.contains("--persist-file"), "{line}");
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_with_journal(&directory.path().join("journal"), &["--repair"]);
    eventually("the warning", || server.process.stderr().contains("to repair").then_some(()));
    server.terminate();
}
