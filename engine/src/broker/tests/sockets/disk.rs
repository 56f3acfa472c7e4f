//! The disk under the journal. What the broker hands over becomes durable in turns that the simulation decides; a kill
//! leaves what was written, a power cut what was synced, and any part of the commit that was under way.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender};
use fastrand::Rng;

use crate::broker::run::{CoreState, Live};
use crate::config::Config;
use crate::journal::storage::memory::MemoryStorage;
use crate::journal::storage::power_cut::{PowerCut, Tear};
use crate::journal::{Journal, JournalError, Op, OpenError, Writer};
use crate::server::recover;
use crate::wire::id::MessageId;

/// Where the journal lies.
pub(super) const PATH: &str = "/journal";

/// What the journal's thread would have.
struct Commits {
    /// Groups that the broker handed over.
    submitted: Receiver<Vec<Op>>,
    /// Those that the next commit writes.
    taken: Sender<Vec<Op>>,
    writer: Writer,
    /// How many were committed.
    groups: u64,
}

#[derive(Default)]
pub(super) struct Disk {
    storage: MemoryStorage,
    commits: Option<Commits>,
    /// Messages that were ever durable.
    durable: BTreeSet<MessageId>,
    /// A commit is under way.
    pub(super) is_busy: bool,
}

impl Disk {
    /// Gives the core of a server that starts what the disk holds. What that is, is durable: see [`Self::holds`].
    pub(super) fn start(
        &mut self,
        config: &Config,
        core: &mut CoreState,
    ) -> Result<Journal, OpenError> {
        let storage = Arc::new(self.storage.clone());
        let opened = recover(Path::new(PATH), config, storage, core)?;
        let live = Arc::new(Live(core.pending()));
        // The simulation wakes the broker.
        let (journal, submitted, taken, writer) = opened.split_apart(live, Box::new(|_| {}));
        self.commits = Some(Commits { submitted, taken, writer, groups: 0 });
        self.is_busy = false;
        Ok(journal)
    }

    /// A server that started found this message.
    pub(super) fn holds(&mut self, id: MessageId) {
        self.durable.insert(id);
    }

    pub(super) fn is_durable(&self, id: &MessageId) -> bool {
        self.durable.contains(id)
    }

    /// Whether a commit is to begin.
    pub(super) fn wants_commit(&self) -> bool {
        !self.is_busy && self.commits.as_ref().is_some_and(|commits| !commits.submitted.is_empty())
    }

    /// Groups that the broker has handed over.
    pub(super) fn handed_over(&self) -> u64 {
        let commits = self.commits.as_ref();
        commits.map_or(0, |commits| commits.groups + commits.submitted.len() as u64)
    }

    /// A commit ends: it wrote the first half, at least, of what waited.
    pub(super) fn commit(&mut self, random: &mut Rng) -> Result<(), JournalError> {
        self.is_busy = false;
        let Some(commits) = &mut self.commits else { return Ok(()) };
        let waiting = commits.submitted.len();
        let groups = random.usize(waiting.div_ceil(2)..=waiting);
        let appended = commits.write(groups)?;
        self.durable.extend(appended);
        Ok(())
    }

    /// The server was killed, perhaps within a commit. The power may have gone, too.
    pub(super) fn crash(&mut self, power_is_cut: bool, random: &mut Rng) {
        let Some(mut commits) = self.commits.take() else { return };
        let before = self.storage.trace().events.len();
        if random.bool() {
            // What it wrote nobody heard of.
            let groups = commits.submitted.len();
            let _ = commits.write(groups);
        }
        let trace = self.storage.trace();
        let reached = random.usize(before..=trace.events.len());
        self.storage = if power_is_cut {
            let tear = [Tear::Sectors, Tear::Bytes][random.usize(0..2)];
            PowerCut::behind(&trace, reached).disk(tear, &mut |n| random.usize(0..n))
        } else {
            MemoryStorage::killed(&trace, reached)
        };
        self.is_busy = false;
    }

    /// The server has closed its journal: all that it handed over is written and synced. Then the power goes.
    pub(super) fn close(&mut self) -> Result<(), JournalError> {
        if let Some(Commits { submitted, taken, writer, .. }) = self.commits.take() {
            for ops in submitted.try_iter() {
                let _ = taken.send(ops);
            }
            drop(taken);
            writer.run();
        }
        let trace = self.storage.trace();
        self.storage = PowerCut::behind(&trace, trace.events.len()).disk(Tear::Sectors, &mut |_| 0);
        Ok(())
    }
}

impl Commits {
    /// Writes and syncs the first so many groups; which messages are durable now.
    fn write(&mut self, groups: usize) -> Result<Vec<MessageId>, JournalError> {
        let mut appended = Vec::new();
        for ops in self.submitted.try_iter().take(groups) {
            appended.extend(ops.iter().filter_map(|op| match op {
                Op::Append(message) => Some(message.id),
                _ => None,
            }));
            // There is room for as many as were handed over.
            let _ = self.taken.send(ops);
            self.groups += 1;
        }
        while !self.taken.is_empty() {
            self.writer.turn()?;
        }
        Ok(appended)
    }
}
