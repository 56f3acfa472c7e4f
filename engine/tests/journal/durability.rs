//! What is reported durable is synced; what failed is never reported.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{bounded, unbounded};
use mezzenger::journal::storage::fault::{Call, Fault};
use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::storage::trace::Event;
use mezzenger::journal::{
    Action, FsyncPolicy, Journal, JournalOptions, LiveSet, Op, SubmitError, open,
};
use mezzenger::limits::{JOURNAL_QUEUE_BATCHES, NAME_BYTES_MAX};
use mezzenger::message::Message;
use mezzenger::wire::id::MessageId;
use rustix::io::Errno;

use crate::harness::*;

fn syncs(storage: &MemoryStorage) -> usize {
    storage.trace().events.iter().filter(|event| matches!(event, Event::Sync { .. })).count()
}

/// A journal whose thread stops after each commit until the sender lets it go on.
fn gated(storage: &MemoryStorage) -> (Run, crossbeam::channel::Sender<()>) {
    let (gate, gate_there) = unbounded::<()>();
    let run = Run::on(Arc::new(storage.clone()), options(), move |_| {
        let _ = gate_there.recv();
    });
    (run.unwrap(), gate)
}

#[test]
fn groups_that_queue_up_share_one_write_and_one_sync() {
    let storage = MemoryStorage::new();
    let (run, gate) = gated(&storage);
    run.append([0]);
    let before = syncs(&storage);
    // The thread is in its first commit, or before it; either way the rest waits for the gate.
    run.wait_durable_unnoticed(1);
    let started = syncs(&storage);
    assert_eq!(started, before.max(started));
    for n in 1..=500 {
        run.append([n]).unwrap();
    }
    drop(gate);
    assert!(run.settled(Some(501)));
    assert_eq!(syncs(&storage) - started, 1);
    assert_eq!(run.journal.stats().commits, 2);
    run.journal.close().unwrap();
    assert_eq!(recover(&storage, options()).unwrap().0, messages(0..=500));
}

