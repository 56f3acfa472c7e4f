//! Everything but the broker, and the clock: while the broker waits, the earliest event happens.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;

use super::super::trace::Trace;
use super::broken::Broken;
use super::conditions::Conditions;
use super::disk::Disk;
use super::ledger::Ledger;
use super::link::{DOWN, Link, UP};
use super::native::{Native, Role};
use super::publisher::{Publisher, Topics};
use super::stranger::Stranger;
use super::subscriber::Subscriber;
use super::without::Without;
use crate::metrics::Counters;
use crate::net::socket::Ready;
use crate::zmtp::session::Port;

/// Somebody with connections.
pub(super) trait Client {
    /// Does what it has to do now.
    fn wake(&mut self, world: &mut World) -> Result<(), Broken>;

    /// Bytes came in on one of its links.
    fn hear(&mut self, link: usize, bytes: &[u8], world: &mut World) -> Result<(), Broken>;

    /// One of its links is lost.
    fn lost(&mut self, link: usize, world: &mut World);

    /// Whether nothing is left to do.
    fn is_done(&self, world: &World) -> bool;

    /// All is done, or the server has ended: whether it got what it was promised.
    fn check_end(&self, _world: &World) -> Result<(), Broken> {
        Ok(())
    }
}

#[derive(Debug)]
pub(super) enum Event {
    Wake(usize),
    /// A connection comes to its listener.
    Arrive(usize),
    /// A piece moves on a link.
    Move(usize, usize),
    /// By now the server has closed a link.
    IsOver(usize, &'static str),
    /// The system runs out of descriptors for so long.
    Shortage(Duration),
    /// The journal's commit ends, of the server with this number.
    Commit(u32),
    /// The server is killed soon.
    Kill,
    Drain,
    Calm,
}

/// How long all must be done after it has become calm, beside some retry intervals.
const CALM: Duration = Duration::from_secs(40);

/// Turns in a row, within a second, in which a server may do nothing: its timers may be early. At its end it
/// looks again each millisecond.
const IDLE_TURNS_MAX: u32 = 300;
const IDLE_TURNS_MAX_AT_END: u32 = 1200;

pub(super) struct World {
    pub(super) conditions: Conditions,
    pub(super) without: Without,
    pub(super) random: Rng,
    pub(super) now: Duration,
    pub(super) events: BTreeMap<(Duration, u64), Event>,
    scheduled: u64,
    /// Moments, numbered: events and what clients send.
    pub(super) moment: u64,
    pub(super) links: Vec<Link>,
    /// Links that the server has.
    pub(super) live: Vec<usize>,
    /// Connections that wait to be accepted, at each listener, and whether that is to be told.
    pub(super) backlog: [VecDeque<usize>; 2],
    pub(super) tell_listener: [bool; 2],
    pub(super) is_listening: bool,
    pub(super) short_until: Duration,
    clients: Vec<Option<Box<dyn Client>>>,
    wakes: Vec<Option<Duration>>,
    pub(super) ledger: Ledger,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) is_woken: bool,
    /// What the journal lies on, if there is one.
    pub(super) disk: Disk,
    /// The number of the server that runs, or ran.
    pub(super) life: u32,
    /// It was killed.
    pub(super) is_down: bool,
    /// It is killed when it has read and written so often.
    pub(super) dies_in: Option<u32>,
    pub(super) is_calm: bool,
    pub(super) is_draining: bool,
    pub(super) drain_began: Duration,
    pub(super) was_calm_before: bool,
    /// All clients go away.
    pub(super) is_leaving: bool,
    /// Nothing will ever happen.
    pub(super) is_quiet: bool,
    /// Links that are watched until they are closed.
    watched: usize,
    pub(super) deadline: Duration,
    pub(super) broken: Option<Broken>,
    /// What the server has done: read, written, accepted, closed, or been told.
    pub(super) doings: u64,
    doings_before: u64,
    idle_turns: u32,
    idle_since: Duration,
    pub(super) trace: Trace,
    /// How often what happened, so that it can be seen that it did.
    pub(super) tally: BTreeMap<&'static str, u64>,
}

