//! Damage is reported, costs only what it hit, and forges nothing.

use std::path::Path;

use bytes::Bytes;
use mezzenger::journal::record::{FileHeader, RECORDS_OFFSET};
use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::{Damage, FsyncPolicy, JournalOptions, Op, OpenError, inspect};
use mezzenger::message::Message;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::harness::*;
use crate::history::Wrong;

fn repair() -> JournalOptions {
    JournalOptions { repair: true, ..options() }
}

/// Opens a damaged file, without and with repair. Returns what is left and the damage.
#[track_caller]
fn check_repair(bytes: &[u8]) -> (Kept, Vec<Damage>) {
    let storage = disk(bytes);
    let inspected = inspect(Path::new(PATH), &storage).unwrap();
    let Err(OpenError::Damaged { damage, .. }) = recover(&storage, options()) else {
        panic!("not reported");
    };
    assert_eq!(storage.read(Path::new(PATH)).as_deref(), Some(bytes));
    assert_eq!(inspected.damage, damage);
    let (kept, recovered) = recover(&storage, repair()).unwrap();
    assert_eq!(recovered.damage, damage);
    assert_eq!(inspected.live, kept.len() as u64);
    let copy = recovered.damaged_copy.unwrap();
    assert_eq!(copy, Path::new("/data/journal.damaged-1"));
    assert_eq!(storage.read(&copy).as_deref(), Some(bytes));
    let (again, recovered) = recover(&storage, options()).unwrap();
    assert_eq!(again, kept, "the repaired file holds something else");
    assert_eq!(recovered.torn.bytes, 0);
    (kept, damage.listed)
}

/// Recovers a damaged file with repair, if that is possible; there must be nothing that was never written.
fn recover_unforged(bytes: &[u8]) -> Result<Option<Kept>, Wrong> {
    let written = messages(0..18);
    let Ok((kept, _)) = recover(&disk(bytes), repair()) else { return Ok(None) };
    match kept.iter().find(|(id, message)| written.get(id) != Some(message)) {
        Some((_, message)) => Err(Wrong::Forged(Box::new(message.clone()))),
        None => Ok(Some(kept)),
    }
}

#[test]
fn every_flipped_bit_is_reported_and_costs_one_record() {
    let mut flips = 0;
    for bytes in [sample(FsyncPolicy::Always, true), compacted()] {
        let records = naive(&bytes);
        let whole = fold(&records);
        for bit in 0..bytes.len() * 8 {
            let at = bit / 8;
            let padding = (32..RECORDS_OFFSET as usize - 32).contains(&at);
            if padding && at % 97 != 0 {
                continue;
            }
            flips += 1;
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (bit % 8);
            let Some(hit) =
                records.iter().position(|record| (record.start..record.end).contains(&at))
            else {
                if padding {
                    assert_eq!(recover(&disk(&flipped), options()).unwrap().0, whole);
                } else {
                    assert_eq!(check_repair(&flipped).0, whole, "bit {bit}");
                }
                continue;
            };
            let rest = records[..hit].iter().chain(&records[hit + 1..]);
            if hit == records.len() - 1 {
                // The closing mark, behind which nothing is.
                assert_eq!(recover(&disk(&flipped), options()).unwrap().0, fold(rest));
                continue;
            }
            let (kept, damage) = check_repair(&flipped);
            assert_eq!(kept, fold(rest), "bit {bit}");
            let (offset, bytes) = (records[hit].start, records[hit].end - records[hit].start);
            assert_eq!(damage, [Damage { offset: offset as u64, bytes: bytes as u64, records: 1 }]);
        }
    }
    println!("{flips} flipped bits");
}

/// Makes the checksums of the record at `start` right. To a reader that compares, it is then what any
/// record is to one that does not.
fn reseal(bytes: &mut [u8], start: usize) {
    let salt = FileHeader::decode(bytes).unwrap().salt;
    let record = &mut bytes[start..];
    let body_bytes = u32::from_le_bytes(record[..4].try_into().unwrap()) as usize;
    let Some(body) = record.get(32..32 + body_bytes) else { return };
    let body_checksum = xxh3_64(body);
    record[16..24].copy_from_slice(&body_checksum.to_le_bytes());
    let header_checksum = xxh3_64_with_seed(&record[..24], salt.wrapping_add(start as u64));
    record[24..32].copy_from_slice(&header_checksum.to_le_bytes());
}

