//! Accepts, reads, writes and closes connections, on the broker's thread.

use std::time::Duration;

use bytes::Bytes;

use super::checker::Job;
use super::effect::{Effect, RecipientCounts, Reply};
use super::frames::FrameId;
use super::output::FramePrefix;
use super::peer::{Peer, Who};
use super::refusal::{Dialect, Refusal};
use super::run::{Broker, Requester};
use super::subscribers::{ConnectionId, Direct};
use crate::limits::{
    ACCEPTS_PER_TURN_MAX, COSTLY_READ_TIME, COSTLY_REQUEST_BYTES, EVENTS_PER_TURN_MAX,
    PARTIAL_BYTES_MAX, READ_BYTES_PER_TURN_MAX,
};
use crate::net::socket::{ByteStream, Network};
use crate::wire::reply::{OK, refusal, taken};
use crate::wire::{confirm, control, frame, hello};
use crate::zmtp::error::ConnectionError;
use crate::zmtp::frame::Head;
use crate::zmtp::inbox::Filled;
use crate::zmtp::session::{CloseReason, Event, Port, Session};

impl<N: Network> Broker<N> {
    /// Takes some of the connections that came in.
    pub(super) fn accept(&mut self, now: Duration) {
        for port in [Port::Requests, Port::Publishing] {
            for _ in 0..ACCEPTS_PER_TURN_MAX {
                // What was accepted and not read is no better off than what waits at the listener.
                let crowded = self.readable.newcomers() >= 2 * ACCEPTS_PER_TURN_MAX;
                if crowded || !self.admission.may_accept(port, now) {
                    break;
                }
                match self.network.accept(port) {
                    Ok(Some((stream, address))) => self.admit(port, stream, address, now),
                    Ok(None) => self.admission.drained(port),
                    Err(error) => self.admission.pause(&error, now),
                }
            }
        }
        while let Some(id) = self.admission.crowded() {
            if self.peers.get_mut(id).is_some_and(|peer| !peer.session.is_open()) {
                self.close_for(id, "too many connections are in their handshake");
            }
        }
    }

    fn admit(
        &mut self,
        port: Port,
        stream: N::Stream,
        address: std::net::SocketAddr,
        now: Duration,
    ) {
        if !self.admission.admits(self.peers.len(), address, now) {
            // Dropped, and so closed.
            self.counters.connections_refused.add(1);
            return;
        }
        let id = self.peers.next_id();
        if let Err(error) = self.network.register(&stream, id) {
            self.counters.connections_refused.add(1);
            self.admission.pause(&error, now);
            return;
        }
        let session = Session::new(port, self.settings.request_bytes_max, self.admission.demand());
        self.peers.add(Peer::new(id, stream, address, session, now));
        self.admission.joined(id, address);
        self.list(id);
        self.schedule(id, now);
    }

    /// Reads from a connection what one turn may take, which began just now; whether more may be there.
    pub(super) fn read(&mut self, id: ConnectionId, began: Duration, now: Duration) -> bool {
        let (mut events, mut bytes) = (0, 0);
        loop {
            let held_events = if self.aside_bytes > 0 { self.take_aside(id) } else { None };
            let Some(peer) = self.peers.get_mut(id) else { return false };
            let before = peer.output.own_bytes();
            let step = match held_events {
                Some(event) => Ok(Some(event)),
                None => peer.session.advance(&mut peer.inbox, peer.output.own()),
            };
            let added = peer.output.own_bytes() - before;
            if added > 0 && !self.book_own(id, added) {
                return false;
            }
            let Some(peer) = self.peers.get_mut(id) else { return false };
            match step {
                Ok(Some(event)) => {
                    events += 1;
                    peer.end_partial();
                    let may_cost = matches!(&event, Event::Request(_, body)
                        if body.len() >= COSTLY_REQUEST_BYTES || control::may_take_long(body));
                    let event = if peer.is_held { self.put_aside(id, event) } else { Some(event) };
                    if let Some(event) = event {
                        self.handle(id, event, now);
                    }
                    let is_late =
                        may_cost && self.network.now().saturating_sub(began) > COSTLY_READ_TIME;
                    let (may_read, is_full) = (self.may_read(), self.turn_is_full());
                    let Some(peer) = self.peers.get_mut(id) else { return false };
                    if !peer.may_be_read() {
                        // Otherwise it is listed again when it may.
                        return peer.waits_for_a_turn();
                    }
                    if events >= EVENTS_PER_TURN_MAX
                        || is_late
                        || is_full
                        || !(may_read || peer.is_subscriber())
                    {
                        return true;
                    }
                }
                Ok(None) => {
                    let wanted = peer.is_readable || peer.has_ended;
                    if !wanted || bytes >= READ_BYTES_PER_TURN_MAX {
                        peer.note_partial(now);
                        self.schedule(id, now);
                        // What was put aside of a frame that is not whole.
                        self.book(id);
                        return wanted;
                    }
                    match self.fill(id, now) {
                        Some(more) => bytes += more,
                        None => return false,
                    }
                }
                Err(reason) => {
                    self.refuse_connection(id, &reason, now);
                    return false;
                }
            }
        }
    }

