//! The journal's thread: writes what has queued up in one go, syncs once, reports how far it came.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, at, never, select};

use super::compaction::{Compaction, CompactionError, Copied, Job};
use super::encode::Encoder;
use super::full_disk;
use super::groups;
use super::letter::LetterEnd;
use super::letters;
use super::open::OpenFile;
use super::ops::{LiveSet, OnProgress, Op, record_bytes};
use super::options::FsyncPolicy;
use super::rewrite::{Finished, directory, new_path, remove_if_there};
use super::shared::{Action, JournalError, Shared};
use super::storage::{PathKind, Storage, StorageFile};
use super::values;
use crate::limits::JOURNAL_COMMIT_BYTES_TARGET;
use crate::sync::atomic::Ordering;
use crate::wire::id::MessageId;

/// How long settlements stay unsynced at most under [`FsyncPolicy::Always`], if no message takes them along.
const SETTLE_SYNC_MAX: Duration = Duration::from_secs(1);
/// How long nothing must have come before a mark is written.
const MARK_AFTER: Duration = Duration::from_secs(1);

/// How much of the file its live messages and dead letters occupy. A settlement counts with the average.
struct Estimate {
    records: u64,
    bytes: u64,
}

impl Estimate {
    fn append(&mut self, bytes: u64) {
        self.records += 1;
        self.bytes += bytes;
    }

    /// What is said of messages goes with them.
    fn grow(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    fn settle(&mut self) {
        if let Some(average) = self.bytes.checked_div(self.records) {
            self.bytes -= average;
            self.records -= 1;
        }
    }
}

/// What a file of this size may grow to before what it needs is counted again: to copy that once costs little beside what
/// was written meanwhile.
fn grown(bytes: u64) -> u64 {
    bytes.saturating_mul(4)
}

/// All that the thread owns.
pub(crate) struct Writer {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    /// Locked, as each that takes its place.
    file: Box<dyn StorageFile>,
    encoder: Encoder,
    salt: u64,
    policy: FsyncPolicy,
    queue: Receiver<Vec<Op>>,
    shared: Arc<Shared>,
    on_progress: OnProgress,
    live: Arc<dyn LiveSet>,
    estimate: Estimate,
    /// The durable groups that are there.
    groups: groups::Kept,
    /// Groups taken from the queue: the last one's ticket.
    taken: u64,
    /// Settlements that are encoded and not yet written.
    settling: Vec<MessageId>,
    /// Where the encoder was when all before was written: offset and ordinal.
    written: (u64, u32),
    /// How far the file is synced, in bytes.
    synced: u64,
    /// Since when something written waits for a sync.
    dirty_since: Option<Instant>,
    last_write: Instant,
    wants_mark: bool,
    compaction: Option<Compaction>,
    /// Size from which the file is compacted, in bytes.
    compact_min_bytes: u64,
    compact_from_bytes: u64,
    /// Size from which the file is compacted whatever the estimate says, which the average misleads where large messages
    /// are settled and small ones are not. A compaction finds out.
    compact_surely_bytes: u64,
}

impl Writer {
    /// The writer of an open file.
    pub(super) fn new(
        open: OpenFile,
        storage: Arc<dyn Storage>,
        (policy, compact_min_bytes): (FsyncPolicy, u64),
        queue: Receiver<Vec<Op>>,
        shared: Arc<Shared>,
        live: Arc<dyn LiveSet>,
        on_progress: OnProgress,
    ) -> Self {
        let written = open.encoder.position();
        let synced = open.encoder.offset();
        shared.written.store(synced, Ordering::Release);
        shared.live_bytes.store(open.live_bytes, Ordering::Relaxed);
        Self {
            storage,
            path: open.path,
            file: open.file,
            encoder: open.encoder,
            salt: open.salt,
            policy,
            queue,
            shared,
            on_progress,
            live,
            estimate: Estimate { records: open.live_records, bytes: open.live_bytes },
            groups: open.groups,
            taken: 0,
            settling: Vec::new(),
            written,
            synced,
            dirty_since: None,
            last_write: Instant::now(),
            wants_mark: open.wants_mark,
            compaction: None,
            compact_min_bytes,
            compact_from_bytes: compact_min_bytes,
            compact_surely_bytes: grown(open.live_bytes.max(compact_min_bytes)),
        }
    }

