//! Durable groups: they are there without members, until they are deleted.
//!
//! What is published while such a group is there is its job from the start, so that none of what waits for anybody ever
//! becomes its job later. The one exception are messages behind others of their name that wait and are becoming jobs:
//! the groups that they belong to are noted.

use std::ops::Bound;

use arcstr::ArcStr;

use super::{Group, GroupError, GroupId, Groups, Policy};
use crate::limits::DURABLE_GROUPS_MAX;
use crate::wire::durable::Unsettled;
use crate::wire::id::MessageId;

/// A group as clients get it in lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Shown {
    pub(in super::super) name: ArcStr,
    pub(in super::super) filter_kind: u8,
    pub(in super::super) filter: ArcStr,
    pub(in super::super) policy: Policy,
    pub(in super::super) is_durable: bool,
    pub(in super::super) members: usize,
    /// Jobs that no member has.
    pub(in super::super) waiting: usize,
    /// Jobs that members have.
    pub(in super::super) in_flight: usize,
    /// Jobs that were handed over again, and those that were given up.
    pub(in super::super) redelivered: u64,
    pub(in super::super) given_up: u64,
}

/// What takes a message away from a group that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Ended {
    pub(in super::super) id: MessageId,
    /// Whether that was its last job.
    pub(in super::super) is_last: bool,
    /// Whether the group was deleted, so that it is done with the message.
    pub(in super::super) is_done: bool,
}

impl Groups {
    fn named(&self, name: &str) -> Option<(GroupId, &Group)> {
        let id = *self.by_name.get(name)?;
        Some((id, self.all.get(id as usize)?.as_ref()?))
    }

    /// What the members of a group of this name agree on.
    pub(in super::super) fn policy_of(&self, name: &str) -> Option<Policy> {
        self.named(name).map(|(_, group)| group.policy)
    }

    /// The number of a durable group of this name that is not being deleted.
    pub(in super::super) fn durable_number(&self, name: &str) -> Option<u64> {
        self.named(name)?.1.durable
    }

    /// Whether a group is durable.
    pub(in super::super) fn is_durable(&self, group: GroupId) -> bool {
        self.number(group).is_some()
    }

    /// The number of a durable group.
    pub(in super::super) fn number(&self, group: GroupId) -> Option<u64> {
        self.all.get(group as usize)?.as_ref()?.durable
    }

