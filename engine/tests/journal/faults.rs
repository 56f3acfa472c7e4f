//! Each call of a disk fails, in each way. What was reported durable is there all the same.

use std::collections::BTreeMap;
use std::path::Path;

use mezzenger::journal::storage::fault::{Call, Fault};
use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::storage::trace::Event;
use mezzenger::journal::{FsyncPolicy, JournalOptions, OpenError};
use rustix::io::Errno;

use crate::harness::*;

const FAULTS: [Fault; 8] = [
    Fault::Error(Errno::IO),
    Fault::Error(Errno::NOSPC),
    Fault::Error(Errno::INTR),
    Fault::Short,
    Fault::ShortThen(Errno::IO),
    Fault::ShortThen(Errno::NOSPC),
    Fault::ErrorFromHere(Errno::IO),
    Fault::ErrorFromHere(Errno::NOSPC),
];

/// How often a fault hit each kind of call, and how many disks were looked at.
#[derive(Default)]
struct Figures {
    hit: BTreeMap<Call, usize>,
    disks: usize,
}

/// What was reported durable, or recovered, and not settled.
fn owed_by(storage: &MemoryStorage) -> Kept {
    let after = after_power_cut(storage, &mut |_| 0);
    recover(&after, options()).unwrap().0
}

/// Checks that what was recovered holds what is owed, and nothing that was never written.
#[track_caller]
fn check_found(owed: &Kept, found: &Kept, how: &str) {
    for (id, message) in owed {
        assert_eq!(found.get(id), Some(message), "lost, {how}");
    }
    let written = messages(0..200);
    for (id, message) in found {
        assert_eq!(written.get(id), Some(message), "forged, {how}");
    }
}

/// Opens the journal, puts load on it, and closes it. Returns whether all of that succeeded.
fn work(storage: &MemoryStorage, owed: &mut Kept) -> bool {
    let run = match Run::start(storage, JournalOptions { compact_min_bytes: 9000, ..options() }) {
        Ok(run) => run,
        Err(OpenError::Io { .. }) => return false,
        Err(error) => panic!("{error}"),
    };
    check_found(owed, &run.kept, "at the start");
    // What was recovered is answered OK when it is published again.
    owed.clone_from(&run.kept);
    for n in (100..124).step_by(2) {
        if run.settled(run.append([n, n + 1])) {
            owed.extend(messages([n, n + 1]));
        }
        let settled = n - 8..n - 6;
        for id in settled.clone().map(id) {
            owed.remove(&(id.publisher, id.sequence));
        }
        run.settle(settled);
    }
    run.journal.close().is_ok()
}

/// No file is synced again after a sync of it failed.
#[track_caller]
fn check_syncs(events: &[Event], how: &str) {
    for (at, event) in events.iter().enumerate() {
        let Event::SyncFailed { file: failed } = event else { continue };
        let again = events[at + 1..].iter().any(|event| match event {
            Event::Sync { file } | Event::SyncFailed { file } => file == failed,
            _ => false,
        });
        assert!(!again, "a sync behind a failed one, {how}");
    }
}

/// Opens the journal as it is, and as a power cut leaves it before and behind that. Returns how often.
#[track_caller]
fn check_restarts(
    storage: &MemoryStorage,
    owed: &Kept,
    options: &JournalOptions,
    how: &str,
) -> usize {
    let mut random = Random(how.len() as u64);
    let mut disks = 0;
    let mut check_power_cuts = |owed: &Kept, when: &str| {
        for order in 0..if FEW { 2 } else { 8 } {
            let after = after_power_cut(storage, &mut |n| match order {
                0 => 0,
                1 => n - 1,
                _ => random.below(n),
            });
            let how = format!("{how}, power cut {when} the restart");
            match recover(&after, options.clone()) {
                Ok((found, _)) => check_found(owed, &found, &how),
                Err(error) => panic!("{error}, {how}"),
            }
            disks += 1;
        }
    };
    check_power_cuts(owed, "before");
    let (found, _) =
        recover(storage, options.clone()).unwrap_or_else(|error| panic!("{error}, {how}"));
    check_found(owed, &found, how);
    check_power_cuts(&found, "behind");
    disks + 1
}

