//! A native subscriber: an observer, one that takes part, or a member of a group, on a connection for requests. It counts
//! what it granted against what it gets, and a member says what became of each message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::asker::{Asker, Said, What};
use super::broken::Broken;
use super::conditions::{NAMES, WORK};
use super::ledger::{Line, Tale};
use super::wire::Version;
use super::without::Without;
use super::world::{Client, World};
use crate::config::SlowSubscriber;
use crate::limits::OVERDRAFT_BYTES_MAX;
use crate::wire::control::{self, Control, DELIVERY, Group, Kind, Overflow, Subscribe, Verdict};
use crate::wire::filter::Filter;

/// What it calls its only subscription.
const NUMBER: u32 = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Observer,
    Broadcast,
    Member,
}

pub(super) struct Native {
    me: usize,
    role: Role,
    overflow: Overflow,
    name: &'static str,
    /// Bytes that it grants at the beginning.
    credit: u64,
    ack_wait_ms: u32,
    asker: Asker,
    /// When the server said that the subscription of this connection stands.
    confirmed: Option<u64>,
    is_subscribing: bool,
    /// Bytes granted and got, by the connection at hand.
    granted: u64,
    spent: u64,
    /// Bytes of what it has dealt with, which it grants again.
    dealt_with: u64,
    got: BTreeSet<usize>,
    got_once: BTreeSet<(u32, usize)>,
    lines: BTreeMap<Line, usize>,
    /// What a member has to work on.
    work: VecDeque<usize>,
}

impl Native {
    pub(super) fn new(me: usize, role: Role, world: &mut World) -> Self {
        let random = &mut world.random;
        let version = [Version::V20, Version::V30, Version::V31][random.usize(0..3)];
        let overflow = [Overflow::Hold, Overflow::Drop][random.usize(0..2)];
        let name = if role == Role::Member { WORK } else { NAMES[random.usize(0..NAMES.len())] };
        // One that holds publishers up grants soon what it dealt with.
        let is_healthy = role != Role::Member && overflow == Overflow::Hold;
        Self {
            me,
            role,
            overflow,
            name,
            credit: [200, 3000, 200_000][random.usize(0..3)],
            // All members say the same.
            ack_wait_ms: 400,
            asker: Asker::new(me, "DEALER", version, is_healthy),
            confirmed: None,
            is_subscribing: false,
            granted: 0,
            spent: 0,
            dealt_with: 0,
            got: BTreeSet::new(),
            got_once: BTreeSet::new(),
            lines: BTreeMap::new(),
            work: VecDeque::new(),
        }
    }

    fn is_prompt(&self) -> bool {
        self.role != Role::Member && self.overflow == Overflow::Hold
    }

    fn subscribe(&mut self, world: &mut World) {
        self.asker.connect(world);
        if let Some(link) = self.asker.link {
            world.links[link].delivers = true;
            let policy = world.conditions.config.slow_subscriber;
            if policy == SlowSubscriber::Disconnect && !self.is_prompt() {
                world.may_close(link, "the policy is to disconnect");
            }
        }
        let group =
            Group { ack_wait_ms: self.ack_wait_ms, in_flight_max: 5, ..Group::named("workers") };
        let kind = match self.role {
            Role::Observer => Kind::Observer,
            Role::Broadcast => Kind::Broadcast,
            Role::Member => Kind::Group(group),
        };
        let (overflow, credit, filter) = (self.overflow, self.credit, Filter::Name(self.name));
        let wanted = Subscribe { number: NUMBER, kind, overflow, filter, credit, with_last: false };
        self.granted = credit;
        self.is_subscribing = true;
        self.asker.ask(What::Control, &control::request(&Control::Subscribe(wanted)), world);
    }

    fn grant(&mut self, world: &mut World) {
        let bytes = std::mem::take(&mut self.dealt_with);
        if bytes > 0 {
            self.granted += bytes;
            let counted = match world.without {
                Without::CreditLimit => bytes * 2,
                Without::Grants if world.random.u32(0..Without::LOST_ONE_IN) == 0 => 0,
                _ => bytes,
            };
            let credit = Control::Credit { number: NUMBER, bytes: counted };
            self.asker.ask(What::Control, &control::request(&credit), world);
        }
    }

    /// A delivery, in its frames.
    fn receive(&mut self, frames: Vec<Vec<u8>>, world: &mut World) -> Result<(), Broken> {
        let [_, lead, frame] = <[Vec<u8>; 3]>::try_from(frames)
            .map_err(|frames| Broken::Corrupt(format!("a delivery of {} frames", frames.len())))?;
        let attempt = match lead[..] {
            [DELIVERY, n0, n1, n2, n3, 0 | 1, a0, a1]
                if [n0, n1, n2, n3] == NUMBER.to_le_bytes() =>
            {
                u16::from_le_bytes([a0, a1])
            }
            _ => return Err(Broken::Corrupt(format!("{lead:?} before a delivery"))),
        };
        if (attempt > 0) != (self.role == Role::Member) {
            return Err(Broken::Corrupt(format!("attempt {attempt} for a {:?}", self.role)));
        }
        let holds = self.overflow == Overflow::Hold && self.role != Role::Member;
        let beyond = if holds { OVERDRAFT_BYTES_MAX as u64 } else { 0 };
        if self.spent >= self.granted + beyond {
            return Err(Broken::Overdrawn(self.spent - self.granted));
        }
        if self.spent >= self.granted {
            world.tell("delivery beyond the credit");
        }
        let bytes = frame.len() as u64;
        self.spent += bytes;
        let (_, numbers) =
            world.ledger.catalog.read(&Bytes::from(frame)).map_err(Broken::Corrupt)?;
        for number in numbers {
            self.take(number, world)?;
        }
        // A member deals with what it got later.
        self.dealt_with += bytes;
        let soon = if self.is_prompt() { 1000..30_000 } else { 1000..100_000 };
        world.wake_in_us(self.me, soon);
        Ok(())
    }

