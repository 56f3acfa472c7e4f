//! Somebody who does what nobody should. It must not matter to others, and its connections end in time.

use std::time::Duration;

use super::broken::Broken;
use super::wire;
use super::world::{Client, World};
use crate::limits::{HANDSHAKE_TIME_MAX, PARTIAL_CHECKED};
use crate::zmtp::session::Port;

/// How late a deadline may be seen, and a connection be taken.
const SLACK: Duration = Duration::from_secs(2);

pub(super) struct Stranger {
    me: usize,
    link: Option<usize>,
    /// What it has still to say, piece by piece.
    pieces: Vec<Vec<u8>>,
    reads: bool,
    /// Connections that it still makes.
    left: usize,
}

impl Stranger {
    pub(super) fn new(me: usize, world: &mut World) -> Self {
        let left = world.random.usize(1..5);
        Self { me, link: None, pieces: Vec::new(), reads: true, left }
    }

    fn connect(&mut self, world: &mut World) {
        self.left -= 1;
        let port = [Port::Requests, Port::Publishing][world.random.usize(0..2)];
        let link = world.connect(self.me, port, false);
        world.may_close(link, "a stranger");
        world.links[link].stall_at = [None; 2];
        self.link = Some(link);
        self.reads = world.random.u32(0..4) > 0;
        let random = &mut world.random;
        let socket = if port == Port::Requests { "DEALER" } else { "SUB" };
        let opened = [wire::greeting(random.u8(0..3)), wire::ready(socket)].concat();
        let mut noise: Vec<u8> = vec![0; random.usize(8..400)];
        noise.fill_with(|| random.u8(..));
        let frame = |flags, body: &[u8]| {
            let mut bytes = Vec::new();
            wire::append(flags, body, &mut bytes);
            bytes
        };
        let mut over = None;
        let kind = random.u32(0..12);
        world.tell("a stranger came");
        let random = &mut world.random;
        self.pieces = match kind {
            0 => {
                over = Some((Duration::ZERO, "it does not speak ZMTP"));
                vec![b"GET / HTTP/1.1\r\n\r\n".to_vec()]
            }
            1 => {
                noise[0] &= 0x7f;
                over = Some((Duration::ZERO, "it does not speak ZMTP"));
                vec![noise]
            }
            2 => {
                over = Some((HANDSHAKE_TIME_MAX, "it did not finish its handshake"));
                vec![opened[..random.usize(0..opened.len())].to_vec()]
            }
            3 => {
                let socket = ["PUB", "PAIR", "PUSH"][random.usize(0..3)];
                over = Some((Duration::ZERO, "it is another socket"));
                vec![[wire::greeting(1), wire::ready(socket)].concat()]
            }
            4 => {
                over = Some((Duration::ZERO, "it sent no frames"));
                noise[0] |= 8;
                vec![opened, noise]
            }
            5 => {
                over = Some((PARTIAL_CHECKED, "a request of it was never whole"));
                let begun = frame(0, &vec![7; random.usize(300..900)]);
                let bytes = if port == Port::Requests { 200 } else { 250 };
                vec![opened, begun[..random.usize(1..bytes)].to_vec()]
            }
            6 => {
                // Trickles, which is not fast enough either.
                over = Some((PARTIAL_CHECKED, "a request of it came too slowly"));
                let body = frame(0, &[7; 900]);
                std::iter::once(opened).chain(body[..800].chunks(60).map(<[u8]>::to_vec)).collect()
            }
            7 => {
                let ttl_ds = random.u16(1..30);
                let ttl = Duration::from_millis(100) * u32::from(ttl_ds);
                over = Some((ttl + SLACK, "it was silent for longer than it had said"));
                vec![opened, wire::command("PING", &ttl_ds.to_be_bytes())]
            }
            8 => {
                over = Some((Duration::ZERO, "a PING of it was too short"));
                vec![opened, frame(4, b"\x04PING\0")]
            }
            9 => {
                vec![opened, frame(1, b"who"), frame(1, b""), frame(1, b"an end that never comes")]
            }
            10 => {
                // Subscribes, and perhaps never reads.
                let topic = [&b"\x01a"[..], b"\x01\x01ab|", b"\x01b"][random.usize(0..3)];
                vec![opened, frame(0, topic), frame(0, &noise)]
            }
            _ => {
                let pings = std::iter::repeat_n(wire::command("PING", b"\0\0flood"), 300);
                std::iter::once(opened).chain(pings).collect()
            }
        };
        self.pieces.reverse();
        if kind == 9 && port == Port::Requests {
            over = Some((PARTIAL_CHECKED, "a request of it was never whole"));
        }
        if let (Some((within, _)), false) = (&mut over, self.reads) {
            // One that takes no answers is not read, and so it is not heard.
            *within = HANDSHAKE_TIME_MAX;
        }
        if let Some((within, why)) = over.filter(|_| self.reads || kind < 4) {
            world.watch(link, within + SLACK * 3, why);
        }
    }
}

impl Client for Stranger {
    fn wake(&mut self, world: &mut World) -> Result<(), Broken> {
        if self.link.is_none() && self.left > 0 && !world.is_calm {
            self.connect(world);
        }
        if let (Some(link), Some(piece)) = (self.link, self.pieces.pop()) {
            world.send(link, piece);
        } else if let Some(link) = self.link
            && world.random.u32(0..20) == 0
            && !world.is_calm
        {
            // Goes away, in one way or the other.
            match world.random.u32(0..3) {
                0 => world.reset(link),
                1 => world.end(link),
                _ => world.leave(link),
            }
        }
        if !self.pieces.is_empty() || (self.left > 0 && !world.is_calm) {
            world.wake_in_us(self.me, 1000..100_000);
        }
        Ok(())
    }

    fn hear(&mut self, link: usize, _bytes: &[u8], world: &mut World) -> Result<(), Broken> {
        if !self.reads && !world.is_calm {
            world.read_no_more(link);
        }
        Ok(())
    }

    fn lost(&mut self, link: usize, world: &mut World) {
        if self.link == Some(link) {
            self.link = None;
            self.pieces.clear();
            world.wake_in_us(self.me, 1000..300_000);
        }
    }

    fn is_done(&self, _world: &World) -> bool {
        true
    }
}
