//! Copies what is live of a growing file into a new one, beside the writer.
//!
//! A thread copies all that was written when it started, then what was written meanwhile, until little
//! is left. The writer copies that rest between two commits and changes files ([`Copied::catch_up`]).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, bounded};

use super::groups::{self, Groups};
use super::keys::Keys;
use super::letters::Letters;
use super::ops::LiveSet;
use super::options::FsyncPolicy;
use super::read::{Next, Reader};
use super::record::{self, Body, RECORDS_OFFSET, RecordHeader};
use super::rewrite::{Finished, Rewrite};
use super::seen::SeenRuns;
use super::shared::Shared;
use super::storage::{Storage, StorageFile};
use super::values::Retained;
use crate::wire::id::MessageId;

/// Bytes read between two pauses.
const PAUSE_BYTES: u64 = 1024 * 1024;
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// What may be left to the writer, in bytes.
const LEFT_BYTES_TARGET: u64 = 1024 * 1024;
/// Rounds over what was written meanwhile. Each is shorter than the last unless the disk is saturated.
const ROUNDS_MAX: usize = 16;

/// Why a compaction was given up. The file it copied from is as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompactionError {
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A record could not be read back.
    #[error("the record at offset {0} is damaged")]
    Damaged(u64),
    /// Another file lies where the journal was.
    #[error("another file was put in the journal's place while the server ran")]
    Displaced,
    /// The journal is closing or has failed.
    #[error("the journal stopped")]
    Stopped,
}

/// What to compact.
pub(super) struct Job {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) path: PathBuf,
    pub(super) salt: u64,
    pub(super) policy: FsyncPolicy,
    pub(super) live: Arc<dyn LiveSet>,
    /// The durable groups that were there when it was started.
    pub(super) groups: groups::Kept,
    /// Tells how many bytes of the file are written.
    pub(super) shared: Arc<Shared>,
}

/// A compaction in progress.
pub(super) struct Compaction {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    /// Gets the outcome, once.
    pub(super) outcome: Receiver<Result<Copied, CompactionError>>,
}

impl Compaction {
    /// Starts the thread.
    pub(super) fn start(job: Job) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, outcome) = bounded(1);
        let thread_stop = Arc::clone(&stop);
        let thread = thread::Builder::new().name("journal-compact".into()).spawn(move || {
            let copied = copy_most(&job, &thread_stop);
            drop(job);
            // Nobody waits for it any more if the journal stopped.
            let _ = sender.send(copied);
        })?;
        Ok(Self { stop, thread, outcome })
    }

    /// Stops the thread and waits for it.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}

/// What the first part of a file leaves besides messages and groups.
struct First<'a> {
    letters: Letters,
    groups: Groups,
    retained: Retained,
    keys: Keys,
    kept: &'a groups::Kept,
}

impl First<'_> {
    fn settle(&mut self, id: MessageId) {
        self.letters.remove(id);
        self.groups.remove(id);
    }
}

/// A new file that lacks only the end of the old one.
pub(super) struct Copied {
    new: Rewrite,
    old: Box<dyn StorageFile>,
    salt: u64,
    /// How far the old file is copied, in bytes.
    to: u64,
}

fn copy_most(job: &Job, stop: &AtomicBool) -> Result<Copied, CompactionError> {
    let old = job.storage.open_to_read(&job.path)?;
    let new = Rewrite::create(&*job.storage, &job.path, job.policy)?;
    let mut copied = Copied { new, old, salt: job.salt, to: RECORDS_OFFSET };
    let mut seen = SeenRuns::default();
    let mut pace = Pace { next: PAUSE_BYTES, started: Instant::now() };
    let live = Some(&*job.live);
    let first_end = job.shared.written_bytes();
    let mut watch = |offset: u64, throttled: bool| {
        if stop.load(Ordering::Relaxed) {
            return Err(CompactionError::Stopped);
        }
        if throttled {
            pace.pause_if_due(offset);
        }
        Ok(())
    };
    // The broker forgot the settled ones of this part before it handed their settlement over, so these
    // messages are not copied and the settle records not needed, unless a message came again. Of dead letters only those
    // are copied that are left, and of what is said of messages and groups only the last word.
    let (letters, groups, retained, keys) = Default::default();
    let mut first = First { letters, groups, retained, keys, kept: &job.groups };
    let gathered = Some(&mut first);
    copied.copy(first_end, gathered, live, Some(&mut seen), &mut |offset| watch(offset, true))?;
    for letter in first.letters.into_letters() {
        if job.live.is_live(&letter.id) {
            copied.new.letter(&letter)?;
        }
    }
    for message in first.retained.into_messages() {
        copied.new.retained(&message)?;
    }
    copied.new.keys(&first.keys.into_keys())?;
    let marks = first.groups.into_marks(|id| job.live.is_live(&id), &job.groups);
    for (group, state, ids) in groups::records(&marks) {
        copied.new.jobs(group, state, &ids)?;
    }
    for _ in 0..ROUNDS_MAX {
        let end = job.shared.written_bytes();
        if end - copied.to <= LEFT_BYTES_TARGET {
            break;
        }
        copied.copy(end, None, live, Some(&mut seen), &mut |offset| watch(offset, false))?;
    }
    copied.new.seen(&seen.into_runs())?;
    Ok(copied)
}

