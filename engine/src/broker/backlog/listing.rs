//! Lists the unacknowledged messages, a bounded part at a time, and says how old the oldest one is.

use std::time::Duration;

use super::Backlog;
use crate::pending::Entry;
use crate::wire::id::MessageId;

/// What is listed of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Listed {
    pub(in super::super) id: MessageId,
    pub(in super::super) name: String,
    pub(in super::super) bytes: usize,
    pub(in super::super) age: Duration,
}

impl Backlog {
    /// How long ago the oldest message was added, or a little longer.
    pub(in super::super) fn oldest(&self, now: Duration) -> Option<Duration> {
        self.ages.oldest(now)
    }

    /// What is listed of a message, if it is there.
    pub(in super::super) fn listed(&self, id: MessageId, now: Duration) -> Option<Listed> {
        let listed = |entry: &Entry| Listed {
            id,
            name: entry.name().to_string(),
            bytes: entry.body().len(),
            age: self.ages.of(entry.stretch(), now),
        };
        self.pending.view().with(&id, listed)
    }

    /// Messages that wait, from this place on, at most this many, and where to go on.
    pub(in super::super) fn waiting_from(
        &self,
        at: u32,
        max: usize,
        looks_max: usize,
    ) -> (Vec<MessageId>, Option<u32>) {
        let end = (at as usize).saturating_add(looks_max);
        let found: Vec<_> = self.waiting.from(at as usize, looks_max).take(max).collect();
        let next = match found.last() {
            Some(&(next, _)) if found.len() == max => next,
            _ => u32::try_from(end).unwrap_or(u32::MAX),
        };
        let next = ((next as usize) < self.waiting.places()).then_some(next);
        (found.into_iter().map(|(_, id)| id).collect(), next)
    }

    /// Messages of a part of those that were delivered, behind this many of them, at most this many. `None` behind the last
    /// part.
    pub(in super::super) fn delivered_from(
        &self,
        part: u32,
        behind: u32,
        max: usize,
    ) -> Option<Vec<MessageId>> {
        let found = self.retrier.scheduled(part as usize)?;
        Some(found.skip(behind as usize).take(max).collect())
    }

    /// Messages that are for later, from this one on.
    pub(in super::super) fn later_from(
        &self,
        from: (u64, MessageId),
        max: usize,
    ) -> Vec<(u64, MessageId)> {
        self.later.from(from).take(max).collect()
    }
}
