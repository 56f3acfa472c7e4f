//! What the broker's thread does with requests that take long to check: each is handed over, its connection waits
//! for the verdict, and all others are served.

use std::time::Duration;

use bytes::Bytes;

use super::check::Check;
use super::run::{Broker, Requester};
use super::subscribers::ConnectionId;
use crate::limits::CHECKED_AT_ONCE_BYTES_MAX;
use crate::net::socket::Network;

impl<N: Network> Broker<N> {
    /// A request came in. One that may have to be checked elsewhere waits until there is room for it.
    pub(super) fn request(&mut self, from: Requester, body: Bytes, now: Duration) {
        let id = from.connection;
        let is_large = body.len() > CHECKED_AT_ONCE_BYTES_MAX;
        if is_large && !self.checker.has_room(body.len()) && self.drain.is_none() {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.is_checked = true;
                peer.whole = Some(Box::new((from, body)));
                self.checker.waiting.push_back(id);
                // It counts as before it was whole.
                self.book(id);
            }
            return;
        }
        self.core.request(from, body, now);
        self.carry_out(now);
    }

    /// Hands a check over. Its connection is not read before the verdict, so that what it sent behind stays behind.
    pub(super) fn begin_check(&mut self, id: ConnectionId, check: Check) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.is_checked = true;
        }
        self.checker.begin(check);
    }

    /// Goes on with requests whose checks are over, and with those that waited for room.
    pub(super) fn hear_checks(&mut self, now: Duration) {
        while self.may_read()
            && let Some((number, verdict)) = self.checker.next()
        {
            let connection = self.core.checked(number, verdict, now);
            self.carry_out(now);
            if let Some(id) = connection {
                self.read_on(id);
            }
        }
        while self.may_read()
            && let Some(&id) = self.checker.waiting.front()
        {
            let whole = self.peers.get_mut(id).and_then(|peer| peer.whole.as_ref());
            let bytes = whole.map_or(0, |whole| whole.1.len());
            if !self.checker.has_room(bytes) && self.drain.is_none() {
                break;
            }
            self.checker.waiting.pop_front();
            // It may be gone.
            let Some(whole) = self.peers.get_mut(id).and_then(|peer| peer.whole.take()) else {
                continue;
            };
            self.book(id);
            self.read_on(id);
            // It takes that back if there is something to check.
            self.request(whole.0, whole.1, now);
        }
    }

    /// Reads a connection again whose request was checked.
    fn read_on(&mut self, id: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.is_checked = false;
            self.list(id);
        }
    }
}
