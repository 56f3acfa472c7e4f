//! The broker's decisions, as a plain value: events are calls, effects are data.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::backlog::Backlog;
use super::check::{Waiting, bounded_ids};
use super::effect::{Effect, Effects, Reply};
use super::groups::Groups;
use super::keys::Keys;
use super::letters::Letters;
use super::outgoing::{Outgoing, Transcoding};
use super::permits::Permits;
use super::publishers::Publishers;
use super::redelivery_scan::RedeliveryScan;
use super::refusal::{Dialect, Refusal};
use super::replies::{self, Parked};
use super::retained::Retained;
use super::retaining::RetainedReplays;
use super::subscribers::{ConnectionId, Subscribers, SubscriptionLimit};
use super::transcode_queue::TranscodeQueue;
use crate::access::Identity;
use crate::config::{Config, Verify};
use crate::journal::Op;
use crate::limits::{
    BATCH_BYTES_MAX, CHECKED_AT_ONCE_BYTES_MAX, JOBS_TAKEN_BACK_PER_TURN_MAX,
    NAMES_WOKEN_PER_TURN_MAX,
};
use crate::metrics::Counters;
use crate::wire::frame::Frame;
use crate::wire::id::MessageId;
use crate::wire::{frame, hello, name, pickle};

/// What the core needs of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) verify: Verify,
    pub(super) max_message_bytes: usize,
    /// Told to clients, whose groups take it unless they say otherwise.
    pub(super) retry_interval: Duration,
    /// How long a publisher's own key counts.
    pub(super) idempotency_window: Duration,
    /// Whether there is a journal, so that an acknowledged message is taken only once it is stored.
    pub(super) durable: bool,
}

impl From<&Config> for Rules {
    fn from(config: &Config) -> Self {
        Self {
            verify: config.verify,
            max_message_bytes: config.max_message_bytes,
            retry_interval: config.retry_interval,
            idempotency_window: config.idempotency_window,
            durable: config.persist_file.is_some(),
        }
    }
}

/// The broker's state. `E` addresses a requester; the core only carries it back.
pub(super) struct Core<E> {
    pub(super) rules: Rules,
    /// What is said to whoever sends a message that would have to be stored.
    pub(super) journal_failure: Option<String>,
    /// A journal that failed for want of room stores settlements once there is some.
    pub(super) takes_settlements: bool,
    /// The publisher that each connection proved to be.
    pub(super) proved: HashMap<ConnectionId, u64>,
    /// Who is at each connection, where that is known or matters.
    pub(super) identities: HashMap<ConnectionId, Identity>,
    /// What clients may do; `None`: everything.
    pub(super) permits: Option<Permits>,
    /// Another number for each start of the server.
    pub(super) instance: u64,
    /// Whether all messages are rejected, because the server ends.
    pub(super) draining: bool,
    pub(super) counters: Arc<Counters>,
    pub(super) backlog: Backlog,
    pub(super) publishers: Publishers,
    pub(super) subscribers: Subscribers,
    /// Subscriptions that have credit again for what waited for it.
    pub(super) owing: VecDeque<u32>,
    /// Who lost messages last, until the log has told.
    pub(super) lost_to: Option<ConnectionId>,
    pub(super) groups: Groups,
    pub(super) letters: Letters,
    /// Who deletes durable groups, by the groups' numbers, and how long the requests were.
    pub(super) deleting: BTreeMap<u64, Vec<(E, usize)>>,
    pub(super) retained: Retained,
    pub(super) keys: Keys,
    /// Who is given retained messages.
    pub(super) givings: RetainedReplays,
    /// The time of the day, in nanoseconds since the Unix epoch, and at which time it was that.
    pub(super) unix_ns: u64,
    pub(super) clock_set: Duration,
    /// What is carried over to the original format, a part in each turn.
    pub(super) transcoding: Transcoding,
    pub(super) recalls: RedeliveryScan,
    pub(super) parked: Parked<E>,
    /// Requests that are being checked, in the order in which they came, and how many there were.
    pub(super) checking: BTreeMap<u64, Waiting<E>>,
    pub(super) checks_begun: u64,
    pub(super) carrying: TranscodeQueue,
    /// The number of the journal group that is being filled.
    pub(super) group: u64,
    pub(super) durable: u64,
    pub(super) out: Effects<E>,
    /// The frames that the request at hand is published as.
    pub(super) frames: Vec<Outgoing>,
    /// The messages that are to be stored for the request at hand.
    pub(super) stored: Vec<MessageId>,
}

