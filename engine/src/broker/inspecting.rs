//! Answers one question about the server per turn.

use std::time::Duration;

use super::peer::{Peer, warn_of_subscriber};
use super::run::Broker;
use crate::escape::escape_hidden;
use crate::inspect::{Asked, ConnectionOverview, JournalOverview, Overview, Page, Question};
use crate::limits::{INSPECTED_LOOKS_MAX, INSPECTED_MAX};
use crate::net::socket::Network;

impl<N: Network> Broker<N> {
    /// Answers the next question, if one waits.
    pub(super) fn hear_question(&mut self, now: Duration) {
        let Some(question) = self.questions.take() else { return };
        match question {
            Question::Overview(answer) => {
                self.count(now);
                answer(self.overview(now));
            }
            Question::Connections { from, max, answer } => {
                answer(self.inspect_connections(from, max, now, |_| true));
            }
            Question::Slow { from, max, answer } => {
                let is_slow = |peer: &Peer<_>| {
                    peer.behind_since.is_some()
                        || !peer.holds.is_empty()
                        || peer.overdraft.is_given_up()
                };
                answer(self.inspect_connections(from, max, now, is_slow));
            }
            Question::Names { from, max, answer } => answer(self.core.inspect_names(from, max)),
            Question::Groups { from, max, answer } => answer(self.core.inspect_groups(&from, max)),
            Question::Pending { from, max, answer } => {
                answer(self.core.inspect_pending(from, max, now));
            }
            Question::Dead { group, from, max, answer } => {
                answer(self.core.inspect_dead(&group, from, max));
            }
            Question::Retained { after, max, answer } => {
                answer(self.core.inspect_retained(&after, max));
            }
            Question::ChangeDead { action, group, selection, answer } => {
                let changed = self.core.change_dead(action, &group, &selection);
                if let Ok(changed) = &changed {
                    let (done, group) = (changed.done, escape_hidden(&group));
                    tracing::debug!(group, done, "changed dead letters: {action:?}");
                }
                answer(changed);
            }
            Question::Kick { connection, answer } => {
                let is_there = self.peers.get_mut(connection).is_some();
                self.close_for(connection, "an operator asked for that");
                answer(is_there);
            }
            Question::CountNames => self.core.count_names(),
        }
    }

    /// Writes down what others may read at any time.
    pub(super) fn count(&mut self, now: Duration) {
        self.counters.traffic.publishers_held.set(self.hold_time.count());
        self.counters.traffic.held_back_ns.set(self.hold_time.total_ns(now));
        self.counters.unsent_bytes.set(self.frames.bytes() as u64);
        self.counters.connections.set(self.peers.len() as u64);
        self.counters.subscriptions.set(self.core.subscribers.len() as u64);
        self.counters.delayed.set(self.core.backlog.count_later() as u64);
        self.counters.retained.set(self.core.retained.len() as u64);
        let letters = self.core.letters.len() as u64;
        self.counters.dead_letters.set(letters);
        let put_off = self.counters.dead_letters_put_off.get();
        if put_off > self.put_off_told && self.letter_log.admit(now).is_some() {
            tracing::warn!(
                letters,
                messages = put_off - self.put_off_told,
                "messages that should be dead letters stay in their groups, because there are as many letters as may be or \
                 the journal failed: replay or purge some, or raise --max-pending-messages and --max-pending-bytes"
            );
            self.put_off_told = put_off;
        }
        self.tell_dropped(now);
    }

    /// Logs what subscriptions lost since the last such line.
    fn tell_dropped(&mut self, now: Duration) {
        let dropped = self.counters.messages_dropped.get();
        if dropped == self.dropped_told || self.dropped_log.admit(now).is_none() {
            return;
        }
        let messages = dropped - self.dropped_told;
        self.dropped_told = dropped;
        match self.core.lost_to.take().and_then(|id| self.peers.get_mut(id)) {
            Some(peer) => warn_of_subscriber!(
                peer,
                messages,
                "subscribers lost messages that they took too slowly, this one the last of them (the number is of all): make \
                 them faster, or publish with ack to a durable group what must not be lost"
            ),
            None => tracing::warn!(
                messages,
                "messages without ack were lost to groups without a free member, or to subscribers that did not keep up"
            ),
        }
    }

    /// Where questions come from.
    pub(crate) fn questions(&self) -> &Asked {
        &self.questions
    }

    fn overview(&self, now: Duration) -> Overview {
        let (view, counters) = (self.core.backlog.view(), &self.counters);
        let mut metrics = counters.snapshot();
        metrics.pending_messages = view.len() as u64;
        metrics.pending_bytes = view.bytes() as u64;
        Overview {
            metrics,
            traffic: counters.traffic.snapshot(),
            uptime: now,
            is_draining: self.core.draining,
            oldest_pending: self.core.backlog.oldest(now),
            pending_messages_max: self.core.backlog.messages_max() as u64,
            pending_bytes_max: self.core.backlog.bytes_max() as u64,
            groups: self.core.groups.totals(),
            names: self.core.subscribers.counts_in_all(),
            slow_subscribers: self.core.subscribers.behind() as u64,
            journal: self.journal.as_ref().map(|journal| {
                let stats = journal.stats();
                JournalOverview {
                    path: journal.path().to_owned(),
                    file_bytes: stats.file_bytes,
                    live_bytes: stats.live_bytes,
                    queued: stats.queued as u64,
                    appended: stats.appended,
                    settled: stats.settled,
                    compactions: stats.compactions,
                    compactions_given_up: stats.compactions_given_up,
                    syncs: journal.sync_times(),
                    failure: journal.failure().map(|failure| failure.to_string()),
                }
            }),
        }
    }

    /// Connections in these places, which stand in the order in which they were first taken.
    fn inspect_connections(
        &self,
        from: u64,
        max: usize,
        now: Duration,
        is_meant: impl Fn(&Peer<N::Stream>) -> bool,
    ) -> Page<ConnectionOverview, u64> {
        let max = max.min(INSPECTED_MAX);
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let end = from.saturating_add(INSPECTED_LOOKS_MAX).min(self.peers.places());
        let (mut items, mut next) = (Vec::new(), end);
        for (at, peer) in self.peers.within(from..end) {
            if is_meant(peer) {
                if items.len() == max {
                    next = at;
                    break;
                }
                items.push(self.inspect_connection(peer, now));
            }
        }
        let next = (next < self.peers.places()).then_some(next as u64);
        Page { items, next }
    }

    fn inspect_connection(&self, peer: &Peer<N::Stream>, now: Duration) -> ConnectionOverview {
        let ago = |since: Duration| now.saturating_sub(since);
        ConnectionOverview {
            id: peer.id,
            address: peer.address,
            is_subscriber: peer.is_subscriber(),
            is_open: peer.session.is_open(),
            publisher: self.core.proved_publisher(peer.id),
            client: peer.client().map(ToOwned::to_owned),
            user: peer.session.user().map(ToString::to_string),
            key: peer.session.client_key().map(|key| key.to_string()),
            age: ago(peer.accepted),
            silent: ago(peer.heard),
            received_bytes: peer.read_bytes,
            sent_bytes: peer.written_bytes,
            queued_bytes: peer.output.frame_bytes() as u64,
            queued_since: peer.output.oldest(&self.frames).map(ago),
            subscriptions: self.core.subscribers.len_of(peer.id) as u64,
            is_held: peer.is_held,
            slow: peer.behind_since.map(ago),
            without_credit: peer.overdraft.since().map(ago),
            holds: peer.holds.len() as u64,
            dropped: peer.dropped_frames + self.core.subscribers.lost_of(peer.id),
        }
    }
}
