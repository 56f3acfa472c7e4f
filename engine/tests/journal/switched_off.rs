//! What the journal does for safety is left out: then the checks of the other modules must find a loss.
//!
//! A sync is left out of what was recorded, though it was reported done. That is what a build without it
//! would do, and a disk that only says that it syncs.

use std::path::Path;

use mezzenger::journal::FsyncPolicy;
use mezzenger::journal::storage::fault::{Call, Fault};
use mezzenger::journal::storage::power_cut::{PowerCut, Tear};
use mezzenger::journal::storage::trace::{Event, Trace};
use rustix::io::Errno;

use crate::harness::*;
use crate::history::{History, Wrong, compacting, plain};
use crate::kill::{go_on_behind_kills, kill};
use crate::power_cut::cut_power;

/// What a sync in a trace is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sync {
    /// The journal's file, before messages in it are reported durable, or when it is opened.
    Journal,
    /// A new file, before it takes the journal's place.
    NewFile,
    /// The directory.
    Directory,
}

/// Whether this file takes the journal's place.
fn is_rename(event: &Event, wanted: usize) -> bool {
    matches!(event, Event::Rename { to, file, .. } if to == Path::new(PATH) && *file == wanted)
}

/// Leaves out all such syncs from event `from` on.
fn left_out(mut trace: Trace, sync: Sync, from: usize) -> Trace {
    let events = trace.events.split_off(from);
    for (n, event) in events.iter().enumerate() {
        let is = match event {
            Event::Sync { file } if events[n..].iter().any(|event| is_rename(event, *file)) => {
                Some(Sync::NewFile)
            }
            Event::Sync { .. } => Some(Sync::Journal),
            Event::SyncDirectory => Some(Sync::Directory),
            _ => None,
        };
        if is != Some(sync) {
            trace.events.push(event.clone());
        }
    }
    trace
}

/// Where the creation of the journal ends.
fn created(trace: &Trace) -> usize {
    1 + trace.events.iter().position(|event| *event == Event::SyncDirectory).unwrap()
}

#[track_caller]
fn check_found<T>(checked: Result<T, Wrong>) {
    match checked {
        Err(Wrong::Forged(message)) => panic!("{message:?}"),
        Err(wrong) => println!("found: {wrong}"),
        Ok(_) => panic!("the check found nothing"),
    }
}

/// Leaves out such syncs, but not those of the journal's creation, and cuts the power.
#[track_caller]
fn check_power_cut(history: History, sync: Sync) {
    let trace = history.trace.clone();
    let from = created(&trace);
    let events = trace.events.len();
    let trace = left_out(trace, sync, from);
    assert!(trace.events.len() < events, "no such sync");
    check_found(cut_power(&history.with_trace(trace)));
}

#[test]
fn without_the_sync_of_a_commit_a_power_cut_loses_messages() {
    check_power_cut(plain(FsyncPolicy::Always), Sync::Journal);
}

#[test]
fn without_the_sync_of_the_new_file_a_power_cut_loses_messages() {
    check_power_cut(compacting(FsyncPolicy::Always), Sync::NewFile);
}

#[test]
fn without_the_sync_of_the_directory_a_power_cut_loses_messages() {
    check_power_cut(compacting(FsyncPolicy::Always), Sync::Directory);
}

#[test]
fn without_the_syncs_at_the_start_a_power_cut_loses_what_a_killed_server_left() {
    let history = plain(FsyncPolicy::Always);
    check_found(kill(&history, |recovery| left_out(recovery, Sync::Journal, 0)));
    let history = compacting(FsyncPolicy::Always);
    check_found(go_on_behind_kills(&history, |later| left_out(later, Sync::Directory, 0)));
}

#[test]
fn unless_a_start_writes_again_what_may_not_be_synced_it_takes_it_for_safe() {
    let disk = killed_before_sync();
    let earlier = disk.trace().events.len();
    // The first start finds that the sync fails. To the second it succeeds, and does nothing.
    disk.fail_next(Call::Sync, Fault::Error(Errno::IO));
    assert!(recover(&disk, options()).is_err());
    let (kept, _) = recover(&disk, options()).unwrap();
    let mut trace = disk.trace();
    let after = |trace: &Trace| {
        let cut = PowerCut::behind(trace, trace.events.len());
        recover(&cut.disk(Tear::Sectors, &mut |_| 0), options()).unwrap().0
    };
    assert_eq!(after(&trace), kept);
    let mut starts = trace.events.split_off(earlier);
    starts.retain(|event| !matches!(event, Event::Write { .. }));
    trace.events.extend(starts);
    assert_ne!(after(&trace), kept);
}
