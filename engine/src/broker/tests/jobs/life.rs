//! The server's turns, its disk's commits, its ends and its starts.

use std::time::Duration;

use super::broken::Broken;
use super::server::{Output, Server};
use super::world::{Event, SOON, World};

/// Turns in a row, within a second, that a server may have nothing to do in: its timers may be early.
const IDLE_TURNS_MAX: u32 = 300;

impl World {
    pub(super) fn turn_at(&mut self, at: Duration) {
        if self.next_turn.is_none_or(|next| at < next) {
            self.next_turn = Some(at);
            self.at(at, Event::Turn);
        }
    }

    pub(super) fn turn(&mut self) -> Result<(), Broken> {
        // Another one may have been scheduled before this one.
        if self.next_turn != Some(self.now) {
            return Ok(());
        }
        self.next_turn = None;
        let Some(server) = &mut self.server else { return Ok(()) };
        let had_requests = server.has_requests();
        let outputs = server.turn(&mut self.ledger, self.now)?;
        let commits = server.disk.begin();
        let (drained, next) = (server.is_drained(), server.next_turn(self.now));
        if had_requests || !outputs.is_empty() || commits {
            self.idle_turns = 0;
        }
        if self.now > self.idle_since + Duration::from_secs(1) {
            (self.idle_turns, self.idle_since) = (0, self.now);
        }
        self.idle_turns += 1;
        if self.idle_turns > IDLE_TURNS_MAX {
            return Err(Broken::Spins);
        }
        for output in outputs {
            let (connection, event) = match output {
                Output::Deliver { connection, frame } => {
                    (connection, Event::Deliver { connection, frame })
                }
                Output::Reply(to, ok) => (to.connection, Event::Reply(to, ok)),
            };
            let at = self.arrival(connection, false);
            self.at(at, event);
        }
        if commits {
            self.commit();
        }
        if drained {
            self.end(true);
        } else if let Some(at) = next {
            self.turn_at(at.max(self.now + SOON));
        }
        Ok(())
    }

    fn commit(&mut self) {
        let us = self.random.u64(self.conditions.commit_us.clone());
        self.at(self.now + Duration::from_micros(us), Event::CommitEnds(self.life));
    }

    pub(super) fn commit_ends(&mut self, life: u32) {
        let Some(server) = &mut self.server else { return };
        if life != self.life {
            return;
        }
        for op in server.disk.end() {
            self.ledger.stored(op);
        }
        let commits = server.disk.begin();
        self.turn_at(self.now + SOON);
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
            self.ledger.tell(if unstored > 0 {
                "server killed, and a commit torn"
            } else {
                "server killed"
            });
            (server.disk.crash(left), false)
        });
        (self.next_turn, self.idle_turns) = (None, 0);
        for client in 0..self.clients.len() {
            self.cut(client);
        }
        self.after_ms(1..1000, Event::Start);
    }

    pub(super) fn start(&mut self) -> Result<(), Broken> {
        let Some((disk, clean)) = self.disk.take() else { return Ok(()) };
        self.life += 1;
        let server = Server::start(&self.conditions, self.without, disk, &mut self.ledger, clean)?;
        self.server = Some(server);
        for client in 0..self.clients.len() {
            self.after_ms(0..300, Event::Connect(client));
        }
        self.turn_at(self.now);
        Ok(())
    }
}