/// Works on such a disk with a fault at each call, in each way.
fn check_faults(start: impl Fn() -> MemoryStorage) -> Figures {
    let mut figures = Figures::default();
    let owed_before = owed_by(&start());
    for fault in FAULTS {
        for call in 0.. {
            let storage = start();
            let earlier = storage.trace().events.len();
            let mut owed = owed_before.clone();
            storage.fail_call(call, fault);
            let succeeded = work(&storage, &mut owed);
            let Some(hit) = storage.calls().get(call).copied() else { break };
            storage.mend();
            let how = format!("{fault:?} at call {call}, {hit:?}");
            assert!(fault != Fault::Short || succeeded, "{how}");
            check_syncs(&storage.trace().events[earlier..], &how);
            figures.disks += check_restarts(&storage, &owed, &options(), &how);
            *figures.hit.entry(hit).or_default() += 1;
        }
    }
    figures
}

/// Checks that faults hit calls of these kinds.
#[track_caller]
fn check_hit(figures: &Figures, calls: &[Call]) {
    println!("{} disks, faults at: {:?}", figures.disks, figures.hit);
    for call in calls {
        assert!(figures.hit.contains_key(call), "no fault at {call:?}");
    }
}

#[test]
fn a_fault_at_any_call_of_a_new_journal_loses_nothing() {
    let figures = check_faults(MemoryStorage::new);
    let calls = [
        Call::Resolve,
        Call::Kind,
        Call::TryLock,
        Call::IsAt,
        Call::Create,
        Call::Append,
        Call::Sync,
        Call::Rename,
        Call::SyncDirectory,
        Call::OpenToRead,
        Call::ReadAt,
    ];
    check_hit(&figures, &calls);
}

#[test]
fn a_fault_at_any_call_loses_nothing_of_a_journal_with_a_torn_end() {
    let bytes = [&sample(FsyncPolicy::Always, true)[..], b"torn"].concat();
    let figures = check_faults(|| {
        let storage = disk(&bytes);
        storage.put(&Path::new(PATH).with_extension("compact"), b"half".to_vec());
        storage
    });
    check_hit(&figures, &[Call::OpenToAppend, Call::Bytes, Call::Truncate, Call::Remove]);
}

#[test]
fn a_fault_at_any_call_loses_nothing_behind_a_kill_between_write_and_sync() {
    let figures = check_faults(killed_before_sync);
    check_hit(&figures, &[Call::OpenToAppend, Call::Sync, Call::SyncDirectory]);
}

#[test]
fn a_fault_at_any_call_of_a_repair_leaves_the_journal_or_the_repaired_one() {
    let mut bytes = sample(FsyncPolicy::Always, true);
    bytes[5000] ^= 1;
    bytes.extend_from_slice(b"torn");
    let options = JournalOptions { repair: true, ..options() };
    let (expected, _) = recover(&disk(&bytes), options.clone()).unwrap();
    let mut figures = Figures::default();
    for fault in FAULTS {
        for call in 0.. {
            let storage = disk(&bytes);
            storage.fail_call(call, fault);
            let repaired = recover(&storage, options.clone());
            let Some(hit) = storage.calls().get(call).copied() else { break };
            storage.mend();
            let how = format!("{fault:?} at call {call}, {hit:?}");
            match repaired {
                Ok((found, _)) => assert_eq!(found, expected, "{how}"),
                Err(OpenError::Io { .. }) => assert_ne!(fault, Fault::Short, "{how}"),
                Err(error) => panic!("{error}, {how}"),
            }
            // The file is as it was, or the new one is there and a copy of it. No copy is half.
            let broken = matches!(fault, Fault::ErrorFromHere(_));
            let copies: Vec<_> = storage
                .paths()
                .into_iter()
                .filter(|path| path.to_string_lossy().contains(".damaged-"))
                .collect();
            let kept = |path: &Path| storage.read(path).as_deref() == Some(&bytes[..]);
            assert!(broken || copies.iter().all(|copy| kept(copy)), "half a copy, {how}");
            assert!(kept(Path::new(PATH)) || copies.iter().any(|copy| kept(copy)), "{how}");
            figures.disks += check_restarts(&storage, &expected, &options, &how);
            assert_eq!(recover(&storage, options.clone()).unwrap().0, expected, "{how}");
            *figures.hit.entry(hit).or_default() += 1;
        }
    }
    check_hit(&figures, &[Call::Create, Call::Append, Call::Sync, Call::Rename]);
}
