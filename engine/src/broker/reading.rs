//! Reads connections, for as long as a turn may take.

use std::time::Duration;

use super::readable::Kind;
use super::run::Broker;
use super::subscribers::ConnectionId;
use crate::limits::{HANDSHAKE_TIME_PER_TURN_MAX, READ_BYTES_PER_TURN_MAX, READ_TIME_PER_TURN_MAX};
use crate::net::socket::Network;
use crate::wire::frame::Frame;

impl<N: Network> Broker<N> {
    /// Puts a connection among those that are read next.
    pub(super) fn list(&mut self, id: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(id)
            && !std::mem::replace(&mut peer.is_listed, true)
        {
            let kind = match (peer.session.is_open(), peer.read_time.is_costly()) {
                (false, _) => Kind::Newcomer,
                (true, true) => Kind::Costly,
                (true, false) => Kind::Usual,
            };
            self.readable.of(kind).push_back(id);
        }
    }

    /// Reads from each connection that has something, a part of it, as long as a turn may take; of each kind from one
    /// at least.
    pub(super) fn read_some(&mut self, now: Duration) {
        self.read_queue(Kind::Usual, READ_TIME_PER_TURN_MAX, now);
        self.read_queue(Kind::Costly, READ_TIME_PER_TURN_MAX, now);
        let elapsed = self.network.now().saturating_sub(now);
        self.read_queue(Kind::Newcomer, elapsed + HANDSHAKE_TIME_PER_TURN_MAX, now);
    }

    fn read_queue(&mut self, kind: Kind, time_max: Duration, now: Duration) {
        let mut before = self.network.now();
        for _ in 0..self.readable.of(kind).len() {
            let Some(id) = self.readable.of(kind).pop_front() else { break };
            let may_read = self.may_read();
            let must_wait = self.must_wait(id);
            let Some(peer) = self.peers.get_mut(id) else { continue };
            peer.is_listed = false;
            if !peer.may_be_read() || !(may_read || peer.is_subscriber()) {
                // Held ones are listed again when they may be read; others wait for room here.
                if peer.waits_for_a_turn() {
                    self.list(id);
                }
                continue;
            }
            if must_wait {
                self.hold(id, None, now);
                continue;
            }
            let more = self.read(id, before, now);
            let after = self.network.now();
            if let Some(peer) = self.peers.get_mut(id) {
                peer.read_time.add(after.saturating_sub(before));
            }
            before = after;
            if more {
                self.list(id);
            }
            let elapsed = after.saturating_sub(now);
            if elapsed >= time_max
                || self.turn_is_full()
                || self.drain.is_some_and(|drain| now + elapsed >= drain.finished_by)
            {
                break;
            }
        }
    }

    /// Whether a publisher must wait because as much is queued for all subscribers as may be, before it has published
    /// anything. One whose next request is small need not, as it may be an acknowledgement, unless twice as much
    /// is queued.
    fn must_wait(&mut self, id: ConnectionId) -> bool {
        let is_beyond = self.frames.bytes() >= self.settings.unsent_bytes_max.saturating_mul(2);
        self.is_full()
            && self.drain.is_none()
            && self.peers.get_mut(id).is_some_and(|peer| {
                let is_large = peer.inbox.wanted_bytes() > READ_BYTES_PER_TURN_MAX;
                !peer.is_subscriber() && peer.session.is_open() && (is_large || is_beyond)
            })
    }

    /// Logs a request that is read.
    pub(super) fn log_request(body: &[u8]) {
        match Frame::parse(body) {
            Ok(Frame::V1 { name, pickle }) => {
                tracing::debug!(name, bytes = pickle.len(), "request in the original format");
            }
            Ok(Frame::V2 { name, body }) => tracing::debug!(name, bytes = body.len(), "request"),
            // The refusal is logged when it is sent.
            Err(_) => {}
        }
    }
}
