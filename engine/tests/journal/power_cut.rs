//! The power goes at every moment, and the disk keeps any part of what was not synced.

use std::path::PathBuf;
use std::time::Duration;

use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::storage::power_cut::{PowerCut, Tear};
use mezzenger::journal::storage::trace::Trace;
use mezzenger::journal::{FsyncPolicy, JournalOptions};

use crate::choices;
use crate::harness::*;
use crate::history::{History, Stop, Wrong, compacting, plain};

const TEARS: [Tear; 2] = [Tear::Sectors, Tear::Bytes];

/// Cuts the power behind each event. Returns how many disks were looked at.
pub(crate) fn cut_power(history: &History) -> Result<usize, Wrong> {
    let events = &history.trace.events;
    let mut cut = PowerCut::behind(&history.trace, 0);
    let mut disks = 0;
    for n in 0..=events.len() {
        for tear in TEARS {
            disks += choices::each(n as u64, |choose| {
                let disk = cut.disk(tear, choose);
                let kept = history.check(&disk, &events[..n], Stop::PowerCut)?;
                // What recovery left must be as good a start.
                let again = recover(&disk, options())?;
                if again.0 == kept && again.1.torn.bytes == 0 {
                    Ok(())
                } else {
                    Err(Wrong::Forgotten)
                }
            })?;
        }
        events.get(n).inspect(|event| cut.take(event));
    }
    Ok(disks)
}

#[track_caller]
fn check(history: &History) {
    match cut_power(history) {
        Ok(disks) => println!("{} power cuts, {disks} disks", history.trace.events.len() + 1),
        Err(wrong) => panic!("{wrong}"),
    }
}

#[test]
fn what_was_reported_durable_survives() {
    check(&plain(FsyncPolicy::Always));
}

#[test]
fn what_was_reported_durable_survives_compactions_cut_anywhere() {
    check(&compacting(FsyncPolicy::Always));
}

#[test]
fn what_was_synced_survives_under_the_other_policies() {
    for fsync in [FsyncPolicy::Interval(Duration::from_micros(1)), FsyncPolicy::Never] {
        check(&plain(fsync));
        check(&compacting(fsync));
    }
}

/// Opens a journal, cuts the power behind each event of that, and opens it again. What was there must
/// be there. Returns how many disks were looked at.
pub(crate) fn cut_power_while_opening(
    disk: &MemoryStorage,
    options: &JournalOptions,
    altered: impl FnOnce(Trace) -> Trace,
) -> Result<usize, Wrong> {
    let before = disk.trace().events.len();
    let (expected, _) = recover(disk, options.clone())?;
    let trace = altered(disk.trace());
    let mut disks = 0;
    for n in before..=trace.events.len() {
        let cut = PowerCut::behind(&trace, n);
        for tear in TEARS {
            disks += choices::each(n as u64, |choose| {
                let again = recover(&cut.disk(tear, choose), options.clone());
                let (kept, _) = again?;
                if kept == expected { Ok(()) } else { Err(Wrong::Forgotten) }
            })?;
        }
    }
    Ok(disks)
}

#[test]
fn recovery_itself_may_be_cut() {
    let mut disks = 0;
    for fsync in [FsyncPolicy::Always, FsyncPolicy::Never] {
        for closed in [true, false] {
            let mut bytes = sample(fsync, closed);
            bytes.extend_from_slice(&[7; 1000]);
            disks += cut_power_while_opening(&disk(&bytes), &options(), |trace| trace).unwrap();
            // With a damaged header, it is rewritten.
            bytes[10] ^= 1;
            let repair = JournalOptions { repair: true, ..options() };
            disks += cut_power_while_opening(&disk(&bytes), &repair, |trace| trace).unwrap();
        }
    }
    println!("{disks} disks");
}

#[test]
fn a_repair_that_is_cut_anywhere_keeps_the_original() {
    let mut bytes = sample(FsyncPolicy::Always, true);
    bytes[5000] ^= 1;
    let storage = disk(&bytes);
    recover(&storage, JournalOptions { repair: true, ..options() }).unwrap();
    let trace = storage.trace();
    for n in 0..=trace.events.len() {
        let cut = PowerCut::behind(&trace, n);
        for tear in TEARS {
            let checked = choices::each(n as u64, |choose| {
                let disk = cut.disk(tear, choose);
                let is_original = |path: &PathBuf| disk.read(path).as_deref() == Some(&bytes[..]);
                disk.paths().iter().any(is_original).then_some(()).ok_or(())
            });
            assert!(checked.is_ok(), "cut behind {n}");
        }
    }
}
