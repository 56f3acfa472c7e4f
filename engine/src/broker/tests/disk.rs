//! A disk, for simulations of the core: what is handed over is stored later, several groups at once; a crash leaves all that
//! was stored, and any part of the rest from its beginning.

use std::collections::VecDeque;

use super::Op;
use super::stored::Stored;

/// Groups that wait before the disk takes no more.
const QUEUE_MAX: usize = 4;

#[derive(Default)]
pub(super) struct Disk {
    log: Vec<Op>,
    stored_group: u64,
    /// Those that one commit is writing.
    writing: Vec<(u64, Vec<Op>)>,
    queue: VecDeque<(u64, Vec<Op>)>,
    failed: bool,
}

impl Disk {
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < QUEUE_MAX
    }

    pub(super) fn submit(&mut self, group: u64, ops: Vec<Op>) {
        self.queue.push_back((group, ops));
    }

    /// Begins to write all that waits. `false` when there is nothing, or a commit under way.
    pub(super) fn begin(&mut self) -> bool {
        if self.failed || !self.writing.is_empty() || self.queue.is_empty() {
            return false;
        }
        self.writing = self.queue.drain(..).collect();
        true
    }

    /// The commit has ended well; what it stored.
    pub(super) fn end(&mut self) -> &[Op] {
        let from = self.log.len();
        for (group, ops) in self.writing.drain(..) {
            self.stored_group = group;
            self.log.extend(ops);
        }
        &self.log[from..]
    }

    /// The commit failed, and so will all others.
    pub(super) fn fail(&mut self) {
        self.failed = true;
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(super) fn stored_group(&self) -> u64 {
        self.stored_group
    }

    /// Changes that are not stored.
    pub(super) fn unstored(&self) -> usize {
        self.writing.iter().chain(&self.queue).map(|(_, ops)| ops.len()).sum()
    }

    /// The server is gone. Leaves what is stored, and so many of the changes that are not.
    pub(super) fn crash(self, left: usize) -> Self {
        let rest = self.writing.into_iter().chain(self.queue).flat_map(|(_, ops)| ops);
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
