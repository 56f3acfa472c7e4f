//! The seam: what the broker takes for the system.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::broken::Broken;
use super::link::{Cause, DOWN, UP};
use super::without::Without;
use super::world::World;
use crate::net::socket::{ByteStream, Network, Ready};
use crate::zmtp::inbox::Room;
use crate::zmtp::session::Port;

pub(super) type Shared = Rc<RefCell<World>>;

/// The system's "too many open files".
const EMFILE: i32 = 24;

pub(super) struct Simulated(pub(super) Shared);

/// The server's end of a link, by its number.
pub(super) struct Stream {
    world: Shared,
    link: usize,
}

impl Network for Simulated {
    type Stream = Stream;

    fn now(&self) -> Duration {
        self.0.borrow().now
    }

    fn unix_ns(&self) -> u64 {
        self.0.borrow().now.as_nanos() as u64
    }

    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        if !world.is_down {
            world.wait(timeout, ready);
        }
        // A server that was killed does nothing further.
        if world.is_down { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    fn accept(&mut self, port: Port) -> io::Result<Option<(Stream, SocketAddr)>> {
        let mut world = self.0.borrow_mut();
        if world.now < world.short_until {
            world.doings += 1;
            world.tell("accept failed");
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        let Some(link) = world.backlog[usize::from(port == Port::Publishing)].pop_front() else {
            return Ok(None);
        };
        world.doings += 1;
        let address = world.links[link].address;
        Ok(Some((Stream { world: Rc::clone(&self.0), link }, address)))
    }

    fn register(&mut self, stream: &Stream, key: u64) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        let life = world.life;
        let link = &mut world.links[stream.link];
        (link.is_registered, link.life) = (true, life);
        link.key = Some(key);
        // What is so already is told, too.
        link.tell.readable |= !link.up.is_empty();
        link.tell.writable = true;
        world.live.push(stream.link);
        Ok(())
    }

    fn stop_listening(&mut self) {
        let mut world = self.0.borrow_mut();
        world.is_listening = false;
        for at in 0..2 {
            while let Some(link) = world.backlog[at].pop_front() {
                world.reset(link);
            }
        }
    }
}

impl ByteStream for Stream {
    fn read(&mut self, room: Room<'_>) -> io::Result<usize> {
        let world = &mut *self.world.borrow_mut();
        if world.dies_now() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let link = &mut world.links[self.link];
        assert!(link.is_registered && !link.is_closed);
        let mut result = link.server_reads(room);
        if world.without == Without::Ends && matches!(result, Ok(0)) {
            result = Err(io::ErrorKind::WouldBlock.into());
        }
        if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            world.doings += 1;
        }
        let time_us = world.random.u64(0..=world.conditions.read_us);
        world.now += Duration::from_micros(time_us);
        world.move_soon(self.link, UP);
        result
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let world = &mut *self.world.borrow_mut();
        if world.dies_now() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let link = &mut world.links[self.link];
        let result = link.server_writes(slices, &mut world.random);
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        if let Ok(bytes) = &result {
            world.doings += 1;
            if *bytes < offered {
                world.tell("write was short");
            }
        }
        world.move_soon(self.link, DOWN);
        if world.without == Without::RestsOfWrites && result.is_ok() { Ok(offered) } else { result }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // While a test fails, the world may be in use.
        let Ok(mut world) = self.world.try_borrow_mut() else { return };
        world.doings += 1;
        world.close(self.link);
    }
}

impl World {
    /// The server closed a connection.
    fn close(&mut self, at: usize) {
        self.live.retain(|&other| other != at);
        let address = self.links[at].address.ip();
        let same = |&&other: &&usize| self.links[other].address.ip() == address;
        let open_here = self.live.iter().filter(same).count();
        let here_max = self.conditions.config.max_connections_per_address;
        let is_over = self.is_draining || self.is_leaving || self.is_down;
        let link = &mut self.links[at];
        link.is_closed = true;
        link.tell = Default::default();
        let who = (link.client, link.port, link.read);
        let unread = link.up.len() + link.out.len();
        let broken = match link.cause {
            _ if is_over => None,
            _ if !link.is_registered => {
                link.cause = Some(Cause::Other("there were too many of its address"));
                (open_here < here_max).then(|| Broken::Closed(format!("{who:?} was refused")))
            }
            None => Some(Broken::Closed(format!("{who:?}"))),
            Some(Cause::Ended) if link.port == Port::Requests && !link.is_reset && unread > 0 => {
                Some(Broken::Unread(format!("{who:?}: {unread} bytes")))
            }
            Some(_) => None,
        };
        if unread > 0 && self.random.bool() {
            // The peer's system is told that what it sent was in vain, and forgets what it had.
            self.links[at].down.clear();
        }
        match self.links[at].cause {
            Some(Cause::Ended) => self.tell("closed at its end"),
            Some(Cause::Other(why)) => self.tell(why),
            None => {}
        }
        if let Some(broken) = broken {
            self.fail(broken);
        }
        self.move_soon(at, DOWN);
    }
}
