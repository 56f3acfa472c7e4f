//! Durable groups: created, listed and deleted by clients.
//!
//! The journal has a record of each, and what stands behind it is its job if it fits. So what it is done with has to be
//! said only of messages that others still need.

use std::time::Duration;

use super::core::{AcceptedRequest, Core};
use super::effect::Reply;
use super::groups::{GroupError, GroupId, Shown};
use super::refusal::{Dialect, Refusal};
use super::subscribers::ConnectionId;
use crate::journal::{JobState, Op};
use crate::limits::{DELETING_MAX, GROUPS_LISTED_MAX, JOURNAL_SETTLES_PER_RECORD_MAX};
use crate::message::DurableGroup;
use crate::wire::control::Group;
use crate::wire::durable::{self, Entry, Listed, Unsettled};
use crate::wire::filter::Filter;
use crate::wire::id::MessageId;

impl<E> Core<E> {
    /// Whether a connection may ask for groups and dead letters.
    pub(super) fn check_asker(&self, connection: ConnectionId) -> Result<(), Refusal> {
        if self.has_proved(connection) {
            return Ok(());
        }
        Err(Refusal::Rule(
            "groups and dead letters are for clients that said who they are: send a hello first",
        ))
    }

    /// A durable group is to be there; one that is there already as it is to be is right.
    pub(super) fn create_group(
        &mut self,
        filter: &Filter<'_>,
        group: &Group<'_>,
        now: Duration,
    ) -> Result<AcceptedRequest, Refusal> {
        self.check_running()?;
        self.check_journal()?;
        let policy = self.policy(group, None).map_err(Refusal::Durable)?;
        self.groups.check_durable(group.name).map_err(Refusal::Durable)?;
        let known = self.groups.find(group.name, filter, policy).map_err(Refusal::Durable)?;
        if known.is_none() {
            self.groups.check_durable_room().map_err(Refusal::Durable)?;
            self.subscribers.check_group(filter)?;
            let group = DurableGroup {
                number: self.groups.next_number(),
                name: group.name.into(),
                filter_kind: filter.kind(),
                filter: filter.text().into(),
                ack_wait_ms: group.ack_wait_ms,
                in_flight_max: group.in_flight_max,
                attempts_max: group.attempts_max,
                backoff: group.backoff,
                keeps_expired: group.keeps_expired,
            };
            self.add_durable(&group, filter, now)?;
            if self.stores() {
                self.out.journal.push(Op::Group(group));
            }
        }
        // Of one that was there already, the creation may not be stored yet.
        Ok(AcceptedRequest { group: self.latest_group(), kept: true })
    }

    pub(super) fn add_durable(
        &mut self,
        group: &DurableGroup,
        filter: &Filter<'_>,
        now: Duration,
    ) -> Result<GroupId, GroupError> {
        let DurableGroup {
            number,
            ref name,
            ack_wait_ms,
            in_flight_max,
            attempts_max,
            backoff,
            keeps_expired,
            ..
        } = *group;
        let terms =
            Group { name, ack_wait_ms, in_flight_max, attempts_max, backoff, keeps_expired };
        let policy = self.policy(&terms, None)?;
        let id = self.groups.next_id();
        let at = self.subscribers.add_group(id, filter, now);
        self.groups.add(name, filter, policy, at);
        self.groups.make_durable(id, number);
        Ok(id)
    }

    /// Groups from this name on, and at most this many.
    pub(super) fn list_groups(&self, connection: ConnectionId, from: &str, limit: u16) -> Reply {
        let limit = match limit {
            0 => GROUPS_LISTED_MAX,
            limit => GROUPS_LISTED_MAX.min(limit.into()),
        };
        let is_seen = |name: &str| self.may_see_group(connection, name);
        let groups = self.groups.from(from, limit + 1, is_seen);
        let next = groups.get(limit).map_or("", |group| &group.name);
        let total = match self.permits {
            Some(_) => self.groups.count_those(is_seen),
            None => self.groups.len(),
        };
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        let mut answer = durable::listed(Listed { total, next });
        for group in groups.iter().take(limit) {
            self.append_entry(group, &mut answer);
        }
        Reply::Answer(answer)
    }

    fn append_entry(&self, group: &Shown, answer: &mut Vec<u8>) {
        let Ok(filter) = Filter::read(group.filter_kind, group.filter.as_bytes()) else { return };
        let entry = Entry {
            is_durable: group.is_durable,
            members: u32::try_from(group.members).unwrap_or(u32::MAX),
            waiting: group.waiting as u64,
            in_flight: group.in_flight as u64,
            letters: self.letters.len_of(&group.name) as u64,
            filter,
            group: Group {
                name: &group.name,
                ack_wait_ms: group.policy.ack_wait_ms(),
                in_flight_max: group.policy.in_flight_max,
                attempts_max: group.policy.attempts_max,
                backoff: group.policy.backoff,
                keeps_expired: group.policy.keeps_expired,
            },
        };
        entry.append_to(answer);
    }

    /// A durable group ends, and so do its jobs, a part in each turn: its number, which [`Self::answer_deletions`]
    /// answers.
    pub(super) fn delete_group(
        &mut self,
        name: &str,
        unsettled: Unsettled,
    ) -> Result<u64, Refusal> {
        self.check_running()?;
        self.check_journal()?;
        let (number, at) = self.groups.delete(name, unsettled).map_err(Refusal::Durable)?;
        if let Some(at) = at {
            self.subscribers.end_native(at);
        } else if self.deleting.get(&number).is_some_and(|it| it.len() >= DELETING_MAX) {
            return Err(Refusal::Durable(GroupError::Deleting(name.to_owned())));
        }
        Ok(number)
    }

    /// Says of durable groups that they are deleted, now that all is settled that only they had. A crash before that
    /// leaves the group, and what it has left.
    pub(super) fn answer_deletions(&mut self, now: Duration) {
        for number in self.groups.take_deleted() {
            if self.stores() {
                self.out.journal.push(Op::EndGroup(number));
            }
            for (from, bytes) in self.deleting.remove(&number).unwrap_or_default() {
                let outcome = self.check_journal();
                let outcome =
                    outcome.map(|()| AcceptedRequest { group: self.latest_group(), kept: true });
                self.answer(from, bytes, Dialect::V2, outcome, now);
            }
        }
    }

    /// Has the journal say what the durable group with this number has to do with a message.
    pub(super) fn note_job(&mut self, number: Option<u64>, state: JobState, id: MessageId) {
        let Some(number) = number.filter(|_| self.stores()) else { return };
        if let Some(Op::Jobs { group, state: last, ids }) = self.out.journal.last_mut()
            && (*group, *last) == (number, state)
            && ids.len() < JOURNAL_SETTLES_PER_RECORD_MAX
        {
            ids.push(id);
            return;
        }
        self.out.journal.push(Op::Jobs { group: number, state, ids: vec![id] });
    }
}
