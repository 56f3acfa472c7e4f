//! All who take part, and what happens when.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

use super::super::Bytes;
use super::super::disk::Disk;
use super::super::trace::Trace;
use super::broken::Broken;
use super::conditions::{Conditions, DURABLE, GROUPS, NAMES};
use super::ledger::Ledger;
use super::publisher::Publisher;
use super::server::{Address, Said, Says, Server};
use super::without::Without;

/// How long all must be done after it has become calm.
const CALM: Duration = Duration::from_secs(60);
pub(super) const SOON: Duration = Duration::from_micros(20);

#[derive(Debug)]
pub(super) enum Event {
    Connect(usize),
    /// A publisher looks for what to send.
    Wake(usize),
    /// A client says something on this connection, if it is still there.
    Act(u32, Says),
    Arrive(Address, Says),
    Reply(Address, bool),
    Deliver {
        connection: u32,
        frame: Bytes,
    },
    /// The server hears that a connection is gone.
    Gone(u32),
    Turn,
    /// A commit of this life's disk ends.
    CommitEnds(u32),
    Start,
    Cut(usize),
    Operate,
    Kill,
    Drain,
    Calm,
}

pub(super) enum Role {
    Publisher(Publisher),
    /// Of a group that it chooses on each connection.
    Member,
    /// `counts`: its acknowledgements do.
    Listener {
        counts: bool,
    },
    /// Creates, deletes, replays and purges.
    Operator,
}

pub(super) struct Client {
    role: Role,
    connection: Option<u32>,
}

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
    pub(super) clients: Vec<Client>,
    /// Whose each connection is that is there.
    pub(super) connections: BTreeMap<u32, usize>,
    pub(super) connected: u32,
    /// When the last packet arrives that went this way: on this connection, to the server or from it.
    pub(super) last: BTreeMap<(u32, bool), Duration>,
    pub(super) asked: BTreeMap<u64, Says>,
    pub(super) serial: u64,
    pub(super) server: Option<Server>,
    /// Of the server that is down, and whether it had ended by itself.
    pub(super) disk: Option<(Disk, bool)>,
    pub(super) life: u32,
    pub(super) ledger: Ledger,
    pub(super) calm: bool,
    pub(super) trace: Trace,
}

impl World {
    pub(super) fn new(conditions: Conditions, random: Rng, without: Without) -> Self {
        let mut roles: Vec<Role> = (0..conditions.publishers)
            .map(|index| Role::Publisher(Publisher::new(index, &conditions)))
            .collect();
        roles.extend((0..conditions.members).map(|_| Role::Member));
        // One at least works on what no group has.
        roles.push(Role::Listener { counts: true });
        roles.extend((0..conditions.listeners).map(|n| Role::Listener { counts: n % 2 == 1 }));
        roles.push(Role::Operator);
        let mut world = Self {
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
            clients: roles.into_iter().map(|role| Client { role, connection: None }).collect(),
            connections: BTreeMap::new(),
            connected: 0,
            last: BTreeMap::new(),
            asked: BTreeMap::new(),
            serial: 0,
            server: None,
            disk: Some((Disk::default(), false)),
            life: 0,
            calm: false,
            trace: Trace::default(),
        };
        world.at(Duration::ZERO, Event::Start);
        world.plan();
        world
    }

    fn plan(&mut self) {
        let Conditions { cuts, kills, drains, operations, calm_at, .. } = self.conditions;
        let calm_ms = calm_at.as_millis() as u64;
        for _ in 0..cuts {
            let client = self.random.usize(0..self.clients.len());
            self.after_ms(0..calm_ms, Event::Cut(client));
        }
        (0..kills).for_each(|_| self.after_ms(0..calm_ms, Event::Kill));
        (0..drains).for_each(|_| self.after_ms(0..calm_ms, Event::Drain));
        (0..operations).for_each(|_| self.after_ms(0..calm_ms, Event::Operate));
        self.at(calm_at, Event::Calm);
    }

    pub(super) fn at(&mut self, at: Duration, event: Event) {
        self.scheduled += 1;
        self.events.insert((at.max(self.now), self.scheduled), event);
    }

    pub(super) fn after_ms(&mut self, range: Range<u64>, event: Event) {
        let pause = Duration::from_millis(self.random.u64(range));
        self.at(self.now + pause, event);
    }

    /// When a packet arrives that is sent now.
    pub(super) fn arrival(&mut self, connection: u32, to_server: bool) -> Duration {
        let us = self.random.u64(self.conditions.latency_us.clone());
        let last = self.last.entry((connection, to_server)).or_default();
        *last = (self.now + Duration::from_micros(us)).max(*last);
        *last
    }

