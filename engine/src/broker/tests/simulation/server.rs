//! The server: the core, with what its thread does for it. It works in turns, as `broker::run` does.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::disk::Disk;
use super::super::*;
use super::broken::Broken;
use super::conditions::Conditions;
use super::ledger::Ledger;
use super::story::Cause;
use super::without::Without;
use super::world::{Address, Answer, Says};
use crate::broker::publishers::Publisher;
use crate::message::Format;

/// Requests that one turn takes.
const REQUESTS_PER_TURN: usize = 32;

/// What a subscriber wants on one of its connections.
#[derive(Clone, Debug)]
pub(super) struct Interest {
    pub(super) subscriber: usize,
    pub(super) connection: u32,
    pub(super) prefix: Bytes,
}

impl Interest {
    fn id(&self) -> ConnectionId {
        connection_id(self.subscriber, self.connection)
    }
}

/// No connection has this number.
const STRANGER: ConnectionId = ConnectionId::MAX;

/// The number that the core knows a connection by.
fn connection_id(subscriber: usize, connection: u32) -> ConnectionId {
    u64::from(connection) << 32 | subscriber as u64
}

/// What happens on the publishing socket.
enum Change {
    Subscribed(Interest),
    /// A connection is gone.
    Gone(ConnectionId),
    /// Somebody cancels what it never had.
    StrangeCancel(Bytes),
}

/// What the server sends.
pub(super) enum Output {
    Deliver { subscriber: usize, connection: u32, frame: Bytes },
    Reply(Address, Answer),
}

pub(super) struct Server {
    core: Core<Address>,
    pub(super) disk: Disk,
    inbox: VecDeque<(Address, Bytes, Says)>,
    changes: VecDeque<Change>,
    /// Who wants what: a plain list, which the core's choice is compared with.
    interests: Vec<Interest>,
    /// Work that takes turns is left.
    has_work: bool,
    unsent: Option<(u64, Vec<Op>)>,
    draining: bool,
    without: Without,
    out: Vec<Output>,
}

impl Server {
    /// Starts with what the disk holds.
    pub(super) fn start(
        conditions: &Conditions,
        without: Without,
        disk: Disk,
        ledger: &mut Ledger,
        clean: bool,
    ) -> Result<Self, Broken> {
        let rules = Rules {
            verify: conditions.verify,
            max_message_bytes: 4 << 20,
            retry_interval: conditions.interval,
            idempotency_window: conditions.interval,
            durable: conditions.durable,
        };
        let limits = match without {
            Without::PendingLimits => Limits { messages: usize::MAX, bytes: usize::MAX },
            _ => conditions.limits,
        };
        let backlog = Backlog::new(limits, conditions.interval);
        let mut core = Core::new(rules, backlog, Arc::new(Counters::default()));
        let appended = |op: &Op| match op {
            Op::Append(message) => Some(message.id),
            _ => None,
        };
        let seen: Vec<MessageId> = disk.log().iter().filter_map(appended).collect();
        let live: Vec<Message> = disk.recover().live().cloned().collect();
        let number = |id: MessageId| ledger.catalog.number(id).unwrap();
        let seen_numbers: HashSet<usize> = seen.iter().map(|&id| number(id)).collect();
        let live_numbers = live.iter().map(|message| number(message.id)).collect();
        for id in seen.iter().filter(|id| id.is_native() && without != Without::RecoveredDedupe) {
            core.restore_seen(id.publisher, id.sequence, id.sequence);
        }
        core.make_room(live.len());
        for message in live {
            core.restore(message);
        }
        ledger.restarts(&seen_numbers, &live_numbers, clean)?;
        Ok(Self {
            core,
            disk,
            inbox: VecDeque::new(),
            changes: VecDeque::new(),
            interests: Vec::new(),
            has_work: false,
            unsent: None,
            draining: false,
            without,
            out: Vec::new(),
        })
    }

    pub(super) fn request(&mut self, from: Address, body: Bytes, says: Says) {
        self.inbox.push_back((from, body, says));
    }

    pub(super) fn subscribe(&mut self, interest: Interest) {
        self.changes.push_back(Change::Subscribed(interest));
    }

    /// A subscriber's connection is gone.
    pub(super) fn disconnect(&mut self, subscriber: usize, connection: u32) {
        self.changes.push_back(Change::Gone(connection_id(subscriber, connection)));
    }