    fn take(&mut self, number: usize, world: &mut World) -> Result<(), Broken> {
        let made = world.ledger.catalog.get(number);
        if made.name != self.name {
            return Err(Broken::Unwanted(number));
        }
        if !world.is_stored(number) {
            return Err(Broken::PublishedBeforeStored(number));
        }
        let tale = *world.ledger.tale(number);
        self.got.insert(number);
        if let Some((line, place)) = tale.place {
            let life = self.asker.link.map_or(0, |link| world.links[link].life);
            if !self.got_once.insert((life, number)) {
                return Err(Broken::Twice(number));
            }
            if self.lines.insert(line, place).unwrap_or(0) >= place {
                return Err(Broken::Overtook(number));
            }
        }
        match self.role {
            Role::Member => {
                world.tell("delivery to a member of a group");
                self.work.push_back(number);
            }
            Role::Observer => world.tell("delivery to an observer"),
            Role::Broadcast => world.tell("delivery to a broadcast"),
        }
        Ok(())
    }

    /// A member says what became of a message.
    fn settle(&mut self, number: usize, world: &mut World) {
        let random = &mut world.random;
        let fails = random.u32(0..1000) < world.conditions.failing;
        let verdict = match random.u32(0..4) {
            // It says nothing, and its time passes.
            0 if fails => return,
            1 if fails => Verdict::Extend,
            _ if fails => Verdict::Nak { delay_ms: random.u32(0..200) },
            _ => Verdict::Ack,
        };
        if verdict == Verdict::Ack {
            world.ledger.tale(number).acknowledged = true;
        }
        let ids = world.ledger.catalog.get(number).id.to_bytes();
        let settle = Control::Settle { number: NUMBER, verdict, ids: &ids };
        let what = What::Settle(number, verdict == Verdict::Ack);
        self.asker.ask(what, &control::request(&settle), world);
        if verdict == Verdict::Extend {
            self.work.push_back(number);
            world.wake_in_us(self.me, 1000..300_000);
        }
    }

    fn answered(&mut self, what: &What, said: Said, world: &mut World) -> Result<(), Broken> {
        match (what, said) {
            (What::Control, _) if std::mem::take(&mut self.is_subscribing) => {
                self.confirmed = Some(world.moment());
            }
            (What::Settle(number, true), Said::Ok) => {
                let life = self.asker.link.map_or(0, |link| world.links[link].life);
                world.tell("message settled by a member");
                let settled_in = &mut world.ledger.tale(*number).settled_in;
                if settled_in.replace(life) == Some(life) {
                    return Err(Broken::SettledTwice(*number));
                }
            }
            (What::Settle(..), Said::Refused(_)) => world.tell("verdict of a member too late"),
            _ => {}
        }
        Ok(())
    }

    /// The first message that one for whom publishers wait must have been given, and was not.
    fn missing(&self, world: &World) -> Option<usize> {
        let confirmed = self.confirmed.filter(|_| self.is_prompt())?;
        let is_missing = |&(number, tale): &(usize, Tale)| {
            let is_due = tale.ok.is_some() && tale.sent.is_some_and(|sent| confirmed < sent);
            is_due
                && world.ledger.catalog.get(number).name == self.name
                && !self.got.contains(&number)
        };
        world.ledger.tales().find(is_missing).map(|(number, _)| number)
    }

    fn forget(&mut self) {
        self.asker.lost();
        (self.confirmed, self.is_subscribing) = (None, false);
        (self.granted, self.spent, self.dealt_with) = (0, 0, 0);
        self.got.clear();
        self.lines.clear();
        self.work.clear();
    }
}

impl Client for Native {
    fn wake(&mut self, world: &mut World) -> Result<(), Broken> {
        self.asker.check_patience(world)?;
        let ends = world.random.u32(0..1000) < world.conditions.ends && !self.is_prompt();
        match self.asker.link {
            None => self.subscribe(world),
            Some(link) if ends => {
                world.tell("a native subscriber left");
                world.leave(link);
                self.forget();
                world.wake_in_us(self.me, 1000..300_000);
                return Ok(());
            }
            Some(_) => {}
        }
        for _ in 0..self.work.len() {
            if let Some(number) = self.work.pop_front() {
                self.settle(number, world);
            }
        }
        self.grant(world);
        Ok(())
    }

    fn hear(&mut self, link: usize, bytes: &[u8], world: &mut World) -> Result<(), Broken> {
        if self.asker.link != Some(link) {
            return Ok(());
        }
        let answers = self.asker.hear(bytes, world)?;
        for delivery in self.asker.take_deliveries() {
            self.receive(delivery, world)?;
        }
        answers.into_iter().try_for_each(|(what, said)| self.answered(&what, said, world))
    }

    fn lost(&mut self, link: usize, world: &mut World) {
        if self.asker.link == Some(link) && !world.is_draining {
            self.forget();
            world.wake_in_us(self.me, 1000..200_000);
        }
    }

    fn is_done(&self, world: &World) -> bool {
        self.confirmed.is_some()
            && self.work.is_empty()
            && self.dealt_with == 0
            && self.asker.is_done()
            && self.missing(world).is_none()
    }

    fn check_end(&self, world: &World) -> Result<(), Broken> {
        let stood = self.asker.link.is_some_and(|link| world.links[link].cause.is_none());
        if !world.is_draining || !stood || !(self.is_prompt() || world.was_calm_before) {
            return Ok(());
        }
        match self.missing(world) {
            Some(number) => Err(Broken::Missed(number)),
            None => self.asker.check_drained(world),
        }
    }
}
