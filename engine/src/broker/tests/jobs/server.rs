//! The server: the core, with what its thread does for it. It works in turns, as `broker::run` does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::super::disk::Disk;
use super::super::expiry::START_MS;
use super::super::*;
use super::broken::Broken;
use super::conditions::{Conditions, GROUPS};
use super::ledger::Ledger;
use super::without::Without;
use crate::journal::JobState;
use crate::wire::control::{self, Control, Kind, Verdict};
use crate::wire::filter::Filter;
use crate::wire::letter::{self, LetterSelection};

/// Requests that one turn takes.
const REQUESTS_PER_TURN: usize = 32;

/// Where a reply goes. The core only carries it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    pub(super) connection: u32,
    /// Of all requests that were ever made.
    pub(super) serial: u64,
}

impl Asker for Address {
    fn connection(&self) -> ConnectionId {
        self.connection.into()
    }
}

/// What a member says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Ack,
    /// It wants it again, in so many milliseconds.
    Nak(u32),
    Reject,
    Extend,
}

/// What a request says. Groups are named by their place in `GROUPS`, messages by their numbers.
#[derive(Clone, Debug)]
pub(super) enum Says {
    Publish(Vec<usize>),
    Join(usize),
    /// `counts`: its acknowledgements do.
    Listen {
        counts: bool,
    },
    Credit(u64),
    Verdict(Said, Vec<usize>),
    Ack(Vec<usize>),
    Create(usize),
    Delete(usize),
    Replay(usize),
    /// Those of one name, or all without one.
    Purge(usize, &'static str),
}

/// What the server sends.
pub(super) enum Output {
    Deliver { connection: u32, frame: Bytes },
    Reply(Address, bool),
}

pub(super) struct Server {
    core: Core<Address>,
    conditions: Conditions,
    pub(super) disk: Disk,
    inbox: VecDeque<(Address, Says)>,
    gone: VecDeque<u32>,
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
            verify: crate::config::Verify::Stored,
            max_message_bytes: 1 << 20,
            retry_interval: conditions.interval,
            idempotency_window: conditions.interval,
            durable: true,
        };
        let limits = Limits { messages: 1_000_000, bytes: 1 << 30 };
        let backlog = Backlog::new(limits, conditions.interval);
        let mut core = Core::new(rules, backlog, Arc::new(Counters::default()));
        for op in disk.log() {
            if let Op::Append(Message { id, .. }) = op {
                core.restore_seen(id.publisher, id.sequence, id.sequence);
            }
        }
        let stored = disk.recover();
        match without {
            Without::RecoveredGroups => {
                stored.live().for_each(|message| core.restore(message.clone()));
            }
            Without::RecoveredLetters => stored.restore_messages(&mut core),
            _ => stored.restore(&mut core),
        }
        ledger.restarts(&stored, disk.log(), clean)?;
        Ok(Self {
            core,
            conditions: conditions.clone(),
            disk,
            inbox: VecDeque::new(),
            gone: VecDeque::new(),
            has_work: true,
            unsent: None,
            draining: false,
            without,
            out: Vec::new(),
        })
    }

    pub(super) fn request(&mut self, from: Address, says: Says) {
        self.inbox.push_back((from, says));
    }

    /// A connection is gone.
    pub(super) fn disconnect(&mut self, connection: u32) {
        self.inbox.retain(|(from, _)| from.connection != connection);
        self.gone.push_back(connection);
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
        let is_idle = self.inbox.is_empty() && self.core.parked.is_empty() && !self.has_work;
        self.draining && is_idle && self.may_read()
    }

    /// Ends, having stored everything.
    pub(super) fn close(mut self) -> Disk {
        self.write_journal();
        let unstored = self.disk.unstored();
        self.disk.crash(unstored)
    }

    fn may_read(&self) -> bool {
        self.unsent.is_none() && self.core.has_room()
    }

    /// Whether it keeps nothing.
    pub(super) fn is_empty(&self) -> bool {
        let is_stored = self.core.parked.is_empty() && self.disk.unstored() == 0;
        self.core.backlog.is_empty() && self.core.groups.has_no_jobs() && is_stored
    }

    /// The groups, by their place, that have dead letters.
    pub(super) fn groups_with_letters(&self) -> Vec<usize> {
        let has_letters = |at: &usize| self.core.letters.len_of(GROUPS[*at].0) > 0;
        (0..GROUPS.len()).filter(has_letters).collect()
    }

    /// Does all there is to do now, and returns what it sends.
    pub(super) fn turn(
        &mut self,
        ledger: &mut Ledger,
        now: Duration,
    ) -> Result<Vec<Output>, Broken> {
        let passed = now.as_nanos() as u64;
        ledger.unix_ms = START_MS + passed / 1_000_000;
        let shown = match self.without {
            Without::Clock => 0,
            Without::RightTime => passed + 700_000_000,
            _ => passed,
        };
        self.core.set_clock(now, START_MS * 1_000_000 + shown);
        while let Some(connection) = self.gone.pop_front() {
            ledger.gone(connection);
            if self.without != Without::Departures {
                self.core.disconnected(connection.into());
            }
        }
        let stored = match self.without {
            Without::JournalWait => self.core.latest_group(),
            _ => self.disk.stored_group(),
        };
        self.core.durable(stored);
        while self.core.release_stored() {}
        self.carry_out(ledger, now)?;
        for _ in 0..REQUESTS_PER_TURN {
            if !self.may_read() {
                break;
            }
            let Some((from, says)) = self.inbox.pop_front() else { break };
            self.take(ledger, from, &says, now)?;
        }
        self.has_work = self.core.turn(now);
        self.carry_out(ledger, now)?;
        self.has_work |= self.core.serve(now);
        self.carry_out(ledger, now)?;
        if self.may_read() {
            self.core.resend_due(now);
            self.carry_out(ledger, now)?;
        }
        self.write_journal();
        if !self.has_work && !self.core.groups.has_work() {
            ledger.check(&self.core)?;
        }
        Ok(std::mem::take(&mut self.out))
    }

    /// When the next turn is due: at once, if work is left.
    pub(super) fn next_turn(&self, now: Duration) -> Option<Duration> {
        if self.has_work {
            return Some(now);
        }
        if !self.may_read() {
            return None;
        }
        if self.has_requests() { Some(now) } else { self.core.next_due() }
    }

    fn take(
        &mut self,
        ledger: &mut Ledger,
        from: Address,
        says: &Says,
        now: Duration,
    ) -> Result<(), Broken> {
        let body = self.body(ledger, says);
        let connection = from.connection();
        match says {
            Says::Publish(_) => prove_publisher(&mut self.core, connection, &body),
            _ => self.core.prove(connection, 1 << 40 | connection),
        }
        match says {
            Says::Ack(numbers) if self.without == Without::OwnJobs => {
                ledger.messages.ids(numbers).into_iter().for_each(|id| self.core.settle_now(id));
            }
            _ => {}
        }
        self.core.request(from, body, now);
        let is_refusal = |effect: &Effect<Address>| {
            let Effect::Reply(to, Reply::Refused(..)) = effect else { return false };
            to.serial == from.serial
        };
        let refused = self.core.out.queue.iter().any(is_refusal);
        ledger.said(from, says, refused, &self.core, now)?;
        self.carry_out(ledger, now)?;
        match says {
            Says::Publish(numbers) => ledger.has_taken(numbers)?,
            Says::Create(at) => ledger.has_created(from.serial, *at),
            _ => {}
        }
        Ok(())
    }

    fn body(&self, ledger: &Ledger, says: &Says) -> Bytes {
        let number = 1;
        let terms = |at: usize| self.conditions.terms[at].group(at, self.without);
        let roomy = 1 << 20;
        let all = |name| LetterSelection::Range { from: 0, to: 0, name };
        match says {
            Says::Publish(numbers) => return ledger.messages.request(numbers),
            Says::Join(at) => {
                let credit =
                    if self.conditions.terms[*at].in_flight_max == 1 { 200 } else { roomy };
                native::subscribe(number, Kind::Group(terms(*at)), GROUPS[*at].1, credit)
            }
            Says::Listen { counts } => {
                let kind = if *counts { Kind::Broadcast } else { Kind::Observer };
                native::subscribe(number, kind, Filter::Prefix(""), roomy)
            }
            Says::Credit(bytes) => native::grant(number, *bytes),
            Says::Verdict(said, numbers) => {
                let verdict = match *said {
                    Said::Ack => Verdict::Ack,
                    Said::Nak(_) if self.without == Without::NakDelays => {
                        Verdict::Nak { delay_ms: 0 }
                    }
                    Said::Nak(delay_ms) => Verdict::Nak { delay_ms },
                    Said::Reject if self.without == Without::Rejections => {
                        Verdict::Nak { delay_ms: 0 }
                    }
                    Said::Reject => Verdict::Reject { reason: "no" },
                    Said::Extend => Verdict::Extend,
                };
                let ids: Vec<u8> =
                    ledger.messages.ids(numbers).iter().flat_map(|id| id.to_bytes()).collect();
                control::request(&Control::Settle { number, verdict, ids: &ids })
            }
            Says::Ack(numbers) => ack::frame(&ledger.messages.ids(numbers)),
            Says::Create(at) => durable::create(GROUPS[*at].1, terms(*at)),
            Says::Delete(at) => durable::delete(GROUPS[*at].0),
            Says::Replay(at) => {
                letter::request(&letter::Request::Replay { group: GROUPS[*at].0, which: all("") })
            }
            Says::Purge(at, name) => {
                let request = letter::Request::Purge { group: GROUPS[*at].0, which: all(name) };
                letter::request(&request)
            }
        }
        .into()
    }

    /// Sends what the core wants sent and takes what it hands to the journal, and tells the ledger.
    fn carry_out(&mut self, ledger: &mut Ledger, now: Duration) -> Result<(), Broken> {
        if let Some((group, ops)) = self.core.take_group() {
            for op in &ops {
                ledger.op(op, now)?;
            }
            let (_, mut unsent) = self.unsent.take().unwrap_or_default();
            unsent.extend(ops.into_iter().filter(|op| self.is_written(op)));
            self.unsent = Some((group, unsent));
        }
        for effect in self.core.out.queue.drain(..).collect::<Vec<_>>() {
            match effect {
                Effect::Publish { frame, to, direct, .. } => {
                    if !to.is_empty() {
                        return Err(Broken::Misdelivered(format!("to {to:?}")));
                    }
                    let numbers = ledger.messages.read(&frame).map_err(Broken::Forged)?;
                    for Direct { connection, delivery, .. } in direct {
                        let (connection, attempt) = (connection as u32, delivery.attempt);
                        ledger.delivered(connection, &numbers, attempt, now)?;
                        let frame = frame.clone();
                        self.out.push(Output::Deliver { connection, frame });
                    }
                }
                Effect::Deferred { .. } | Effect::Granted { .. } => {}
                Effect::Reply(to, reply) => {
                    let code = match reply {
                        Reply::Refused(why, _) => Some(why.code()),
                        Reply::Ok | Reply::Hello(..) | Reply::Answer(_) => None,
                    };
                    ledger.answered(to.serial, code)?;
                    self.out.push(Output::Reply(to, code.is_none()));
                }
                Effect::Check(_, check) => unreachable!("no request is so large: {check:?}"),
                Effect::Carry(message) => unreachable!("no message is so large: {message:?}"),
            }
        }
        Ok(())
    }

    fn is_written(&self, op: &Op) -> bool {
        !match self.without {
            Without::StoredAcks => matches!(op, Op::Settle(_)),
            Without::StoredJobs => matches!(op, Op::Jobs { state: JobState::Done, .. }),
            Without::StoredLetters => matches!(op, Op::Letter(_) | Op::EndLetter { .. }),
            Without::StoredGroups => matches!(op, Op::Group(_)),
            Without::StoredDeletions => matches!(op, Op::EndGroup(_)),
            _ => false,
        }
    }

    fn write_journal(&mut self) {
        if self.disk.has_room()
            && let Some((group, ops)) = self.unsent.take()
        {
            self.disk.submit(group, ops);
        }
    }
}