    /// Somebody cancels what it never had.
    pub(super) fn cancel(&mut self, prefix: Bytes) {
        self.changes.push_back(Change::StrangeCancel(prefix));
    }

    fn change(&mut self, change: Change, now: Duration) {
        match change {
            Change::Subscribed(interest) => {
                let taken = self.core.subscribed(interest.id(), &interest.prefix, now);
                assert_eq!(taken, Ok(()), "no limit is near");
                self.interests.push(interest);
            }
            Change::Gone(id) => {
                if self.without != Without::EndedSubscriptions {
                    self.core.disconnected(id);
                }
                self.interests.retain(|interest| interest.id() != id);
            }
            Change::StrangeCancel(prefix) => {
                let all: Vec<ConnectionId> = match self.without {
                    Without::OwnCancels => self.interests.iter().map(Interest::id).collect(),
                    _ => vec![STRANGER],
                };
                all.into_iter().for_each(|id| self.core.cancelled(id, &prefix));
            }
        }
    }

    /// The connections that want a frame.
    fn wanting(&self, frame: &[u8]) -> BTreeSet<ConnectionId> {
        let wanting = self.interests.iter().filter(|i| frame.starts_with(&i.prefix));
        wanting.map(Interest::id).collect()
    }

    /// Whether somebody wants a name, in the original format and in the native one.
    fn wanted(&self, name: &str) -> [bool; 2] {
        [format!("{name}|"), format!("\x01{name}|")]
            .map(|whole| !self.wanting(whole.as_bytes()).is_empty())
    }

    pub(super) fn drain(&mut self, ledger: &mut Ledger) {
        self.draining = true;
        self.core.drain();
        ledger.drains();
    }

    pub(super) fn has_requests(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Whether it was told to end and has finished what it had taken.
    pub(super) fn is_drained(&self) -> bool {
        self.draining && self.inbox.is_empty() && self.core.parked.is_empty() && self.may_read()
    }

    /// Ends, having stored everything.
    pub(super) fn close(mut self) -> Disk {
        self.write_journal();
        let unstored = self.disk.unstored();
        self.disk.crash(unstored)
    }

    fn may_read(&self) -> bool {
        let has_room = self.core.has_room() || self.without == Without::ParkedLimit;
        self.unsent.is_none() && has_room
    }

    /// Does all there is to do now, and returns what it sends.
    pub(super) fn turn(
        &mut self,
        ledger: &mut Ledger,
        now: Duration,
    ) -> Result<Vec<Output>, Broken> {
        while let Some(change) = self.changes.pop_front() {
            self.change(change, now);
        }
        self.hear_disk(ledger)?;
        for _ in 0..REQUESTS_PER_TURN {
            if !self.may_read() {
                break;
            }
            let Some((from, body, says)) = self.inbox.pop_front() else { break };
            self.take(ledger, from, body, &says, now)?;
        }
        self.has_work = self.core.turn(now) | self.core.serve(now);
        self.carry_out(ledger, Cause::Taken)?;
        if self.may_read() && self.without != Without::Resends {
            self.core.resend_due(now);
            self.carry_out(ledger, Cause::Again)?;
        }
        self.write_journal();
        ledger.check(&self.core)?;
        Ok(std::mem::take(&mut self.out))
    }

    /// When the next turn is due: at once, if requests are left.
    pub(super) fn next_turn(&self, now: Duration) -> Option<Duration> {
        if self.has_work {
            return Some(now);
        }
        if !self.may_read() {
            return None;
        }
        match self.without {
            _ if self.has_requests() => Some(now),
            Without::Resends => None,
            _ => self.core.next_due(),
        }
    }

    /// Whether it keeps nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.core.backlog.is_empty() && self.core.parked.is_empty()
    }