    /// Whether a group of this name that is there is durable.
    ///
    /// # Errors
    /// When it is not.
    pub(in super::super) fn check_durable(&self, name: &str) -> Result<(), GroupError> {
        match self.named(name) {
            Some((_, Group { durable: None, .. })) => Err(GroupError::Taken {
                group: name.to_owned(),
                difference: "it ends with its last member, and a durable group is wanted"
                    .to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether a group of this name is being deleted.
    ///
    /// # Errors
    /// When it is.
    pub(in super::super) fn check_not_deleted(&self, name: &str) -> Result<(), GroupError> {
        match self.named(name) {
            Some((_, group)) if group.is_deleted => Err(GroupError::Deleting(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// Whether another durable group may be created.
    ///
    /// # Errors
    /// When there are too many.
    pub(in super::super) fn check_durable_room(&self) -> Result<(), GroupError> {
        self.check_room()?;
        let is_full = self.durable >= DURABLE_GROUPS_MAX || self.last_number == u64::MAX;
        if is_full { Err(GroupError::TooManyDurable) } else { Ok(()) }
    }

    /// Makes a group that was just added durable, under this number.
    pub(in super::super) fn make_durable(&mut self, group: GroupId, number: u64) {
        self.note_number(number);
        if let Some(Some(group)) = self.all.get_mut(group as usize) {
            group.durable = Some(number);
            self.durable += 1;
        }
    }

    /// The number that the next durable group gets.
    pub(in super::super) fn next_number(&self) -> u64 {
        self.last_number.saturating_add(1)
    }

    /// A durable group had this number.
    pub(in super::super) fn note_number(&mut self, number: u64) {
        self.last_number = self.last_number.max(number);
    }

    /// A durable group is over, and [`Self::next_ended`] takes its jobs: its number, and where its filter is, unless it is
    /// being deleted already.
    ///
    /// # Errors
    /// When it is not there, or has members, or messages that are to be kept.
    pub(in super::super) fn delete(
        &mut self,
        name: &str,
        unsettled: Unsettled,
    ) -> Result<(u64, Option<u32>), GroupError> {
        let text = || name.to_owned();
        let Some((id, group)) = self.named(name) else { return Err(GroupError::Unknown(text())) };
        let Some(number) = group.durable else { return Err(GroupError::NotDurable(text())) };
        if group.is_deleted {
            return Ok((number, None));
        }
        if group.members > 0 {
            return Err(GroupError::HasMembers { group: text(), members: group.members });
        }
        let messages = group.jobs + self.enlisting.to_add_to(id);
        if unsettled == Unsettled::Kept && messages > 0 {
            return Err(GroupError::HasMessages { group: text(), messages });
        }
        let at = group.at;
        if let Some(Some(group)) = self.all.get_mut(id as usize) {
            group.is_deleted = true;
        }
        self.ending.push_back((id, self.enlisting.next_number()));
        Ok((number, Some(at)))
    }

    /// Nothing is left of a group.
    pub(super) fn remove(&mut self, group: GroupId) {
        if let Some(Group { durable, name, policy, .. }) = self.all[group as usize].take() {
            self.keeping -= usize::from(policy.keeps_expired);
            if let Some(number) = durable {
                self.by_name.remove(&name);
                self.durable -= 1;
                self.deleted.push(number);
            }
        }
        self.vacant.push(group);
    }

    /// The numbers of durable groups of which nothing is left since the last call.
    pub(in super::super) fn take_deleted(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.deleted)
    }

    /// A message that waits, or is for later, fits these groups, and the durable ones of them are to have it: those that
    /// were there when it was published.
    pub(in super::super) fn note_late(&mut self, id: MessageId, groups: &[GroupId]) {
        if self.durable > 0 && !groups.is_empty() {
            self.late.insert(id, self.last_number);
        }
    }

    /// The same of a message that the journal kept, of which these groups are all that are to have it.
    pub(in super::super) fn restore_late(&mut self, id: MessageId, groups: &[GroupId]) {
        if let Some(last) = groups.iter().filter_map(|group| self.number(*group)).max() {
            self.late.insert(id, last);
        }
    }

    /// A message waits no longer behind others.
    pub(in super::super) fn end_late(&mut self, id: MessageId) {
        if !self.late.is_empty() {
            self.late.remove(&id);
        }
    }

    /// Whether a message that waits may become a job of a group.
    pub(super) fn may_enlist(&self, id: MessageId, group: GroupId) -> bool {
        self.number(group)
            .is_none_or(|number| self.late.get(&id).is_some_and(|&last| number <= last))
    }

    /// A message that the journal kept is a job of these groups, and ready.
    pub(in super::super) fn restore_jobs(&mut self, id: MessageId, groups: &[GroupId]) {
        self.share(id, groups);
        for &group in groups {
            self.add_job(group, id);
            self.set_ready(group, id);
        }
    }

    /// How many groups there are.
    pub(in super::super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Groups in the order of their names, from this one on, and at most this many.
    pub(in super::super) fn from(
        &self,
        name: &str,
        max: usize,
        is_meant: impl Fn(&str) -> bool,
    ) -> Vec<Shown> {
        let from = (Bound::Included(name), Bound::Unbounded);
        let found = self.by_name.range::<str, _>(from).filter(|(name, _)| is_meant(name));
        let groups = found.filter_map(|(_, id)| self.all.get(*id as usize)?.as_ref());
        let shown = |group: &Group| Shown {
            name: group.name.clone(),
            filter_kind: group.filter_kind,
            filter: group.filter.clone(),
            policy: group.policy,
            is_durable: group.durable.is_some(),
            members: group.members,
            waiting: group.jobs.saturating_sub(group.in_flight),
            in_flight: group.in_flight,
            redelivered: group.redelivered,
            given_up: group.given_up,
        };
        groups.take(max).map(shown).collect()
    }

    /// How many groups have such names.
    pub(in super::super) fn count_those(&self, is_meant: impl Fn(&str) -> bool) -> usize {
        self.by_name.keys().filter(|name| is_meant(name)).count()
    }

    /// Jobs from this one on, by group and message, at most this many, each with its group's name.
    pub(in super::super) fn jobs_from(
        &self,
        group: GroupId,
        id: MessageId,
        max: usize,
    ) -> Vec<(GroupId, MessageId, ArcStr)> {
        let jobs = self.jobs.range((group, id)..).take(max);
        let named = |((group, id), _): (&(GroupId, MessageId), _)| {
            let name = self.all.get(*group as usize)?.as_ref()?.name.clone();
            Some((*group, *id, name))
        };
        jobs.filter_map(named).collect()
    }

    /// The messages that are jobs of a group.
    #[cfg(test)]
    pub(in super::super) fn jobs_of(&self, name: &str) -> Vec<MessageId> {
        let Some((id, _)) = self.named(name) else { return Vec::new() };
        let first = (id, MessageId { publisher: 0, sequence: 0 });
        let jobs = self.jobs.range(first..).take_while(|((of, _), _)| *of == id);
        jobs.map(|((_, message), _)| *message).collect()
    }
}
