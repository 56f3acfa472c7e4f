//! The journal on the real file system.

use std::path::Path;
use std::sync::Arc;

use mezzenger::journal::storage::RealStorage;
use mezzenger::journal::{FsyncPolicy, JournalOptions, OpenError, inspect, open};

use crate::harness::*;

fn at(path: &Path) -> JournalOptions {
    JournalOptions::new(path)
}

#[track_caller]
fn check_refused(path: &Path, expected: fn(&OpenError) -> bool, text: &str) {
    let Err(error) = open(at(path), Arc::new(RealStorage)) else { panic!("opened") };
    assert!(expected(&error), "{error:?}");
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn what_is_written_is_there_after_closing_and_after_a_compaction() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let options = JournalOptions { compact_min_bytes: 100_000, ..at(&path) };
    let run = Run::real(options.clone()).unwrap();
    let mut n = 0;
    while run.journal.stats().compactions < 2 {
        run.append(n..n + 50);
        assert!(run.settled(run.settle((n..n + 50).filter(|n| n % 10 != 6))));
        n += 50;
    }
    run.journal.close().unwrap();
    let expected = messages((0..n).filter(|n| n % 10 == 6));
    assert_eq!(inspect(&path, &RealStorage).unwrap().live, expected.len() as u64);
    assert_eq!(Run::real(options).unwrap().kept, expected);
}

#[test]
fn a_journal_in_use_is_locked_across_a_compaction() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let run = Run::real(JournalOptions { compact_min_bytes: 0, ..at(&path) }).unwrap();
    let locked = |error: &OpenError| matches!(error, OpenError::Locked { .. });
    check_refused(&path, locked, "in use by another server");
    run.append(0..50);
    run.settle(0..50);
    run.wait(|journal| journal.stats().compactions > 0);
    check_refused(&path, locked, "in use by another server");
    run.journal.close().unwrap();
    open(at(&path), Arc::new(RealStorage)).unwrap();
}

#[test]
fn paths_that_cannot_be_a_journal_are_refused_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let is_directory = |error: &OpenError| matches!(error, OpenError::IsADirectory { .. });
    check_refused(directory.path(), is_directory, "name a file in it");
    let missing = |error: &OpenError| matches!(error, OpenError::DirectoryMissing { .. });
    check_refused(&directory.path().join("none/journal"), missing, "create it first");
    let unwritable = |error: &OpenError| matches!(error, OpenError::Io { .. });
    check_refused(Path::new("/proc/journal"), unwritable, "cannot create");
    let other = |error: &OpenError| matches!(error, OpenError::NotAJournal { .. });
    let text = directory.path().join("notes.txt");
    std::fs::write(&text, "remember the milk\n").unwrap();
    check_refused(&text, other, "left alone");
    assert_eq!(std::fs::read(&text).unwrap(), b"remember the milk\n");
}

#[test]
fn an_empty_file_becomes_a_journal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    std::fs::write(&path, b"").unwrap();
    let run = Run::real(JournalOptions { fsync: FsyncPolicy::Never, ..at(&path) }).unwrap();
    run.append(0..3);
    run.journal.close().unwrap();
    assert_eq!(Run::real(at(&path)).unwrap().kept, messages(0..3));
}

#[test]
fn a_repaired_file_and_its_copy_are_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let mut bytes = sample(FsyncPolicy::Always, true);
    bytes[5000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let damaged = |error: &OpenError| matches!(error, OpenError::Damaged { .. });
    check_refused(&path, damaged, "--repair");
    Run::real(JournalOptions { repair: true, ..at(&path) }).unwrap();
    assert_eq!(std::fs::read(directory.path().join("journal.damaged-1")).unwrap(), bytes);
    Run::real(at(&path)).unwrap();
}
