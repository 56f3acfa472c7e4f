//! Hands requests that take long to check to other threads. The connection of such a request waits for the verdict, and
//! all others are served.

use std::time::Duration;

use super::check::Check;
use super::checker::{Job, Outcome};
use super::run::Broker;
use super::subscribers::ConnectionId;
use crate::net::socket::Network;

impl<N: Network> Broker<N> {
    /// Hands a check over; one that takes long waits until there is room for it. Its connection is not read before
    /// the verdict, so that what it sent behind stays behind.
    pub(super) fn begin_check(&mut self, id: ConnectionId, check: Check) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.is_checked = true;
            if check.is_long()
                && self.drain.is_none()
                && !self.checker.may_begin(id, check.request.len())
            {
                peer.whole = Some(Box::new(check));
                // It counts as before it was whole.
                self.book(id);
                return;
            }
        }
        self.checker.begin(Job::Check(check));
    }

    /// Goes on with requests whose checks are over, and with those that waited for room.
    pub(super) fn hear_checks(&mut self, now: Duration) {
        // One at least, whatever else the turn had to do.
        let mut is_first = true;
        while self.may_read()
            && !self.is_full()
            && (std::mem::take(&mut is_first) || !self.turn_is_full())
            && let Some(outcome) = self.checker.next()
        {
            let connection = match outcome {
                Outcome::Checked { number, verdict } => self.core.checked(number, verdict, now),
                Outcome::Carried(message, carried) => {
                    self.core.carried(&message, carried);
                    None
                }
            };
            self.carry_out(now);
            if let Some(id) = connection {
                self.read_on(id);
            }
        }
        loop {
            let peers = &mut self.peers;
            let next = self.checker.next_waiting(|id| {
                // It may be gone.
                let whole = peers.get_mut(id).and_then(|peer| peer.whole.as_ref());
                whole.map_or(0, |check| check.request.len())
            });
            let Some(id) = next else { break };
            let check = self.peers.get_mut(id).and_then(|peer| peer.whole.take());
            if let Some(check) = check {
                self.book(id);
                self.checker.begin(Job::Check(*check));
            }
        }
    }

    /// The server ends: requests whose checks have not begun are rejected.
    pub(super) fn refuse_waiting_checks(&mut self) {
        for id in self.checker.take_waiting() {
            // It may be gone.
            if let Some(peer) = self.peers.get_mut(id)
                && let Some(check) = peer.whole.take()
            {
                peer.is_checked = false;
                self.core.refuse_check(check.number);
                self.book(id);
                self.list(id);
            }
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
