//! Answers questions about the core, in bounded parts.

use std::time::Duration;

use super::backlog::Listed;
use super::core::Core;
use super::groups::Shown;
use super::subscribers::ConnectionId;
use crate::inspect::{
    DeadAction, DeadChanged, DeadOverview, DeadSelection, GroupOverview, NameOverview, Page,
    PendingCursor, PendingOverview, PendingState, RetainedOverview,
};
use crate::limits::{INSPECTED_LOOKS_MAX, INSPECTED_MAX, NAMES_COUNTED_MAX};
use crate::wire::filter::Filter;
use crate::wire::id::MessageId;
use crate::wire::letter::{Cause, LetterSelection};
use crate::wire::record::Records;

impl<E> Core<E> {
    /// Counts from now on what is published under each name.
    pub(super) fn count_names(&mut self) {
        self.subscribers.count_names(NAMES_COUNTED_MAX);
    }

    /// What was published under names.
    pub(super) fn inspect_names(&mut self, from: u64, max: usize) -> Page<NameOverview, u64> {
        let max = max.min(INSPECTED_MAX);
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let mut counts = self.subscribers.counts(from, max + 1);
        let next = (counts.len() > max).then(|| (from + max) as u64);
        counts.truncate(max);
        let items = counts.into_iter().enumerate().map(|(at, (name, count))| {
            let is_rest = from + at == 0;
            let (subscribers, groups) = match is_rest {
                true => (0, 0),
                false => {
                    let topic = self.subscribers.topic(&name);
                    let all = topic.v1.len() + topic.v2.len() + topic.native.len();
                    (all as u64, topic.groups.len() as u64)
                }
            };
            let name = (!is_rest).then(|| name.to_string());
            NameOverview { name, messages: count.messages, bytes: count.bytes, subscribers, groups }
        });
        Page { items: items.collect(), next }
    }

    /// Groups in the order of their names.
    pub(super) fn inspect_groups(&self, from: &str, max: usize) -> Page<GroupOverview, String> {
        let max = max.min(INSPECTED_MAX);
        let groups = self.groups.from(from, max + 1, |_| true);
        let next = groups.get(max).map(|group| group.name.to_string());
        let items = groups.iter().take(max).map(|group| self.inspect_group(group)).collect();
        Page { items, next }
    }

    fn inspect_group(&self, group: &Shown) -> GroupOverview {
        let filter = Filter::read(group.filter_kind, group.filter.as_bytes());
        GroupOverview {
            name: group.name.to_string(),
            filter: filter.map_or_else(|_| group.filter.to_string(), |filter| filter.to_string()),
            is_durable: group.is_durable,
            members: group.members as u64,
            waiting: group.waiting as u64,
            in_flight: group.in_flight as u64,
            redelivered: group.redelivered,
            dead_letters: self.letters.len_of(&group.name) as u64,
            given_up: group.given_up,
        }
    }

    /// Unacknowledged messages: those that wait, those that were delivered, those of groups, those whose time has not come.
    pub(super) fn inspect_pending(
        &self,
        from: PendingCursor,
        max: usize,
        now: Duration,
    ) -> Page<PendingOverview, PendingCursor> {
        let max = max.min(INSPECTED_MAX);
        let mut items = Vec::new();
        let mut add = |id, state| {
            if let Some(Listed { id, name, bytes, age }) = self.backlog.listed(id, now) {
                items.push(PendingOverview { id, name, bytes: bytes as u64, age, state });
            }
        };
        let first = MessageId { publisher: 0, sequence: 0 };
        let next = match from {
            PendingCursor::Waiting(at) => {
                let (found, next) = self.backlog.waiting_from(at, max, INSPECTED_LOOKS_MAX);
                found.into_iter().for_each(|id| add(id, PendingState::Waiting));
                Some(next.map_or(PendingCursor::Delivered(0, 0), PendingCursor::Waiting))
            }
            PendingCursor::Delivered(part, at) => {
                match self.backlog.delivered_from(part, at, max) {
                    Some(found) => {
                        let count = found.len();
                        found.into_iter().for_each(|id| add(id, PendingState::Delivered));
                        Some(match count == max {
                            true => PendingCursor::Delivered(part, at.saturating_add(max as u32)),
                            false => PendingCursor::Delivered(part.saturating_add(1), 0),
                        })
                    }
                    None => Some(PendingCursor::Group(0, first)),
                }
            }
            PendingCursor::Group(group, id) => {
                let mut found = self.groups.jobs_from(group, id, max + 1);
                let more = found.get(max).map(|&(group, id, _)| (group, id));
                found.truncate(max);
                for (_, id, name) in found {
                    add(id, PendingState::Group(name.to_string()));
                }
                Some(more.map_or(PendingCursor::Later(0, first), |(group, id)| {
                    PendingCursor::Group(group, id)
                }))
            }
            PendingCursor::Later(at_ms, id) => {
                let mut found = self.backlog.later_from((at_ms, id), max + 1);
                let more = found.get(max).copied();
                found.truncate(max);
                found.into_iter().for_each(|(_, id)| add(id, PendingState::Later));
                more.map(|(at_ms, id)| PendingCursor::Later(at_ms, id))
            }
        };
        Page { items, next }
    }