#[test]
fn without_checksums_flipped_bits_forge_messages() {
    let bytes = sample(FsyncPolicy::Always, true);
    let (records, mut forged) = (naive(&bytes), 0);
    let live = fold(&records);
    for record in &records {
        let Some(Op::Append(message)) = record.ops.first() else { continue };
        if !live.contains_key(&(message.id.publisher, message.id.sequence)) {
            continue;
        }
        for bit in 8 * (record.end - message.body.len())..8 * record.end {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(recover_unforged(&flipped).is_ok(), "bit {bit}");
            reseal(&mut flipped, record.start);
            match recover_unforged(&flipped) {
                Err(Wrong::Forged(_)) => forged += 1,
                other => panic!("not found, bit {bit}: {other:?}"),
            }
        }
    }
    assert!(forged > 1000, "{forged} bits");
}

#[test]
fn a_flip_in_the_last_commit_is_torn_until_something_is_behind_it() {
    let bytes = sample(FsyncPolicy::Always, false);
    let records = naive(&bytes);
    let synced = records.iter().map(|record| record.synced).max().unwrap();
    assert!(synced < bytes.len() && synced > bytes.len() / 2);
    for bit in (8 * RECORDS_OFFSET as usize..8 * bytes.len()).step_by(if FEW { 13 } else { 1 }) {
        let at = bit / 8;
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (bit % 8);
        let hit = records.iter().position(|record| at < record.end).unwrap();
        match recover(&disk(&flipped), options()) {
            Ok((kept, _)) => {
                assert!(records[hit].start >= synced);
                assert_eq!(kept, fold(records[..hit].iter().chain(&records[hit + 1..])));
            }
            Err(OpenError::Damaged { .. }) => assert!(records[hit].start < synced),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_wiped_stretch_costs_the_records_it_touches_and_they_are_counted() {
    let bytes = sample(FsyncPolicy::Always, true);
    let records = naive(&bytes);
    for first in 0..records.len() - 1 {
        for last in first..records.len() - 1 {
            let mut wiped = bytes.clone();
            wiped[records[first].start + 1..records[last].end - 1].fill(0xa5);
            let (kept, damage) = check_repair(&wiped);
            assert_eq!(kept, fold(records[..first].iter().chain(&records[last + 1..])));
            let lost: u32 = damage.iter().map(|damage| damage.records).sum();
            assert_eq!(lost as usize, last - first + 1);
        }
    }
}

#[test]
fn a_payload_that_holds_a_journal_is_not_read_as_one() {
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, options()).unwrap();
    assert!(run.settled(run.append([1, 2])));
    let file = storage.read(Path::new(PATH)).unwrap();
    // This very file, at every alignment that matters.
    let body = Bytes::from([file.clone(), vec![0; 7], file].concat());
    let carrier = Message { body, ..message(100) };
    run.journal.submit(vec![Op::Append(carrier)]).unwrap();
    assert!(run.settled(run.append([3])));
    run.journal.close().unwrap();
    let mut bytes = storage.read(Path::new(PATH)).unwrap();
    let records = naive(&bytes);
    // The first record is the mark of the new file.
    bytes[records[3].start] ^= 1;
    let (kept, damage) = check_repair(&bytes);
    assert!(kept == messages([1, 2, 3]));
    assert_eq!(damage.len(), 1);
    assert_eq!(damage[0].records, 1);
}

#[test]
fn a_second_repair_keeps_both_copies() {
    let bytes = sample(FsyncPolicy::Always, true);
    let mut damaged = bytes.clone();
    damaged[RECORDS_OFFSET as usize + 50] ^= 1;
    let storage = disk(&damaged);
    storage.put(Path::new("/data/journal.damaged-1"), b"earlier".to_vec());
    let (_, recovered) = recover(&storage, repair()).unwrap();
    assert_eq!(recovered.damaged_copy.as_deref(), Some(Path::new("/data/journal.damaged-2")));
    assert_eq!(storage.read(Path::new("/data/journal.damaged-1")).unwrap(), b"earlier");
}

#[test]
fn the_error_says_where_and_what_to_do() {
    let mut bytes = sample(FsyncPolicy::Always, true);
    bytes[RECORDS_OFFSET as usize + 50] ^= 1;
    let text = recover(&disk(&bytes), options()).unwrap_err().to_string();
    assert!(text.contains("1 damaged record in 54 bytes"), "{text}");
    assert!(text.contains("offset 4160 "), "{text}");
    assert!(text.contains("--repair"), "{text}");
}

#[test]
fn random_bytes_never_make_recovery_panic_or_forge() {
    let bytes = sample(FsyncPolicy::Always, true);
    let mut random = Random(7);
    for _ in 0..2000 {
        let mut bytes = bytes.clone();
        for _ in 0..=random.below(4) {
            let start = random.below(bytes.len());
            let end = (start + random.below(600)).min(bytes.len());
            bytes[start..end].iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        }
        recover_unforged(&bytes).unwrap();
    }
}
