//! Jobs that a group gives up: their last attempt failed, or a member rejected them.

use std::time::Duration;

use arcstr::ArcStr;

use super::jobs::{Job, State, tick};
use super::{GroupId, Groups};
use crate::wire::id::MessageId;

/// A job that a group gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct GivenUp {
    /// The group's name.
    pub(in super::super) group: ArcStr,
    pub(in super::super) filter_kind: u8,
    pub(in super::super) filter: ArcStr,
    /// How often it was handed over.
    pub(in super::super) attempts: u16,
    /// Whether it was the last job of its message.
    pub(in super::super) is_last: bool,
}

impl Groups {
    /// A member rejects a job, which is spent. `None` when it does not have it, otherwise its group.
    pub(in super::super) fn reject(
        &mut self,
        member: u32,
        id: MessageId,
        has_credit: bool,
    ) -> Option<GroupId> {
        let (group, _) = self.under_way(member, id)?;
        let state = self.jobs.get(&(group, id))?.state;
        self.stop(group, id, state);
        self.jobs.get_mut(&(group, id))?.state = State::Spent;
        self.set_free(member, has_credit);
        Some(group)
    }

    /// The next job whose time was over, or whose member is gone, after its last attempt.
    pub(in super::super) fn next_spent(&mut self) -> Option<(GroupId, MessageId)> {
        self.spent.pop_front()
    }

    /// Whether there are such jobs.
    pub(in super::super) fn has_spent(&self) -> bool {
        !self.spent.is_empty()
    }

    /// Takes out a job that is spent, if it is still there: its group is done with the message.
    pub(in super::super) fn give_up(&mut self, group: GroupId, id: MessageId) -> Option<GivenUp> {
        let found = self.all.get(group as usize)?.as_ref()?;
        let Job { attempts, state: State::Spent } = *self.jobs.get(&(group, id))? else {
            return None;
        };
        let name = found.name.clone();
        let (filter_kind, filter) = (found.filter_kind, found.filter.clone());
        if let Some(Some(group)) = self.all.get_mut(group as usize) {
            group.given_up += 1;
        }
        self.remove_job(group, id);
        self.note_done(id, name.clone());
        let is_last = self.is_last(id);
        Some(GivenUp { group: name, filter_kind, filter, attempts, is_last })
    }

    /// A job that is spent stays after all, and is handed over again at this time.
    pub(in super::super) fn put_off(&mut self, group: GroupId, id: MessageId, at: Duration) {
        if let Some(job) = self.jobs.get_mut(&(group, id))
            && job.state == State::Spent
        {
            job.state = State::PutOff { token: self.timers.schedule((group, id), tick(at)) };
        }
    }

    /// A group is done with a message that is kept.
    pub(in super::super) fn note_done(&mut self, id: MessageId, group: ArcStr) {
        self.done.entry(id).or_default().push(group);
        self.done_names += 1;
    }

    /// A group gets a message again that it was done with.
    pub(in super::super) fn note_open(&mut self, id: MessageId, group: &str) {
        let Some(names) = self.done.get_mut(&id) else { return };
        if let Some(at) = names.iter().position(|name| name == group) {
            names.swap_remove(at);
            self.done_names -= 1;
        }
        if names.is_empty() {
            self.done.remove(&id);
        }
    }

    /// A group gets another message that groups have: one more job of it. `false` when it has that already.
    pub(in super::super) fn add_another_job(&mut self, group: GroupId, id: MessageId) -> bool {
        if self.jobs.contains_key(&(group, id)) {
            return false;
        }
        *self.shared.entry(id).or_insert(1) += 1;
        self.add_job(group, id);
        self.set_ready(group, id);
        true
    }
}
