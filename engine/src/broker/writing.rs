//! Writes what is queued for connections.

use std::time::Duration;

use super::peer::Peer;
use super::run::Broker;
use super::subscribers::ConnectionId;
use crate::net::socket::Network;
use crate::zmtp::error::ConnectionError;
use crate::zmtp::session::CloseReason;

impl<N: Network> Broker<N> {
    /// Writes to each connection what the turn has for it. Those whose bytes are to be sealed may have to wait for the next
    /// turn, and come first there.
    pub(super) fn write_some(&mut self, now: Duration) {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|&id| {
            let is_put_off = self.frames.sealed.is_spent()
                && self.peers.get_mut(id).is_some_and(|peer| peer.output.is_sealed());
            if !is_put_off {
                self.write(id, now);
            }
            is_put_off
        });
        // What was marked meanwhile comes next.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
        self.wake_for_room();
        self.bound_answers();
        if !self.held.is_empty()
            && self.frames.bytes() <= self.settings.unsent_bytes_max / 2
            && self.core.transcoding.is_empty()
        {
            let held = std::mem::take(&mut self.held);
            self.release(held);
        }
    }

    /// Has connections written to whose next frame waited for room, if some became free. They come ahead of all others, so that
    /// nobody who takes a large frame gets the next one before them.
    fn wake_for_room(&mut self) {
        if !self.frames.sealed.take_freed() || self.awaiting_room.is_empty() {
            return;
        }
        let mut first = Vec::with_capacity(self.awaiting_room.len() + self.dirty.len());
        for id in self.awaiting_room.drain(..) {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.is_awaiting_room = false;
                // In this place also where it is marked already: it stands in both then, and is written to twice.
                peer.is_dirty = true;
                first.push(id);
            }
        }
        first.append(&mut self.dirty);
        self.dirty = first;
    }

    /// Makes room when the answers of all connections together take too much: of those that take none, those with
    /// the most are closed.
    pub(super) fn bound_answers(&mut self) {
        while self.reply_bytes > self.settings.reply_bytes_max {
            let holds = |peer: &&Peer<_>| peer.output.is_blocked() && peer.booked_reply_bytes > 0;
            let largest = self.peers.iter().filter(holds).max_by_key(|it| it.booked_reply_bytes);
            let Some(id) = largest.map(|peer| peer.id) else { return };
            self.close_for(id, "answers take too much memory, and it does not take its own");
        }
    }

    fn write(&mut self, id: ConnectionId, now: Duration) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.is_dirty = false;
        let was_blocked = peer.output.is_blocked();
        match peer.output.write(&mut peer.stream, &mut self.frames) {
            Ok(bytes) => {
                let own = peer.output.own_bytes().min(peer.booked_reply_bytes);
                self.reply_bytes -= peer.booked_reply_bytes - own;
                peer.booked_reply_bytes = own;
                if bytes > 0 {
                    peer.progressed = now;
                    peer.written_bytes += bytes as u64;
                    self.counters.traffic.sent_bytes.add(bytes as u64);
                }
                let (closes, blocked) = (peer.is_closing, peer.output.is_blocked());
                let (behind, takes_nothing) = (peer.behind_since.is_some(), peer.takes_nothing());
                if closes && peer.output.is_empty() {
                    return self.close(id);
                }
                if peer.output.awaits_room() {
                    if !std::mem::replace(&mut peer.is_awaiting_room, true) {
                        self.awaiting_room.push(id);
                    }
                } else if !blocked && !peer.output.is_empty() {
                    peer.mark_dirty(&mut self.dirty);
                }
                let begins_to_take_room = peer.note_room(now, self.settings.stall_grace);
                if behind || takes_nothing {
                    self.judge(id, now);
                }
                if begins_to_take_room || (blocked && !was_blocked) {
                    self.schedule(id, now);
                }
            }
            Err(error) => {
                let reason = CloseReason::Connection(ConnectionError::System(error));
                self.refuse_connection(id, &reason, now);
            }
        }
    }
}
