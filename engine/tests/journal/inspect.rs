//! Looking into a journal tells what opening it would find, also while it is used, and changes nothing.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::storage::{PathKind, RealStorage, Storage, StorageFile};
use mezzenger::journal::{FsyncPolicy, JournalOptions, Op, OpenError, Records, inspect, open};

use crate::harness::*;

#[test]
fn it_tells_what_opening_would_find_and_changes_nothing() {
    let mut bytes = sample(FsyncPolicy::Interval(Duration::from_secs(60)), true);
    bytes.extend_from_slice(b"torn");
    let storage = disk(&bytes);
    let found = inspect(Path::new(PATH), &storage).unwrap();
    let records = naive(&bytes[..bytes.len() - 4]);
    assert_eq!(found.records.all(), records.len() as u64);
    assert_eq!((found.records.append, found.appended), (16, 16));
    // One that is settled was never appended.
    assert_eq!((found.settled, found.settled_elsewhere), (3, 1));
    assert_eq!(found.appended, found.settled + found.live);
    assert_eq!(found.live, fold(&records).len() as u64);
    assert_eq!((found.version, found.torn.bytes), (Some(2), 4));
    assert!(found.damage.is_empty());
    assert!(storage.trace().events.is_empty());
}

#[test]
fn a_file_of_nothing_yet_is_sound() {
    let found = inspect(Path::new(PATH), &disk(b"")).unwrap();
    assert_eq!((found.version, found.records), (None, Records::default()));
    assert!(found.damage.is_empty());
    assert!(found.to_string().contains("no record yet"), "{found}");
}

#[test]
fn a_journal_is_looked_into_while_it_is_written_and_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let options = JournalOptions { compact_min_bytes: 100_000, ..JournalOptions::new(&path) };
    let run = Run::real(options).unwrap();
    let mut n = 0;
    while run.journal.stats().compactions < 5 {
        run.append(n..n + 50);
        let last = run.settle((n..n + 50).filter(|n| n % 10 != 6));
        n += 50;
        let found = inspect(&path, &RealStorage).unwrap();
        assert!(found.damage.is_empty(), "{found}");
        assert!(run.settled(last));
    }
    run.journal.close().unwrap();
    assert_eq!(inspect(&path, &RealStorage).unwrap().live, n / 10);
}

/// A file that is another each time it is opened, for the last time at the end: what it holds, and how long
/// it seems to be.
struct Moments(Vec<(Vec<u8>, u64)>, AtomicUsize);

impl Moments {
    fn new(moments: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let moments = moments.into_iter().map(|bytes| (bytes.len() as u64, bytes));
        Self(moments.map(|(length, bytes)| (bytes, length)).collect(), AtomicUsize::new(0))
    }
}

