//! A disk: what is handed over is stored later; a crash leaves all that was stored, and any part of the rest from its
//! beginning.

use super::super::Op;
use super::super::stored::Stored;

/// Changes that wait before the disk takes no more.
const QUEUE_MAX: usize = 200;

#[derive(Default)]
pub(super) struct Disk {
    log: Vec<Op>,
    stored_group: u64,
    /// What one commit is writing, and the group that it ends with.
    writing: Option<(u64, Vec<Op>)>,
    queue: Vec<Op>,
    queued_group: u64,
}

impl Disk {
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < QUEUE_MAX
    }

    pub(super) fn submit(&mut self, group: u64, ops: Vec<Op>) {
        self.queue.extend(ops);
        self.queued_group = group;
    }

    /// Begins to write all that waits. `false` when there is nothing, or a commit under way.
    pub(super) fn begin(&mut self) -> bool {
        if self.writing.is_some() || self.queue.is_empty() {
            return false;
        }
        self.writing = Some((self.queued_group, std::mem::take(&mut self.queue)));
        true
    }

    /// The commit has ended; what it stored.
    pub(super) fn end(&mut self) -> &[Op] {
        let from = self.log.len();
        if let Some((group, ops)) = self.writing.take() {
            self.stored_group = group;
            self.log.extend(ops);
        }
        &self.log[from..]
    }

    pub(super) fn stored_group(&self) -> u64 {
        self.stored_group
    }

    /// Changes that are not stored.
    pub(super) fn unstored(&self) -> usize {
        self.writing.as_ref().map_or(0, |(_, ops)| ops.len()) + self.queue.len()
    }

    /// The server is gone. Leaves what is stored, and so many of the changes that are not.
    pub(super) fn crash(self, left: usize) -> Self {
        let rest = self.writing.into_iter().flat_map(|(_, ops)| ops).chain(self.queue);
        let mut log = self.log;
        log.extend(rest.take(left));
        Self { log, ..Self::default() }
    }

    /// All that it holds.
    pub(super) fn log(&self) -> &[Op] {
        &self.log
    }

    /// What it gives back.
    pub(super) fn recover(&self) -> Stored {
        let mut stored = Stored::default();
        self.log.iter().cloned().for_each(|op| stored.apply(op));
        stored
    }
}