    /// Works until the queue's other end is gone and all in it is written and synced.
    pub(crate) fn run(mut self) {
        // The caller's code runs here too. If it panics, nobody may wait for this thread in vain.
        let worked = panic::catch_unwind(AssertUnwindSafe(|| self.work())).unwrap_or_else(|_| {
            let error = io::Error::other("its thread panicked");
            Err(JournalError::new(Action::Run, &self.path, &error))
        });
        if let Err(error) = worked {
            tracing::error!(%error, "the journal stopped");
            self.stop_compaction();
            let is_cut = self.cut_unacknowledged(&error);
            let settlements = std::mem::take(&mut self.settling);
            let keeps_settlements = is_cut && error.is_full_disk();
            self.shared.settlements_refused.store(!keeps_settlements, Ordering::Release);
            let _ = self.shared.failure.set(error);
            (self.on_progress)(self.shared.durable.load(Ordering::Acquire));
            if keeps_settlements {
                let end = full_disk::End {
                    file: &mut *self.file,
                    salt: self.salt,
                    policy: self.policy,
                    written: self.written,
                    synced: self.synced,
                    shared: &self.shared,
                    on_progress: &self.on_progress,
                };
                end.settle(settlements, &self.queue);
            }
            // Nothing may wait in vain for room in the queue.
            while self.queue.recv().is_ok() {}
        }
    }

    /// Commits what has queued up, if anything has, and never waits.
    pub(crate) fn turn(&mut self) -> Result<(), JournalError> {
        match self.queue.try_recv() {
            Ok(ops) => self.commit(ops),
            Err(_) => Ok(()),
        }
    }

    fn work(&mut self) -> Result<(), JournalError> {
        loop {
            self.compact_if_due();
            let timer = self.deadline().map_or_else(never, at);
            let outcome = self.compaction.as_ref().map_or_else(never, |c| c.outcome.clone());
            select! {
                recv(self.queue) -> ops => match ops {
                    Ok(ops) => self.commit(ops)?,
                    Err(_) => break,
                },
                recv(outcome) -> copied => {
                    self.compaction = None;
                    self.change_files(copied.unwrap_or(Err(CompactionError::Stopped)))?;
                }
                recv(timer) -> _ => {}
            }
            self.keep_time()?;
        }
        self.stop_compaction();
        if self.dirty_since.is_some() {
            self.sync()?;
        }
        self.mark()
    }

    /// When something is to be done although nothing comes.
    fn deadline(&self) -> Option<Instant> {
        match (self.dirty_since, self.policy) {
            (Some(since), FsyncPolicy::Always) => since.checked_add(SETTLE_SYNC_MAX),
            (Some(since), FsyncPolicy::Interval(interval)) => since.checked_add(interval),
            (Some(_), FsyncPolicy::Never) => None,
            (None, _) if self.wants_mark => self.last_write.checked_add(MARK_AFTER),
            (None, _) => None,
        }
    }

    fn keep_time(&mut self) -> Result<(), JournalError> {
        match self.deadline() {
            Some(deadline) if Instant::now() < deadline => Ok(()),
            None => Ok(()),
            Some(_) if self.dirty_since.is_some() => self.sync(),
            Some(_) => self.mark(),
        }
    }

    /// Writes this group and those that queued up behind it, and makes them durable.
    fn commit(&mut self, first: Vec<Op>) -> Result<(), JournalError> {
        let start = self.encoder.offset();
        let (mut messages, mut wants_sync) = self.take(first);
        while self.encoder.waiting_bytes() < JOURNAL_COMMIT_BYTES_TARGET {
            let Ok(ops) = self.queue.try_recv() else { break };
            let (more, wants) = self.take(ops);
            messages += more;
            wants_sync |= wants;
        }
        self.write()?;
        if self.encoder.offset() > start {
            self.dirty_since.get_or_insert(self.last_write);
            self.wants_mark = true;
            self.shared.commits.fetch_add(1, Ordering::Relaxed);
        }
        if wants_sync && self.policy == FsyncPolicy::Always {
            self.sync()?;
        }
        self.shared.appended.fetch_add(messages, Ordering::Relaxed);
        self.shared.live_bytes.store(self.estimate.bytes, Ordering::Relaxed);
        self.shared.durable.store(self.taken, Ordering::Release);
        (self.on_progress)(self.taken);
        Ok(())
    }

