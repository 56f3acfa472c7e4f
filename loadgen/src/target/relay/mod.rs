//! The physical limit as a target: what arrives on a publisher's connection is written to every
//! subscriber's. One thread, one epoll, one vectored write per subscriber and turn.
//!
//! It does what our clients need, and nothing else:
//!
//! - it answers the ZMTP handshake, PING commands and pings, confirms the subscriptions of SUB sockets, and
//!   takes those of clients, with their credit;
//! - of a request it reads the heads of its frames: the last frame goes to all subscribers as it came,
//!   those before it go back with OK;
//! - it stops reading publishers while a subscriber is [`QUEUE_BYTES_MAX`] behind.
//!
//! It looks into no message: no records, no checksums, no acknowledgements, and no names but for the subscriptions of
//! clients, which are to get what they name (a SUB socket that subscribed to anything gets everything). Peers are
//! trusted. `connection` has what is done for one of them, `deliveries` what its subscriptions get.

mod connection;
mod deliveries;
mod queue;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::args::PortArgs;
use crate::child::ServerCounts;
use crate::count::Count;
use crate::serve;
use connection::Connection;
use queue::Queue;

/// Bytes that one subscriber may be behind before publishers wait.
const QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Events taken from the system at once.
const EVENTS_MAX: usize = 1024;

/// What the listeners are called in events; connections have their number.
const REQUESTS: u64 = u64::MAX;
const SUBSCRIBERS: u64 = u64::MAX - 1;

/// Runs the relay of a run, until stdin ends.
pub(crate) fn relay(args: PortArgs) -> io::Result<()> {
    let listen = |port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let (requests, subscribers) = (listen(args.recv_port)?, listen(args.pub_port)?);
    let frames = Arc::new(Count::default());
    let counted = Arc::clone(&frames);
    let counts =
        move || ServerCounts { frames_published: counted.get(), ..ServerCounts::default() };
    serve::attend(subscribers.local_addr()?, requests.local_addr()?, counts)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    for (listener, name) in [(&requests, REQUESTS), (&subscribers, SUBSCRIBERS)] {
        listener.set_nonblocking(true)?;
        epoll::add(&epoll, listener, EventData::new_u64(name), EventFlags::IN)?;
    }
    let (connections, readable, queue) = Default::default();
    Relay { epoll, requests, subscribers, connections, readable, queue, frames }.run()
}

struct Relay {
    epoll: OwnedFd,
    requests: TcpListener,
    subscribers: TcpListener,
    /// By their number.
    connections: Vec<Option<Connection>>,
    /// The numbers of those to read from.
    readable: Vec<usize>,
    queue: Queue,
    /// Frames taken from publishers.
    frames: Arc<Count>,
}

impl Relay {
    fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut takes_more = false;
        loop {
            let is_busy = takes_more || !(self.readable.is_empty() || self.is_full());
            let timeout = is_busy.then(Timespec::default);
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.data.u64() {
                    REQUESTS => self.accept(false)?,
                    SUBSCRIBERS => self.accept(true)?,
                    number => self.note(number as usize, *event),
                }
            }
            self.read();
            takes_more = self.write();
        }
    }

    fn is_full(&self) -> bool {
        self.queue.bytes() > QUEUE_BYTES_MAX
    }

    fn note(&mut self, number: usize, Event { flags, .. }: Event) {
        let Some(connection) = &mut self.connections[number] else { return };
        connection.is_writable |= flags.contains(EventFlags::OUT);
        let ends = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        connection.is_ending |= flags.intersects(ends);
        if flags.intersects(EventFlags::IN | ends) && !connection.is_readable {
            connection.is_readable = true;
            self.readable.push(number);
        }
    }

    fn accept(&mut self, is_subscriber: bool) -> io::Result<()> {
        let listener = if is_subscriber { &self.subscribers } else { &self.requests };
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            // The peer is gone already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let free = self.connections.iter().position(Option::is_none);
        let number = free.unwrap_or(self.connections.len());
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &socket, EventData::new_u64(number as u64), flags)?;
        if free.is_none() {
            self.connections.push(None);
        }
        self.connections[number] = Some(Connection::new(socket, is_subscriber));
        Ok(())
    }

    /// Reads once from each connection that has something.
    fn read(&mut self) {
        for number in std::mem::take(&mut self.readable) {
            let is_full = self.is_full();
            let Some(connection) = &mut self.connections[number] else { continue };
            if is_full && connection.only_publishes() {
                self.readable.push(number);
            } else if connection.read(&mut self.queue).is_err() {
                self.connections[number] = None;
            } else if connection.is_readable {
                self.readable.push(number);
            }
        }
        self.frames.set(self.queue.end());
    }

    /// Writes once to each connection that has something to be written and takes it. `true` when one
    /// would take more.
    fn write(&mut self) -> bool {
        let mut slowest = self.queue.end();
        let mut takes_more = false;
        self.queue.readers = 0;
        for place in &mut self.connections {
            let Some(connection) = place else { continue };
            if connection.wants_write(&self.queue) {
                if connection.write(&self.queue).is_err() {
                    *place = None;
                    continue;
                }
                takes_more |= connection.wants_write(&self.queue);
            }
            if let Some(next) = connection.deliveries.next() {
                slowest = slowest.min(next);
                self.queue.readers += 1;
            }
        }
        self.queue.drop_before(slowest);
        takes_more
    }
}