    /// Reads once; how many bytes came in, or nothing when the connection is gone.
    fn fill(&mut self, id: ConnectionId, now: Duration) -> Option<usize> {
        let peer = self.peers.get_mut(id)?;
        let stream = &mut peer.stream;
        match peer.inbox.fill(|room| stream.read(room), &mut self.scratch) {
            Ok((filled, bytes)) => {
                peer.is_readable = filled == Filled::Full;
                if filled == Filled::Nothing {
                    // The end was announced; what is left of it comes with another event.
                    peer.has_ended = false;
                } else {
                    peer.heard = now;
                    peer.read_bytes += bytes as u64;
                    self.counters.traffic.received_bytes.add(bytes as u64);
                }
                self.book(id);
                Some(bytes)
            }
            Err(error) => {
                let reason = CloseReason::Connection(error);
                self.refuse_connection(id, &reason, now);
                None
            }
        }
    }

    /// Books what a request takes that is not whole, or waits to be checked, and makes room when all together
    /// take too much.
    pub(super) fn book(&mut self, id: ConnectionId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let held = peer.held_bytes();
        self.partial_bytes = self.partial_bytes - peer.booked_bytes + held;
        peer.booked_bytes = held;
        while self.partial_bytes > PARTIAL_BYTES_MAX {
            // Not the oldest: who fills the room anew all the time would have all others closed.
            let largest = self.peers.iter().max_by_key(|peer| {
                let since = peer.partial_since().unwrap_or(Duration::MAX);
                (peer.booked_bytes, std::cmp::Reverse(since))
            });
            let Some(largest) = largest.map(|peer| peer.id) else { return };
            self.close_for(
                largest,
                "requests that are not whole, or wait to be checked, take too much memory, and its own takes most",
            );
        }
    }

    fn handle(&mut self, id: ConnectionId, event: Event, now: Duration) {
        match event {
            Event::Opened => return self.opened(id, now),
            Event::Login(login) => return self.log_in(id, login, now),
            Event::Subscribe(topic) => return self.subscribe(id, &topic, now),
            Event::Cancel(topic) => return self.core.cancelled(id, &topic),
            Event::Request(envelope, body) => {
                if tracing::enabled!(tracing::Level::DEBUG) {
                    Self::log_request(&body);
                }
                if control::may_take_long(&body) {
                    self.audit_request(id, &body, now);
                }
                self.core.request(Requester { connection: id, envelope }, body, now);
            }
            Event::Malformed(envelope, why) => {
                let from = Requester { connection: id, envelope };
                self.counters.requests.add(1);
                self.core.refuse(from, Refusal::Envelope(why), Dialect::V1);
            }
            Event::TooLarge { envelope, bytes, first } => {
                let from = Requester { connection: id, envelope };
                let dialect = if frame::is_native(first) { Dialect::V2 } else { Dialect::V1 };
                self.core.too_large(from, bytes, dialect);
            }
        }
        self.carry_out(now);
    }

