//! A fault in what was never synced: what lies behind it tells whether it is damage or a torn tail, and
//! nothing sound is lost with it.

use std::path::Path;
use std::time::Duration;

use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::{Damage, FsyncPolicy, JournalOptions, OpenError, Torn, inspect};

use crate::harness::*;

fn repair() -> JournalOptions {
    JournalOptions { repair: true, ..never() }
}

fn never() -> JournalOptions {
    JournalOptions { fsync: FsyncPolicy::Never, ..options() }
}

#[test]
fn a_flipped_bit_under_never_costs_one_record_and_needs_repair() {
    let bytes = sample(FsyncPolicy::Never, false);
    let records = naive(&bytes);
    for (hit, record) in records.iter().enumerate() {
        for at in [record.start + 2, record.start + 40] {
            if at >= record.end || hit + 1 == records.len() {
                continue;
            }
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            let storage = disk(&flipped);
            let (offset, length) = (record.start as u64, (record.end - record.start) as u64);
            let expected = [Damage { offset, bytes: length, records: 1 }];
            let inspected = inspect(Path::new(PATH), &storage).unwrap();
            assert_eq!(inspected.damage.listed, expected, "record {hit}");
            assert!(inspected.torn.is_empty());
            let refused = recover(&storage, never()).unwrap_err();
            assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
            assert_eq!(storage.read(Path::new(PATH)).unwrap(), flipped, "left alone");
            let (kept, _) = recover(&storage, repair()).unwrap();
            assert_eq!(kept, fold(records[..hit].iter().chain(&records[hit + 1..])));
        }
    }
}

/// The kept part of a file, from its first torn byte on.
fn torn_copy(storage: &MemoryStorage) -> Option<Vec<u8>> {
    storage.read(Path::new("/data/journal.torn-1"))
}

#[test]
fn a_torn_tail_is_kept_beside_the_journal_and_told() {
    for fsync in [FsyncPolicy::Always, FsyncPolicy::Never] {
        let bytes = sample(fsync, false);
        let records = naive(&bytes);
        let last = records.last().unwrap();
        for cut in [last.start + 1, last.start + 31, last.end - 1] {
            let storage = disk(&bytes[..cut]);
            let torn =
                Torn { offset: last.start as u64, bytes: (cut - last.start) as u64, stretches: 1 };
            let text = inspect(Path::new(PATH), &storage).unwrap().to_string();
            let end = format!("torn end: {} bytes from offset {}", torn.bytes, torn.offset);
            assert!(text.contains(&end), "{text}");
            let (kept, recovered) = recover(&storage, options()).unwrap();
            assert_eq!(kept, fold(&records[..records.len() - 1]));
            assert_eq!(recovered.torn, torn);
            assert_eq!(recovered.torn_copy.as_deref(), Some(Path::new("/data/journal.torn-1")));
            assert_eq!(torn_copy(&storage).as_deref(), Some(&bytes[last.start..cut]));
            // Each is kept under a name of its own, and nothing where nothing is torn.
            let (_, again) = recover(&storage, options()).unwrap();
            assert_eq!((again.torn.is_empty(), again.torn_copy), (true, None));
        }
    }
}

#[test]
fn a_hole_in_the_last_commit_costs_what_it_holds_and_needs_no_repair() {
    for fsync in [FsyncPolicy::Always, FsyncPolicy::Interval(Duration::from_secs(3600))] {
        let storage = MemoryStorage::new();
        let run = Run::start(&storage, JournalOptions { fsync, ..options() }).unwrap();
        assert!(run.settled(run.append(0..10)));
        let synced = naive(&storage.read(Path::new(PATH)).unwrap()).len();
        assert!(run.settled(run.append(10..20)));
        let bytes = storage.read(Path::new(PATH)).unwrap();
        let records = naive(&bytes);
        for hole in synced..records.len() - 1 {
            let mut holed = bytes.clone();
            let (start, end) = (records[hole].start, records[hole].end);
            holed[start..end].fill(0);
            holed.extend_from_slice(b"torn");
            let storage = disk(&holed);
            let text = inspect(Path::new(PATH), &storage).unwrap().to_string();
            let torn =
                format!("torn: {} bytes in 2 places, the first at offset {start}", end - start + 4);
            assert!(text.contains(&torn) && text.contains("damage: none"), "{text}");
            let (kept, recovered) = recover(&storage, options()).unwrap();
            assert_eq!(kept, fold(records[..hole].iter().chain(&records[hole + 1..])));
            assert_eq!((recovered.torn.offset, recovered.torn.stretches), (start as u64, 2));
            assert!(recovered.damage.is_empty());
            assert_eq!(torn_copy(&storage).as_deref(), Some(&holed[start..]));
            let (again, recovered) = recover(&storage, options()).unwrap();
            assert_eq!(again, kept);
            assert!(recovered.torn.is_empty() && recovered.damage.is_empty());
        }
    }
}

#[test]
fn what_a_fault_means_is_up_to_the_policy_of_the_server_that_wrote_last() {
    let flip = |storage: &MemoryStorage, n: u64| {
        let mut bytes = storage.read(Path::new(PATH)).unwrap();
        let body = &message(n).body;
        let at = bytes.windows(body.len()).position(|window| window == body).unwrap();
        bytes[at] ^= 1;
        disk(&bytes)
    };
    for (first, second) in [("always", "never"), ("never", "always"), ("never", "interval=1h")] {
        let storage = MemoryStorage::new();
        let policy = |text: &str| JournalOptions { fsync: text.parse().unwrap(), ..options() };
        let run = Run::start(&storage, policy(first)).unwrap();
        run.append(0..5);
        run.journal.close().unwrap();
        let run = Run::start(&storage, policy(second)).unwrap();
        assert!(run.settled(run.append(8..12)));
        // What the first server wrote was synced when it closed.
        for (flipped, is_damage) in [(1, true), (9, second == "never")] {
            let opened = recover(&flip(&storage, flipped), options());
            let kept = messages((0..5).chain(8..12).filter(|n| *n != flipped));
            match opened {
                Ok((found, recovered)) => {
                    assert!(!is_damage, "{first}, then {second}");
                    assert_eq!(found, kept);
                    assert_eq!(recovered.torn.stretches, 1);
                }
                Err(OpenError::Damaged { damage, .. }) => {
                    assert!(is_damage, "{first}, then {second}");
                    assert_eq!(damage.records, 1);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_compacted_file_keeps_the_policy() {
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, never()).unwrap();
    run.append(0..20);
    run.settle(0..17);
    run.journal.close().unwrap();
    let eager = JournalOptions { compact_min_bytes: 5000, ..never() };
    let run = Run::start(&storage, eager).unwrap();
    run.wait(|journal| journal.stats().compactions > 0);
    assert!(run.settled(run.append(20..25)));
    let mut bytes = storage.read(Path::new(PATH)).unwrap();
    let records = naive(&bytes);
    bytes[records[records.len() - 3].start + 40] ^= 1;
    let refused = recover(&disk(&bytes), never()).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
}
