//! Everything there is, and the clock: the earliest event happens, and causes others.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;

use super::super::disk::Disk;
use super::super::trace::Trace;
use super::broken::Broken;
use super::conditions::{Conditions, NAMES, Weather};
use super::ledger::Ledger;
use super::network::{Network, Party};
use super::publisher::Publisher;
use super::server::{Interest, Server};
use super::subscriber::Subscriber;
use super::without::Without;
use crate::broker::core::Asker;
use crate::broker::subscribers::ConnectionId;
use crate::wire::reply::ErrorCode;

/// Where a reply goes. The core only carries it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    pub(super) party: Party,
    pub(super) connection: u32,
    /// The client's number of the request.
    pub(super) request: u64,
    /// The ledger's.
    pub(super) serial: u64,
}

impl Asker for Address {
    /// Another number for each publisher's connection; subscribers' have theirs elsewhere.
    fn connection(&self) -> ConnectionId {
        let party = match self.party {
            Party::Publisher(at) => at as u64,
            Party::Subscriber(at) => 1 << 24 | at as u64,
        };
        1 << 63 | party << 32 | u64::from(self.connection)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ok,
    Refused(ErrorCode),
}

/// What a request says, for those who cannot read.
#[derive(Clone, Debug)]
pub(super) enum Says {
    Publish(Vec<usize>),
    Ack(Vec<usize>),
    AckV1(usize),
}

#[derive(Debug)]
pub(super) enum Event {
    Wake(Party),
    Connect(Party, u32),
    Request(Address, Bytes, Says),
    Reply(Address, Answer),
    Subscribe {
        subscriber: usize,
        connection: u32,
        prefix: Bytes,
    },
    Delivery {
        subscriber: usize,
        connection: u32,
        frame: Bytes,
    },
    Turn,
    /// A commit of this life's disk ends.
    CommitEnds(u32),
    Start,
    Cut(Party),
    StrangeCancel(usize),
    Leave(usize),
    Kill,
    Drain,
    DiskFails,
    Calm,
}

/// A client's connections, all cut together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connection {
    pub(super) number: u32,
    pub(super) is_up: bool,
    /// When it looks for what to send.
    pub(super) wakes_at: Option<Duration>,
}

/// How long all must be done after it has become calm, beside some retry intervals and what a publisher
/// takes that sends one message after the other.
const CALM: Duration = Duration::from_secs(20);

/// Turns in a row, within a retry interval, that a server may have nothing to do in: its timers may be early,
/// and what is due may wait for the journal, which is seen at each of the wheel's 64 ticks.
const IDLE_TURNS_MAX: u32 = 100;

pub(super) struct World {
    pub(super) conditions: Conditions,
    pub(super) without: Without,
    pub(super) random: Rng,
    pub(super) now: Duration,
    pub(super) events: BTreeMap<(Duration, u64), Event>,
    /// Events so far.
    pub(super) steps: u64,
    pub(super) scheduled: u64,
    pub(super) next_turn: Option<Duration>,
    pub(super) idle_turns: u32,
    pub(super) idle_since: Duration,
    pub(super) network: Network,
    pub(super) connections: BTreeMap<Party, Connection>,
    pub(super) publishers: Vec<Publisher>,
    pub(super) subscribers: Vec<Subscriber>,
    pub(super) server: Option<Server>,
    /// Of the server that is down, and whether it had ended by itself.
    pub(super) disk: Option<(Disk, bool)>,
    pub(super) life: u32,
    pub(super) ledger: Ledger,
    pub(super) calm: bool,
    pub(super) trace: Trace,
}

impl World {
    pub(super) fn new(conditions: Conditions, mut random: Rng, without: Without) -> Self {
        let publishers: Vec<_> = (0..conditions.publishers)
            .map(|index| Publisher::new(index, &conditions, &mut random))
            .collect();
        let subscribers: Vec<_> =
            (0..conditions.subscribers).map(|index| Subscriber::new(index, &mut random)).collect();
        let parties = (0..publishers.len()).map(Party::Publisher);
        let parties = parties.chain((0..subscribers.len()).map(Party::Subscriber));
        let mut world = Self {
            network: Network::new(conditions.network.clone()),
            connections: parties.map(|party| (party, Connection::default())).collect(),
            publishers,
            subscribers,
            ledger: Ledger::new(&conditions),
            conditions,
            without,
            random,
            now: Duration::ZERO,
            events: BTreeMap::new(),
            steps: 0,
            scheduled: 0,
            next_turn: None,
            idle_turns: 0,
            idle_since: Duration::ZERO,
            server: None,
            disk: Some((Disk::default(), false)),
            life: 0,
            calm: false,
            trace: Trace::default(),
        };
        world.at(Duration::ZERO, Event::Start);
        world.at(world.conditions.calm_at, Event::Calm);
        world.plan_faults();
        world
    }

    pub(super) fn at(&mut self, at: Duration, event: Event) {
        self.scheduled += 1;
        self.events.insert((at.max(self.now), self.scheduled), event);
    }

    pub(super) fn after_ms(&mut self, range: Range<u64>, event: Event) {
        let pause = Duration::from_millis(self.random.u64(range));
        self.at(self.now + pause, event);
    }