    /// Encodes one group; returns how many messages it appends, and whether somebody waits until it is synced.
    fn take(&mut self, ops: Vec<Op>) -> (u64, bool) {
        self.taken += 1;
        let (mut messages, mut settled, mut is_awaited) = (0, 0, false);
        for op in ops {
            match op {
                Op::Append(message) => {
                    messages += 1;
                    self.estimate.append(record_bytes(&message));
                    self.encoder.append(message);
                }
                Op::Settle(id) => {
                    settled += 1;
                    self.estimate.settle();
                    self.settling.push(id);
                    self.encoder.settle(id);
                }
                Op::Letter(letter) => {
                    is_awaited = true;
                    self.estimate.append(letters::record_bytes(&letter));
                    self.encoder.letter(&letter);
                }
                Op::Retain { message, replaces } => {
                    is_awaited = true;
                    if replaces {
                        self.estimate.settle();
                    }
                    self.estimate.append(values::record_bytes(&message));
                    self.encoder.retained(&message);
                }
                // Garbage from the beginning: it does not count for long.
                Op::Key(key) => self.encoder.key(&key),
                Op::Unretain(name) => {
                    is_awaited = true;
                    self.estimate.settle();
                    self.encoder.cleared(&name);
                }
                Op::EndLetter { id, group, end } => {
                    self.estimate.settle();
                    if end == LetterEnd::Done {
                        // Its message goes, too.
                        self.estimate.settle();
                    }
                    self.encoder.end_letter(id, &group, end);
                }
                Op::Group(group) => {
                    is_awaited = true;
                    self.estimate.append(groups::record_bytes(&group));
                    self.groups.add(group.number);
                    self.encoder.group(&group);
                }
                Op::EndGroup(number) => {
                    is_awaited = true;
                    self.estimate.settle();
                    self.groups.remove(number);
                    self.encoder.end_group(number);
                }
                Op::Jobs { group, state, ids } => {
                    let before = self.encoder.offset();
                    self.encoder.jobs(group, state, &ids);
                    self.estimate.grow(self.encoder.offset() - before);
                }
            }
        }
        self.shared.settled.fetch_add(settled, Ordering::Relaxed);
        (messages, messages > 0 || is_awaited)
    }

    fn write(&mut self) -> Result<(), JournalError> {
        self.encoder
            .write_to(&mut *self.file)
            .map_err(|error| JournalError::new(Action::Write, &self.path, &error))?;
        self.settling.clear();
        self.last_write = Instant::now();
        self.written = self.encoder.position();
        self.shared.written.store(self.encoder.offset(), Ordering::Release);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        let began = Instant::now();
        self.file.sync().map_err(|error| JournalError::new(Action::Sync, &self.path, &error))?;
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        self.shared.sync_times.add(began.elapsed());
        self.synced = self.encoder.offset();
        self.encoder.set_synced(self.synced);
        self.dirty_since = None;
        Ok(())
    }

    /// Puts behind the last commit a record that tells it is synced, so that damage there is no torn tail.
    /// The mark itself needs no sync: without it nothing is lost.
    fn mark(&mut self) -> Result<(), JournalError> {
        if self.wants_mark {
            self.encoder.mark();
            self.write()?;
            self.wants_mark = false;
        }
        Ok(())
    }

    fn compact_if_due(&mut self) {
        let bytes = self.encoder.offset();
        let garbage = bytes.saturating_sub(self.estimate.bytes);
        let is_due = garbage > bytes / 2 || bytes > self.compact_surely_bytes;
        if self.compaction.is_some() || bytes <= self.compact_from_bytes || !is_due {
            return;
        }
        let job = Job {
            storage: Arc::clone(&self.storage),
            path: self.path.clone(),
            salt: self.salt,
            policy: self.policy,
            live: Arc::clone(&self.live),
            groups: self.groups.clone(),
            shared: Arc::clone(&self.shared),
        };
        match Compaction::start(job) {
            Ok(compaction) => self.compaction = Some(compaction),
            Err(error) => self.give_compaction_up(&error.into()),
        }
    }

