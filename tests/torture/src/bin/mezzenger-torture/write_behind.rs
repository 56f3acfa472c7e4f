//! A disk that says that it wrote and synced what it only holds in memory: with it, a server answers OK
//! before the write. It writes later, in order, so that what is in the file is always whole records.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use mezzenger::journal::storage::{PathKind, RealStorage, Storage, StorageFile, append_all};

/// Writes that are held back.
const HELD_WRITES: usize = 64;

/// The file system, with its promises broken.
#[derive(Default)]
pub(crate) struct WriteBehind(RealStorage);

impl Storage for WriteBehind {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.resolve(path)
    }

    fn kind(&self, path: &Path) -> io::Result<PathKind> {
        self.0.kind(path)
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        self.0.open_to_read(path)
    }

    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(Held::new(self.0.open_to_append(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(Held::new(self.0.create(path)?)))
    }

    fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.overwrite(path, offset, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.0.sync_directory(directory)
    }
}

/// A file whose last writes are in memory alone.
struct Held {
    file: Box<dyn StorageFile>,
    writes: VecDeque<Vec<u8>>,
}

impl Held {
    fn new(file: Box<dyn StorageFile>) -> Self {
        Self { file, writes: VecDeque::new() }
    }

    /// Writes until only so many writes are held back.
    fn write(&mut self, held: usize) -> io::Result<()> {
        while self.writes.len() > held
            && let Some(bytes) = self.writes.pop_front()
        {
            append_all(&mut *self.file, &mut [IoSlice::new(&bytes)])?;
        }
        Ok(())
    }
}

impl StorageFile for Held {
    fn bytes(&self) -> io::Result<u64> {
        let held: usize = self.writes.iter().map(Vec::len).sum();
        Ok(self.file.bytes()? + held as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let taken = bytes.len();
        self.writes.push_back(bytes);
        self.write(HELD_WRITES)?;
        Ok(taken)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.write(0)?;
        self.file.truncate(bytes)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.file.is_at(path)
    }

    fn restrict_to_owner(&self) -> io::Result<Option<u32>> {
        self.file.restrict_to_owner()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A clean end loses nothing, not even here. When it fails, what is lost is found as it shall be.
        let _ = self.write(0);
    }
}