    fn hear_disk(&mut self, ledger: &mut Ledger) -> Result<(), Broken> {
        if self.without != Without::JournalWait {
            self.core.durable(self.disk.stored_group());
            while self.core.release_stored() {}
        }
        self.carry_out(ledger, Cause::Taken)?;
        if self.disk.has_failed() && self.core.stores() {
            ledger.journal_fails();
            self.core.journal_failed("the disk failed", false);
            self.unsent = None;
            self.carry_out(ledger, Cause::Taken)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        ledger: &mut Ledger,
        from: Address,
        body: Bytes,
        says: &Says,
        now: Duration,
    ) -> Result<(), Broken> {
        let serial = match says {
            Says::Publish(numbers) => {
                self.forget(ledger, numbers);
                let wanted = self.wanted(ledger.catalog.get(numbers[0]).name);
                ledger.publishes(numbers, body.len(), wanted)
            }
            Says::Ack(numbers) => ledger.acknowledges(numbers, false),
            Says::AckV1(number) => ledger.acknowledges(&[*number], true),
        };
        let from = Address { serial, ..from };
        prove_publisher(&mut self.core, from.connection(), &body);
        self.core.request(from, body, now);
        self.carry_out(ledger, Cause::Taken)?;
        ledger.has_been_heard(serial)
    }

    /// Makes the core forget what it would recognise a message by that comes again.
    fn forget(&mut self, ledger: &Ledger, numbers: &[usize]) {
        let first = ledger.catalog.get(numbers[0]);
        match self.without {
            Without::NativeDedupe if first.format == Format::V2 => {
                let publisher = self.core.publishers.get(first.id.publisher);
                let barrier = publisher.barrier;
                *publisher = Publisher::default();
                publisher.barrier = barrier;
            }
            Without::OriginalDedupe if first.format == Format::V1 => {
                self.core.backlog.remove(first.id);
            }
            Without::Barriers if first.format == Format::V2 => {
                self.core.publishers.get(first.id.publisher).barrier = 0;
            }
            _ => {}
        }
    }

    /// Sends what the core wants sent, and tells the ledger.
    fn carry_out(&mut self, ledger: &mut Ledger, cause: Cause) -> Result<(), Broken> {
        let mut effects: Vec<_> = self.core.out.queue.drain(..).collect();
        if cause == Cause::Again {
            // Names are sent again in an order that depends on how a table hashes them in this process.
            effects.sort_by_cached_key(|effect| match effect {
                Effect::Publish { frame, .. } => {
                    frame.split(|&byte| byte == b'|').next().map(<[u8]>::to_vec)
                }
                Effect::Deferred { .. }
                | Effect::Granted { .. }
                | Effect::Reply(..)
                | Effect::Check(..)
                | Effect::Carry(_) => None,
            });
        }
        for effect in effects {
            match effect {
                Effect::Publish { frame, to, direct: _, droppable } => {
                    let expected = self.wanting(&frame);
                    if to.is_empty() || !to.iter().eq(&expected) {
                        let text = format!("to {to:?}, and {expected:?} want it");
                        return Err(Broken::Misdelivered(text));
                    }
                    ledger.published(&frame, droppable, cause)?;
                    self.publish(&frame, &to);
                }
                Effect::Deferred { .. } | Effect::Granted { .. } => {}
                Effect::Reply(to, reply) => {
                    let answer = match reply {
                        Reply::Ok => Answer::Ok,
                        Reply::Refused(why, _) => Answer::Refused(why.code()),
                        Reply::Hello(..) | Reply::Answer(_) => continue,
                    };
                    ledger.answered(to.serial, answer, |name| self.wanted(name))?;
                    self.out.push(Output::Reply(to, answer));
                }
                Effect::Check(_, check) => unreachable!("no request is so large: {check:?}"),
                Effect::Carry(message) => unreachable!("no message is so large: {message:?}"),
            }
        }
        Ok(())
    }

    fn publish(&mut self, frame: &Bytes, to: &[ConnectionId]) {
        self.out.extend(to.iter().map(|&id| Output::Deliver {
            subscriber: id as u32 as usize,
            connection: (id >> 32) as u32,
            frame: frame.clone(),
        }));
    }

    fn write_journal(&mut self) {
        let Some((group, ops)) = self.unsent.take().or_else(|| self.core.take_group()) else {
            return;
        };
        if self.disk.has_room() {
            let kept = ops
                .into_iter()
                .filter(|op| self.without != Without::StoredAcks || !matches!(op, Op::Settle(_)));
            self.disk.submit(group, kept.collect());
            if self.without == Without::JournalWait {
                self.core.durable(group);
                while self.core.release_stored() {}
            }
        } else {
            self.unsent = Some((group, ops));
        }
    }
}
