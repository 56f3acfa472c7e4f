//! The broker's decisions, as a plain value: events are calls, effects are data.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::effect::{Dialect, Effect, Effects, Refusal, Reply};
use super::parked::{self, Parked};
use super::place::Place;
use super::publishers::Publishers;
use super::topics::Topics;
use super::transcode::Aliases;
use super::waiting::Waiting;
use crate::config::{Config, Verify};
use crate::journal::Op;
use crate::limits::{CONFIRMATIONS_WAITING_MAX, FRAME_BYTES_TARGET, WAITING_RETRIED};
use crate::message::Message;
use crate::metrics::Counters;
use crate::pending::{Entry, PendingMap};
use crate::retry::Retrier;
use crate::wire::checksum::Checksum;
use crate::wire::confirm;
use crate::wire::frame::Frame;
use crate::wire::id::MessageId;
use crate::wire::{ack, frame, name, pickle};

/// What the core needs of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) verify: Verify,
    pub(super) max_message_bytes: usize,
    /// Whether there is a journal, so that an acknowledged message is taken only once it is stored.
    pub(super) durable: bool,
}

impl From<&Config> for Rules {
    fn from(config: &Config) -> Self {
        Self {
            verify: config.verify,
            max_message_bytes: config.max_message_bytes,
            durable: config.persist_file.is_some(),
        }
    }
}

/// The broker's state. `E` addresses a requester; the core only carries it back.
pub(super) struct Core<E> {
    pub(super) rules: Rules,
    /// What is said to whoever sends a message that would have to be stored.
    pub(super) journal_failure: Option<String>,
    /// Whether all messages are refused, because the server ends.
    pub(super) draining: bool,
    pub(super) counters: Arc<Counters>,
    pub(super) pending: PendingMap,
    pub(super) retrier: Retrier,
    pub(super) publishers: Publishers,
    pub(super) topics: Topics,
    pub(super) waiting: Waiting,
    /// Subscriptions came that may want anything.
    pub(super) sweep: bool,
    pub(super) aliases: Aliases,
    /// When messages that nobody seems to want are sent next, in case somebody does.
    pub(super) waiting_retried_at: Duration,
    pub(super) parked: Parked<E>,
    /// The number of the journal group that is being filled.
    pub(super) group: u64,
    pub(super) durable: u64,
    pub(super) out: Effects<E>,
    /// The frames that the request at hand is published as.
    pub(super) frames: Vec<Bytes>,
    /// The messages that are to be stored for the request at hand.
    pub(super) stored: Vec<MessageId>,
    pub(super) due: Vec<MessageId>,
}

/// How a request that was taken is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// The journal group that the answer waits for; 0 for none.
    pub(super) group: u64,
    /// Whether the request holds messages that are kept until they are acknowledged.
    pub(super) kept: bool,
}

impl Taken {
    pub(super) const AT_ONCE: Self = Self { group: 0, kept: false };
}

