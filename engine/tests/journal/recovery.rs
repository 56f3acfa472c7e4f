//! A file that was cut anywhere recovers to what its whole records say.

use std::path::Path;

use mezzenger::journal::record::{FileHeader, RECORDS_OFFSET, SECOND_HEADER_OFFSET};
use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::{FsyncPolicy, JournalOptions, OpenError, SeenRun};

use crate::harness::*;

#[test]
fn every_prefix_recovers_to_the_model_and_goes_on() {
    for bytes in samples() {
        let records = naive(&bytes);
        for length in 0..=bytes.len() {
            let storage = disk(&bytes[..length]);
            let expected = fold(records.iter().filter(|record| record.end <= length));
            let (kept, recovered) = recover(&storage, options()).unwrap();
            assert_eq!(kept, expected, "cut to {length} bytes");
            assert!(recovered.damage.is_empty());
            if length.is_multiple_of(61) {
                let run = Run::start(&storage, options()).unwrap();
                assert_eq!(run.kept, expected);
                run.append([100]);
                run.journal.close().unwrap();
                let (kept, recovered) = recover(&storage, options()).unwrap();
                assert_eq!((kept.len(), recovered.torn.bytes), (expected.len() + 1, 0));
            }
        }
    }
}

#[test]
fn zeroed_tails_recover_to_the_model() {
    for bytes in samples() {
        let records = naive(&bytes);
        for from in 0..bytes.len() {
            let mut zeroed = bytes.clone();
            zeroed[from..].fill(0);
            let expected = fold(records.iter().filter(|record| {
                zeroed[record.start..record.end] == bytes[record.start..record.end]
            }));
            match recover(&disk(&zeroed), options()) {
                Ok((kept, _)) => assert_eq!(kept, expected, "zeroed from {from}"),
                // Whether a header lost anything is for its bytes to say: a checksum's last one can be 0
                // as it is, because the salt is random.
                Err(OpenError::Damaged { .. }) => {
                    assert!(from < RECORDS_OFFSET as usize, "zeroed from {from}");
                    assert_eq!(zeroed[..32], bytes[..32], "zeroed from {from}");
                }
                Err(OpenError::NotAJournal { .. } | OpenError::HeaderDamaged { .. }) => {
                    assert_ne!(zeroed[..32], bytes[..32], "zeroed from {from}");
                }
                Err(error) => panic!("zeroed from {from}: {error}"),
            }
        }
    }
}

#[test]
fn what_was_seen_is_known_though_it_is_settled() {
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, options()).unwrap();
    run.append((0..40).filter(|n| *n != 16));
    run.settle(0..40);
    run.journal.close().unwrap();
    let (kept, recovered) = recover(&storage, options()).unwrap();
    assert!(kept.is_empty());
    let mut seen = recovered.seen;
    seen.sort_by_key(|run| (run.publisher, run.first));
    let run = |publisher, first, last| SeenRun { publisher, first, last };
    assert_eq!(seen, [run(1, 1, 4), run(1, 6, 10), run(2, 1, 10), run(3, 1, 10)]);
}

#[test]
fn messages_come_back_in_the_order_in_which_they_were_appended() {
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, options()).unwrap();
    let order: Vec<u64> = (0..50).map(|n| n * 7 % 50).collect();
    run.append(order.iter().copied());
    run.journal.close().unwrap();
    let (recovered, _) = mezzenger::journal::open(options(), std::sync::Arc::new(storage)).unwrap();
    assert_eq!(recovered.messages.len(), 50);
    let ids: Vec<_> = recovered.messages.map(|m| m.unwrap().id).collect();
    assert_eq!(ids, order.into_iter().map(id).collect::<Vec<_>>());
}

#[test]
fn settled_and_published_anew_in_one_group_is_live() {
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, options()).unwrap();
    run.append([3, 7]);
    let op = |n| mezzenger::journal::Op::Append(message(n));
    let settle = |n| mezzenger::journal::Op::Settle(id(n));
    run.journal
        .submit(vec![settle(3), settle(7), op(3), settle(3), op(3), op(2), settle(2)])
        .unwrap();
    run.journal.close().unwrap();
    assert_eq!(recover(&storage, options()).unwrap().0, messages([3]));
}

#[test]
fn other_files_and_newer_journals_are_left_alone() {
    let newer = FileHeader { version: 3, salt: 1 }.encode();
    let mut newer_whole = sample(FsyncPolicy::Always, true);
    newer_whole[..32].copy_from_slice(&newer);
    let second = SECOND_HEADER_OFFSET as usize;
    newer_whole[second..second + 32].copy_from_slice(&newer);
    let others: [&[u8]; 6] =
        [b"h", b"hello, world\n", &[b'x'; 9000], &[0; 9000], &newer, &newer_whole];
    for bytes in others {
        for repair in [false, true] {
            let storage = disk(bytes);
            match recover(&storage, JournalOptions { repair, ..options() }).map(|_| ()) {
                Err(OpenError::NotAJournal { .. } | OpenError::Newer { version: 3, .. }) => {}
                other => panic!("{other:?}"),
            }
            assert_eq!(storage.read(Path::new(PATH)).as_deref(), Some(bytes));
            assert!(storage.trace().events.is_empty());
        }
    }
}
