//! One connection: what it sends, what waits for it, and whether it keeps up.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::field::{DisplayValue, display};

use super::check::Check;
use super::frames::{FrameId, Frames};
use super::held_events::HeldEvents;
use super::output::{FramePrefix, Output};
use super::overdraft::Overdraft;
use super::readable::ReadTime;
use super::subscribers::ConnectionId;
use crate::access::Identity;
use crate::limits::{
    HANDSHAKE_TIME_MAX, PARTIAL_BYTES_MIN, PARTIAL_CHECKED, REQUESTER_OWN_BYTES_MAX,
    SEALED_TAKEN_WITHIN_GRACES, SOJOURN_INTERVAL, SOJOURN_TARGET, SUBSCRIBER_OWN_BYTES_MAX,
};
use crate::retry::Token;
use crate::wire::hello::check_name;
use crate::zmtp::curve::keys::PublicKey;
use crate::zmtp::inbox::Inbox;
use crate::zmtp::session::{Port, Session};

/// A connection.
#[derive(Debug)]
pub(super) struct Peer<S> {
    pub(super) id: ConnectionId,
    pub(super) stream: S,
    pub(super) address: SocketAddr,
    pub(super) inbox: Inbox,
    pub(super) session: Session,
    pub(super) output: Output,
    /// The system may have more to read.
    pub(super) is_readable: bool,
    /// The peer sends no more: what there is has an end.
    pub(super) has_ended: bool,
    /// It stands in the list of those that are read next.
    pub(super) is_listed: bool,
    /// It stands in the list of those that are written to next.
    pub(super) is_dirty: bool,
    /// It is closed once what is queued for it has left.
    pub(super) is_closing: bool,
    /// It was answered a hello, so it knows the answers that came with it.
    pub(super) said_hello: bool,
    /// What its client calls itself.
    pub(super) client: Option<Box<str>>,
    /// When something last came in, and when something last left, or began to wait.
    pub(super) heard: Duration,
    pub(super) progressed: Duration,
    pub(super) accepted: Duration,
    /// Bytes that came in, and that left.
    pub(super) read_bytes: u64,
    pub(super) written_bytes: u64,
    /// Frames that were dropped, as it did not keep up.
    pub(super) dropped_frames: u64,
    /// Since when a frame or a request is not whole, when that is looked at next, and how many bytes had
    /// come in before.
    partial: Option<Partial>,
    /// Bytes of unfinished frames that are booked for it.
    pub(super) booked_bytes: usize,
    /// Bytes of answers that are booked for it.
    pub(super) booked_reply_bytes: usize,
    /// How long what it sent takes.
    pub(super) read_time: ReadTime,
    /// A subscriber does not keep up with what this one publishes, or there is no room for it.
    pub(super) is_held: bool,
    /// It is read all the same, for the credit that it grants: others may wait for that.
    pub(super) is_heard: bool,
    /// What it sent meanwhile.
    pub(super) held_events: HeldEvents,
    /// Its request is being checked, or waits for that.
    pub(super) is_checked: bool,
    /// The request that waits.
    pub(super) whole: Option<Box<Check>>,
    /// Publishers that wait for this subscriber.
    pub(super) holds: Vec<ConnectionId>,
    above_since: Option<Duration>,
    /// It does not keep up.
    pub(super) behind_since: Option<Duration>,
    /// What its subscriptions got without credit.
    pub(super) overdraft: Overdraft,
    /// Its next frame waits for room to be sealed.
    pub(super) is_awaiting_room: bool,
    /// While a large frame is sealed for it: when it is looked at whether others wait for its room.
    room_looked_at: Option<Duration>,
    /// When its deadlines are looked at.
    pub(super) check: Option<(Token, Duration)>,
}

/// Whose connection it is, for the log.
pub(super) struct Who<'a> {
    pub(super) address: SocketAddr,
    /// What its client calls itself, which nothing proves.
    pub(super) client: Option<&'a str>,
    /// The user whose password it said.
    pub(super) user: Option<&'a str>,
    /// The key that it proved to have.
    pub(super) key: Option<DisplayValue<PublicKey>>,
}

/// Warns about a subscriber: whose connection it is, then as [`tracing::warn!`].
macro_rules! warn_of_subscriber {
    ($peer:expr, $($what:tt)*) => {{
        let $crate::broker::peer::Who { address, client, user, key } = $peer.who();
        tracing::warn!(subscriber = %address, client, user, key, $($what)*);
    }};
}
pub(super) use warn_of_subscriber;

#[derive(Clone, Copy, Debug)]
struct Partial {
    since: Duration,
    check_at: Duration,
    bytes_before: u64,
}