impl<E> Core<E> {
    pub(super) fn new(
        rules: Rules,
        pending: PendingMap,
        retrier: Retrier,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            rules,
            journal_failure: None,
            draining: false,
            counters,
            pending,
            retrier,
            publishers: Publishers::default(),
            topics: Topics::default(),
            waiting: Waiting::default(),
            sweep: false,
            aliases: Aliases::default(),
            waiting_retried_at: WAITING_RETRIED,
            parked: Parked::default(),
            group: 1,
            durable: 0,
            out: Effects::default(),
            frames: Vec::new(),
            stored: Vec::new(),
            due: Vec::new(),
        }
    }

    /// Makes room for so many messages from the journal.
    pub(super) fn make_room(&mut self, messages: usize) {
        self.pending.reserve(messages);
        self.waiting.reserve(messages);
    }

    /// Takes back a message from the journal, whose messages share their names; it waits for its first
    /// subscriber.
    pub(super) fn restore(&mut self, message: Message) {
        self.counters.recovered.add(1);
        let Message { id, name, format, body } = message;
        let place = Place::Waiting(self.waiting.add(&name, id));
        self.pending.insert(id, Entry::new(name, format, body.into(), place.to_bits()));
    }

    /// Takes back what the journal knows of a publisher's sequences.
    pub(super) fn restore_seen(&mut self, publisher: u64, first: u64, last: u64) {
        self.publishers.get(publisher).take(first..=last);
    }

    /// A request arrived.
    pub(super) fn request(&mut self, from: E, body: Bytes, now: Duration) {
        self.counters.requests.add(1);
        debug_assert!(self.frames.is_empty() && self.stored.is_empty());
        // A first byte below 0x20 is a version, and whoever sends one reads typed errors.
        let native = body.first().is_some_and(|&first| first < 0x20);
        let dialect = if native { Dialect::V2 } else { Dialect::V1 };
        match self.dispatch(&body, now) {
            Ok(taken) if taken.group > self.durable && self.stores() => {
                self.parked.add(parked::Request {
                    group: taken.group,
                    arrived: now,
                    from,
                    bytes: body.len(),
                    dialect,
                    kept: taken.kept,
                    stored: std::mem::take(&mut self.stored),
                    frames: std::mem::take(&mut self.frames),
                });
            }
            Ok(_) => {
                self.stored.clear();
                self.out.queue.extend(self.frames.drain(..).map(Effect::Publish));
                self.out.queue.push_back(Effect::Reply(from, Reply::Ok));
            }
            Err(refusal) => {
                self.stored.clear();
                self.frames.clear();
                self.refuse(from, refusal, dialect);
            }
        }
    }

    /// Whether another request may be taken: too many may wait for the journal.
    pub(super) fn has_room(&self) -> bool {
        self.parked.has_room()
    }

    /// A request arrived whose parts are not a request's.
    pub(super) fn refuse(&mut self, from: E, refusal: Refusal, dialect: Dialect) {
        self.counters.refused.add(1);
        self.out.queue.push_back(Effect::Reply(from, Reply::Refused(refusal, dialect)));
    }

    fn dispatch(&mut self, body: &Bytes, now: Duration) -> Result<Taken, Refusal> {
        self.check_size(body.len(), body.first() == Some(&frame::V2))?;
        match Frame::parse(body)? {
            Frame::V1 { name: name::PING, .. } | Frame::V2 { name: name::PING, .. } => {
                Ok(Taken::AT_ONCE)
            }
            Frame::V2 { name: name::ACK, body } => {
                for id in ack::ids(body)? {
                    self.settle(id);
                }
                Ok(Taken::AT_ONCE)
            }
            Frame::V1 { name: name::ACK, pickle } => {
                let fields = pickle::scan(pickle)?;
                let checksum = fields.acknowledged().ok_or(Refusal::Rule(
                    "the payload of an acknowledgement is a checksum: 32 hexadecimal digits",
                ))?;
                self.settle_v1(checksum);
                Ok(Taken::AT_ONCE)
            }
            Frame::V2 { name, body: records } => self.publish_v2(name, records, body, now),
            Frame::V1 { name, pickle } => self.publish_v1(name, pickle, body, now),
        }
    }

    /// The limit is one message's. A native frame may hold many, and each is checked on its own.
    fn check_size(&self, bytes: usize, native: bool) -> Result<(), Refusal> {
        let message_max = self.rules.max_message_bytes;
        let max = if native { message_max.max(2 * FRAME_BYTES_TARGET) } else { message_max };
        if bytes > max { Err(Refusal::TooLarge { bytes, max }) } else { Ok(()) }
    }

    /// A message was acknowledged; unknown ones were acknowledged before.
    fn settle(&mut self, id: MessageId) {
        if self.let_go(id) {
            self.counters.settled.add(1);
            if self.stores() {
                self.out.journal.push(Op::Settle(id));
            }
        }
    }

    /// Takes a message out of everything that holds it, if it is held.
    fn let_go(&mut self, id: MessageId) -> bool {
        let Some(removed) = self.pending.remove(&id) else { return false };
        self.leave(Place::from_bits(removed.token), id);
        self.aliases.remove(id);
        true
    }

    /// Takes a message from the wheel or from the waiting.
    pub(super) fn leave(&mut self, place: Place, id: MessageId) {
        match place {
            Place::Wheel(token) => {
                self.retrier.cancel(token, &id);
            }
            Place::Waiting(place) => self.waiting.remove(place, id),
        }
    }

    fn settle_v1(&mut self, checksum: Checksum) {
        let id = self.aliases.oldest(checksum);
        self.settle(id.unwrap_or_else(|| MessageId::from_v1_checksum(checksum)));
    }

    /// Whether there is a journal and it works.
    pub(super) fn stores(&self) -> bool {
        self.rules.durable && self.journal_failure.is_none()
    }

    /// Somebody subscribed to frames that begin with `prefix`. `false` when there are too many
    /// subscriptions to note this one.
    pub(super) fn subscribed(&mut self, prefix: &[u8]) -> bool {
        if prefix.first() == Some(&confirm::CONFIRM) {
            // While nothing can be published they gather. Whoever hears nothing asks again.
            if confirm::is_topic(prefix) && self.out.queue.len() < CONFIRMATIONS_WAITING_MAX {
                self.out.queue.push_back(Effect::Publish(Bytes::copy_from_slice(prefix)));
            }
            return true;
        }
        let noted = self.topics.subscribed(prefix);
        if !self.waiting.is_empty() {
            let after = self.latest_group();
            let prefix = prefix.strip_prefix(&[frame::V2]).unwrap_or(prefix);
            match prefix.strip_suffix(&[name::SEPARATOR]).map(std::str::from_utf8) {
                Some(Ok(name)) => self.waiting.wake_name(name, after),
                _ => self.sweep = true,
            }
        }
        noted
    }

    /// Somebody cancelled a subscription, perhaps one that others have.
    pub(super) fn cancelled(&mut self, prefix: &[u8], now: Duration) {
        self.topics.cancelled(prefix, now);
    }

    /// Everything up to this journal group is stored.
    pub(super) fn durable(&mut self, group: u64) {
        self.durable = group;
        while let Some(parked) = self.parked.next_stored(group) {
            self.release(parked);
        }
    }

    fn release(&mut self, parked: parked::Request<E>) {
        self.out.queue.extend(parked.frames.into_iter().map(Effect::Publish));
        self.out.queue.push_back(Effect::Reply(parked.from, Reply::Ok));
    }

    /// The journal failed: what waits for it is refused, and so is everything that would have to be
    /// stored from now on.
    pub(super) fn journal_failed(&mut self, reason: &str) {
        let text = format!("{reason}: nothing more is stored until the server is started again");
        for parked in self.parked.take() {
            if parked.kept {
                for id in parked.stored {
                    self.let_go(id);
                }
                let refusal = Refusal::JournalFailed(text.clone());
                self.refuse(parked.from, refusal, parked.dialect);
            } else {
                self.release(parked);
            }
        }
        self.out.journal.clear();
        self.journal_failure = Some(text);
    }

    /// From now on messages are refused; what was taken is still answered.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    /// The end, in the midst of it: what waits for the journal is refused, although it may be stored.
    pub(super) fn abandon(&mut self) {
        for parked in self.parked.take() {
            self.refuse(parked.from, Refusal::ShuttingDown, parked.dialect);
        }
    }

    /// The journal's part of what happened since the last call, with its group's number. The caller
    /// hands groups over in order, none left out.
    pub(super) fn take_group(&mut self) -> Option<(u64, Vec<Op>)> {
        if self.out.journal.is_empty() {
            return None;
        }
        self.group += 1;
        Some((self.group - 1, std::mem::take(&mut self.out.journal)))
    }

    /// The journal group up to which all that is kept may be sent. What a failed journal did not store
    /// is no longer kept.
    pub(super) fn stored_group(&self) -> u64 {
        if self.stores() { self.durable } else { u64::MAX }
    }

    /// When [`Self::resend_due`] has something to do next, on the clock of `now`, unless the journal
    /// has come further by then.
    pub(super) fn next_due(&self) -> Option<Duration> {
        if self.waiting.is_due(self.stored_group()) || self.sweep {
            return Some(Duration::ZERO);
        }
        let waiting = (!self.waiting.is_empty()).then_some(self.waiting_retried_at);
        self.retrier.next_due().into_iter().chain(waiting).min()
    }
}
