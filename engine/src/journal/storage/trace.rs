//! A trace of what was done to a disk in memory.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// One change. Files are known by their number (`file`), as a name may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new empty file under a name.
    Create {
        /// The name.
        path: PathBuf,
        /// The file's number.
        file: usize,
    },
    /// Bytes written.
    Write {
        /// The file's number.
        file: usize,
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// A file cut.
    Truncate {
        /// The file's number.
        file: usize,
        /// The new length in bytes.
        bytes: u64,
    },
    /// A sync that succeeded.
    Sync {
        /// The file's number.
        file: usize,
    },
    /// A sync that failed: what was written before it may never reach the disk, whatever later syncs say.
    SyncFailed {
        /// The file's number.
        file: usize,
    },
    /// A file renamed.
    Rename {
        /// Its old name.
        from: PathBuf,
        /// Its new name.
        to: PathBuf,
        /// The file's number.
        file: usize,
    },
    /// A file removed.
    Remove {
        /// Its name.
        path: PathBuf,
    },
    /// The directory synced.
    SyncDirectory,
    /// Something a test noted with `MemoryStorage::note`.
    Note(u64),
}

/// Files by number, and the names that lead to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pub(super) files: Vec<Vec<u8>>,
    pub(super) names: BTreeMap<PathBuf, usize>,
}

impl Contents {
    /// Applies a change as the running system sees it, which is at once.
    pub(super) fn apply(&mut self, event: &Event) {
        self.apply_to_names(event);
        match event {
            Event::Create { file, .. } => {
                self.files.resize_with(self.files.len().max(file + 1), Vec::new);
            }
            Event::Write { file, offset, bytes } => {
                write(&mut self.files[*file], *offset as usize, bytes);
            }
            Event::Truncate { file, bytes } => self.files[*file].resize(*bytes as usize, 0),
            _ => {}
        }
    }

    /// Applies what a change does to names.
    pub(super) fn apply_to_names(&mut self, event: &Event) {
        match event {
            Event::Create { path, file } => {
                self.names.insert(path.clone(), *file);
            }
            Event::Rename { from, to, file } => {
                self.names.remove(from);
                self.names.insert(to.clone(), *file);
            }
            Event::Remove { path } => {
                self.names.remove(path);
            }
            _ => {}
        }
    }
}

/// Writes over what is there; what lies between the end and `offset` becomes zeros.
pub(super) fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    content.resize(content.len().max(end), 0);
    content[offset..end].copy_from_slice(bytes);
}

/// All changes to a disk, and what it held before them, durably.
#[derive(Clone, Debug)]
pub struct Trace {
    pub(super) start: Contents,
    /// The changes.
    pub events: Vec<Event>,
}

impl Trace {
    /// The trace as it would be if some changes had been left out. To leave out syncs shows what a disk
    /// does that tells they are done and does nothing.
    #[must_use]
    pub fn without(mut self, left_out: impl Fn(&Event) -> bool) -> Self {
        self.events.retain(|event| !left_out(event));
        self
    }
}
