//! A disk that keeps nothing and counts syncs: what the journal costs without what a disk costs.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mezzenger::journal::storage::{PathKind, Storage, StorageFile};

/// The disk. Clones share their count.
#[derive(Clone, Default)]
pub struct CountingStorage {
    syncs: Arc<AtomicU64>,
    sync_each_write: bool,
}

impl CountingStorage {
    /// A new disk. With `sync_each_write`, a seeded regression, a sync follows each write unasked.
    pub fn new(sync_each_write: bool) -> Self {
        Self { sync_each_write, ..Self::default() }
    }

    /// Syncs of files so far.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

impl Storage for CountingStorage {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn kind(&self, _: &Path) -> io::Result<PathKind> {
        Ok(PathKind::Missing)
    }

    fn open_to_read(&self, _: &Path) -> io::Result<Box<dyn StorageFile>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn open_to_append(&self, _: &Path) -> io::Result<Box<dyn StorageFile>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn create(&self, _: &Path) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(CountingFile { storage: self.clone(), bytes: 0 }))
    }

    fn overwrite(&self, _: &Path, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

struct CountingFile {
    storage: CountingStorage,
    bytes: u64,
}

impl StorageFile for CountingFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = parts.iter().map(|part| part.len()).sum();
        self.bytes += written as u64;
        if self.storage.sync_each_write {
            self.sync()?;
        }
        Ok(written)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.storage.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.bytes = bytes;
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn is_at(&self, _: &Path) -> io::Result<bool> {
        Ok(true)
    }

    fn restrict_to_owner(&self) -> io::Result<Option<u32>> {
        Ok(None)
    }
}
