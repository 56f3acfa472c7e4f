//! What the journal's threads and the broker's share without a lock, in every order in which they may run.

use std::io;
use std::path::Path;

use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::sync::{Arc, Mutex, mpsc};
use loom::thread;

use super::shared::{Action, JournalError, Shared};
use crate::net::loom_tests::ModelWaker;

fn failed() -> JournalError {
    let error = io::Error::other("no space left");
    JournalError::new(Action::Write, Path::new("/journal"), &error)
}

/// The journal's thread after a commit.
fn committed(shared: &Shared, ticket: u64) {
    shared.durable.store(ticket, Ordering::Release);
}

/// The broker's thread, as `hear_journal` asks: the failure first.
fn heard(shared: &Shared) -> (bool, u64) {
    let failed = shared.failure.get().is_some();
    (failed, shared.durable.load(Ordering::Acquire))
}

#[test]
fn who_hears_of_the_failure_hears_of_all_that_became_durable_before_it() {
    loom::model(|| {
        let shared = Arc::new(Shared::default());
        let there = Arc::clone(&shared);
        thread::spawn(move || {
            committed(&there, 1);
            committed(&there, 2);
            there.failure.set(failed()).unwrap();
        });
        let (has_failed, durable) = heard(&shared);
        assert!(!has_failed || durable == 2);
    });
}

#[test]
fn the_broker_sleeps_through_no_commit_and_no_failure() {
    loom::model(|| {
        let shared = Arc::new(Shared::default());
        let waker = Arc::new(ModelWaker::default());
        let (there, waking) = (Arc::clone(&shared), Arc::clone(&waker));
        thread::spawn(move || {
            committed(&there, 1);
            waking.wake();
            there.failure.set(failed()).unwrap();
            waking.wake();
        });
        waker.wait_until(|| heard(&shared).1 == 1);
        waker.wait_until(|| heard(&shared).0);
    });
}

#[test]
fn what_is_said_to_be_written_is_there_to_be_read() {
    loom::model(|| {
        let shared = Arc::new(Shared::default());
        // The file orders nothing by itself.
        let file = Arc::new(AtomicU64::new(0));
        let (there, writing) = (Arc::clone(&shared), Arc::clone(&file));
        thread::spawn(move || {
            for bytes in [10, 20] {
                writing.store(bytes, Ordering::Relaxed);
                there.written.store(bytes, Ordering::Release);
            }
        });
        let written = shared.written_bytes();
        assert!(file.load(Ordering::Relaxed) >= written);
    });
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    Append,
    Settle,
}

/// One message's way through the broker, the journal's thread and a compaction. The map of pending
/// messages is a flag, the file a list, and `LiveSet`'s rule is kept: a message is in the map before its
/// append is submitted, and out of it before its settlement is.
fn compact_while(settles: bool) {
    loom::model(move || {
        let shared = Arc::new(Shared::default());
        let is_pending = Arc::new(AtomicBool::new(false));
        let file = Arc::new(Mutex::new(Vec::new()));
        let (queue, taken) = mpsc::channel();

        let (there, writing) = (Arc::clone(&shared), Arc::clone(&file));
        let writer = thread::spawn(move || {
            for _ in 0..1 + usize::from(settles) {
                let record = taken.recv().unwrap();
                let mut file = writing.lock().unwrap();
                file.push(record);
                there.written.store(file.len() as u64, Ordering::Release);
            }
        });

        let (asked, copying, reading) =
            (Arc::clone(&is_pending), Arc::clone(&shared), Arc::clone(&file));
        let compaction = thread::spawn(move || {
            // The first part: messages that are pending, and no settlements.
            let to = copying.written_bytes() as usize;
            let part: Vec<Record> = reading.lock().unwrap()[..to].to_vec();
            let live = |record: &Record| *record == Record::Append && asked.load(Ordering::Acquire);
            let new: Vec<Record> = part.into_iter().filter(live).collect();
            (new, to)
        });

        is_pending.store(true, Ordering::Release);
        queue.send(Record::Append).unwrap();
        if settles {
            is_pending.store(false, Ordering::Release);
            queue.send(Record::Settle).unwrap();
        }
        writer.join().unwrap();
        let (mut new, to) = compaction.join().unwrap();
        // The rest, copied by the writer between two commits.
        new.extend(&file.lock().unwrap()[to..]);

        let is_live = new.iter().fold(false, |_, record| *record == Record::Append);
        assert_eq!(is_live, !settles, "{new:?}");
    });
}

#[test]
fn a_compaction_loses_no_message() {
    compact_while(false);
}

#[test]
fn a_compaction_brings_no_settled_message_back() {
    compact_while(true);
}
