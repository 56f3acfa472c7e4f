//! A disk in memory that records what is done to it, fails on command, and loses power on command.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::replay::Replay;
use super::{LockGuard, PathKind, Storage, StorageFile};

/// One change, in the order in which they were made. Files are known by their number (`file`), as a name may change.
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
    },
    /// A file removed.
    Remove {
        /// Its name.
        path: PathBuf,
    },
    /// The directory synced.
    SyncDirectory,
    /// Something a test noted with [`MemoryStorage::note`].
    Note(u64),
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does nothing and returns this error.
    Error(io::ErrorKind),
    /// A write writes half of its bytes and says so; other calls succeed.
    Short,
    /// A write writes half of its bytes, and the next call returns this error.
    ShortThen(io::ErrorKind),
}

#[derive(Default)]
struct State {
    files: Vec<Vec<u8>>,
    names: BTreeMap<PathBuf, usize>,
    locked: BTreeSet<PathBuf>,
    events: Vec<Event>,
    calls: u64,
    faults: BTreeMap<u64, Fault>,
}

impl State {
    /// Counts a changing call and tells whether it is to be cut short.
    fn call(&mut self) -> io::Result<bool> {
        let fault = self.faults.remove(&self.calls);
        self.calls += 1;
        match fault {
            None => Ok(false),
            Some(Fault::Error(kind)) => Err(kind.into()),
            Some(Fault::Short) => Ok(true),
            Some(Fault::ShortThen(kind)) => {
                self.faults.insert(self.calls, Fault::Error(kind));
                Ok(true)
            }
        }
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The disk. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryStorage(Arc<Mutex<State>>);

impl MemoryStorage {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the changing call with this number, counted from 0 over the disk's life, fail. Several may be set.
    pub fn fail_call(&self, call: u64, fault: Fault) {
        self.state().faults.insert(call, fault);
    }

    /// Changing calls so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Adds a note to the events, to tell later what had happened when.
    pub fn note(&self, note: u64) {
        self.state().events.push(Event::Note(note));
    }

    /// Everything that happened.
    pub fn events(&self) -> Vec<Event> {
        self.state().events.clone()
    }

    /// The bytes of a file, if it exists.
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(path).map(|&file| state.files[file].clone())
    }

    /// Puts a file there, durable at once and without an event.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state();
        let file = state.files.len();
        state.files.push(bytes);
        state.names.insert(path.to_owned(), file);
    }

    /// A disk whose history starts with one durable file, so that it survives a loss of power.
    pub fn from_durable(path: &Path, bytes: Vec<u8>) -> Self {
        let storage = Self::new();
        let mut state = storage.state();
        state.names.insert(path.to_owned(), 0);
        state.files.push(bytes.clone());
        state.events = vec![
            Event::Create { path: path.to_owned(), file: 0 },
            Event::Write { file: 0, offset: 0, bytes },
            Event::Sync { file: 0 },
            Event::SyncDirectory,
        ];
        drop(state);
        storage
    }

    /// The names of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// The disk as `events` of this one, cut by a loss of power, may leave it.
    ///
    /// What was synced is there. Of the rest, `choose(n)`, which returns a number below `n`, picks: each
    /// sector of each write, each truncation, is there or not; of the changes of names, any number of the
    /// first. Pass `|_| 0` to lose all of it, `|n| n - 1` to keep all.
    pub fn after_power_cut(events: &[Event], choose: &mut dyn FnMut(usize) -> usize) -> Self {
        let mut replay = Replay::default();
        for event in events {
            replay.take(event);
        }
        let (files, names) = replay.finish(choose);
        Self(Arc::new(Mutex::new(State { files, names, ..State::default() })))
    }
}

/// Frees its path when dropped.
struct MemoryLock(MemoryStorage, PathBuf);

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.state().locked.remove(&self.1);
    }
}

impl Storage for MemoryStorage {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn kind(&self, path: &Path) -> io::Result<PathKind> {
        Ok(if self.state().names.contains_key(path) { PathKind::File } else { PathKind::Missing })
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let file = self.state().file(path)?;
        Ok(Box::new(MemoryFile { storage: self.clone(), file }))
    }

    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        self.open_to_read(path)
    }

    fn create(&self, path: &Path, _like: Option<&Path>) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.state();
        state.call()?;
        let file = state.files.len();
        state.files.push(Vec::new());
        state.names.insert(path.to_owned(), file);
        state.events.push(Event::Create { path: path.to_owned(), file });
        Ok(Box::new(MemoryFile { storage: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        let file = state.file(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), file);
        state.events.push(Event::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        state.file(path)?;
        state.names.remove(path);
        state.events.push(Event::Remove { path: path.to_owned() });
        Ok(())
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        state.events.push(Event::SyncDirectory);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<LockGuard>> {
        let taken = self.state().locked.insert(path.to_owned());
        Ok(taken.then(|| Box::new(MemoryLock(self.clone(), path.to_owned())) as LockGuard))
    }
}

struct MemoryFile {
    storage: MemoryStorage,
    file: usize,
}

impl StorageFile for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.storage.state().files[self.file].len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.storage.state();
        let content = &state.files[self.file];
        let rest = &content[content.len().min(offset as usize)..];
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.storage.state();
        let short = state.call()?;
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        if short {
            bytes.truncate(bytes.len().div_ceil(2));
        }
        let written = bytes.len();
        let offset = state.files[self.file].len() as u64;
        state.files[self.file].extend_from_slice(&bytes);
        state.events.push(Event::Write { file: self.file, offset, bytes });
        Ok(written)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.storage.state();
        let event = match state.call() {
            Ok(_) => Event::Sync { file: self.file },
            Err(error) => {
                state.events.push(Event::SyncFailed { file: self.file });
                return Err(error);
            }
        };
        state.events.push(event);
        Ok(())
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.storage.state();
        state.call()?;
        state.files[self.file].resize(bytes as usize, 0);
        state.events.push(Event::Truncate { file: self.file, bytes });
        Ok(())
    }
}