/// Why a connection is closed for what it did not do in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timeout {
    Handshake,
    Partial,
    Silent,
    /// It has not taken what waits for it since then.
    Stalled(Duration),
    /// It has granted no credit since then, and publishers wait for that.
    Overdrawn(Duration),
}

impl<S> Peer<S> {
    pub(super) fn new(
        id: ConnectionId,
        stream: S,
        address: SocketAddr,
        session: Session,
        now: Duration,
    ) -> Self {
        Self {
            id,
            stream,
            address,
            inbox: Inbox::default(),
            session,
            output: Output::default(),
            is_readable: true,
            has_ended: false,
            is_listed: false,
            is_dirty: false,
            is_closing: false,
            said_hello: false,
            client: None,
            heard: now,
            progressed: now,
            accepted: now,
            read_bytes: 0,
            written_bytes: 0,
            dropped_frames: 0,
            partial: None,
            booked_bytes: 0,
            booked_reply_bytes: 0,
            read_time: Default::default(),
            is_held: false,
            is_heard: false,
            held_events: HeldEvents::default(),
            is_checked: false,
            whole: None,
            holds: Vec::new(),
            above_since: None,
            behind_since: None,
            overdraft: Overdraft::default(),
            is_awaiting_room: false,
            room_looked_at: None,
            check: None,
        }
    }

    /// Who its client proved to be.
    pub(super) fn identity(&self) -> Identity {
        let user = self.session.user().cloned().map(Identity::User);
        let key = self.session.client_key().map(Identity::Key);
        key.or(user).unwrap_or(Identity::Nobody)
    }

    /// What its client calls itself: in its hello, or by the identity of its socket, if that keeps the rules of such names.
    pub(super) fn client(&self) -> Option<&str> {
        let identity = || check_name(self.session.identity()).ok().filter(|name| !name.is_empty());
        self.client.as_deref().or_else(identity)
    }