/// Leaves the disk and the processor to others for half of the time.
struct Pace {
    next: u64,
    started: Instant,
}

impl Pace {
    fn pause_if_due(&mut self, offset: u64) {
        if offset >= self.next {
            thread::sleep(self.started.elapsed().min(PAUSE_MAX));
            self.next = offset + PAUSE_BYTES;
            self.started = Instant::now();
        }
    }
}

impl Copied {
    /// Copies the records of the old file up to `end`: messages that `live` lets pass, and notes in `seen` what was
    /// appended. Of the first part of the file it copies only what ended messages that were sent again, and gathers in `first`
    /// what else is left.
    fn copy(
        &mut self,
        end: u64,
        mut first: Option<&mut First<'_>>,
        live: Option<&dyn LiveSet>,
        mut seen: Option<&mut SeenRuns>,
        watch: &mut dyn FnMut(u64) -> Result<(), CompactionError>,
    ) -> Result<(), CompactionError> {
        let mut reader = Reader::new(&*self.old, self.salt, self.to, end);
        loop {
            watch(reader.offset())?;
            let (header, body, bytes): (RecordHeader, Body<'_>, &[u8]) = match reader.next()? {
                Next::Record { header, body, bytes, .. } => (header, body, bytes),
                Next::End => break,
                Next::Bad | Next::BadBody { .. } | Next::CutOff => {
                    return Err(CompactionError::Damaged(reader.offset()));
                }
            };
            let keep = match body {
                Body::Append { id, .. } => {
                    if let Some(seen) = &mut seen {
                        seen.add(id);
                    }
                    live.is_none_or(|live| live.is_live(&id))
                }
                Body::Settle(ids) => match &mut first {
                    Some(first) => {
                        record::ids(ids).for_each(|id| first.settle(id));
                        // One that came again since is live: what was appended before must not stand for it.
                        live.is_some_and(|live| record::ids(ids).any(|id| live.is_live(&id)))
                    }
                    None => true,
                },
                Body::Letter(letter) => match &mut first {
                    Some(first) => {
                        first.letters.add(&letter);
                        false
                    }
                    None => true,
                },
                Body::LetterEnd(end) => match &mut first {
                    Some(first) => {
                        if first.letters.end(&end) {
                            first.settle(end.id);
                            // As for settlements. The letters that it ended with are not there to tell.
                            if live.is_some_and(|live| live.is_live(&end.id)) {
                                self.new.end_message(end.id, end.group)?;
                            }
                        }
                        false
                    }
                    None => true,
                },
                // Where they stand says which messages they do not have.
                Body::Group(group) => first.as_ref().is_none_or(|it| it.kept.keeps(group.number)),
                Body::GroupEnd(number) => first.as_ref().is_none_or(|it| it.kept.keeps(number)),
                Body::Jobs(jobs) => match &mut first {
                    Some(first) => {
                        first.groups.mark(&jobs, |_| true);
                        false
                    }
                    None => true,
                },
                Body::Retained(message) => match &mut first {
                    Some(first) => {
                        first.retained.put(&message);
                        false
                    }
                    None => true,
                },
                Body::Cleared(name) => match &mut first {
                    Some(first) => {
                        first.retained.clear(name);
                        false
                    }
                    None => true,
                },
                Body::Key(key) => match &mut first {
                    Some(first) => {
                        first.keys.add(&key);
                        false
                    }
                    None => true,
                },
                Body::Seen(runs) => match &mut seen {
                    Some(seen) => {
                        record::runs(runs).for_each(|run| seen.add_run(run));
                        false
                    }
                    None => true,
                },
                Body::Mark => false,
            };
            if keep {
                self.new.copy(&header, bytes)?;
            }
        }
        self.to = end;
        Ok(())
    }

    /// Copies the rest of the old file, up to `end`, and syncs the new one.
    ///
    /// Returns it with the number and bytes of the messages, dead letters and durable groups in it, settled ones of the rest included.
    pub(super) fn catch_up(mut self, end: u64) -> Result<(Finished, u64, u64), CompactionError> {
        self.copy(end, None, None, None, &mut |_| Ok(()))?;
        let (kept, bytes) = (self.new.kept, self.new.kept_bytes);
        Ok((self.new.finish()?, kept, bytes))
    }
}
