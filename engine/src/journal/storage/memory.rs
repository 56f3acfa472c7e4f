//! A disk in memory that records what is done to it, and fails on command.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fault::{Call, Fault, Faults};
use super::trace::{Contents, Event, Trace};
use super::{PathKind, Storage, StorageFile};

#[derive(Default)]
struct State {
    now: Contents,
    start: Contents,
    events: Vec<Event>,
    /// Numbers of the files that are locked.
    locked: BTreeSet<usize>,
    faults: Faults,
}

impl State {
    fn file(&self, path: &Path) -> io::Result<usize> {
        self.now.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, event: Event) {
        self.now.apply(&event);
        self.events.push(event);
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

    /// The disk when the process is killed behind the first `n` changes: everything is there, and what
    /// was not synced can still be lost.
    pub fn killed(trace: &Trace, n: usize) -> Self {
        let events = trace.events[..n].to_vec();
        Self::from_trace(Trace { start: trace.start.clone(), events })
    }

    /// A disk to which all this happened.
    pub(super) fn from_trace(trace: Trace) -> Self {
        let mut now = trace.start.clone();
        trace.events.iter().for_each(|event| now.apply(event));
        let Trace { start, events } = trace;
        Self(Arc::new(Mutex::new(State { now, start, events, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, which may have to fail, and tells whether it is to be cut short.
    fn call(&self, call: Call) -> io::Result<(MutexGuard<'_, State>, bool)> {
        let mut state = self.state();
        let short = state.faults.call(call)?;
        Ok((state, short))
    }

    /// Makes the call with this number, counted from 0 over the disk's life, fail. Several may be set.
    pub fn fail_call(&self, call: usize, fault: Fault) {
        self.state().faults.at.insert(call, fault);
    }

    /// Makes the next call of this kind fail. Several may be set, also for one kind.
    pub fn fail_next(&self, call: Call, fault: Fault) {
        self.state().faults.next.push((call, fault));
    }

    /// Ends all faults.
    pub fn mend(&self) {
        let faults = &mut self.state().faults;
        *faults = Faults { calls: std::mem::take(&mut faults.calls), ..Faults::default() };
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state().faults.calls.clone()
    }

    /// Adds a note to the events, to tell later what had happened when.
    pub fn note(&self, note: u64) {
        self.state().events.push(Event::Note(note));
    }

    /// Everything that happened.
    pub fn trace(&self) -> Trace {
        let state = self.state();
        Trace { start: state.start.clone(), events: state.events.clone() }
    }

    /// The bytes of a file, if it exists.
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.now.names.get(path).map(|&file| state.now.files[file].clone())
    }

    /// Puts a file on a disk to which nothing has happened yet: it is durable, and no event.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state();
        assert!(state.events.is_empty(), "files have numbers, in the order of the events");
        let file = state.start.files.len();
        state.start.files.push(bytes);
        state.start.names.insert(path.to_owned(), file);
        state.now = state.start.clone();
    }

    /// The names of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().now.names.keys().cloned().collect()
    }
}

impl Storage for MemoryStorage {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.call(Call::Resolve).map(|_| path.to_owned())
    }

    fn kind(&self, path: &Path) -> io::Result<PathKind> {
        let (state, _) = self.call(Call::Kind)?;
        Ok(if state.now.names.contains_key(path) { PathKind::File } else { PathKind::Missing })
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let file = self.call(Call::OpenToRead)?.0.file(path)?;
        Ok(Box::new(MemoryFile::new(self, file)))
    }

    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let file = self.call(Call::OpenToAppend)?.0.file(path)?;
        Ok(Box::new(MemoryFile::new(self, file)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let (mut state, _) = self.call(Call::Create)?;
        if state.now.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.now.files.len();
        state.change(Event::Create { path: path.to_owned(), file });
        Ok(Box::new(MemoryFile::new(self, file)))
    }

    fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut state, _) = self.call(Call::Overwrite)?;
        let file = state.file(path)?;
        state.change(Event::Write { file, offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut state, _) = self.call(Call::Rename)?;
        let file = state.file(from)?;
        state.change(Event::Rename { from: from.to_owned(), to: to.to_owned(), file });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut state, _) = self.call(Call::Remove)?;
        state.file(path)?;
        state.change(Event::Remove { path: path.to_owned() });
        Ok(())
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        let (mut state, _) = self.call(Call::SyncDirectory)?;
        state.change(Event::SyncDirectory);
        Ok(())
    }
}

struct MemoryFile {
    storage: MemoryStorage,
    file: usize,
    has_lock: AtomicBool,
}

impl MemoryFile {
    fn new(storage: &MemoryStorage, file: usize) -> Self {
        Self { storage: storage.clone(), file, has_lock: AtomicBool::new(false) }
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if *self.has_lock.get_mut() {
            self.storage.state().locked.remove(&self.file);
        }
    }
}

impl StorageFile for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        let (state, _) = self.storage.call(Call::Bytes)?;
        Ok(state.now.files[self.file].len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (state, short) = self.storage.call(Call::ReadAt)?;
        let content = &state.now.files[self.file];
        let rest = &content[content.len().min(offset as usize)..];
        let wanted = rest.len().min(buffer.len());
        let read = if short { wanted.div_ceil(2) } else { wanted };
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let (mut state, short) = self.storage.call(Call::Append)?;
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        if short {
            bytes.truncate(bytes.len().div_ceil(2));
        }
        let written = bytes.len();
        let offset = state.now.files[self.file].len() as u64;
        state.change(Event::Write { file: self.file, offset, bytes });
        Ok(written)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.storage.state();
        let result = state.faults.call(Call::Sync).map(|_| ());
        let file = self.file;
        state.change(match result {
            Ok(()) => Event::Sync { file },
            Err(_) => Event::SyncFailed { file },
        });
        result
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let (mut state, _) = self.storage.call(Call::Truncate)?;
        state.change(Event::Truncate { file: self.file, bytes });
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let (mut state, _) = self.storage.call(Call::TryLock)?;
        if state.locked.insert(self.file) {
            self.has_lock.store(true, Ordering::Relaxed);
        }
        Ok(self.has_lock.load(Ordering::Relaxed))
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let (state, _) = self.storage.call(Call::IsAt)?;
        Ok(state.now.names.get(path) == Some(&self.file))
    }

    fn restrict_to_owner(&self) -> io::Result<Option<u32>> {
        self.storage.call(Call::RestrictToOwner).map(|_| None)
    }
}
