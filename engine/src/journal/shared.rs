//! The state that both ends of the journal's queue share: how far it came, why it failed, its figures.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::metrics::Times;
use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What the journal was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Writing records.
    Write,
    /// Syncing the file.
    Sync,
    /// Putting the compacted file in place.
    Replace,
    /// Running its thread, which ended too early.
    Run,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "write to",
            Self::Sync => "sync",
            Self::Replace => "replace",
            Self::Run => "keep working on",
        })
    }
}

/// Why the journal stopped for good. Nothing that was not durable by then will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal failed to {action} {path}: {reason}; nothing more is stored until the server is restarted: \
     see to the disk first"
)]
pub struct JournalError {
    /// What it was doing.
    pub action: Action,
    /// The journal's file.
    pub path: PathBuf,
    /// The kind of the system's error.
    pub kind: io::ErrorKind,
    /// What the system said.
    pub reason: String,
}

impl JournalError {
    pub(super) fn new(action: Action, path: &Path, error: &io::Error) -> Self {
        Self { action, path: path.to_owned(), kind: error.kind(), reason: error.to_string() }
    }

    /// Whether a write found no room. What was synced before is as it was, and room may come.
    pub fn is_full_disk(&self) -> bool {
        let no_room =
            matches!(self.kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        self.action == Action::Write && no_room
    }
}

/// What both sides see.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) durable: AtomicU64,
    pub(super) failure: OnceLock<JournalError>,
    /// After a failure: whether settlements cannot be stored either.
    pub(super) settlements_refused: AtomicBool,
    pub(super) written: AtomicU64,
    pub(super) live_bytes: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) sync_times: Times,
    pub(super) appended: AtomicU64,
    pub(super) settled: AtomicU64,
    pub(super) compactions: AtomicU64,
    pub(super) compactions_given_up: AtomicU64,
}

impl Shared {
    /// Bytes of the file that are written.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }
}
