//! Subscribers that do not keep up, and the publishers that wait for them.

use std::time::Duration;

use super::peer::{Timeout, time_to_take, warn_of_subscriber};
use super::run::Broker;
use super::subscribers::ConnectionId;
use crate::config::SlowSubscriber;
use crate::limits::{ASIDE_BYTES_MAX, ASIDE_BYTES_MAX_EACH, DROP_KEEP_BYTES};
use crate::net::socket::Network;
use crate::wire::control;
use crate::zmtp::session::Event;

/// In whole milliseconds, as people read it.
fn in_ms(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

impl<N: Network> Broker<N> {
    /// One of these connections whose publishers are to wait for it.
    pub(super) fn find_slow(&mut self, to: &[ConnectionId], now: Duration) -> Option<ConnectionId> {
        let mut slow = None;
        for &id in to {
            let is_blocked = self.peers.get_mut(id).is_some_and(|peer| peer.output.is_blocked());
            if is_blocked && self.judge(id, now) {
                slow = Some(id);
            }
        }
        slow
    }

    /// Looks whether a subscriber keeps up; whether its publishers are to wait for it.
    pub(super) fn judge(&mut self, id: ConnectionId, now: Duration) -> bool {
        let Some(peer) = self.peers.get_mut(id) else { return false };
        if peer.judge(&self.frames, self.settings.subscriber_bytes_max, now) {
            if peer.behind_since.is_none() {
                self.core.keeps_up(id);
                self.release_holds(id);
                return false;
            }
            self.core.subscribers.set_behind(id, true);
        }
        let Some(peer) = self.peers.get_mut(id) else { return false };
        if peer.behind_since.is_none() {
            return false;
        }
        match self.settings.slow_subscriber {
            SlowSubscriber::Hold => true,
            SlowSubscriber::Drop => {
                let dropped = peer.output.drop_oldest(DROP_KEEP_BYTES, &mut self.frames);
                self.counters.frames_dropped.add(dropped as u64);
                peer.dropped_frames += dropped as u64;
                if dropped > 0 && self.slow_log.admit(now).is_some() {
                    warn_of_subscriber!(peer, "dropped {dropped} frames of a slow subscriber");
                }
                peer.output.frame_bytes() > self.settings.subscriber_bytes_max
            }
            SlowSubscriber::Disconnect => {
                if peer.behind_since.is_some_and(|since| now >= since + self.settings.stall_grace) {
                    self.disconnect_slow(id, now);
                    return false;
                }
                peer.output.frame_bytes() > self.settings.subscriber_bytes_max
            }
        }
    }

    /// A connection got a message for which it had no credit; whether publishers are to wait for it.
    pub(super) fn holds_for_credit(&mut self, id: ConnectionId, now: Duration) -> bool {
        // Then nobody waits for anybody.
        if self.settings.slow_subscriber == SlowSubscriber::Drop {
            return false;
        }
        let Some(peer) = self.peers.get_mut(id) else { return false };
        let is_waited_for = peer.overdraft.overdraw(now);
        self.schedule(id, now);
        is_waited_for && self.settings.slow_subscriber == SlowSubscriber::Hold
    }

    /// A connection granted credit.
    pub(super) fn granted(&mut self, id: ConnectionId, is_clear: bool, now: Duration) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.overdraft.granted(is_clear, now);
            self.release_holds(id);
        }
    }

    /// Publishers wait no longer for a connection that grants no credit. What they publish is lost to it once it
    /// has got as much as it may without.
    pub(super) fn give_up_holding(&mut self, id: ConnectionId, since: Duration, now: Duration) {
        if self.settings.slow_subscriber == SlowSubscriber::Disconnect {
            return self.disconnect_slow(id, now);
        }
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.overdraft.give_up();
        self.counters.slow_subscribers.add(1);
        if let Some(unlogged) = self.given_up_log.admit(now) {
            let time = in_ms(now.saturating_sub(since));
            warn_of_subscriber!(
                peer,
                unlogged,
                "a subscriber granted no credit for {time:?}: publishers no longer wait for it, and it loses messages \
                 with ack=0"
            );
        }
        self.release_holds(id);
        self.schedule(id, now);
    }

    /// Lets those go on that wait for a subscriber, unless it still does not keep up.
    fn release_holds(&mut self, id: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(id)
            && peer.behind_since.is_none()
            && peer.overdraft.lets_publish()
        {
            let holds = std::mem::take(&mut peer.holds);
            self.release(holds);
        }
    }

    /// Makes a publisher wait for a subscriber, or for all of them. At the end nobody waits: all requests are answered.
    pub(super) fn hold(
        &mut self,
        publisher: ConnectionId,
        slow: Option<ConnectionId>,
        now: Duration,
    ) {
        let full = self.frames.bytes() >= self.settings.unsent_bytes_max;
        if (slow.is_none() && !full) || self.core.draining {
            return;
        }
        let Some(peer) = self.peers.get_mut(publisher) else { return };
        if std::mem::replace(&mut peer.is_held, true) {
            return;
        }
        peer.is_heard = self.core.subscribers.has_natives(publisher);
        self.hold_time.begin(now);
        self.counters.held_back.add(1);
        match slow.and_then(|slow| self.peers.get_mut(slow)) {
            Some(slow) => {
                slow.holds.push(publisher);
                if let Some(unlogged) = self.slow_log.admit(now) {
                    let bytes = slow.output.frame_bytes();
                    warn_of_subscriber!(
                        slow,
                        unlogged,
                        "a subscriber does not keep up: {bytes} bytes wait for it, and publishers of what it \
                         wants wait, too; --slow-subscriber says what becomes of it"
                    );
                }
            }
            None => self.held.push(publisher),
        }
    }

    /// Makes a publisher wait until all that is to be carried over has been. Otherwise one with many small
    /// messages would take the room that there is for all, and nobody else would be read.
    pub(super) fn defer(&mut self, publisher: ConnectionId, now: Duration) {
        if let Some(peer) = self.peers.get_mut(publisher)
            && !self.core.draining
            && !std::mem::replace(&mut peer.is_held, true)
        {
            peer.is_heard = self.core.subscribers.has_natives(publisher);
            self.hold_time.begin(now);
            self.held.push(publisher);
        }
    }

    /// Disconnects a subscriber that holds others up.
    pub(super) fn disconnect_slow(&mut self, id: ConnectionId, now: Duration) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let stalled =
            in_ms(now.saturating_sub(peer.progressed.min(peer.behind_since.unwrap_or(now))));
        let bytes = peer.output.frame_bytes();
        warn_of_subscriber!(
            peer,
            "disconnected a subscriber that did not read for {stalled:?}; it lost {bytes} queued bytes",
        );
        self.counters.slow_subscribers.add(1);
        self.close(id);
    }

    /// Looks at the deadlines that are over.
    pub(super) fn look_at_deadlines(&mut self, now: Duration) {
        while let Some(id) = self.timers.next(now) {
            let (may_read, others_await_room) = (self.may_read(), self.frames.sealed.is_awaited());
            let grace = self.settings.stall_grace;
            let Some(peer) = self.peers.get_mut(id) else { continue };
            peer.check = None;
            match peer.late(now, grace, may_read) {
                None if peer.has_kept_room(now, grace) && others_await_room => {
                    let time = time_to_take(grace);
                    self.close_for(
                        id,
                        &format!(
                            "it did not take a large encrypted message within {time:?}, and others waited for its room"
                        ),
                    );
                }
                None => self.schedule(id, now),
                Some(Timeout::Handshake) => {
                    self.close_for(id, "it did not finish its handshake within 10 s");
                }
                Some(Timeout::Partial) => {
                    self.close_for(id, "a request came in at less than 64 KiB in 10 s");
                }
                Some(Timeout::Silent) => {
                    self.close_for(id, "it was silent for longer than it had announced");
                }
                Some(Timeout::Stalled(_)) => self.disconnect_slow(id, now),
                Some(Timeout::Overdrawn(since)) => self.give_up_holding(id, since, now),
            }
        }
    }

    /// Sees to it that a connection's next deadline is looked at.
    pub(super) fn schedule(&mut self, id: ConnectionId, now: Duration) {
        if let Some(peer) = self.peers.get_mut(id) {
            self.timers.schedule(peer, self.settings.stall_grace, now);
        }
    }
}

impl<N: Network> Broker<N> {
    /// Puts aside what came from a connection that is held back, and returns what may go ahead of that. Beyond what may be
    /// put aside the connection is not read.
    pub(super) fn put_aside(&mut self, id: ConnectionId, event: Event) -> Option<Event> {
        let peer = self.peers.get_mut(id)?;
        // Not ahead of what begins the subscription that it is about.
        if let Event::Request(_, body) = &event
            && control::frees(body)
            && !control::needs(body).is_some_and(|number| peer.held_events.begins(number))
        {
            return Some(event);
        }
        self.aside_bytes += peer.held_events.push(event);
        if peer.held_events.bytes() >= ASIDE_BYTES_MAX_EACH || self.aside_bytes >= ASIDE_BYTES_MAX {
            peer.is_heard = false;
        }
        None
    }

    /// The next of what was put aside, once the connection is held back no longer.
    pub(super) fn take_aside(&mut self, id: ConnectionId) -> Option<Event> {
        let peer = self.peers.get_mut(id).filter(|peer| !peer.is_held)?;
        let before = peer.held_events.bytes();
        let event = peer.held_events.pop()?;
        self.aside_bytes -= before - peer.held_events.bytes();
        Some(event)
    }
}
