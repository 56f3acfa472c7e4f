//! The broker's end of the journal: submit, and see how far it came.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

#[cfg(test)]
use crossbeam::channel::Receiver;
use crossbeam::channel::{Sender, TrySendError, bounded};

use super::damage::Torn;
use super::error::OpenError;
use super::open::{self, Recovered};
use super::ops::{LiveSet, OnProgress, Op, fits};
use super::options::JournalOptions;
use super::shared::{JournalError, Shared};
use super::storage::Storage;
use super::writer::Writer;
use crate::limits::JOURNAL_QUEUE_BATCHES;
use crate::metrics::Histogram;
use crate::sync::atomic::Ordering;

/// Why a group was not taken. None of it was; here it is back.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full: wait for progress.
    #[error("the journal's queue is full")]
    Full(Vec<Op>),
    /// The journal failed: see [`Journal::failure`] and [`Journal::takes_settlements`].
    #[error("the journal failed")]
    Failed(Vec<Op>),
    /// A message is too large for a record, or its name too long.
    #[error("a message does not fit in a journal record")]
    TooLarge(Vec<Op>),
}

/// Figures of a journal. All count from its start, except the sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// The file's length in bytes.
    pub file_bytes: u64,
    /// About how many of them live messages occupy.
    pub live_bytes: u64,
    /// Groups that wait in the queue.
    pub queued: usize,
    /// Writes of one or more groups.
    pub commits: u64,
    /// Syncs of the file.
    pub syncs: u64,
    /// Messages appended.
    pub appended: u64,
    /// Messages settled.
    pub settled: u64,
    /// Compactions done.
    pub compactions: u64,
    /// Compactions that were given up, the file being as before.
    pub compactions_given_up: u64,
}

/// Opens or creates a journal and reads it. No thread runs yet: the caller puts the recovered messages
/// where its [`LiveSet`] finds them, then calls [`Opened::start`].
///
/// # Errors
/// [`OpenError`] tells what to do. The journal's file is unchanged then, and no other file overwritten.
pub fn open(
    options: JournalOptions,
    storage: Arc<dyn Storage>,
) -> Result<(Recovered, Opened), OpenError> {
    let (recovered, file) = open::open_file(&options, &storage)?;
    let path = file.path.display();
    if recovered.is_new && options.repair {
        tracing::warn!("there was no journal {path} to repair: created an empty one");
    }
    if !recovered.torn.is_empty() {
        let Torn { offset, bytes, stretches } = recovered.torn;
        let copy = recovered.torn_copy.as_ref().or(recovered.damaged_copy.as_ref());
        tracing::warn!(
            offset,
            bytes,
            stretches,
            copy = copy.map(|copy| tracing::field::display(copy.display())),
            "took out of the journal {path} what a crash tore"
        );
    }
    if !recovered.damage.is_empty() {
        let copy = recovered.damaged_copy.as_ref();
        tracing::error!(
            damage = %recovered.damage,
            copy = copy.map(|copy| tracing::field::display(copy.display())),
            "repaired the journal {path}"
        );
    }
    Ok((recovered, Opened { options, storage, file }))
}

/// A journal that was read and is not yet written to.
pub struct Opened {
    options: JournalOptions,
    storage: Arc<dyn Storage>,
    file: open::OpenFile,
}

impl Opened {
    /// Starts the journal's thread.
    ///
    /// # Errors
    /// [`OpenError::Thread`].
    pub fn start(
        self,
        live: Arc<dyn LiveSet>,
        on_progress: OnProgress,
    ) -> Result<Journal, OpenError> {
        let (mut journal, writer) = self.split(live, on_progress);
        let thread = thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run())
            .map_err(OpenError::Thread)?;
        journal.thread = Some(thread);
        Ok(journal)
    }

    /// The two ends of the journal's queue, for whoever runs both on one thread.
    pub(crate) fn split(
        self,
        live: Arc<dyn LiveSet>,
        on_progress: OnProgress,
    ) -> (Journal, Writer) {
        let shared = Arc::new(Shared::default());
        let (sender, queue) = bounded(JOURNAL_QUEUE_BATCHES);
        let policy = (self.options.fsync, self.options.compact_min_bytes);
        let path = self.file.path.clone();
        let shared_there = Arc::clone(&shared);
        let writer =
            Writer::new(self.file, self.storage, policy, queue, shared_there, live, on_progress);
        let (sender, submitted) = (Some(sender), Cell::new(0));
        (Journal { sender, thread: None, submitted, shared, path }, writer)
    }

    /// As [`Self::split`], for whoever decides which groups each commit takes: those that were submitted, and where
    /// they are to be sent then.
    #[cfg(test)]
    pub(crate) fn split_apart(
        self,
        live: Arc<dyn LiveSet>,
        on_progress: OnProgress,
    ) -> (Journal, Receiver<Vec<Op>>, Sender<Vec<Op>>, Writer) {
        let (mut journal, writer) = self.split(live, on_progress);
        let (sender, submitted) = bounded(JOURNAL_QUEUE_BATCHES);
        let taken = journal.sender.replace(sender).unwrap();
        (journal, submitted, taken, writer)
    }
}