    fn subscribe(&mut self, id: ConnectionId, topic: &Bytes, now: Duration) {
        if confirm::is_topic(topic) {
            // Whoever hears it knows that all its earlier subscriptions are in place.
            if let Some(peer) = self.peers.get_mut(id) {
                Head::message(topic.len(), false).append_to(peer.output.own());
                peer.output.own().extend_from_slice(topic);
                peer.mark_dirty(&mut self.dirty);
            }
        } else if !self.core.may_get_any(id) {
            self.close_for(id, "it subscribes, and may get nothing");
        } else if let Err(limit) = self.core.subscribed(id, topic, now) {
            self.close_for(id, &limit.to_string());
        }
    }

    /// Carries effects out. The frames of a request stand before its answer, which may have waited for the
    /// journal: who asked waits when a subscriber of them does not keep up.
    pub(super) fn carry_out(&mut self, now: Duration) {
        let (mut publishes, mut slow, mut deferred) = (false, None, false);
        // Connections whose credit publishers are to wait for.
        let (mut reached, mut lacking) = (RecipientCounts::default(), Vec::new());
        while let Some(effect) = self.core.out.queue.pop_front() {
            match effect {
                Effect::Publish { frame, to, direct, droppable } => {
                    publishes = true;
                    reached.add(&to, &direct);
                    slow = self.publish(frame, &to, &direct, droppable, &mut lacking, now).or(slow);
                }
                Effect::Deferred { to } => {
                    (publishes, deferred) = (true, true);
                    reached.add(&to, &[]);
                    slow = self.find_slow(&to, now).or(slow);
                }
                Effect::Granted { connection, is_clear } => {
                    self.granted(connection, is_clear, now);
                }
                Effect::Reply(to, reply) => {
                    self.reply(&to, &reply, &std::mem::take(&mut reached));
                    // It may lack credit itself: while it is held back it is still read for what it grants.
                    let slow = slow.take().or(lacking.drain(..).next());
                    if std::mem::take(&mut publishes) {
                        self.hold(to.connection, slow, now);
                    }
                    if std::mem::take(&mut deferred) {
                        self.defer(to.connection, now);
                    }
                }
                Effect::Check(id, check) => self.begin_check(id, check),
                Effect::Carry(message) => self.checker.begin(Job::Carry(message)),
            }
        }
    }

    /// Queues a frame for its subscribers; one of them that does not keep up. Those that got it without credit, and are
    /// to be waited for, are added to `lacking`.
    fn publish(
        &mut self,
        frame: Bytes,
        to: &[ConnectionId],
        direct: &[Direct],
        droppable: bool,
        lacking: &mut Vec<ConnectionId>,
        now: Duration,
    ) -> Option<ConnectionId> {
        self.counters.frames_published.add(1);
        let fan_out = to.len() + direct.len();
        self.turn_bytes += frame.len() * fan_out;
        self.turn_fan_out = self.turn_fan_out.max(fan_out);
        let id = self.frames.add(frame, fan_out as u32, droppable, now);
        let mut slow = None;
        for &connection in to {
            slow = self.push(connection, id, FramePrefix::default(), now).or(slow);
        }
        for &Direct { connection, delivery, is_overdrawn, .. } in direct {
            slow = self.push(connection, id, FramePrefix::delivery(delivery), now).or(slow);
            if is_overdrawn && self.holds_for_credit(connection, now) {
                lacking.push(connection);
            }
        }
        slow
    }

    /// Queues a frame for one of its subscribers, and returns it if it does not keep up.
    #[inline]
    fn push(
        &mut self,
        connection: ConnectionId,
        id: FrameId,
        lead: FramePrefix,
        now: Duration,
    ) -> Option<ConnectionId> {
        let Some(peer) = self.peers.get_mut(connection) else {
            self.frames.release(id);
            return None;
        };
        peer.push(id, lead, &self.frames, now);
        peer.mark_dirty(&mut self.dirty);
        (peer.output.is_blocked() && self.judge(connection, now)).then_some(connection)
    }

