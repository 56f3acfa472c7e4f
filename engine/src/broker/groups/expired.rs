//! Messages that expire while they are jobs: what becomes of them in groups that keep them as dead letters, and in others.

use super::jobs::State;
use super::{GroupId, Groups};
use crate::wire::id::MessageId;

/// What becomes of the jobs of a message that expired.
#[derive(Debug, Default)]
pub(in super::super) struct Expired {
    /// Groups that keep it: their jobs are spent.
    pub(in super::super) kept_by: Vec<GroupId>,
    /// The numbers of durable groups that are done with it.
    pub(in super::super) done: Vec<u64>,
    /// Members that had it.
    pub(in super::super) members: Vec<u32>,
    /// Whether its last job ended, so that it is done.
    pub(in super::super) is_done: bool,
}

impl Groups {
    fn keeps_expired(&self, group: GroupId) -> bool {
        let found = self.all.get(group as usize).and_then(Option::as_ref);
        found.is_some_and(|found| found.policy.keeps_expired)
    }

    /// Which of these groups have messages become dead letters that expire.
    pub(in super::super) fn keeping_expired(&self, groups: &[GroupId]) -> Vec<GroupId> {
        if self.keeping == 0 {
            return Vec::new();
        }
        groups.iter().copied().filter(|group| self.keeps_expired(*group)).collect()
    }

    /// A message expires: nobody gets it any more. `groups`: those that it may be a job of.
    pub(in super::super) fn expire_message(
        &mut self,
        id: MessageId,
        groups: &[GroupId],
    ) -> Expired {
        let mut expired = Expired::default();
        for &group in groups {
            let Some(state) = self.jobs.get(&(group, id)).map(|job| job.state) else { continue };
            self.stop(group, id, state);
            if let State::UnderWay { member, .. } = state {
                expired.members.push(member);
            }
            if self.keeps_expired(group) {
                if let Some(job) = self.jobs.get_mut(&(group, id)) {
                    job.state = State::Spent;
                }
                expired.kept_by.push(group);
            } else {
                self.remove_job(group, id);
                expired.done.extend(self.number(group));
                let name = self.all.get(group as usize).and_then(Option::as_ref);
                if let Some(name) = name.map(|group| group.name.clone()) {
                    self.note_done(id, name);
                }
                expired.is_done |= self.is_last(id);
            }
            if state == State::Ready {
                self.drop_passed(group);
            }
        }
        expired
    }
}