/// A running journal. One thread uses it: the order of the calls is the order in the file.
///
/// Dropping it is closing it without asking how that went.
pub struct Journal {
    /// Gone when closed.
    sender: Option<Sender<Vec<Op>>>,
    thread: Option<JoinHandle<()>>,
    submitted: Cell<u64>,
    shared: Arc<Shared>,
    path: PathBuf,
}

impl Journal {
    /// Queues a group and returns its ticket: the group is durable once [`Self::durable`] reaches it.
    /// Tickets count from 1. Never waits.
    ///
    /// When the journal failed for lack of room, groups of settlements alone are still taken while
    /// [`Self::takes_settlements`]. Their tickets are never reached: they are written once there is room.
    ///
    /// # Errors
    /// [`SubmitError`] holds the group, of which nothing was taken.
    pub fn submit(&self, ops: Vec<Op>) -> Result<u64, SubmitError> {
        if self.shared.failure.get().is_some() {
            let only_settles = ops.iter().all(|op| matches!(op, Op::Settle(_)));
            if !only_settles || !self.takes_settlements() {
                return Err(SubmitError::Failed(ops));
            }
        }
        if ops.iter().any(
            |op| matches!(op, Op::Append(message) | Op::Retain { message, .. } if !fits(message)),
        ) {
            return Err(SubmitError::TooLarge(ops));
        }
        let Some(sender) = &self.sender else { return Err(SubmitError::Failed(ops)) };
        match sender.try_send(ops) {
            Ok(()) => {
                let ticket = self.submitted.get() + 1;
                self.submitted.set(ticket);
                Ok(ticket)
            }
            Err(TrySendError::Full(ops)) => Err(SubmitError::Full(ops)),
            Err(TrySendError::Disconnected(ops)) => Err(SubmitError::Failed(ops)),
        }
    }

    /// Whether the queue takes another group.
    pub fn has_room(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| !sender.is_full())
    }

    /// The last ticket of which, as of all before it, every message is as safe as the policy promises.
    /// 0 before the first. Settlements are written by then; they may be synced up to a second later.
    pub fn durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// Why the journal stopped, if it did. What was not durable by then must not be acknowledged.
    pub fn failure(&self) -> Option<JournalError> {
        self.shared.failure.get().cloned()
    }

    /// Whether settlements are stored: at once, or, if the disk was full, as soon as it has room. They are
    /// lost if the server ends before, and their messages come back.
    pub fn takes_settlements(&self) -> bool {
        self.failure().is_none_or(|failure| failure.is_full_disk())
            && !self.shared.settlements_refused.load(Ordering::Acquire)
    }

    /// The file, links followed.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The figures.
    pub fn stats(&self) -> JournalStats {
        let shared = &self.shared;
        JournalStats {
            file_bytes: shared.written_bytes(),
            live_bytes: shared.live_bytes.load(Ordering::Relaxed),
            queued: self.sender.as_ref().map_or(0, Sender::len),
            commits: shared.commits.load(Ordering::Relaxed),
            syncs: shared.syncs.load(Ordering::Relaxed),
            appended: shared.appended.load(Ordering::Relaxed),
            settled: shared.settled.load(Ordering::Relaxed),
            compactions: shared.compactions.load(Ordering::Acquire),
            compactions_given_up: shared.compactions_given_up.load(Ordering::Acquire),
        }
    }

    /// How long syncs of the file took.
    pub(crate) fn sync_times(&self) -> Histogram {
        self.shared.sync_times.snapshot()
    }

    /// Writes and syncs all that was submitted, and stops.
    ///
    /// # Errors
    /// Why the journal failed, now or earlier.
    pub fn close(mut self) -> Result<(), JournalError> {
        self.stop();
        self.failure().map_or(Ok(()), Err)
    }

    fn stop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A panic there left its failure behind.
            let _ = thread.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}