impl Run {
    /// Waits for a durable ticket where the callback is gated and tells nothing.
    fn wait_durable_unnoticed(&self, ticket: u64) {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while self.journal.durable() < ticket {
            assert!(std::time::Instant::now() < deadline, "waited in vain");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_full_queue_gives_the_group_back_and_never_blocks() {
    let storage = MemoryStorage::new();
    let (run, gate) = gated(&storage);
    run.append([0]).unwrap();
    run.wait_durable_unnoticed(1);
    for _ in 0..JOURNAL_QUEUE_BATCHES {
        assert!(run.journal.has_room());
        run.journal.submit(vec![Op::Settle(id(0))]).unwrap();
    }
    assert!(!run.journal.has_room());
    let group = vec![Op::Append(message(1))];
    assert_eq!(run.journal.submit(group.clone()), Err(SubmitError::Full(group.clone())));
    drop(gate);
    run.wait(Journal::has_room);
    assert_eq!(run.journal.submit(group), Ok(JOURNAL_QUEUE_BATCHES as u64 + 2));
}

#[test]
fn durable_is_reported_after_the_sync() {
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, options()).unwrap();
    for n in 0..60 {
        let ticket = run.append([3 * n, 3 * n + 1, 3 * n + 2]);
        if n % 5 == 0 {
            assert!(run.settled(ticket));
        }
    }
    assert!(run.settled(Some(60)));
    let mut unsynced = false;
    let mut notes = 0;
    for event in storage.trace().events {
        match event {
            Event::Write { .. } => unsynced = true,
            Event::Sync { .. } => unsynced = false,
            Event::Note(_) => {
                assert!(!unsynced, "reported before the sync");
                notes += 1;
            }
            _ => {}
        }
    }
    assert!(notes >= 12);
}

#[test]
fn settlements_need_no_sync_of_their_own_but_get_one() {
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, options()).unwrap();
    assert!(run.settled(run.append(0..10)));
    let before = syncs(&storage);
    for n in 0..10 {
        assert!(run.settled(run.settle([n])));
    }
    // Within a second of the first, unless this machine stood still so long.
    assert!(syncs(&storage) <= before + 1);
    run.journal.close().unwrap();
    let after = after_power_cut(&storage, &mut |_| 0);
    assert!(recover(&after, options()).unwrap().0.is_empty());
}

#[test]
fn the_interval_passes_and_the_file_is_synced() {
    let storage = MemoryStorage::new();
    let fsync = FsyncPolicy::Interval(Duration::from_millis(1));
    let run = Run::start(&storage, JournalOptions { fsync, ..options() }).unwrap();
    assert!(run.settled(run.append(0..3)));
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while run.journal.stats().syncs == 0 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    let after = after_power_cut(&storage, &mut |_| 0);
    assert_eq!(recover(&after, options()).unwrap().0, messages(0..3));
}

#[test]
fn huge_intervals_and_never_sync_on_closing() {
    for fsync in [FsyncPolicy::Interval(Duration::MAX), FsyncPolicy::Never] {
        let storage = MemoryStorage::new();
        let run = Run::start(&storage, JournalOptions { fsync, ..options() }).unwrap();
        assert!(run.settled(run.append(0..3)));
        assert_eq!(run.journal.stats().syncs, 0);
        run.journal.close().unwrap();
        let after = after_power_cut(&storage, &mut |_| 0);
        assert_eq!(recover(&after, options()).unwrap().0, messages(0..3));
    }
}

#[test]
fn a_failed_sync_is_final() {
    for (faulty, action) in [(Call::Sync, Action::Sync), (Call::Append, Action::Write)] {
        let storage = MemoryStorage::new();
        let run = Run::start(&storage, options()).unwrap();
        assert!(run.settled(run.append([0])));
        storage.fail_next(faulty, Fault::Error(Errno::NOSPC));
        let synced = syncs(&storage);
        assert!(!run.settled(run.append([1])));
        let failure = run.journal.failure().unwrap();
        assert_eq!((failure.action, failure.kind), (action, ErrorKind::StorageFull));
        let group = vec![Op::Append(message(2))];
        assert_eq!(run.journal.submit(group.clone()), Err(SubmitError::Failed(group)));
        assert_eq!(run.journal.durable(), 1);
        assert_eq!(run.journal.close(), Err(failure));
        assert_eq!(syncs(&storage), synced, "a sync after the failure");
        // What was not acknowledged is not there to be mistaken for safe.
        assert_eq!(recover(&storage, options()).unwrap().0, messages([0]));
    }
}

struct Panics;

impl LiveSet for Panics {
    fn is_live(&self, _: &MessageId) -> bool {
        panic!("as the test wants")
    }
}

#[test]
fn a_panic_in_the_callers_code_fails_the_journal_or_gives_the_compaction_up() {
    let storage: Arc<MemoryStorage> = Arc::default();
    let (_, opened) = open(options(), storage.clone()).unwrap();
    let (told, tells) = bounded(8);
    let on_progress = move |_| {
        let _ = told.send(());
        panic!("as the test wants");
    };
    let journal = opened.start(Arc::new(Set::default()), Box::new(on_progress)).unwrap();
    journal.submit(vec![Op::Append(message(0))]).unwrap();
    tells.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(journal.close().unwrap_err().action, Action::Run);

    let (_, opened) = open(eager(), storage).unwrap();
    let (told, tells) = unbounded();
    let journal = opened
        .start(Arc::new(Panics), Box::new(move |_| told.send(()).unwrap_or_default()))
        .unwrap();
    journal.submit(vec![Op::Append(message(1)), Op::Settle(id(1))]).unwrap();
    while journal.stats().compactions_given_up == 0 {
        tells.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    assert_eq!(journal.close(), Ok(()));
}

#[test]
fn what_does_not_fit_a_record_is_given_back() {
    let run = Run::start(&MemoryStorage::new(), options()).unwrap();
    let name = "x".repeat(NAME_BYTES_MAX + 1).into();
    let group = vec![Op::Append(Message { name, ..message(1) })];
    assert_eq!(run.journal.submit(group.clone()), Err(SubmitError::TooLarge(group)));
    assert_eq!(run.journal.path(), Path::new(PATH));
}
