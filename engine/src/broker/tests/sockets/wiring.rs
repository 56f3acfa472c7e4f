//! What clients do with connections, and how bytes move on them.

use std::time::Duration;

use fastrand::Rng;

use super::conditions::Wires;
use super::link::{Cause, DOWN, Link, UP};
use super::world::{Event, World};
use crate::zmtp::session::Port;

impl World {
    /// Begins a connection.
    pub(super) fn connect(&mut self, client: usize, port: Port, is_healthy: bool) -> usize {
        let good = is_healthy || self.is_calm;
        let wires = if good { Wires::good() } else { self.conditions.wires.clone() };
        let address = ([127, 0, 1, client as u8], self.links.len() as u16).into();
        let random = &mut self.random;
        let mut link = Link::new(client, port, address, wires, random);
        link.is_healthy = is_healthy;
        if !good {
            let some_byte = |random: &mut Rng| {
                let most = [100, 3000, 60_000][random.usize(0..3)];
                random.u64(1..most)
            };
            if random.u32(0..1000) < self.conditions.resets {
                link.reset_at[random.usize(0..2)] = Some(some_byte(random));
            }
            if random.u32(0..1000) < self.conditions.stalls {
                let most_ms = [900, 12_000][random.usize(0..2)];
                let length = Duration::from_millis(random.u64(5..most_ms));
                link.stall_at[random.usize(0..2)] = Some((some_byte(random), length));
            }
        }
        let late_us = [100, 1000, 50_000][random.usize(0..3)];
        let at = self.now + Duration::from_micros(random.u64(10..late_us));
        self.links.push(link);
        self.at(at, Event::Arrive(self.links.len() - 1));
        self.links.len() - 1
    }

    pub(super) fn send(&mut self, link: usize, bytes: Vec<u8>) {
        let at = &mut self.links[link];
        if !at.is_gone && !at.ends {
            at.sent += bytes.len() as u64;
            at.out.extend(bytes);
            self.move_soon(link, UP);
        }
    }

    /// The client sends no more; all that it has sent is to be read.
    pub(super) fn end(&mut self, link: usize) {
        let at = &mut self.links[link];
        at.ends = true;
        at.cause.get_or_insert(Cause::Ended);
        self.move_soon(link, UP);
    }

    /// The client closes its end altogether.
    pub(super) fn leave(&mut self, link: usize) {
        self.end(link);
        self.links[link].is_gone = true;
        self.move_soon(link, DOWN);
    }

    /// The server may close it, and why.
    pub(super) fn may_close(&mut self, link: usize, why: &'static str) {
        self.links[link].cause.get_or_insert(Cause::Other(why));
    }

    /// The client reads nothing more, and stalls in no other way.
    pub(super) fn read_no_more(&mut self, link: usize) {
        self.links[link].stalled_until[DOWN] = Duration::MAX;
    }

    pub(super) fn reset(&mut self, link: usize) {
        self.links[link].reset(&mut self.random);
        self.move_soon(link, DOWN);
    }

    /// Lets something move on a link, if there is something.
    pub(super) fn move_soon(&mut self, link: usize, way: usize) {
        let at = &mut self.links[link];
        let waits = match way {
            UP => at.is_made && !at.is_reset && (!at.out.is_empty() || (at.ends && !at.fin)),
            // What comes to a client that is gone resets the connection.
            _ if at.is_gone => !at.down.is_empty() && !at.is_closed && !at.is_reset,
            _ => !at.down.is_empty() || at.is_closed || at.is_reset,
        };
        let waits = waits && at.stalled_until[way] < Duration::MAX;
        if waits && !std::mem::replace(&mut at.moves[way], true) {
            let delay = Duration::from_micros(self.random.u64(at.wires.delay_us.clone()));
            let when = (self.now + delay).max(at.stalled_until[way]);
            self.at(when, Event::Move(link, way));
        }
    }

    pub(super) fn arrive(&mut self, link: usize) {
        if !self.is_listening {
            return self.reset(link);
        }
        let at = usize::from(self.links[link].port == Port::Publishing);
        self.tell_listener[at] |= self.backlog[at].is_empty() || self.random.bool();
        self.backlog[at].push_back(link);
        self.links[link].is_made = true;
        self.move_soon(link, UP);
    }

    pub(super) fn move_up(&mut self, link: usize) {
        let at = &mut self.links[link];
        if at.is_reset {
            return;
        }
        let before = at.arrived;
        let left = at.arrive(&mut self.random);
        let moved = at.arrived > before;
        if at.reset_at[UP].take_if(|byte| *byte == at.arrived).is_some() {
            self.tell("reset on the way to the server");
            return self.reset(link);
        }
        if let Some((_, length)) = at.stall_at[UP].take_if(|(byte, _)| *byte == at.arrived) {
            at.stalled_until[UP] = self.now + length;
            if length >= Duration::from_secs(1) {
                at.cause.get_or_insert(Cause::Other("it paused within what it sent"));
            }
            self.tell("a client stalled");
        }
        // Without room it goes on when the server has read.
        if left && moved {
            self.move_soon(link, UP);
        }
    }

    pub(super) fn move_down(&mut self, link: usize) {
        let at = &mut self.links[link];
        if at.is_gone {
            if !at.down.is_empty() && !at.is_closed {
                self.reset(link);
            }
            return;
        }
        let piece = at.take(&mut self.random);
        let client = at.client;
        if at.reset_at[DOWN].take_if(|byte| *byte == at.taken).is_some() {
            self.tell("reset on the way to the client");
            return self.reset(link);
        }
        if let Some((_, length)) = at.stall_at[DOWN].take_if(|(byte, _)| *byte == at.taken) {
            at.stalled_until[DOWN] = self.now + length;
            if at.delivers {
                at.cause.get_or_insert(Cause::Other("a subscriber did not read"));
            }
            self.tell("a client stalled");
        }
        if !piece.is_empty() {
            self.with(client, |client, world| client.hear(link, &piece, world));
        }
        let at = &mut self.links[link];
        if at.down.is_empty() && (at.is_closed || at.is_reset) && !at.is_gone {
            at.is_gone = true;
            self.with(client, |client, world| {
                client.lost(link, world);
                Ok(())
            });
        }
        self.move_soon(link, DOWN);
    }
}
