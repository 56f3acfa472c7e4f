//! `mezzenger-server --check-journal FILE` tells what a journal holds and what is damaged, and changes
//! nothing.

use std::fs;
use std::path::Path;
use std::process::Output;

use mezzenger::MessageId;

use crate::harness::native::assert_ok;
use crate::harness::server::command;
use crate::harness::{Native, NativeSubscriber, Server};

fn run(journal: &Path) -> Output {
    command().arg("--check-journal").arg(journal).output().unwrap()
}

/// Checks a journal that is there, and that this changed neither it nor what lies beside it.
#[track_caller]
pub(crate) fn report(journal: &Path, code: i32) -> String {
    let state = || {
        let mut files: Vec<_> = fs::read_dir(journal.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap()))
            .collect();
        files.sort();
        (files, fs::read(journal).unwrap())
    };
    let before = state();
    let output = run(journal);
    assert!(before == state(), "checking changed something");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(code), ""), "{stdout}");
    stdout
}

#[track_caller]
fn check_line(report: &str, line: &str) {
    assert!(report.lines().any(|found| found == line), "no line {line:?} in:\n{report}");
}

const MESSAGES: u8 = 20;

fn payload(n: u8) -> [u8; 100] {
    [n + 1; 100]
}

/// A journal with messages of which every fourth is acknowledged. The server ended cleanly.
fn journal(path: &Path) -> Vec<MessageId> {
    let server = Server::start_with_journal(path, &[]);
    let mut publisher = Native::connect(&server);
    // In one frame, and so with nothing between them in the file.
    let frame = publisher.frame_of("task", &(0..MESSAGES).map(payload).collect::<Vec<_>>(), true);
    assert_ok(&publisher.request(&frame));
    let last = publisher.last_id();
    let ids: Vec<_> =
        (1..=u64::from(MESSAGES)).map(|sequence| MessageId { sequence, ..last }).collect();
    publisher.ack(&ids.iter().copied().step_by(4).collect::<Vec<_>>());
    server.terminate();
    ids
}

/// Where the record of a message starts, and how long it is.
fn record(bytes: &[u8], n: u8) -> (usize, usize) {
    let found = bytes.windows(100).position(|window| window == payload(n)).unwrap();
    // The name is the last thing before the body, which here begins with the record's own bytes.
    let name = bytes[..found].windows(4).rposition(|window| window == b"task").unwrap();
    let start = name - 16 - 32;
    (start, 32 + u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap()) as usize)
}

#[test]
fn a_sound_journal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    journal(&path);
    let report = report(&path, 0);
    check_line(&report, &format!("journal: {}", path.display()));
    check_line(&report, "format: version 2");
    check_line(&report, &format!("size: {} bytes", fs::metadata(&path).unwrap().len()));
    assert!(report.contains(" (20 append, 1 settle, 0 seen, "), "{report}");
    check_line(&report, "messages: 20 appended, 5 settled, 15 live");
    check_line(&report, "torn end: none");
    check_line(&report, "damage: none");
}

#[test]
fn a_torn_end_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    journal(&path);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], &[7; 54]].concat()).unwrap();
    let report = report(&path, 0);
    let torn = format!("torn end: 54 bytes from offset {}", whole.len());
    assert!(report.contains(&torn), "{report}");
    check_line(&report, "damage: none");
}

#[test]
fn damage_is_told_with_its_places_and_gone_after_a_repair() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let ids = journal(&path);
    let mut bytes = fs::read(&path).unwrap();
    let damaged = [3, 9, 10].map(|n| record(&bytes, n));
    // In a body; in a header; over a whole record.
    bytes[damaged[0].0 + 60] ^= 1;
    bytes[damaged[1].0 + 1] ^= 0x80;
    bytes[damaged[2].0..][..damaged[2].1].fill(0);
    fs::write(&path, &bytes).unwrap();

    let found = report(&path, 1);
    let bytes_damaged: usize = damaged.iter().map(|(_, bytes)| bytes).sum();
    check_line(&found, &format!("damage: 3 records in {bytes_damaged} bytes"));
    check_line(&found, &format!("  offset {}: {} bytes, 1 record", damaged[0].0, damaged[0].1));
    let two = damaged[1].1 + damaged[2].1;
    check_line(&found, &format!("  offset {}: {two} bytes, 2 records", damaged[1].0));
    check_line(&found, "messages: 17 appended, 5 settled, 12 live");
    assert!(found.contains("--repair"), "{found}");

    let server = Server::start_with_journal(&path, &["--repair"]);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let lost = [0, 4, 8, 12, 16, 3, 9, 10];
    for n in (0..usize::from(MESSAGES)).filter(|n| !lost.contains(n)) {
        let delivery = subscriber.next();
        assert_eq!((delivery.id, &delivery.payload[..]), (ids[n], &payload(n as u8)[..]));
    }
    server.terminate();
    let copy = directory.path().join("journal.damaged-1");
    assert!(fs::read(&copy).unwrap() == bytes, "the copy is another");
    check_line(&report(&path, 0), "damage: none");
    check_line(&report(&copy, 1), &format!("damage: 3 records in {bytes_damaged} bytes"));

    // Nothing is repaired and nothing copied when nothing is damaged.
    Server::start_with_journal(&path, &["--repair"]).terminate();
    assert!(!directory.path().join("journal.damaged-2").exists());
}

#[test]
fn a_damaged_header_is_told_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    journal(&path);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096 + 20] ^= 4;
    fs::write(&path, &bytes).unwrap();
    check_line(&report(&path, 1), "  offset 4096: 32 bytes, a copy of the header");
}

#[test]
fn a_journal_in_use_is_sound_and_its_server_undisturbed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let server = Server::start_with_journal(&path, &["--retry-interval", "1h"]);
    let mut publisher = Native::connect(&server);
    let mut ids = Vec::new();
    for _ in 0..20 {
        let unanswered = 100;
        for n in 0..unanswered {
            let frame = publisher.frame("task", &[n; 3000], true);
            publisher.send(&frame);
            ids.push(publisher.last_id());
        }
        // While these are written.
        let output = run(&path);
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stdout}");
        check_line(&stdout, "damage: none");
        for _ in 0..unanswered {
            assert_ok(&publisher.reply());
        }
    }
    let report = String::from_utf8(run(&path).stdout).unwrap();
    check_line(&report, "messages: 2000 appended, 0 settled, 2000 live");
    publisher.ack(&ids);
    server.terminate();
    Server::start_with_journal(&path, &[]).terminate();
}

#[test]
fn what_is_no_journal_is_said_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let check = |path: &Path, says: &str| {
        let output = run(path);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{stderr}");
        assert!(
            stderr.starts_with("mezzenger-server: ") && stderr.lines().count() == 1,
            "{stderr}"
        );
        assert!(stderr.contains(says), "{stderr}");
    };
    check(&directory.path().join("none"), "there is no journal");
    check(directory.path(), "is a directory");
    let letter = directory.path().join("letter.txt");
    fs::write(&letter, "Dear Sir or Madam, ".repeat(1000)).unwrap();
    check(&letter, "is not a journal");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn it_is_asked_for_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    journal(&path);
    for other in ["--repair", "--insecure"] {
        let output = command().arg("--check-journal").arg(&path).arg(other).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{other}");
    }
}