/// How a request that was taken is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AcceptedRequest {
    /// The journal group that the answer waits for; 0 for none.
    pub(super) group: u64,
    /// Whether the request holds messages that are kept until they are acknowledged.
    pub(super) kept: bool,
}

impl AcceptedRequest {
    pub(super) const AT_ONCE: Self = Self { group: 0, kept: false };
}

/// Who asks.
pub(super) trait Asker {
    /// By which connection.
    fn connection(&self) -> ConnectionId;
}

impl<E> Core<E> {
    pub(super) fn new(rules: Rules, backlog: Backlog, counters: Arc<Counters>) -> Self {
        let letters = Letters::new(backlog.messages_max(), backlog.bytes_max());
        Self {
            rules,
            journal_failure: None,
            takes_settlements: false,
            proved: HashMap::new(),
            identities: HashMap::new(),
            permits: None,
            instance: crate::random::random(),
            draining: false,
            counters,
            backlog,
            publishers: Publishers::default(),
            subscribers: Subscribers::default(),
            owing: VecDeque::new(),
            lost_to: None,
            groups: Groups::default(),
            letters,
            deleting: BTreeMap::new(),
            retained: Retained::default(),
            keys: Keys::default(),
            givings: RetainedReplays::default(),
            unix_ns: 0,
            clock_set: Duration::ZERO,
            transcoding: Transcoding::default(),
            recalls: RedeliveryScan::default(),
            parked: Parked::default(),
            checking: BTreeMap::new(),
            checks_begun: 0,
            carrying: TranscodeQueue::default(),
            group: 1,
            durable: 0,
            out: Effects::default(),
            frames: Vec::new(),
            stored: Vec::new(),
        }
    }