    fn send(&mut self, connection: u32, says: Says) {
        self.serial += 1;
        let address = Address { connection, serial: self.serial };
        self.asked.insert(self.serial, says.clone());
        let at = self.arrival(connection, true);
        self.at(at, Event::Arrive(address, says));
    }

    /// Runs until all is done, or a promise is broken.
    pub(super) fn run(&mut self) -> Result<(), Broken> {
        let Conditions { calm_at, pause_ms, messages, .. } = &self.conditions;
        let deadline = *calm_at + CALM + Duration::from_millis(pause_ms.end) * *messages as u32;
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
        let empty = self.server.as_ref().is_some_and(Server::is_empty);
        Err(Broken::Stuck(format!("server empty: {empty}")))
    }

    fn is_done(&self) -> bool {
        let is_done = |client: &Client| match &client.role {
            Role::Publisher(publisher) => publisher.is_done(),
            _ => true,
        };
        self.server.as_ref().is_some_and(Server::is_empty) && self.clients.iter().all(is_done)
    }

    fn happens(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Connect(client) => self.connect(client),
            Event::Wake(client) => self.wake(client),
            Event::Act(connection, says) if self.connections.contains_key(&connection) => {
                self.send(connection, says);
            }
            Event::Arrive(from, says) if self.connections.contains_key(&from.connection) => {
                if let Some(server) = &mut self.server {
                    server.request(from, says);
                    self.turn_at(self.now + SOON);
                }
            }
            Event::Reply(to, ok) if self.connections.contains_key(&to.connection) => {
                self.answered(to, ok);
            }
            Event::Deliver { connection, frame } if self.connections.contains_key(&connection) => {
                self.delivered(connection, &frame)?;
            }
            // The connection was cut meanwhile.
            Event::Act(..) | Event::Arrive(..) | Event::Reply(..) | Event::Deliver { .. } => {}
            Event::Gone(connection) => {
                if let Some(server) = &mut self.server {
                    server.disconnect(connection);
                    self.turn_at(self.now + SOON);
                }
            }
            Event::Turn => self.turn()?,
            Event::CommitEnds(life) => self.commit_ends(life),
            Event::Start => self.start()?,
            Event::Cut(client) => {
                if let Some(connection) = self.cut(client) {
                    self.after_ms(0..50, Event::Gone(connection));
                }
            }
            Event::Operate => self.operate(),
            Event::Kill => self.end(false),
            Event::Drain => {
                if let Some(server) = &mut self.server {
                    server.drain(&mut self.ledger);
                    self.turn_at(self.now);
                    // Its patience has an end.
                    self.after_ms(2000..2001, Event::Kill);
                }
            }
            Event::Calm => {
                self.calm = true;
                (self.conditions.failing, self.conditions.latency_us) = (0, 50..500);
                // Durable groups get members; what the others have of whom nobody says a word comes again.
                let first = self.conditions.publishers;
                for client in first..self.clients.len() {
                    let stays =
                        (first + DURABLE..first + self.conditions.members).contains(&client);
                    if !stays {
                        self.at(self.now, Event::Cut(client));
                    }
                }
                self.at(self.now, Event::Operate);
            }
        }
        Ok(())
    }

    fn connect(&mut self, client: usize) {
        if self.server.is_none() || self.clients[client].connection.is_some() {
            return;
        }
        self.connected += 1;
        let connection = self.connected;
        self.clients[client].connection = Some(connection);
        self.connections.insert(connection, client);
        match &mut self.clients[client].role {
            Role::Publisher(publisher) => {
                publisher.connected();
                self.at(self.now, Event::Wake(client));
            }
            Role::Member => self.join(connection, client),
            Role::Listener { counts } => {
                let counts = *counts;
                self.send(connection, Says::Listen { counts });
            }
            Role::Operator if !self.calm => {
                (0..DURABLE).for_each(|at| self.send(connection, Says::Create(at)));
            }
            Role::Operator => {}
        }
    }

    fn join(&mut self, connection: u32, client: usize) {
        let at = match self.calm {
            true => (client - self.conditions.publishers) % GROUPS.len(),
            false => self.random.usize(0..GROUPS.len()),
        };
        self.send(connection, Says::Join(at));
    }

    /// Its connection is gone, and what was under way on it.
    pub(super) fn cut(&mut self, client: usize) -> Option<u32> {
        let connection = self.clients[client].connection.take()?;
        self.connections.remove(&connection);
        self.ledger.tell("connection cut");
        self.after_ms(1..500, Event::Connect(client));
        Some(connection)
    }

    fn wake(&mut self, client: usize) {
        let Client { role: Role::Publisher(publisher), connection: Some(connection) } =
            &mut self.clients[client]
        else {
            return;
        };
        let connection = *connection;
        let first = self.serial + 1;
        let (messages, random) = (&mut self.ledger.messages, &mut self.random);
        for numbers in publisher.wake(messages, &self.conditions, random, self.now, first) {
            self.send(connection, Says::Publish(numbers));
        }
        let Role::Publisher(publisher) = &self.clients[client].role else { return };
        if !publisher.is_done() {
            self.after_ms(self.conditions.pause_ms.clone(), Event::Wake(client));
        }
    }

    fn operate(&mut self) {
        let client = self.clients.len() - 1;
        if self.calm {
            self.after_ms(300..301, Event::Operate);
        }
        let (Some(server), Some(connection)) = (&self.server, self.clients[client].connection)
        else {
            return;
        };
        if self.calm {
            for at in server.groups_with_letters() {
                let says = match self.conditions.replays && at < DURABLE {
                    true => Says::Replay(at),
                    false => Says::Purge(at, ""),
                };
                self.send(connection, says);
            }
            return;
        }
        let at = self.random.usize(0..GROUPS.len());
        let durable = at % DURABLE;
        let name = NAMES[self.random.usize(0..NAMES.len())];
        let says = match self.random.u32(0..6) {
            0 => Says::Create(durable),
            1 => Says::Delete(durable),
            2 => Says::Replay(at),
            3 => Says::Purge(at, ""),
            4 => Says::Purge(at, name),
            _ if self.ledger.stories.is_empty() => return,
            // Somebody who has nothing to say.
            _ => Says::Ack(vec![self.random.usize(0..self.ledger.stories.len())]),
        };
        self.send(connection, says);
    }

    fn answered(&mut self, to: Address, ok: bool) {
        let Some(says) = self.asked.remove(&to.serial) else { return };
        let client = self.connections[&to.connection];
        match (&mut self.clients[client].role, says) {
            (Role::Publisher(publisher), _) => publisher.answered(to.serial, ok),
            // Its group has other terms, or is being deleted.
            (Role::Member, Says::Join(_)) if !ok => {
                let at = self.random.usize(0..GROUPS.len());
                self.after_ms(10..300, Event::Act(to.connection, Says::Join(at)));
            }
            _ => {}
        }
    }

    fn delivered(&mut self, connection: u32, frame: &Bytes) -> Result<(), Broken> {
        let numbers = self.ledger.messages.read(frame).map_err(Broken::Forged)?;
        let acks: Vec<usize> =
            numbers.into_iter().filter(|&number| self.ledger.messages.get(number).ack).collect();
        match self.clients[self.connections[&connection]].role {
            Role::Member => {
                for number in acks {
                    self.work(connection, number);
                }
            }
            Role::Listener { counts: true }
                if !acks.is_empty() && (self.calm || self.random.bool()) =>
            {
                self.after_ms(1..20, Event::Act(connection, Says::Ack(acks)));
            }
            _ => {}
        }
        let credit = Says::Credit(frame.len() as u64);
        self.after_ms(1..50, Event::Act(connection, credit));
        Ok(())
    }

    /// A member works on a message, and says what comes of it.
    fn work(&mut self, connection: u32, number: usize) {
        let one = |said| Says::Verdict(said, vec![number]);
        if self.random.u32(0..1000) >= self.conditions.failing {
            self.after_ms(1..20, Event::Act(connection, one(Said::Ack)));
            return;
        }
        let delay_ms = self.random.u32(1..600);
        match self.random.u32(0..7) {
            0 => self.after_ms(1..100, Event::Act(connection, one(Said::Nak(0)))),
            1 => self.after_ms(1..100, Event::Act(connection, one(Said::Nak(delay_ms)))),
            2 => self.after_ms(1..100, Event::Act(connection, one(Said::Reject))),
            3 => {
                self.after_ms(1..400, Event::Act(connection, one(Said::Extend)));
                self.after_ms(400..800, Event::Act(connection, one(Said::Ack)));
            }
            // Perhaps too late.
            4 => self.after_ms(100..2000, Event::Act(connection, one(Said::Ack))),
            _ => self.ledger.tell("member said nothing"),
        }
    }
}
