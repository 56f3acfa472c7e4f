//! What may stand where the journal is to be: links, other servers' journals, pipes, sockets, directories.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use mezzenger::journal::storage::RealStorage;
use mezzenger::journal::{FsyncPolicy, JournalOptions, inspect, open};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::harness::*;

/// After this a start hangs.
const DEADLINE: Duration = Duration::from_secs(30);

fn at(path: &Path) -> JournalOptions {
    JournalOptions::new(path)
}

fn directory_and_path() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    (directory, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn make_pipe(path: &Path) {
    // Not by a program: until it runs, it has the locks that other tests hold at that moment.
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Opens a journal on a thread of its own, so that a start that hangs is a failure. Returns the error.
#[track_caller]
fn refusal(path: &Path) -> String {
    let (told, tells) = crossbeam::channel::bounded(1);
    let options = at(path);
    thread::spawn(move || {
        let opened = open(options, Arc::new(RealStorage));
        let _ = told.send(opened.map(|_| ()).map_err(|error| error.to_string()));
    });
    let opened = tells.recv_timeout(DEADLINE).expect("the start hangs");
    opened.expect_err("it was opened")
}

/// Appends messages and settles most of them, so that there is something to compact.
fn fill(path: &Path) {
    let run = Run::real(at(path)).unwrap();
    run.append(0..50);
    run.settle(0..45);
    run.journal.close().unwrap();
}

#[test]
fn all_files_are_for_their_owner_alone() {
    let (directory, path) = directory_and_path();
    fill(&path);
    assert_eq!(mode(&path), 0o600);
    let run = Run::real(JournalOptions { compact_min_bytes: 0, ..at(&path) }).unwrap();
    run.wait(|journal| journal.stats().compactions > 0);
    run.journal.close().unwrap();
    assert_eq!(mode(&path), 0o600);

    // A torn tail, and damage.
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"torn");
    fs::write(&path, &bytes).unwrap();
    Run::real(at(&path)).unwrap();
    bytes[4200] ^= 1;
    fs::write(&path, &bytes).unwrap();
    set_mode(&path, 0o644);
    Run::real(JournalOptions { repair: true, ..at(&path) }).unwrap();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn an_existing_journal_that_others_may_read_is_closed_to_them() {
    let (_directory, path) = directory_and_path();
    fill(&path);
    for loose in [0o644, 0o666, 0o640, 0o700] {
        set_mode(&path, loose);
        drop(Run::real(at(&path)).unwrap());
        assert_eq!(mode(&path), loose & 0o700);
    }
}

#[test]
fn a_file_that_is_no_journal_keeps_its_permissions() {
    let (_directory, path) = directory_and_path();
    fs::write(&path, "Dear Sir or Madam").unwrap();
    set_mode(&path, 0o644);
    assert!(refusal(&path).contains("is not a journal"));
    assert_eq!(mode(&path), 0o644);
}

#[test]
fn a_journal_in_use_is_locked_under_each_of_its_names() {
    let (directory, path) = directory_and_path();
    let run = Run::real(at(&path)).unwrap();
    assert!(run.settled(run.append(0..3)));
    let [hard, soft, moved] = ["hard", "soft", "moved"].map(|name| directory.path().join(name));
    fs::hard_link(&path, &hard).unwrap();
    symlink(&path, &soft).unwrap();
    for name in [&path, &hard, &soft] {
        assert!(refusal(name).contains("in use by another server"), "{}", name.display());
    }
    fs::rename(&path, &moved).unwrap();
    assert!(refusal(&moved).contains("in use by another server"));
    assert!(run.settled(run.append(3..6)));
    run.journal.close().unwrap();
    assert_eq!(Run::real(at(&moved)).unwrap().kept, messages(0..6));
}

#[test]
fn a_second_server_is_refused_at_every_moment_of_a_compaction() {
    let (_directory, path) = directory_and_path();
    let run = Run::real(JournalOptions { compact_min_bytes: 0, ..at(&path) }).unwrap();
    thread::scope(|scope| {
        let (stop, stopped) = crossbeam::channel::bounded::<()>(0);
        let path = &path;
        let refused = scope.spawn(move || {
            let mut refused = 0_u32;
            while stopped.try_recv() != Err(crossbeam::channel::TryRecvError::Disconnected) {
                let error = open(at(path), Arc::new(RealStorage)).map(|_| ()).unwrap_err();
                assert!(error.to_string().contains("in use by another server"), "{error}");
                refused += 1;
            }
            refused
        });
        let mut n = 0;
        while run.journal.stats().compactions < 20 {
            run.append(n..n + 50);
            assert!(run.settled(run.settle(n..n + 50)));
            n += 50;
        }
        drop(stop);
        assert!(refused.join().unwrap() > 0);
    });
    run.append([1_000_000]);
    run.journal.close().unwrap();
    assert_eq!(Run::real(at(&path)).unwrap().kept, messages([1_000_000]));
}

#[test]
fn of_servers_that_create_one_journal_at_the_same_moment_one_gets_it() {
    const SERVERS: usize = 8;
    for _ in 0..20 {
        let (_directory, path) = directory_and_path();
        let (start, end) = (Barrier::new(SERVERS), Barrier::new(SERVERS));
        let opened: Vec<bool> = thread::scope(|scope| {
            let servers: Vec<_> = (0..SERVERS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        let opened = open(at(&path), Arc::new(RealStorage));
                        end.wait();
                        match opened {
                            Ok(_) => true,
                            Err(error) => {
                                let text = error.to_string();
                                assert!(text.contains("in use by another server"), "{text}");
                                false
                            }
                        }
                    })
                })
                .collect();
            servers.into_iter().map(|server| server.join().unwrap()).collect()
        });
        assert_eq!(opened.iter().filter(|opened| **opened).count(), 1);
    }
}

