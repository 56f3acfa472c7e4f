//! Requests in flight: which answer is whose, and when to send again. No socket, no clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::client::error::SendError;
use crate::client::publish::batches::SequencedBatch;
use crate::client::publish::receipt::SharedOutcome;
use crate::client::receive::Asked;
use crate::client::waiting::oneshot::Sender;

/// What a request carries.
#[derive(Debug)]
pub(super) enum RequestContent {
    Messages(SequencedBatch),
    Acks {
        messages: usize,
    },
    Ping(Arc<SharedOutcome>),
    /// Its answer goes to whoever asks.
    Question(Sender<Result<Bytes, SendError>>),
    /// What a subscription asks for, on this connection alone.
    Subscription(Asked),
}

impl RequestContent {
    fn is_acks(&self) -> bool {
        matches!(self, Self::Acks { .. })
    }

    fn is_settle(&self) -> bool {
        matches!(self, Self::Subscription(Asked::Settle { .. }))
    }
}

/// A request in flight.
#[derive(Debug)]
pub(in crate::client) struct Request {
    pub(in crate::client) id: u64,
    /// Kept to be sent again byte for byte.
    pub(in crate::client) frame: Bytes,
    pub(super) cargo: RequestContent,
    pub(in crate::client) tries: u32,
    /// Whether it was on a connection before, and may have been taken there.
    pub(in crate::client) left: bool,
    /// What a server said that did not take it because it ends; gone once it is sent again.
    pub(super) put_off: Option<SendError>,
    sent: Instant,
}

/// The requests in flight, oldest first.
#[derive(Debug)]
pub(super) struct InFlight {
    requests: VecDeque<Request>,
    last_id: u64,
    acks: usize,
    settles: usize,
    timeout: Duration,
    tries_max: u32,
}

impl InFlight {
    pub(in crate::client) fn new(timeout: Duration, tries_max: u32) -> Self {
        Self { requests: VecDeque::new(), last_id: 0, acks: 0, settles: 0, timeout, tries_max }
    }

    /// Notes a request that is being sent now.
    pub(in crate::client) fn add(
        &mut self,
        frame: Bytes,
        cargo: RequestContent,
        now: Instant,
    ) -> &mut Request {
        self.last_id += 1;
        self.acks += usize::from(cargo.is_acks());
        self.settles += usize::from(cargo.is_settle());
        let (id, left, put_off) = (self.last_id, false, None);
        self.requests.push_back(Request { id, frame, cargo, tries: 1, left, put_off, sent: now });
        let last = self.requests.len() - 1;
        &mut self.requests[last]
    }

    /// Takes the request that a reply answers; `None` when it has been answered or given up.
    pub(in crate::client) fn answered(&mut self, id: u64) -> Option<Request> {
        let at = self.requests.binary_search_by_key(&id, |request| request.id).ok()?;
        let request = self.requests.remove(at)?;
        self.acks -= usize::from(request.cargo.is_acks());
        self.settles -= usize::from(request.cargo.is_settle());
        Some(request)
    }

    /// Keeps messages that a server did not take because it ends for the next connection, in their place.
    pub(super) fn put_off(&mut self, mut request: Request, why: SendError) {
        debug_assert!(matches!(request.cargo, RequestContent::Messages(_)), "others are counted");
        (request.left, request.put_off) = (false, Some(why));
        let at = self.requests.partition_point(|other| other.id < request.id);
        self.requests.insert(at, request);
    }

    /// When the oldest request has waited long enough.
    pub(in crate::client) fn deadline(&self) -> Option<Instant> {
        self.requests.front().map(|request| request.sent + self.timeout)
    }

    /// Takes those that have waited long enough for the last time.
    pub(super) fn give_up(&mut self, now: Instant) -> Vec<Request> {
        let late = |request: &Request| {
            request.tries >= self.tries_max && request.sent + self.timeout <= now
        };
        let (given_up, kept): (VecDeque<_>, _) =
            std::mem::take(&mut self.requests).into_iter().partition(late);
        self.requests = kept;
        self.count();
        given_up.into()
    }

    /// Counts a further try for all, from now on.
    pub(super) fn try_again(&mut self, now: Instant) {
        for request in &mut self.requests {
            request.tries += 1;
            request.sent = now;
        }
    }

    /// Takes those that were for the last connection alone.
    pub(super) fn take_subscriptions(&mut self) -> Vec<Asked> {
        let mut taken = Vec::new();
        self.requests.retain(|request| match request.cargo {
            RequestContent::Subscription(asked) => {
                taken.push(asked);
                false
            }
            _ => true,
        });
        self.count();
        taken
    }

    /// All requests, in order, to be sent on a new connection.
    pub(in crate::client) fn all(&mut self) -> impl Iterator<Item = &mut Request> {
        self.requests.iter_mut()
    }

    /// How many of them are acknowledgements.
    pub(super) fn ack_frames(&self) -> usize {
        self.acks
    }

    /// How many of them say what members of groups do.
    pub(super) fn settle_frames(&self) -> usize {
        self.settles
    }

    fn count(&mut self) {
        self.acks = self.requests.iter().filter(|request| request.cargo.is_acks()).count();
        self.settles = self.requests.iter().filter(|request| request.cargo.is_settle()).count();
    }

    pub(in crate::client) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The end: takes all.
    pub(super) fn take_all(&mut self) -> VecDeque<Request> {
        (self.acks, self.settles) = (0, 0);
        std::mem::take(&mut self.requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(2);

    fn add(in_flight: &mut InFlight, now: Instant) -> u64 {
        in_flight.add(Bytes::from_static(b"f"), RequestContent::Acks { messages: 1 }, now).id
    }

    #[test]
    fn a_request_is_given_up_after_its_last_try_and_not_before() {
        let start = Instant::now();
        let mut in_flight = InFlight::new(TIMEOUT, 2);
        let first = add(&mut in_flight, start);
        assert_eq!(in_flight.deadline(), Some(start + TIMEOUT));
        assert!(in_flight.give_up(start + TIMEOUT).is_empty());
        let second = add(&mut in_flight, start + TIMEOUT / 2);
        in_flight.try_again(start + TIMEOUT);
        let all: Vec<_> = in_flight.all().map(|r| (r.id, r.tries)).collect();
        assert_eq!(all, [(first, 2), (second, 2)]);
        assert!(in_flight.give_up(start + TIMEOUT + TIMEOUT / 2).is_empty());
        assert_eq!(in_flight.give_up(start + TIMEOUT * 2).len(), 2);
        assert!(in_flight.is_empty() && in_flight.ack_frames() == 0);
    }

    #[test]
    fn answers_find_their_requests_in_any_order_and_once() {
        let now = Instant::now();
        let mut in_flight = InFlight::new(TIMEOUT, 1);
        let ids = [0; 3].map(|_| add(&mut in_flight, now));
        for (id, left) in [(ids[1], 3), (ids[0], 2), (ids[2], 1)] {
            assert_eq!(in_flight.ack_frames(), left);
            assert_eq!(in_flight.answered(id).map(|request| request.id), Some(id));
            assert!(in_flight.answered(id).is_none());
        }
        assert_eq!(in_flight.ack_frames(), 0);
        assert_eq!(in_flight.deadline(), None);
    }
}
