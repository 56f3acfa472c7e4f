//! The journal on a full disk: settlements take little room, and are retried.
//!
//! Messages are rejected from then on. A settlement was answered when it was made, so it is kept in memory, and
//! written as soon as there is room: otherwise its message would come back at the next start. There are at
//! most as many as there are messages in the file.

use std::io;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};

use super::encode::{Encoder, Synced};
use super::ops::{OnProgress, Op};
use super::options::FsyncPolicy;
use super::shared::Shared;
use super::storage::StorageFile;
use crate::sync::atomic::Ordering;
use crate::wire::id::MessageId;

/// Time between two attempts to write.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// The end of a file to which only settlements are still written. It ends where all was written.
pub(super) struct End<'a> {
    pub(super) file: &'a mut dyn StorageFile,
    pub(super) salt: u64,
    pub(super) policy: FsyncPolicy,
    /// The file's length in bytes, and its number of records.
    pub(super) written: (u64, u32),
    /// How far the file is synced, in bytes.
    pub(super) synced: u64,
    pub(super) shared: &'a Shared,
    pub(super) on_progress: &'a OnProgress,
}

/// Why an attempt wrote nothing.
enum Failure {
    /// There is still no room, and the file is as it was.
    NoRoom,
    /// Nothing may be written any more.
    Final(io::Error),
}

impl End<'_> {
    /// Writes and syncs these settlements and those that come, until the queue's other end is gone, or
    /// something else fails than finding room.
    pub(super) fn settle(mut self, mut waiting: Vec<MessageId>, queue: &Receiver<Vec<Op>>) {
        let mut next_attempt = Instant::now() + RETRY_EVERY;
        loop {
            let is_closing = match queue.recv_deadline(next_attempt) {
                Ok(ops) => {
                    let before = waiting.len();
                    waiting.extend(ops.iter().filter_map(|op| match op {
                        Op::Settle(id) => Some(*id),
                        // Queued before the failure; who asked for it is told that it is not stored.
                        Op::Append(_) | Op::Letter(_) | Op::Group(_) | Op::EndGroup(_) => None,
                        Op::Retain { .. } | Op::Key(_) => None,
                        // The letter, or the retained message, comes back at the next start.
                        Op::EndLetter { .. } | Op::Unretain(_) => None,
                        // The group gets its messages again.
                        Op::Jobs { .. } => None,
                    }));
                    let settled = (waiting.len() - before) as u64;
                    self.shared.settled.fetch_add(settled, Ordering::Relaxed);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if is_closing || Instant::now() >= next_attempt {
                next_attempt = Instant::now() + RETRY_EVERY;
                match self.attempt(&waiting) {
                    Ok(()) => waiting.clear(),
                    Err(Failure::NoRoom) => {}
                    Err(Failure::Final(error)) => {
                        tracing::error!(%error, "the journal stores no more acknowledgements");
                        self.shared.settlements_refused.store(true, Ordering::Release);
                        (self.on_progress)(self.shared.durable.load(Ordering::Acquire));
                        break;
                    }
                }
                (self.on_progress)(self.shared.durable.load(Ordering::Acquire));
            }
            if is_closing {
                break;
            }
        }
        if !waiting.is_empty() {
            tracing::error!(
                acknowledgements = waiting.len(),
                "the journal had no room for acknowledgements: their messages come back at the next start"
            );
        }
    }

    fn attempt(&mut self, waiting: &[MessageId]) -> Result<(), Failure> {
        if waiting.is_empty() {
            return Ok(());
        }
        let mut encoder =
            Encoder::new(self.salt, self.written, Synced::To(self.synced), self.policy);
        waiting.iter().for_each(|id| encoder.settle(*id));
        if let Err(error) = encoder.write_to(self.file) {
            self.file.truncate(self.written.0).map_err(Failure::Final)?;
            let no_room =
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            return Err(if no_room { Failure::NoRoom } else { Failure::Final(error) });
        }
        self.written = encoder.position();
        self.shared.written.store(self.written.0, Ordering::Release);
        // No sync has failed: this is the first since the write that did.
        self.file.sync().map_err(Failure::Final)?;
        self.synced = self.written.0;
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