    /// Dead letters of a group, or of all for the empty name, from this number on.
    pub(super) fn inspect_dead(
        &self,
        group: &str,
        from: u64,
        max: usize,
    ) -> Page<DeadOverview, u64> {
        let max = max.min(INSPECTED_MAX);
        let numbers = self.letters.from(group, from, max + 1);
        let listed = |&number: &u64| {
            self.with_entry(number, |entry| DeadOverview {
                number,
                id: entry.id,
                name: entry.name.to_owned(),
                group: entry.group.to_owned(),
                cause: match entry.cause {
                    Cause::UsedUp => "used up",
                    Cause::Rejected(_) => "rejected",
                    Cause::Expired => "expired",
                },
                reason: entry.cause.reason().map(|reason| (*reason).to_owned()),
                attempts: entry.attempts,
                died_ns: entry.died_ns,
                bytes: entry.bytes.into(),
            })
        };
        let items = numbers.iter().take(max).filter_map(listed).collect();
        Page { items, next: numbers.get(max).copied() }
    }

    /// Replays or purges dead letters of a group, a bounded number of them.
    ///
    /// # Errors
    /// Why not all of them.
    pub(super) fn change_dead(
        &mut self,
        action: DeadAction,
        group: &str,
        selection: &DeadSelection,
    ) -> Result<DeadChanged, String> {
        let ids = match selection {
            DeadSelection::Ids(ids) => ids.iter().flat_map(|id| id.to_bytes()).collect(),
            DeadSelection::From(_) => Vec::new(),
        };
        let which = match *selection {
            DeadSelection::Ids(_) => LetterSelection::Ids(&ids),
            DeadSelection::From(from) => LetterSelection::Range { from, to: 0, name: "" },
        };
        let changed = match action {
            DeadAction::Replay => self.replay_some(group, which),
            DeadAction::Purge => self.purge_some(group, which),
        };
        let changed = changed.map_err(|refusal| refusal.to_string())?;
        let next = (changed.next > 0).then_some(changed.next);
        Ok(DeadChanged { done: changed.done.into(), next })
    }

    /// Retained messages in the order of their names, behind this one.
    pub(super) fn inspect_retained(
        &self,
        after: &str,
        max: usize,
    ) -> Page<RetainedOverview, String> {
        let max = max.min(INSPECTED_MAX);
        let mut items = Vec::new();
        let mut after = Some(after).filter(|after| !after.is_empty());
        while items.len() < max {
            let (_, found) = self.retained.next(&Filter::Prefix(""), after, INSPECTED_LOOKS_MAX);
            let Ok(name) = found else { return Page { items, next: None } };
            after = Some(name);
            if let Some(kept) = self.retained.get(name) {
                let record = Records::new(kept.body()).flatten().next();
                items.push(RetainedOverview {
                    id: kept.id,
                    name: name.to_string(),
                    published_ns: record.map_or(0, |(_, record)| record.timestamp_ns),
                    bytes: kept.body().len() as u64,
                });
            }
        }
        Page { items, next: after.map(ToOwned::to_owned) }
    }

    /// The publisher that a connection proved to be.
    pub(super) fn proved_publisher(&self, connection: ConnectionId) -> Option<u64> {
        self.proved.get(&connection).copied()
    }
}
