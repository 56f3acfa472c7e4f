//! Builds a new file beside the journal's and puts it in the journal's place.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use super::encode::{Encoder, Synced};
use super::group::JobState;
use super::letter::LetterEnd;
use super::options::FsyncPolicy;
use super::record::{FileHeader, Kind, RECORDS_OFFSET, RecordHeader, SeenRun, VERSION};
use super::storage::{Storage, StorageFile, append_all};
use crate::message::{DeadLetter, DurableGroup, Message, MessageKey};
use crate::random::random;
use crate::wire::id::MessageId;

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1024 * 1024;
/// Runs in one seen record.
const RUNS_PER_RECORD: usize = 4096;

/// The journal's path with something added to the file's name.
pub(super) fn beside(path: &Path, addition: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(addition);
    name.into()
}

/// Where the new file is built.
pub(super) fn new_path(target: &Path) -> PathBuf {
    beside(target, ".compact")
}

/// The directory of a resolved path.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Removes a file that may be missing.
pub(super) fn remove_if_there(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    match storage.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A file under construction.
pub(super) struct Rewrite {
    file: Box<dyn StorageFile>,
    encoder: Encoder,
    salt: u64,
    /// Messages, retained ones among them, dead letters and durable groups written so far.
    pub(super) kept: u64,
    /// Bytes of their records, and of what is said of messages and groups.
    pub(super) kept_bytes: u64,
}

/// A finished file and the encoder for what comes behind.
pub(super) struct Finished {
    pub(super) file: Box<dyn StorageFile>,
    pub(super) encoder: Encoder,
    pub(super) salt: u64,
}

impl Rewrite {
    /// Creates the new file beside `target`, with a header, for records under this policy. It is locked, so
    /// that it is when it takes the name of `target`.
    pub(super) fn create(
        storage: &dyn Storage,
        target: &Path,
        policy: FsyncPolicy,
    ) -> io::Result<Self> {
        let path = new_path(target);
        remove_if_there(storage, &path)?;
        let mut file = storage.create(&path)?;
        if !file.try_lock()? {
            return Err(io::Error::other("another process locked the new file"));
        }
        let salt = random();
        let header = FileHeader { version: VERSION, salt }.encode();
        let mut head = vec![0; RECORDS_OFFSET as usize];
        let second = head.len() - header.len();
        head[..header.len()].copy_from_slice(&header);
        head[second..].copy_from_slice(&header);
        append_all(&mut *file, &mut [IoSlice::new(&head)])?;
        let encoder = Encoder::new(salt, (RECORDS_OFFSET, 0), Synced::Throughout, policy);
        Ok(Self { file, encoder, salt, kept: 0, kept_bytes: 0 })
    }

    fn write_if_much(&mut self) -> io::Result<()> {
        if self.encoder.waiting_bytes() >= WRITE_BYTES {
            self.encoder.write_to(&mut *self.file)?;
        }
        Ok(())
    }

    /// Adds a message.
    pub(super) fn append(&mut self, message: Message) -> io::Result<()> {
        let start = self.encoder.offset();
        self.encoder.append(message);
        self.kept += 1;
        self.kept_bytes += self.encoder.offset() - start;
        self.write_if_much()
    }

    /// Adds a dead letter.
    pub(super) fn letter(&mut self, letter: &DeadLetter) -> io::Result<()> {
        let start = self.encoder.offset();
        self.encoder.letter(letter);
        self.kept += 1;
        self.kept_bytes += self.encoder.offset() - start;
        self.write_if_much()
    }

    /// Adds that a message was done with the last of its dead letters, which was this group's.
    pub(super) fn end_message(&mut self, id: MessageId, group: &str) -> io::Result<()> {
        self.encoder.end_letter(id, group, LetterEnd::Done);
        self.write_if_much()
    }

    /// Adds a durable group.
    pub(super) fn group(&mut self, group: &DurableGroup) -> io::Result<()> {
        let start = self.encoder.offset();
        self.encoder.group(group);
        self.kept += 1;
        self.kept_bytes += self.encoder.offset() - start;
        self.write_if_much()
    }

    /// Adds a retained message.
    pub(super) fn retained(&mut self, message: &Message) -> io::Result<()> {
        let start = self.encoder.offset();
        self.encoder.retained(message);
        self.kept += 1;
        self.kept_bytes += self.encoder.offset() - start;
        self.write_if_much()
    }

    /// Adds what a durable group has to do with messages.
    pub(super) fn jobs(
        &mut self,
        group: u64,
        state: JobState,
        ids: &[MessageId],
    ) -> io::Result<()> {
        let start = self.encoder.offset();
        self.encoder.jobs(group, state, ids);
        self.kept_bytes += self.encoder.offset() - start;
        self.write_if_much()
    }

    /// Adds keys, which do not count as live for long.
    pub(super) fn keys(&mut self, keys: &[MessageKey]) -> io::Result<()> {
        for key in keys {
            let start = self.encoder.offset();
            self.encoder.key(key);
            self.kept += 1;
            self.kept_bytes += self.encoder.offset() - start;
            self.write_if_much()?;
        }
        Ok(())
    }

    /// Adds a record of another journal file.
    pub(super) fn copy(&mut self, header: &RecordHeader, body: &[u8]) -> io::Result<()> {
        self.encoder.copy(header, body);
        let is_kept =
            matches!(header.kind, Kind::Append | Kind::Letter | Kind::Group | Kind::Retained);
        self.kept += u64::from(is_kept);
        if is_kept || header.kind == Kind::Jobs {
            self.kept_bytes += header.record_bytes();
        }
        self.write_if_much()
    }

    /// Adds what was seen.
    pub(super) fn seen(&mut self, runs: &[SeenRun]) -> io::Result<()> {
        for runs in runs.chunks(RUNS_PER_RECORD) {
            self.encoder.seen(runs);
            self.write_if_much()?;
        }
        Ok(())
    }

    /// Ends the records with a mark, so that each of them has one behind it, and syncs the file.
    pub(super) fn finish(mut self) -> io::Result<Finished> {
        self.encoder.mark();
        self.encoder.write_to(&mut *self.file)?;
        self.file.sync()?;
        self.encoder.set_synced(self.encoder.offset());
        Ok(Finished { file: self.file, encoder: self.encoder, salt: self.salt })
    }
}

/// Puts the finished new file in the place of `target`, for good.
pub(super) fn install(storage: &dyn Storage, target: &Path) -> io::Result<()> {
    storage.rename(&new_path(target), target)?;
    storage.sync_directory(directory(target))
}