impl World {
    pub(super) fn new(conditions: Conditions, random: Rng, without: Without) -> Self {
        let mut world = Self {
            deadline: conditions.calm_at + CALM + conditions.config.retry_interval * 10,
            conditions,
            without,
            random,
            now: Duration::ZERO,
            events: BTreeMap::new(),
            scheduled: 0,
            moment: 0,
            links: Vec::new(),
            live: Vec::new(),
            backlog: Default::default(),
            tell_listener: [false; 2],
            is_listening: true,
            short_until: Duration::ZERO,
            clients: Vec::new(),
            wakes: Vec::new(),
            ledger: Ledger::default(),
            counters: Arc::default(),
            stop: Arc::default(),
            is_woken: false,
            disk: Disk::default(),
            life: 0,
            is_down: false,
            dies_in: None,
            is_calm: false,
            is_draining: false,
            drain_began: Duration::ZERO,
            was_calm_before: false,
            is_leaving: false,
            is_quiet: false,
            watched: 0,
            broken: None,
            doings: 0,
            doings_before: 0,
            idle_turns: 0,
            idle_since: Duration::ZERO,
            trace: Trace::default(),
            tally: BTreeMap::new(),
        };
        let Conditions { publishers, subscribers, natives, members, strangers, .. } =
            world.conditions;
        // Not always: what they do wakes the server again and again, as if it could not sleep too long.
        if world.random.u32(0..3) > 0 {
            world.join(|me, world| Box::new(Publisher::new(me, Topics::Healthy, world)));
            world.join(|me, world| Box::new(Subscriber::new(me, 0, true, world)));
        }
        for _ in 0..publishers {
            world.join(|me, world| Box::new(Publisher::new(me, Topics::Any, world)));
        }
        for index in 0..subscribers {
            world.join(|me, world| Box::new(Subscriber::new(me, index, false, world)));
        }
        for at in 0..natives {
            let role = [Role::Observer, Role::Broadcast][at % 2];
            world.join(|me, world| Box::new(Native::new(me, role, world)));
        }
        if members > 0 {
            world.join(|me, world| Box::new(Publisher::new(me, Topics::Work, world)));
        }
        for _ in 0..members {
            world.join(|me, world| Box::new(Native::new(me, Role::Member, world)));
        }
        for _ in 0..strangers {
            world.join(|me, world| Box::new(Stranger::new(me, world)));
        }
        let calm_at = world.conditions.calm_at;
        world.at(calm_at, Event::Calm);
        for at in world.conditions.kills_at.clone() {
            world.at(at, Event::Kill);
        }
        if let Some(at) = world.conditions.drain_at {
            world.at(at, Event::Drain);
        }
        for _ in 0..world.conditions.shortages {
            let ms = world.random.u64(0..calm_at.as_millis() as u64);
            let length = Duration::from_millis(world.random.u64(1..400));
            world.at(Duration::from_millis(ms), Event::Shortage(length));
        }
        world
    }

    fn join(&mut self, make: impl FnOnce(usize, &mut Self) -> Box<dyn Client>) {
        let me = self.clients.len();
        let client = make(me, self);
        self.clients.push(Some(client));
        self.wakes.push(None);
        self.wake_in_us(me, 0..100_000);
    }

