//! The process is killed between each two steps, and within each write. Then the power goes, too.

use mezzenger::journal::FsyncPolicy;
use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::storage::power_cut::{PowerCut, Tear};
use mezzenger::journal::storage::trace::{Event, Trace};

use crate::harness::*;
use crate::history::{History, Stop, Wrong, compacting, plain};

/// The disks that a kill behind the first `n` events leaves, or within the event behind them.
fn killed(trace: &Trace, n: usize) -> Vec<(MemoryStorage, Trace)> {
    let mut traces = Vec::new();
    let mut begun = trace.clone();
    begun.events.truncate(n);
    traces.push(begun.clone());
    if let Some(Event::Write { file, offset, bytes }) = trace.events.get(n) {
        for written in [1, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
            let bytes = bytes[..written.min(bytes.len())].to_vec();
            let mut torn = begun.clone();
            torn.events.push(Event::Write { file: *file, offset: *offset, bytes });
            traces.push(torn);
        }
    }
    traces
        .into_iter()
        .map(|trace| (MemoryStorage::killed(&trace, trace.events.len()), trace))
        .collect()
}

/// Kills the process behind each event and within each write, and recovers; then cuts the power behind
/// each event of the recovery, which `altered` may change. Returns how many kills and power cuts.
pub(crate) fn kill(
    history: &History,
    altered: impl Fn(Trace) -> Trace,
) -> Result<(usize, usize), Wrong> {
    let (mut kills, mut cuts) = (0, 0);
    for n in 0..=history.trace.events.len() {
        for (disk, before) in killed(&history.trace, n) {
            let kept = history.check(&disk, &before.events, Stop::Kill)?;
            kills += 1;
            let mut recovery = disk.trace();
            recovery.events.drain(..before.events.len());
            let recovery = altered(recovery).events;
            let mut cut = PowerCut::behind(&before, before.events.len());
            let mut random = Random(n as u64);
            for (done, event) in recovery.iter().map(Some).chain([None]).enumerate() {
                for tear in [Tear::Sectors, Tear::Bytes] {
                    for order in 0..4 {
                        let disk = cut.disk(tear, &mut |n| match order {
                            0 => 0,
                            1 => n - 1,
                            _ => random.below(n),
                        });
                        cuts += 1;
                        let after = history.check(&disk, &before.events, Stop::PowerCut)?;
                        // From the end of recovery on, all that it found is promised.
                        if done == recovery.len() && after != kept {
                            return Err(Wrong::Forgotten);
                        }
                    }
                }
                event.inspect(|event| cut.take(event));
            }
        }
    }
    Ok((kills, cuts))
}

#[track_caller]
fn check(history: &History) {
    match kill(history, |trace| trace) {
        Ok((kills, cuts)) => println!("{kills} kills, {cuts} power cuts behind them"),
        Err(wrong) => panic!("{wrong}"),
    }
}

#[test]
fn what_was_written_survives_a_kill_and_what_recovery_found_a_power_cut() {
    check(&plain(FsyncPolicy::Always));
    check(&plain(FsyncPolicy::Never));
}

#[test]
fn a_compaction_may_be_killed_between_each_two_steps() {
    check(&compacting(FsyncPolicy::Always));
    check(&compacting(FsyncPolicy::Never));
}

/// Kills the process behind each event, starts again, stores a message, and cuts the power. `altered` may
/// change what was done from the start on. Returns how many kills.
pub(crate) fn go_on_behind_kills(
    history: &History,
    altered: impl Fn(Trace) -> Trace,
) -> Result<usize, Wrong> {
    let kills = history.trace.events.len() + 1;
    for n in 0..kills {
        let disk = MemoryStorage::killed(&history.trace, n);
        let run = Run::start(&disk, options())?;
        let mut expected = run.kept.clone();
        assert!(run.settled(run.append([1000])), "killed behind {n}");
        expected.extend(messages([1000]));
        let mut later = disk.trace();
        later.events.drain(..n);
        let mut cut = PowerCut::behind(&history.trace, n);
        altered(later).events.iter().for_each(|event| cut.take(event));
        let after = recover(&cut.disk(Tear::Sectors, &mut |_| 0), options());
        if after?.0 != expected {
            return Err(Wrong::Forgotten);
        }
    }
    Ok(kills)
}

#[test]
fn a_journal_goes_on_behind_every_kill() {
    go_on_behind_kills(&plain(FsyncPolicy::Always), |trace| trace).unwrap();
    go_on_behind_kills(&compacting(FsyncPolicy::Always), |trace| trace).unwrap();
}