    /// Runs until all is done, or a promise is broken.
    pub(super) fn run(&mut self) -> Result<(), Broken> {
        let Conditions { calm_at, interval, messages, pause_ms, commit_us, .. } = &self.conditions;
        let one = Duration::from_millis(pause_ms.end) + Duration::from_micros(commit_us.end);
        let deadline = *calm_at + CALM + *interval * 10 + one * *messages as u32;
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            if at > deadline {
                break;
            }
            self.steps += 1;
            self.trace.note(at, &event);
            self.happens(event)?;
            if self.calm && self.is_done() {
                return self.ledger.check_end();
            }
        }
        let publishers = self.publishers.iter().filter(|publisher| !publisher.is_done()).count();
        let empty = self.server.as_ref().is_some_and(Server::is_empty);
        self.ledger.check_end()?;
        Err(Broken::Stuck(format!("{publishers} publishers not done; server empty: {empty}")))
    }

    fn is_done(&self) -> bool {
        self.server.as_ref().is_some_and(Server::is_empty)
            && self.publishers.iter().all(Publisher::is_done)
    }

    fn happens(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Wake(party) => self.wake(party),
            Event::Connect(party, number) => self.connect(party, number),
            Event::Request(from, body, says) if self.is_current(from.party, from.connection) => {
                if let Some(server) = &mut self.server {
                    server.request(from, body, says);
                    self.turn_at(self.now + Duration::from_micros(20));
                }
            }
            Event::Reply(to, answer) if self.is_current(to.party, to.connection) => {
                self.answered(to, answer);
            }
            Event::Subscribe { subscriber, connection, prefix }
                if self.is_current(Party::Subscriber(subscriber), connection) =>
            {
                if let Some(server) = &mut self.server {
                    server.subscribe(Interest { subscriber, connection, prefix });
                    self.turn_at(self.now + Duration::from_micros(20));
                }
            }
            Event::Delivery { subscriber, connection, frame }
                if self.is_current(Party::Subscriber(subscriber), connection) =>
            {
                self.delivered(subscriber, &frame)?;
            }
            // The connection was cut meanwhile.
            Event::Request(..)
            | Event::Reply(..)
            | Event::Subscribe { .. }
            | Event::Delivery { .. } => {}
            Event::Turn => self.turn()?,
            Event::CommitEnds(life) => self.commit_ends(life),
            Event::Start => self.start()?,
            Event::Cut(party) => self.cut(party),
            Event::StrangeCancel(name) => {
                if let Some(server) = &mut self.server {
                    server.cancel(format!("\x01{}|", NAMES[name]).into());
                }
            }
            Event::Leave(index) => {
                self.subscribers[index].has_left = true;
                self.cut(Party::Subscriber(index));
            }
            Event::Kill => self.end(false),
            Event::Drain => {
                if let Some(server) = &mut self.server {
                    server.drain(&mut self.ledger);
                    self.turn_at(self.now);
                    // Its patience has an end.
                    self.after_ms(3000..3001, Event::Kill);
                }
            }
            Event::DiskFails => {
                if let Some(server) = &mut self.server {
                    server.disk.fail();
                    self.turn_at(self.now);
                    // Until somebody notices, and starts the server again.
                    self.after_ms(10..2000, Event::Kill);
                }
            }
            Event::Calm => {
                self.calm = true;
                self.network.weather = Weather::calm();
                self.conditions.failing = 0;
                self.conditions.hanging_commits = 0;
            }
        }
        Ok(())
    }

    pub(super) fn is_current(&self, party: Party, number: u32) -> bool {
        let connection = self.connections[&party];
        connection.is_up && connection.number == number
    }

    pub(super) fn wake_at(&mut self, party: Party, at: Duration) {
        let connection = self.connections.entry(party).or_default();
        if connection.wakes_at.is_none_or(|next| at < next) {
            connection.wakes_at = Some(at);
            self.at(at, Event::Wake(party));
        }
    }

    pub(super) fn wake_after_ms(&mut self, party: Party, range: Range<u64>) {
        let pause = Duration::from_millis(self.random.u64(range));
        self.wake_at(party, self.now + pause);
    }

    pub(super) fn turn_at(&mut self, at: Duration) {
        if self.next_turn.is_none_or(|next| at < next) {
            self.next_turn = Some(at);
            self.at(at, Event::Turn);
        }
    }

    fn turn(&mut self) -> Result<(), Broken> {
        // Another one may have been scheduled before this one.
        if self.next_turn != Some(self.now) {
            return Ok(());
        }
        self.next_turn = None;
        let Some(server) = &mut self.server else { return Ok(()) };
        let had_requests = server.has_requests();
        let outputs = server.turn(&mut self.ledger, self.now)?;
        let commits = server.disk.begin();
        let drained = server.is_drained();
        let next = server.next_turn(self.now);
        let idle = !had_requests && outputs.is_empty() && !commits;
        if !idle || self.now > self.idle_since + self.conditions.interval {
            (self.idle_turns, self.idle_since) = (0, self.now);
        }
        self.idle_turns += u32::from(idle);
        if self.idle_turns > IDLE_TURNS_MAX {
            return Err(Broken::Spins);
        }
        for output in outputs {
            self.send(output);
        }
        if commits {
            self.commit();
        }
        if drained {
            self.end(true);
        } else if let Some(at) = next {
            self.turn_at(at.max(self.now + Duration::from_micros(20)));
        }
        Ok(())
    }
}