    /// Other settings count from now on. What is there stays, also beyond a lower limit; a message that was delivered is
    /// delivered again after the interval that counted then.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        self.rules = Rules { durable: self.rules.durable, ..config.into() };
        let (messages, bytes) = (config.max_pending_messages, config.max_pending_bytes);
        self.backlog.reconfigure(messages, bytes, config.retry_interval);
        self.letters.set_limits(messages, bytes);
    }

    /// A request arrived.
    pub(super) fn request(&mut self, from: E, body: Bytes, now: Duration)
    where
        E: Asker,
    {
        self.counters.requests.add(1);
        debug_assert!(self.frames.is_empty() && self.stored.is_empty());
        // A first byte below 0x20 is a version, and whoever sends one reads typed errors.
        let native = body.first().is_some_and(|&first| frame::is_native(first));
        let dialect = if native { Dialect::V2 } else { Dialect::V1 };
        if body.first() == Some(&hello::CONTROL) {
            return self.control_request(from, &body, now);
        }
        if self.permits.is_some()
            && let Err(refusal) = self.check_allowed(from.connection(), &body)
        {
            return self.refuse(from, refusal, dialect);
        }
        if body.len() > CHECKED_AT_ONCE_BYTES_MAX {
            return self.large_request(from, body, dialect, now);
        }
        let outcome = self.dispatch(from.connection(), &body, now);
        self.answer(from, body.len(), dialect, outcome, now);
    }

    /// Answers a request, or lets it wait for the journal.
    pub(super) fn answer(
        &mut self,
        from: E,
        bytes: usize,
        dialect: Dialect,
        outcome: Result<AcceptedRequest, Refusal>,
        now: Duration,
    ) {
        match outcome {
            Ok(taken) if self.stores() && self.must_wait(taken.group) => {
                self.parked.add(replies::Request {
                    group: taken.group,
                    arrived: now,
                    from,
                    bytes,
                    dialect,
                    kept: taken.kept,
                    stored: std::mem::take(&mut self.stored),
                    frames: std::mem::take(&mut self.frames),
                });
            }
            Ok(_) => {
                self.stored.clear();
                let mut frames = std::mem::take(&mut self.frames);
                for frame in frames.drain(..) {
                    self.deliver(frame);
                }
                self.frames = frames;
                self.out.queue.push_back(Effect::Reply(from, Reply::Ok));
            }
            Err(refusal) => {
                self.stored.clear();
                self.frames.clear();
                self.refuse(from, refusal, dialect);
            }
        }
    }

    /// Whether the answer to a request that this journal group stores has to wait. It does also behind those that are
    /// stored and were not answered yet, because a turn was full: some may be its publisher's.
    fn must_wait(&self, group: u64) -> bool {
        group > self.durable || self.parked.has_stored(group)
    }

    /// Whether another request may be taken: too many may wait for the journal.
    pub(super) fn has_room(&self) -> bool {
        self.parked.has_room() && self.transcoding.has_room()
    }

    /// A request arrived whose parts are not a request's.
    pub(super) fn refuse(&mut self, from: E, refusal: Refusal, dialect: Dialect) {
        self.counters.refused.add(1);
        refusal.counted(&self.counters.traffic).add(1);
        self.out.queue.push_back(Effect::Reply(from, Reply::Refused(refusal, dialect)));
    }

    pub(super) fn dispatch(
        &mut self,
        connection: ConnectionId,
        body: &Bytes,
        now: Duration,
    ) -> Result<AcceptedRequest, Refusal> {
        self.check_size(body)?;
        match Frame::parse(body)? {
            Frame::V1 { name: name::PING, .. } | Frame::V2 { name: name::PING, .. } => {
                Ok(AcceptedRequest::AT_ONCE)
            }
            Frame::V2 { name: name::ACK, body } => {
                for id in bounded_ids(body)? {
                    self.settle(id);
                }
                self.check_settlements()
            }
            Frame::V1 { name: name::ACK, pickle } => {
                let fields = pickle::scan(pickle)?;
                let checksum = fields.acknowledged().ok_or(Refusal::Rule(
                    "the payload of an acknowledgement is a checksum: 32 hexadecimal digits",
                ))?;
                self.settle(self.backlog.id_of(checksum));
                self.check_settlements()
            }
            Frame::V2 { name, body: records } => {
                self.publish_v2(connection, name, records, body, now)
            }
            Frame::V1 { name, pickle } => self.publish_v1(name, pickle, body, now),
        }
    }

    /// The limit is one message's. A native frame may hold many, and each is checked on its own.
    pub(super) fn check_size(&self, request: &[u8]) -> Result<(), Refusal> {
        let (bytes, native) = (request.len(), request.first() == Some(&frame::V2));
        let message_max = self.rules.max_message_bytes;
        if bytes > message_max && !(native && bytes <= BATCH_BYTES_MAX) {
            return Err(Refusal::TooLarge { bytes: bytes as u64, max: message_max as u64 });
        }
        Ok(())
    }

    /// A request arrived that was too large to be kept.
    pub(super) fn too_large(&mut self, from: E, bytes: u64, dialect: Dialect) {
        self.counters.requests.add(1);
        let max = self.rules.max_message_bytes as u64;
        self.refuse(from, Refusal::TooLarge { bytes, max }, dialect);
    }

    /// A message was acknowledged; unknown ones were acknowledged before. Groups settle what they have themselves.
    fn settle(&mut self, id: MessageId) {
        if !self.is_for_groups(id) {
            self.settle_now(id);
        }
    }

    /// A message was acknowledged by all who had to.
    pub(super) fn settle_now(&mut self, id: MessageId) {
        if self.finish(id) {
            self.counters.settled.add(1);
        }
    }

    /// A message is done; `false` when it was before.
    pub(super) fn finish(&mut self, id: MessageId) -> bool {
        if !self.letters.is_empty()
            && let Some(is_new) = self.stays_for_letters(id)
        {
            return is_new;
        }
        let was_kept = self.backlog.remove(id);
        if was_kept {
            self.groups.settled(id);
            if self.stores() || self.takes_settlements {
                self.out.journal.push(Op::Settle(id));
            }
        }
        was_kept
    }

    /// How an acknowledgement is answered: one that is not stored counts until the next start, and whoever
    /// sent it gets an error.
    pub(super) fn check_settlements(&self) -> Result<AcceptedRequest, Refusal> {
        match &self.journal_failure {
            Some(text) if !self.takes_settlements => Err(Refusal::JournalFailed(text.clone())),
            _ => Ok(AcceptedRequest::AT_ONCE),
        }
    }

    /// Whether a journal that failed takes settlements.
    pub(super) fn set_takes_settlements(&mut self, takes: bool) {
        self.takes_settlements = takes && self.journal_failure.is_some();
    }

    /// Whether there is a journal and it works.
    pub(super) fn stores(&self) -> bool {
        self.rules.durable && self.journal_failure.is_none()
    }

    /// A connection subscribed to frames that begin with `topic`.
    ///
    /// # Errors
    /// When there are too many subscriptions; this one is not taken.
    pub(super) fn subscribed(
        &mut self,
        connection: ConnectionId,
        topic: &[u8],
        now: Duration,
    ) -> Result<(), SubscriptionLimit> {
        self.subscribers.subscribe(connection, topic, now)?;
        let topic = topic.strip_prefix(&[frame::V2]).unwrap_or(topic);
        let end = topic.iter().position(|&byte| byte == name::SEPARATOR);
        let prefix = &topic[..end.unwrap_or(topic.len())];
        // One that ends within a character fits what its whole characters do, and perhaps less.
        let prefix = match std::str::from_utf8(prefix) {
            Ok(prefix) => prefix,
            Err(error) => std::str::from_utf8(&prefix[..error.valid_up_to()]).unwrap_or_default(),
        };
        self.backlog.wake(prefix, end.is_some(), self.latest_group());
        Ok(())
    }

    /// A connection cancelled a subscription.
    pub(super) fn cancelled(&mut self, connection: ConnectionId, topic: &[u8]) {
        self.subscribers.cancel(connection, topic);
        self.backlog.try_again();
    }

    /// A connection is gone.
    pub(super) fn disconnected(&mut self, connection: ConnectionId) {
        if let Some(publisher) = self.proved.remove(&connection) {
            self.publishers.disconnected(publisher);
        }
        self.forget_identity(connection);
        for member in self.subscribers.members_of(connection).to_vec() {
            self.leave(member);
        }
        if self.subscribers.disconnect(connection) {
            self.recalls.begin();
        }
        self.backlog.try_again();
    }

    /// A connection takes what it gets again: what was not sent again for its sake may be.
    pub(super) fn keeps_up(&mut self, connection: ConnectionId) {
        self.subscribers.set_behind(connection, false);
        self.backlog.try_again();
    }

    /// Work that takes turns: whether some is left.
    pub(super) fn turn(&mut self, now: Duration) -> bool {
        let expiring = self.expire_some() | self.expire_retained() | self.forget_keys();
        let ending = self.subscribers.turn(|at| self.givings.end(at));
        let waking = self.backlog.sweep(NAMES_WOKEN_PER_TURN_MAX, self.latest_group());
        let transcoding = self.transcode_some();
        let recalling =
            self.recalls.go_on(&mut self.backlog, &mut self.subscribers, &self.parked, now);
        self.expire_jobs(now);
        let returning = self.groups.take_back(JOBS_TAKEN_BACK_PER_TURN_MAX);
        let burying = self.give_some_up(now);
        let enlisting = self.enlist_some();
        let over = self.end_groups(now);
        let jobs = returning || burying || enlisting || over;
        expiring || ending || waking || transcoding || recalling || jobs
    }

    /// From now on messages are rejected; what was taken is still answered.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    /// When [`Self::resend_due`] has something to do next, on the clock of `now`, unless the journal
    /// has come further by then.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let is_ready = !self.owing.is_empty() || self.givings.is_ready();
        if self.backlog.is_waiting_due() || self.groups.has_work() || is_ready {
            return Some(Duration::ZERO);
        }
        let due = [self.backlog.next_due(), self.groups.next_due(), self.next_time()];
        due.into_iter().flatten().min()
    }
}