    fn reply(&mut self, to: &Requester, reply: &Reply, reached: &RecipientCounts) {
        let id = to.connection;
        let Some(peer) = self.peers.get_mut(id) else { return };
        if let Reply::Refused(why @ Refusal::NotAllowed(_), _) = reply {
            self.audit.refused(peer.address, why, self.network.now());
        } else if let Reply::Refused(why, _) = reply
            && let Some(unlogged) = self.refusal_log.admit(self.network.now())
        {
            let Who { address, client, user, key } = peer.who();
            tracing::warn!(peer = %address, client, user, key, unlogged, "rejected a request: {why}");
        }
        let before = peer.output.own_bytes();
        let own = peer.output.own();
        match reply {
            Reply::Ok if peer.said_hello => {
                let [connections, takers] = [reached.connections, reached.takers]
                    .map(|count| u32::try_from(count).unwrap_or(u32::MAX));
                to.envelope.append_reply(&taken(connections, takers), own);
            }
            Reply::Ok => to.envelope.append_reply(OK, own),
            Reply::Hello(answer, client) => {
                peer.said_hello = true;
                peer.client.clone_from(client);
                to.envelope.append_reply(&hello::answer(*answer), own);
            }
            Reply::Answer(answer) => to.envelope.append_reply(answer, own),
            Reply::Refused(_, Dialect::V1) => to.envelope.append_reply(&[], own),
            Reply::Refused(why, Dialect::V2) => {
                to.envelope.append_reply(&refusal(why.code(), &why.to_string()), own);
            }
        }
        let added = peer.output.own_bytes() - before;
        if let Reply::Answer(_) = reply {
            // It may be as large as a message, and requests for it are small.
            self.turn_bytes += added;
        }
        self.book_own(id, added);
    }

    /// Books answers that were added to what a connection is to take; whether it is still there.
    fn book_own(&mut self, id: ConnectionId, added: usize) -> bool {
        let Some(peer) = self.peers.get_mut(id) else { return false };
        peer.booked_reply_bytes += added;
        self.reply_bytes += added;
        let blocked = peer.output.is_blocked();
        peer.mark_dirty(&mut self.dirty);
        if blocked {
            self.bound_answers();
        }
        self.peers.get_mut(id).is_some()
    }

    /// Closes a connection that broke a rule, ended, or was lost. What is queued for it leaves first.
    pub(super) fn refuse_connection(
        &mut self,
        id: ConnectionId,
        reason: &CloseReason,
        now: Duration,
    ) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let (address, client) = (peer.address, peer.client());
        match reason {
            CloseReason::Connection(ConnectionError::Closed) => {
                tracing::debug!(peer = %address, "a connection ended");
            }
            CloseReason::NotAuthorized(_) | CloseReason::WrongLogin(_) => {
                self.audit.refused(address, reason, now);
            }
            CloseReason::Connection(error) if !matches!(error, ConnectionError::Malformed) => {
                tracing::debug!(peer = %address, "a connection was lost: {error}");
            }
            _ => {
                if let Some(unlogged) = self.close_log.admit(now) {
                    let text = reason.to_string();
                    tracing::warn!(peer = %address, client, unlogged, "closed a connection: {}", text.escape_debug());
                }
            }
        }
        if reason.is_told() && !peer.output.is_empty() {
            peer.is_closing = true;
            peer.mark_dirty(&mut self.dirty);
        } else {
            self.close(id);
        }
    }

    /// Closes a connection for the server's sake.
    pub(super) fn close_for(&mut self, id: ConnectionId, why: &str) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let kind = kind(peer.session.port());
        if let Some(unlogged) = self.close_log.admit(self.network.now()) {
            let Who { address, client, user, key } = peer.who();
            tracing::warn!(peer = %address, client, user, key, unlogged, "closed the connection of a {kind}: {why}");
        }
        self.close(id);
    }
}

/// Which of the two kinds of peer a connection is, for people.
fn kind(port: Port) -> &'static str {
    match port {
        Port::Requests => "client",
        Port::Publishing => "subscriber",
    }
}