    /// Ends a compaction: the new file takes the old one's place, or goes.
    fn change_files(
        &mut self,
        copied: Result<Copied, CompactionError>,
    ) -> Result<(), JournalError> {
        let before = self.encoder.offset();
        let copied = copied.and_then(|copied| copied.catch_up(before));
        let (new, records, bytes) = match copied.and_then(|new| self.has_place().map(|()| new)) {
            Ok(new) => new,
            Err(error) => {
                self.give_compaction_up(&error);
                (self.on_progress)(self.taken);
                return Ok(());
            }
        };
        // From the rename on, a crash may leave either file under the name. Both hold all that is durable,
        // but only until one of them grows: an error here is final.
        let replace_error = |error| JournalError::new(Action::Replace, &self.path, &error);
        self.storage.rename(&new_path(&self.path), &self.path).map_err(replace_error)?;
        self.storage.sync_directory(directory(&self.path)).map_err(replace_error)?;
        let Finished { file, encoder, salt } = new;
        let old = std::mem::replace(&mut self.file, file);
        // The last handle on a nameless file frees its blocks, which takes long if they are many.
        let _ = thread::Builder::new().name("journal-free".into()).spawn(move || drop(old));
        self.encoder = encoder;
        self.written = self.encoder.position();
        self.salt = salt;
        self.synced = self.encoder.offset();
        self.dirty_since = None;
        self.wants_mark = false;
        self.estimate = Estimate { records, bytes };
        self.compact_from_bytes = self.compact_min_bytes;
        self.compact_surely_bytes = grown(self.synced.max(self.compact_min_bytes));
        self.shared.written.store(self.synced, Ordering::Release);
        self.shared.live_bytes.store(bytes, Ordering::Relaxed);
        self.shared.compactions.fetch_add(1, Ordering::Release);
        tracing::info!(before_bytes = before, after_bytes = self.synced, "compacted the journal");
        (self.on_progress)(self.taken);
        Ok(())
    }

    /// Checks that a rename would replace the journal's file, or nothing, and not somebody else's.
    fn has_place(&self) -> Result<(), CompactionError> {
        let has_place =
            self.file.is_at(&self.path)? || self.storage.kind(&self.path)? == PathKind::Missing;
        if has_place { Ok(()) } else { Err(CompactionError::Displaced) }
    }

    fn give_compaction_up(&mut self, error: &CompactionError) {
        tracing::warn!(%error, "gave up compacting the journal; it grows until the next try");
        self.remove_new_file();
        self.compact_from_bytes = self.encoder.offset().saturating_mul(2);
        self.shared.compactions_given_up.fetch_add(1, Ordering::Release);
    }

    fn stop_compaction(&mut self) {
        if let Some(compaction) = self.compaction.take() {
            compaction.stop();
            self.remove_new_file();
        }
    }

    /// A new file that stays behind is removed at the next start.
    fn remove_new_file(&self) {
        if let Err(error) = remove_if_there(&*self.storage, &new_path(&self.path)) {
            tracing::warn!(%error, "could not remove an unfinished file of the journal");
        }
    }

    /// After a failure, cuts off what was not acknowledged. Tells whether the file then ends where all was
    /// written.
    ///
    /// A failed sync may leave in the system's cache what never reaches the disk. If a restart read it
    /// there, a publisher that sends it again would be told that it is safe.
    fn cut_unacknowledged(&mut self, error: &JournalError) -> bool {
        let keep = match (error.action, self.policy) {
            (Action::Write, FsyncPolicy::Always) if !error.is_full_disk() => self.synced,
            (Action::Write, _) => self.written.0,
            (Action::Sync, FsyncPolicy::Always) => self.synced,
            _ => return false,
        };
        match self.file.truncate(keep) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "could not cut the journal back; recovery will");
                false
            }
        }
    }
}
