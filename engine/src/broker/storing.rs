//! Continues what waits for the journal, once the journal has stored it or failed.

use super::core::Core;
use super::effect::{Effect, Reply};
use super::refusal::{Dialect, Refusal};
use super::replies;
use crate::journal::Op;
use crate::wire::id::MessageId;

impl<E> Core<E> {
    /// Everything up to this journal group is stored. [`Self::release_stored`] answers those who wait for it.
    pub(super) fn durable(&mut self, group: u64) {
        if std::mem::replace(&mut self.durable, group) != group {
            self.backlog.try_again();
        }
    }

    /// Answers the next request that waited for what is stored now; whether there was one.
    pub(super) fn release_stored(&mut self) -> bool {
        let Some(parked) = self.parked.next_stored(self.durable) else { return false };
        self.release(parked);
        true
    }

    /// Whether a request waits that [`Self::release_stored`] would answer.
    pub(super) fn has_stored(&self) -> bool {
        self.parked.has_stored(self.durable)
    }

    fn release(&mut self, parked: replies::Request<E>) {
        for frame in parked.frames {
            self.deliver(frame);
        }
        self.out.queue.push_back(Effect::Reply(parked.from, Reply::Ok));
    }

    /// The journal failed: what waits for it is rejected, and so is everything that would have to be
    /// stored from now on. `takes_settlements`: settlements are stored once there is room.
    pub(super) fn journal_failed(&mut self, reason: &str, takes_settlements: bool) {
        for parked in self.parked.take() {
            if parked.kept {
                for id in parked.stored {
                    self.forget(id);
                }
                let refusal = Refusal::JournalFailed(reason.to_owned());
                self.refuse(parked.from, refusal, parked.dialect);
            } else {
                self.release(parked);
            }
        }
        self.retained.forget_unstored(self.durable);
        self.keys.forget_unstored(self.durable);
        self.out.journal.retain(|op| takes_settlements && matches!(op, Op::Settle(_)));
        self.takes_settlements = takes_settlements;
        self.journal_failure = Some(reason.to_owned());
        self.backlog.try_again();
    }

    /// A message is kept no longer, although nobody acknowledged it.
    fn forget(&mut self, id: MessageId) {
        if self.backlog.is_held_for_groups(id)
            && let Some(message) = self.backlog.get(id)
        {
            let groups = self.subscribers.topic(&message.name).groups.clone();
            self.groups.forget(id, &groups);
        }
        self.groups.settled(id);
        self.backlog.remove(id);
    }

    /// The end, in the midst of it: what waits for the journal is rejected, although it may be stored, and so is
    /// what is being checked.
    pub(super) fn abandon(&mut self) {
        for parked in self.parked.take() {
            self.refuse(parked.from, Refusal::ShuttingDown, parked.dialect);
        }
        for (from, _) in std::mem::take(&mut self.deleting).into_values().flatten() {
            self.refuse(from, Refusal::ShuttingDown, Dialect::V2);
        }
        for (_, waiting) in std::mem::take(&mut self.checking) {
            self.refuse(waiting.from, Refusal::ShuttingDown, waiting.dialect);
        }
    }

    /// The journal's part of what happened since the last call, with its group's number. The caller
    /// hands groups over in order, none left out.
    pub(super) fn take_group(&mut self) -> Option<(u64, Vec<Op>)> {
        if self.out.journal.is_empty() {
            return None;
        }
        self.group += 1;
        Some((self.group - 1, std::mem::take(&mut self.out.journal)))
    }

    /// The journal group up to which all that is kept may be sent. What a failed journal did not store
    /// is no longer kept.
    pub(super) fn stored_group(&self) -> u64 {
        if self.stores() { self.durable } else { u64::MAX }
    }
}
