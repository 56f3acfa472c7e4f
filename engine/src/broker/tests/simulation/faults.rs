//! Connections that are cut, servers that end and start again, commits that take their time.

use std::time::Duration;

use super::broken::Broken;
use super::conditions::{Conditions, NAMES};
use super::network::{Party, Way};
use super::server::Server;
use super::world::{Event, World};

impl World {
    pub(super) fn plan_faults(&mut self) {
        let parties: Vec<Party> = self.connections.keys().copied().collect();
        let calm_ms = self.conditions.calm_at.as_millis() as u64;
        let Conditions { cuts, kills, drains, strange_cancels, .. } = self.conditions;
        for _ in 0..cuts {
            let party = parties[self.random.usize(0..parties.len())];
            self.after_ms(0..calm_ms, Event::Cut(party));
        }
        for _ in 0..strange_cancels {
            let name = self.random.usize(0..NAMES.len());
            self.after_ms(0..calm_ms, Event::StrangeCancel(name));
        }
        for index in 0..self.subscribers.len() {
            if self.subscribers[index].leaves {
                self.after_ms(0..calm_ms, Event::Leave(index));
            }
        }
        (0..kills).for_each(|_| self.after_ms(0..calm_ms, Event::Kill));
        (0..drains).for_each(|_| self.after_ms(0..calm_ms, Event::Drain));
        if self.conditions.failing_disk {
            self.after_ms(0..calm_ms, Event::DiskFails);
        }
    }

    pub(super) fn connect(&mut self, party: Party, number: u32) {
        let connection = self.connections.entry(party).or_default();
        if self.server.is_none() || connection.is_up || connection.number != number {
            return;
        }
        connection.is_up = true;
        match party {
            Party::Publisher(index) => self.publishers[index].connected(&self.ledger.catalog),
            Party::Subscriber(index) => {
                self.subscribers[index].connected();
                for prefix in self.subscribers[index].prefixes.clone() {
                    let arrivals =
                        self.network.send(&mut self.random, party, Way::Subscription, self.now);
                    if let Some(at) = arrivals.first {
                        let subscriber = index;
                        self.at(at, Event::Subscribe { subscriber, connection: number, prefix });
                    }
                }
            }
        }
        self.wake_at(party, self.now);
    }

    pub(super) fn cut(&mut self, party: Party) {
        self.network.cut(party);
        self.ledger.tell("connection cut");
        let connection = self.connections.entry(party).or_default();
        (connection.is_up, connection.wakes_at) = (false, None);
        let old = connection.number;
        connection.number += 1;
        let number = connection.number;
        if let Party::Subscriber(index) = party {
            if let Some(server) = &mut self.server {
                server.disconnect(index, old);
                self.turn_at(self.now + Duration::from_micros(20));
            }
            if self.subscribers[index].has_left {
                return;
            }
        }
        self.after_ms(1..500, Event::Connect(party, number));
    }

    pub(super) fn commit(&mut self) {
        let mut us = self.random.u64(self.conditions.commit_us.clone());
        if self.random.u32(0..1000) < self.conditions.hanging_commits {
            self.ledger.tell("commit hung");
            us = self.random.u64(0..3 * self.conditions.interval.as_micros() as u64);
        }
        let life = self.life;
        self.at(self.now + Duration::from_micros(us), Event::CommitEnds(life));
    }

    pub(super) fn commit_ends(&mut self, life: u32) {
        let Some(server) = &mut self.server else { return };
        if life != self.life || server.disk.has_failed() {
            return;
        }
        for op in server.disk.end() {
            self.ledger.stored(op);
        }
        let commits = server.disk.begin();
        self.turn_at(self.now + Duration::from_micros(20));
        if commits {
            self.commit();
        }
    }

    /// The server is gone, by itself (`clean`) or not, and with it all connections.
    pub(super) fn end(&mut self, clean: bool) {
        let Some(server) = self.server.take() else { return };
        self.disk = Some(if clean {
            self.ledger.tell("server ended by itself");
            (server.close(), true)
        } else {
            let unstored = server.disk.unstored();
            let left = self.random.usize(0..=unstored);
            self.ledger.tell(match left {
                _ if unstored == 0 => "server killed",
                0 => "server killed, and a commit lost",
                left if left < unstored => "server killed, and a commit torn",
                _ => "server killed, and a commit saved",
            });
            (server.disk.crash(left), false)
        });
        (self.next_turn, self.idle_turns) = (None, 0);
        for party in self.connections.keys().copied().collect::<Vec<_>>() {
            self.cut(party);
        }
        self.after_ms(1..1000, Event::Start);
    }

    pub(super) fn start(&mut self) -> Result<(), Broken> {
        let Some((disk, clean)) = self.disk.take() else { return Ok(()) };
        self.life += 1;
        let server = Server::start(&self.conditions, self.without, disk, &mut self.ledger, clean)?;
        self.server = Some(server);
        for (party, connection) in self.connections.clone() {
            if !connection.is_up && !self.has_left(party) {
                self.after_ms(1..500, Event::Connect(party, connection.number));
            }
        }
        Ok(())
    }

    fn has_left(&self, party: Party) -> bool {
        matches!(party, Party::Subscriber(index) if self.subscribers[index].has_left)
    }
}
