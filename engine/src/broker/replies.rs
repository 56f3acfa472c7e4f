//! Accepted requests whose answers wait for the journal.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::outgoing::Outgoing;
use super::refusal::Dialect;
use crate::limits::{PARKED_BYTES_MAX, PARKED_REQUESTS_MAX};
use crate::wire::id::MessageId;

/// A request that waits.
pub(super) struct Request<E> {
    pub(super) group: u64,
    pub(super) arrived: Duration,
    pub(super) from: E,
    pub(super) bytes: usize,
    pub(super) dialect: Dialect,
    /// Whether OK would promise that something is stored, by this request or by one that it repeats.
    pub(super) kept: bool,
    /// The messages that are being stored for this request.
    pub(super) stored: Vec<MessageId>,
    /// The frames to publish.
    pub(super) frames: Vec<Outgoing>,
}

/// The requests that wait, in the order of the groups that they wait for. Those that store something stand
/// in the order in which they arrived, too.
pub(super) struct Parked<E> {
    requests: VecDeque<Request<E>>,
    bytes: usize,
    unstored: Unstored,
}

/// Messages that waited when this was noted.
#[derive(Default)]
struct Unstored {
    ids: HashSet<MessageId>,
    /// The group that was stored last.
    durable: u64,
    /// No message that is not among them is due before.
    until: Duration,
}

impl<E> Default for Parked<E> {
    fn default() -> Self {
        Self { requests: VecDeque::new(), bytes: 0, unstored: Unstored::default() }
    }
}

impl<E> Parked<E> {
    /// Adds one. A request that stores nothing waits for what its publisher stored before, perhaps an earlier
    /// group than others wait for already. It must not wait for theirs: the publisher's next request,
    /// which may find its group stored, would overtake it.
    pub(super) fn add(&mut self, request: Request<E>) {
        self.bytes += request.bytes;
        let at = match self.requests.back() {
            Some(last) if last.group > request.group => {
                self.requests.partition_point(|other| other.group <= request.group)
            }
            _ => self.requests.len(),
        };
        self.requests.insert(at, request);
    }

    /// Takes out the next one for which all is stored up to this group.
    pub(super) fn next_stored(&mut self, group: u64) -> Option<Request<E>> {
        let request = self.requests.pop_front_if(|request| request.group <= group)?;
        self.bytes -= request.bytes;
        Some(request)
    }

    /// Whether there is one for which all is stored up to this group.
    pub(super) fn has_stored(&self, group: u64) -> bool {
        self.requests.front().is_some_and(|request| request.group <= group)
    }

    /// Takes all out.
    pub(super) fn take(&mut self) -> VecDeque<Request<E>> {
        self.bytes = 0;
        std::mem::take(&mut self.requests)
    }

    /// Whether another one may be added.
    pub(super) fn has_room(&self) -> bool {
        self.requests.len() < PARKED_REQUESTS_MAX && self.bytes < PARKED_BYTES_MAX
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// When the oldest request arrived that stores something.
    pub(super) fn oldest_unstored(&self) -> Option<Duration> {
        let oldest = self.requests.iter().find(|request| !request.stored.is_empty());
        oldest.map(|request| request.arrived)
    }

    /// The messages that wait.
    pub(super) fn unstored(&self) -> HashSet<MessageId> {
        self.requests.iter().flat_map(|request| &request.stored).copied().collect()
    }

    /// Notes which messages wait, if some have waited for this interval, so that they are due on the wheel.
    pub(super) fn note_unstored(&mut self, durable: u64, now: Duration, interval: Duration) {
        if self.oldest_unstored().is_none_or(|arrived| arrived.saturating_add(interval) > now) {
            self.unstored = Unstored::default();
        } else if self.unstored.until <= now || self.unstored.durable != durable {
            self.unstored =
                Unstored { ids: self.unstored(), durable, until: now.saturating_add(interval) };
        }
    }

    /// Whether a message that is due waits.
    pub(super) fn is_unstored(&self, id: MessageId) -> bool {
        self.unstored.ids.contains(&id)
    }
}