#[test]
fn a_link_that_leads_to_nothing_is_refused_and_left_alone() {
    let (directory, path) = directory_and_path();
    let target = directory.path().join("elsewhere");
    symlink(&target, &path).unwrap();
    let text = refusal(&path);
    assert!(text.contains("symbolic link") && text.contains("does not exist"), "{text}");
    assert_eq!(fs::read_link(&path).unwrap(), target);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_link_to_a_journal_stays_a_link_and_the_file_it_leads_to_is_compacted() {
    let (directory, link) = directory_and_path();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    fill(&target);
    let before = fs::metadata(&target).unwrap().len();
    symlink(&target, &link).unwrap();
    let run = Run::real(JournalOptions { compact_min_bytes: 0, ..at(&link) }).unwrap();
    assert_eq!(run.journal.path(), fs::canonicalize(&target).unwrap());
    run.wait(|journal| journal.stats().compactions > 0);
    run.journal.close().unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), target);
    assert!(fs::symlink_metadata(&target).unwrap().len() < before);
    assert_eq!(Run::real(at(&link)).unwrap().kept, messages(45..50));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    assert_eq!(inspect(&link, &RealStorage).unwrap().live, 5);
}

#[test]
fn what_is_no_regular_file_is_refused_before_anything_blocks() {
    let (directory, pipe) = directory_and_path();
    make_pipe(&pipe);
    let socket = directory.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let link = directory.path().join("link");
    symlink(&pipe, &link).unwrap();
    let device = PathBuf::from("/dev/null");
    for (path, what) in [
        (&pipe, "is a named pipe"),
        (&link, "is a named pipe"),
        (&socket, "is a socket"),
        (&device, "is a device"),
    ] {
        let text = refusal(path);
        assert!(text.contains(what) && text.contains("regular file"), "{text}");
        let text = inspect(path, &RealStorage).unwrap_err().to_string();
        assert!(text.contains(what), "{text}");
    }
    assert!(refusal(directory.path()).contains("is a directory"));
}

#[test]
fn what_lies_beside_the_journal_does_no_harm() {
    let (directory, path) = directory_and_path();
    // Earlier versions locked this file.
    make_pipe(&directory.path().join("journal.lock"));
    let victim = directory.path().join("victim");
    fs::write(&victim, "another's").unwrap();
    symlink(&victim, directory.path().join("journal.compact")).unwrap();
    let (told, tells) = crossbeam::channel::bounded(1);
    let options = JournalOptions { fsync: FsyncPolicy::Never, ..at(&path) };
    thread::spawn(move || {
        // Closed before it is told.
        let is_opened = open(options, Arc::new(RealStorage)).is_ok();
        told.send(is_opened)
    });
    assert_eq!(tells.recv_timeout(DEADLINE), Ok(true));
    assert_eq!(fs::read(&victim).unwrap(), b"another's");
    fill(&path);

    fs::create_dir(directory.path().join("journal.compact")).unwrap();
    let text = refusal(&path);
    assert!(text.contains("journal.compact"), "{text}");
}

#[test]
fn a_compaction_replaces_nobody_elses_file() {
    let (directory, path) = directory_and_path();
    let moved = directory.path().join("moved");
    let run = Run::real(JournalOptions { compact_min_bytes: 50_000, ..at(&path) }).unwrap();
    fs::rename(&path, &moved).unwrap();
    fs::write(&path, "another's").unwrap();
    let mut n = 0;
    while run.journal.stats().compactions_given_up == 0 {
        assert_eq!(run.journal.stats().compactions, 0);
        run.append(n..n + 50);
        assert!(run.settled(run.settle(n..n + 49)));
        n += 50;
    }
    run.journal.close().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"another's");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    assert_eq!(Run::real(at(&moved)).unwrap().kept, messages((49..n).step_by(50)));
}