impl Storage for Moments {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }
    fn kind(&self, _: &Path) -> io::Result<PathKind> {
        Ok(PathKind::File)
    }
    fn open_to_read(&self, _: &Path) -> io::Result<Box<dyn StorageFile>> {
        let moment = self.1.fetch_add(1, Ordering::Relaxed).min(self.0.len() - 1);
        let (bytes, length) = self.0[moment].clone();
        Ok(Box::new(Moment { bytes, length }))
    }
    fn open_to_append(&self, _: &Path) -> io::Result<Box<dyn StorageFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn create(&self, _: &Path) -> io::Result<Box<dyn StorageFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn overwrite(&self, _: &Path, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

struct Moment {
    bytes: Vec<u8>,
    length: u64,
}

impl StorageFile for Moment {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.length)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = &self.bytes[self.bytes.len().min(offset as usize)..];
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }
    fn append(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn sync(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn try_lock(&self) -> io::Result<bool> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn is_at(&self, _: &Path) -> io::Result<bool> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn restrict_to_owner(&self) -> io::Result<Option<u32>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

#[test]
fn what_looks_damaged_because_it_changes_is_not_called_damaged() {
    let sound = sample(FsyncPolicy::Always, true);
    let damaged = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        bytes
    };
    let look = |moments: &Moments| inspect(Path::new(PATH), moments);

    let found = look(&Moments::new([damaged(5000), sound.clone()])).unwrap();
    assert!(found.damage.is_empty());
    let found = look(&Moments::new([damaged(5000), damaged(4200), damaged(4200)])).unwrap();
    assert_eq!(found.damage.stretches, 1);
    // It was cut between a look at its length and reading it.
    let mut cut = Moments::new([sound.clone(), sound.clone()]);
    cut.0[0].1 += 100;
    assert!(look(&cut).unwrap().damage.is_empty());
    let changing = Moments::new(naive(&sound).iter().map(|record| damaged(record.start)));
    let error = look(&changing).unwrap_err();
    assert!(matches!(error, OpenError::Changing { .. }), "{error}");
}

#[test]
fn the_report_tells_a_person_what_is_there_and_what_to_do() {
    let mut bytes = sample(FsyncPolicy::Always, true);
    bytes[5] ^= 1;
    let record = &naive(&sample(FsyncPolicy::Always, true))[3];
    bytes[record.start + 40] ^= 1;
    bytes.extend_from_slice(b"torn");
    let text = inspect(Path::new(PATH), &disk(&bytes)).unwrap().to_string();
    let lines: Vec<_> = text.lines().collect();
    let record_bytes = record.end - record.start;
    let size = bytes.len();
    assert_eq!(
        lines[..3],
        ["journal: /data/journal", "format: version 2", &format!("size: {size} bytes")]
    );
    // Of the settled ones, one was never appended, and one may be the damaged one.
    let elsewhere = "settlements of messages not in this file (compacted, torn or damaged): ";
    assert!(lines[5].starts_with(elsewhere), "{text}");
    assert!(
        lines[10].starts_with(&format!("torn end: 4 bytes from offset {}: ", size - 4)),
        "{text}"
    );
    assert_eq!(lines[11], format!("damage: 1 record in {} bytes", 32 + record_bytes));
    assert_eq!(lines[12], "  offset 0: 32 bytes, a copy of the header");
    assert_eq!(lines[13], format!("  offset {}: {record_bytes} bytes, 1 record", record.start));
    assert!(lines[14].contains("--repair") && lines.len() == 15, "{text}");
}

#[test]
fn settlements_of_messages_that_were_compacted_away_are_counted_apart() {
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, options()).unwrap();
    run.append(0..100);
    run.settle(0..70);
    run.journal.close().unwrap();
    // The compaction starts at once and copies the messages that are live now. The settlements come while
    // it is asked about them, and so into the new file without their messages.
    let live = Arc::new(Set::default());
    live.ids.write().unwrap().extend((75..100).map(id));
    let (told, tells) = crossbeam::channel::unbounded();
    let (_, opened) = open(eager(), Arc::new(storage.clone())).unwrap();
    let held = live.held.write().unwrap();
    let on_progress = Box::new(move |_| told.send(()).unwrap_or_default());
    let journal = opened.start(Arc::clone(&live) as _, on_progress).unwrap();
    let settled = (70..75).map(|n| Op::Settle(id(n))).collect();
    let ticket = journal.submit(settled).unwrap();
    while journal.durable() < ticket {
        tells.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    drop(held);
    while journal.stats().compactions == 0 {
        tells.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    // Most of the file is live, so that no further compaction begins.
    journal.submit(vec![Op::Settle(id(75)), Op::Settle(id(75))]).unwrap();
    journal.close().unwrap();
    let found = inspect(Path::new(PATH), &storage).unwrap();
    assert_eq!((found.appended, found.settled, found.live), (25, 1, 24));
    assert!((1..=6).contains(&found.settled_elsewhere), "{}", found.settled_elsewhere);
    let text = found.to_string();
    assert!(text.contains("messages: 25 appended, 1 settled, 24 live\n"), "{text}");
}
