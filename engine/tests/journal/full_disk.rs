//! A disk without room: messages are refused, and what was acknowledged is stored once there is room.

use std::path::Path;

use mezzenger::journal::storage::fault::{Call, Fault};
use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::storage::trace::Event;
use mezzenger::journal::{FsyncPolicy, JournalOptions, Op, SubmitError};
use rustix::io::Errno;

use crate::harness::*;

/// A journal with twenty messages, on a disk whose next writes find no room.
fn full(fsync: FsyncPolicy, fault: Fault, writes: usize) -> (MemoryStorage, Run) {
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, JournalOptions { fsync, ..options() }).unwrap();
    assert!(run.settled(run.append(0..20)));
    // Written, and under no policy synced yet.
    assert!(run.settled(run.settle([0])));
    (0..writes).for_each(|_| storage.fail_next(Call::Append, fault));
    (storage, run)
}

#[track_caller]
fn wait_for_failure(run: &Run) {
    run.wait(|journal| journal.failure().is_some());
    assert!(run.journal.takes_settlements());
    let group = vec![Op::Append(message(100))];
    assert_eq!(run.journal.submit(group.clone()), Err(SubmitError::Failed(group)));
    let mixed = vec![Op::Settle(id(19)), Op::Append(message(100))];
    assert_eq!(run.journal.submit(mixed.clone()), Err(SubmitError::Failed(mixed)));
}

const POLICIES: [FsyncPolicy; 2] = [FsyncPolicy::Always, FsyncPolicy::Never];

#[test]
fn settlements_are_stored_as_soon_as_there_is_room() {
    for fsync in POLICIES {
        for fault in [Fault::Error(Errno::NOSPC), Fault::ShortThen(Errno::DQUOT)] {
            let (storage, run) = full(fsync, fault, 1);
            // In the group that fails, and behind it.
            let group = (1..5).map(|n| Op::Settle(id(n))).chain([Op::Append(message(50))]);
            run.journal.submit(group.collect()).unwrap();
            wait_for_failure(&run);
            assert!(run.settle(5..10).is_some());
            let before = run.journal.stats().file_bytes;
            run.wait(|journal| journal.stats().file_bytes > before);
            // They are synced, too: a loss of power changes nothing.
            let after = after_power_cut(&storage, &mut |_| 0);
            assert_eq!(recover(&after, options()).unwrap().0, messages(10..20));
            assert!(run.settle(10..15).is_some());
            assert!(run.journal.close().is_err());
            assert_eq!(recover(&storage, options()).unwrap().0, messages(15..20));
        }
    }
}

#[test]
fn settlements_are_stored_at_the_end_if_there_is_room_then() {
    let (storage, run) = full(FsyncPolicy::Always, Fault::Error(Errno::NOSPC), 1);
    assert!(run.append([50]).is_some());
    wait_for_failure(&run);
    assert!(run.settle(1..20).is_some());
    assert!(run.journal.close().is_err());
    assert!(recover(&storage, options()).unwrap().0.is_empty());
}

#[test]
fn without_room_until_the_end_messages_come_back_and_nothing_breaks() {
    for fsync in POLICIES {
        let (storage, run) = full(fsync, Fault::Error(Errno::NOSPC), 1000);
        assert!(run.append([50]).is_some());
        wait_for_failure(&run);
        assert!(run.settle(1..20).is_some());
        assert!(run.journal.close().is_err());
        storage.mend();
        let (kept, recovered) = recover(&storage, options()).unwrap();
        assert_eq!(kept, messages(1..20));
        assert!(recovered.torn.is_empty());
    }
}

#[test]
fn a_sync_that_fails_while_settlements_are_stored_is_final() {
    let (storage, run) = full(FsyncPolicy::Always, Fault::Error(Errno::NOSPC), 1);
    assert!(run.append([50]).is_some());
    wait_for_failure(&run);
    storage.fail_next(Call::Sync, Fault::Error(Errno::IO));
    assert!(run.settle(1..5).is_some());
    run.wait(|journal| !journal.takes_settlements());
    let group = vec![Op::Settle(id(6))];
    assert_eq!(run.journal.submit(group.clone()), Err(SubmitError::Failed(group)));
    assert!(run.journal.close().is_err());
    let events = storage.trace().events;
    let failed = events.iter().position(|event| matches!(event, Event::SyncFailed { .. })).unwrap();
    let later = &events[failed + 1..];
    assert!(!later.iter().any(|event| matches!(event, Event::Sync { .. } | Event::Write { .. })));
}

#[test]
fn another_failure_takes_no_settlements() {
    for (call, errno) in [(Call::Append, Errno::IO), (Call::Sync, Errno::NOSPC)] {
        let (storage, run) = full(FsyncPolicy::Always, Fault::Short, 0);
        storage.fail_next(call, Fault::Error(errno));
        assert!(run.append([50]).is_some());
        run.wait(|journal| journal.failure().is_some());
        assert!(!run.journal.takes_settlements());
        let group = vec![Op::Settle(id(1))];
        assert_eq!(run.journal.submit(group.clone()), Err(SubmitError::Failed(group)));
        drop(run);
        assert!(storage.read(Path::new(PATH)).is_some());
    }
}