    /// Who it is, for the log.
    pub(super) fn who(&self) -> Who<'_> {
        let key = self.session.client_key().map(display);
        let user = self.session.user().map(|user| &**user);
        Who { address: self.address, client: self.client(), user, key }
    }

    /// Queues a frame, of which the caller made a reference for this queue, and what goes ahead of it.
    pub(super) fn push(
        &mut self,
        frame: FrameId,
        lead: FramePrefix,
        frames: &Frames,
        now: Duration,
    ) {
        if self.output.is_empty() {
            self.progressed = now;
        }
        self.output.push(frame, lead, frames);
    }

    /// Whether it does not take what others published. A requester that does not take its answers holds nobody up.
    pub(super) fn takes_nothing(&self) -> bool {
        self.output.is_blocked() && (self.is_subscriber() || self.output.frame_bytes() > 0)
    }

    /// Puts it among those that are written to next.
    pub(super) fn mark_dirty(&mut self, dirty: &mut Vec<ConnectionId>) {
        if !std::mem::replace(&mut self.is_dirty, true) {
            dirty.push(self.id);
        }
    }

    pub(super) fn is_subscriber(&self) -> bool {
        self.session.port() == Port::Publishing
    }

    /// Whether it may be read: answers that it does not take stop that, and so do a slow subscriber and a
    /// request that is being checked. One that takes nothing may still cancel, as long as it asks for few answers.
    pub(super) fn may_be_read(&self) -> bool {
        let (own_bytes, is_blocked) = (self.output.own_bytes(), self.output.is_blocked());
        let is_listening = if self.is_subscriber() {
            !is_blocked || own_bytes <= SUBSCRIBER_OWN_BYTES_MAX
        } else {
            !is_blocked && own_bytes <= REQUESTER_OWN_BYTES_MAX
        };
        !self.is_stopped() && !self.is_checked && !self.is_closing && is_listening
    }

    fn is_stopped(&self) -> bool {
        self.is_held && !self.is_heard
    }

    /// Whether one that may not be read may be after the next write, without any event.
    pub(super) fn waits_for_a_turn(&self) -> bool {
        !(self.is_stopped() || self.is_checked || self.is_closing || self.output.is_blocked())
    }

    /// Bytes of requests that are not whole, or wait to be checked.
    pub(super) fn held_bytes(&self) -> usize {
        self.inbox.held_bytes() + self.whole.as_ref().map_or(0, |check| check.request.len())
    }

    /// Since when a frame or a request is not whole.
    pub(super) fn partial_since(&self) -> Option<Duration> {
        self.partial.map(|partial| partial.since)
    }

    /// Notes whether what came in ends within a frame or a request.
    pub(super) fn note_partial(&mut self, now: Duration) {
        let within = self.session.is_open()
            && (self.inbox.is_within_frame() || self.session.is_within_request());
        if !within {
            self.partial = None;
        } else if self.partial.is_none() {
            let (check_at, bytes_before) = (now + PARTIAL_CHECKED, self.read_bytes);
            self.partial = Some(Partial { since: now, check_at, bytes_before });
        }
    }

    /// A frame came to an end: the next one has its own time.
    pub(super) fn end_partial(&mut self) {
        self.partial = None;
    }

    /// When something is to be checked next. `grace`: how long a subscriber may take nothing.
    pub(super) fn deadline(&self, grace: Duration) -> Option<Duration> {
        let handshake = (!self.session.is_open()).then(|| self.accepted + HANDSHAKE_TIME_MAX);
        let partial = self.partial.map(|partial| partial.check_at);
        let stalled = self.takes_nothing().then(|| self.progressed + grace);
        let overdrawn = self.overdraft.deadline(grace);
        let room = self.room_looked_at;
        let all = [handshake, partial, self.silence_ends(), stalled, overdrawn, room];
        all.into_iter().flatten().min()
    }

    fn silence_ends(&self) -> Option<Duration> {
        match self.session.ttl_ds() {
            0 => None,
            ttl_ds => Some(self.heard + Duration::from_millis(100) * u32::from(ttl_ds)),
        }
    }

    /// Notes whether a large frame is sealed for it; whether that is so since just now. It is to be taken within
    /// [`time_to_take`].
    pub(super) fn note_room(&mut self, now: Duration, grace: Duration) -> bool {
        let takes_room = self.output.takes_room();
        let is_new = takes_room && self.room_looked_at.is_none();
        if is_new {
            self.room_looked_at = Some(now.saturating_add(time_to_take(grace)));
        } else if !takes_room {
            self.room_looked_at = None;
        }
        is_new
    }

    /// Whether it has had its time for a large sealed frame; it gets as long again.
    pub(super) fn has_kept_room(&mut self, now: Duration, grace: Duration) -> bool {
        let is_over = self.room_looked_at.is_some_and(|at| now >= at);
        if is_over {
            self.room_looked_at = Some(now.saturating_add(time_to_take(grace)));
        }
        is_over
    }

    /// What it did not do in time. `may_read`: whether the server reads what it sends.
    pub(super) fn late(
        &mut self,
        now: Duration,
        grace: Duration,
        may_read: bool,
    ) -> Option<Timeout> {
        if !self.session.is_open() && now >= self.accepted + HANDSHAKE_TIME_MAX {
            return Some(Timeout::Handshake);
        }
        let reading = may_read && self.may_be_read();
        if let Some(partial) = &mut self.partial
            && now >= partial.check_at
        {
            if reading && self.read_bytes < partial.bytes_before + PARTIAL_BYTES_MIN {
                return Some(Timeout::Partial);
            }
            partial.check_at = now + PARTIAL_CHECKED;
            partial.bytes_before = self.read_bytes;
        }
        // Who is not read is not heard.
        if self.silence_ends().is_some_and(|end| now >= end) {
            if reading {
                return Some(Timeout::Silent);
            }
            self.heard = now;
        }
        if self.takes_nothing() && now >= self.progressed + grace {
            return Some(Timeout::Stalled(self.progressed));
        }
        self.overdraft.late(now, grace).map(Timeout::Overdrawn)
    }

    /// Looks whether it keeps up; whether that changed.
    ///
    /// A burst waits for a moment, and that is what queues are for. What counts is a queue that stands: one
    /// whose oldest frame is older than the target each time one looks, for an interval (the idea of CoDel,
    /// [RFC 8289](https://www.rfc-editor.org/rfc/rfc8289)).
    pub(super) fn judge(&mut self, frames: &Frames, bytes_max: usize, now: Duration) -> bool {
        let was_behind = self.behind_since.is_some();
        let waited =
            self.output.oldest(frames).map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let bytes = self.output.frame_bytes();
        if waited < SOJOURN_TARGET && bytes <= bytes_max / 2 {
            self.above_since = None;
            self.behind_since = None;
        } else {
            let above_since = *self.above_since.get_or_insert(now);
            if now.saturating_sub(above_since) >= SOJOURN_INTERVAL || bytes > bytes_max {
                self.behind_since.get_or_insert(now);
            }
        }
        was_behind != self.behind_since.is_some()
    }
}

/// How long a connection may take for a large sealed frame while others wait for its room.
pub(super) fn time_to_take(grace: Duration) -> Duration {
    grace.saturating_mul(SEALED_TAKEN_WITHIN_GRACES)
}

#[cfg(test)]
pub(super) mod tests;