    pub(super) fn tell(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    pub(super) fn fail(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
    }

    pub(super) fn at(&mut self, at: Duration, event: Event) {
        self.scheduled += 1;
        self.events.insert((at.max(self.now), self.scheduled), event);
    }

    pub(super) fn wake_in_us(&mut self, client: usize, us: std::ops::Range<u64>) {
        let at = self.now + Duration::from_micros(self.random.u64(us));
        if self.wakes[client].is_none_or(|next| at < next) {
            self.wakes[client] = Some(at);
            self.at(at, Event::Wake(client));
        }
    }

    /// A moment that is like no other.
    pub(super) fn moment(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// Sees to it that a link is closed within so long.
    pub(super) fn watch(&mut self, link: usize, within: Duration, why: &'static str) {
        self.watched += 1;
        self.at(self.now + within, Event::IsOver(link, why));
    }

    pub(super) fn with(
        &mut self,
        at: usize,
        act: impl FnOnce(&mut dyn Client, &mut Self) -> Result<(), Broken>,
    ) {
        let Some(mut client) = self.clients[at].take() else { return };
        let result = act(&mut *client, self);
        self.clients[at] = Some(client);
        if let Err(broken) = result {
            self.fail(broken);
        }
    }

    pub(super) fn happens(&mut self, event: Event) {
        self.moment += 1;
        self.trace.note(self.now, &event);
        match event {
            Event::Wake(client) => {
                // Another one may have been scheduled before this one.
                if self.wakes[client] == Some(self.now) {
                    self.wakes[client] = None;
                    if !self.is_leaving {
                        self.with(client, |client, world| client.wake(world));
                    }
                }
            }
            Event::Arrive(link) => self.arrive(link),
            Event::Move(link, way) => {
                self.links[link].moves[way] = false;
                if way == UP { self.move_up(link) } else { self.move_down(link) }
            }
            Event::IsOver(link, why) => {
                self.watched -= 1;
                let at = &self.links[link];
                if !at.is_closed && !at.is_reset && at.is_registered {
                    self.fail(Broken::Open(why.into()));
                }
            }
            Event::Shortage(length) if !self.is_calm => self.short_until = self.now + length,
            Event::Shortage(_) => {}
            Event::Commit(life) => self.commit(life),
            Event::Kill => self.kill(),
            Event::Drain if self.is_leaving || self.is_down => {}
            Event::Drain => {
                self.stop.store(true, Ordering::Release);
                (self.is_draining, self.is_woken, self.drain_began) = (true, true, self.now);
                self.was_calm_before = self.is_calm;
                for link in &mut self.links {
                    link.arrived_before_drain = link.arrived;
                }
            }
            Event::Calm => {
                self.is_calm = true;
                self.short_until = Duration::ZERO;
                (self.conditions.ends, self.conditions.failing) = (0, 0);
                for link in 0..self.links.len() {
                    self.links[link].calm_down();
                    for way in [UP, DOWN] {
                        self.links[link].moves[way] = false;
                        self.move_soon(link, way);
                    }
                }
            }
        }
    }

    /// The broker waits.
    pub(super) fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) {
        self.notice_idle();
        self.begin_commit();
        // A turn takes its time.
        self.now += Duration::from_micros(self.random.u64(2..40));
        let end = timeout.map(|timeout| self.now + timeout);
        if self.random.u32(0..1000) < self.conditions.spurious {
            self.tell_what_is_not(ready);
        }
        loop {
            // While the broker worked, the others did, too.
            let reached = self.now;
            while let Some(entry) = self.events.first_entry()
                && entry.key().0 <= reached
            {
                let ((at, _), event) = entry.remove_entry();
                self.now = at;
                self.happens(event);
            }
            self.now = reached;
            self.tell_ready(ready);
            if !ready.is_empty()
                || self.is_down
                || self.broken.is_some()
                || self.now > self.deadline
            {
                self.random.shuffle(ready);
                break;
            }
            let next = self.events.first_key_value().map(|((at, _), _)| *at);
            match (next, end) {
                (None, None) => {
                    self.is_quiet = true;
                    break;
                }
                (Some(next), None) => self.now = next,
                (Some(next), Some(end)) if next <= end => self.now = next,
                (_, Some(end)) => {
                    self.now = end;
                    break;
                }
            }
        }
        self.trace.note(self.now, &(timeout, &*ready));
    }

    fn notice_idle(&mut self) {
        if self.doings != self.doings_before || self.now > self.idle_since + Duration::from_secs(1)
        {
            (self.doings_before, self.idle_turns) = (self.doings, 0);
            self.idle_since = self.now;
        }
        self.idle_turns += 1;
        let most = if self.is_draining { IDLE_TURNS_MAX_AT_END } else { IDLE_TURNS_MAX };
        if self.idle_turns > most {
            self.fail(Broken::Spins);
        }
    }

    fn tell_ready(&mut self, ready: &mut Vec<Ready>) {
        if std::mem::take(&mut self.is_woken) {
            ready.push(Ready::Woken);
        }
        for (at, port) in [Port::Requests, Port::Publishing].into_iter().enumerate() {
            if std::mem::take(&mut self.tell_listener[at]) {
                ready.push(Ready::Listener(port));
            }
        }
        let told: Vec<usize> =
            self.live.iter().copied().filter(|&at| self.links[at].tell.is_something()).collect();
        for at in told {
            // What is not told now is told next time.
            if !ready.is_empty() && self.random.u32(0..4) == 0 {
                continue;
            }
            let link = &mut self.links[at];
            let Some(key) = link.key else { continue };
            let mut tell = std::mem::take(&mut link.tell);
            match self.without {
                Without::WakeUpsToRead if self.random.u32(0..Without::LOST_ONE_IN) == 0 => {
                    tell.readable = false;
                }
                Without::WakeUpsToWrite if self.random.u32(0..Without::LOST_ONE_IN) == 0 => {
                    tell.writable = false;
                }
                Without::Ends => tell.ended = false,
                _ => {}
            }
            let (readable, writable, ended) = (tell.readable, tell.writable, tell.ended);
            ready.push(Ready::Stream { key, readable, writable, ended });
        }
        self.doings += u64::from(!ready.is_empty());
    }

    fn tell_what_is_not(&mut self, ready: &mut Vec<Ready>) {
        let random = &mut self.random;
        if self.live.is_empty() || random.u32(0..8) == 0 {
            ready.push(Ready::Listener([Port::Requests, Port::Publishing][random.usize(0..2)]));
        } else if let Some(key) = self.links[self.live[random.usize(0..self.live.len())]].key {
            let (readable, writable) = (random.bool(), random.bool());
            ready.push(Ready::Stream { key, readable, writable, ended: false });
        }
    }

    /// Whether all clients have done all that they had to.
    pub(super) fn is_done(&self) -> bool {
        let mut clients = self.clients.iter().flatten();
        self.is_calm && self.watched == 0 && clients.all(|client| client.is_done(self))
    }

    /// The clients, by number, that have something left.
    pub(super) fn undone(&self) -> Vec<usize> {
        let undone =
            |at: &usize| self.clients[*at].as_ref().is_some_and(|client| !client.is_done(self));
        (0..self.clients.len()).filter(undone).collect()
    }

    pub(super) fn check_end(&self) -> Result<(), Broken> {
        self.clients.iter().flatten().try_for_each(|client| client.check_end(self))
    }

    /// All clients go away, each in its way.
    pub(super) fn all_leave(&mut self) {
        self.is_leaving = true;
        self.deadline = self.now + Duration::from_secs(30);
        for link in 0..self.links.len() {
            if !self.links[link].is_closed && !self.links[link].is_gone {
                match self.random.u32(0..3) {
                    0 => self.reset(link),
                    1 => self.end(link),
                    _ => self.leave(link),
                }
            }
        }
    }

    /// The server is gone; what is on its way arrives.
    pub(super) fn run_out(&mut self) {
        (self.is_leaving, self.is_listening) = (true, false);
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = self.now.max(at);
            self.happens(event);
        }
    }
}
