//! The system's network: listeners, connections that come in, and one wait for all of them.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, acceptfrom_with, bind, getsockname, ipproto, listen,
    socket_with, sockopt,
};

use super::socket::{Network, Ready};
use super::waker::WakeReceiver;
use crate::zmtp::session::Port;

/// Connections that the system completes before the server takes them.
const BACKLOG: i32 = 4096;

/// Silence after which the system probes whether a peer's machine is there, and between its probes.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_PROBES: u32 = 3;

/// Bytes that the system holds for a connection and has not sent, on either port: both have subscribers. Little:
/// what waits there can no longer be governed.
const UNSENT_BYTES: u32 = 256 * 1024;

/// Events that one wait takes.
const EVENTS_MAX: usize = 256;

/// Keys that no connection has.
const WAKER: u64 = u64::MAX;
const REQUESTS: u64 = u64::MAX - 1;
const PUBLISHING: u64 = u64::MAX - 2;

fn listener_key(port: Port) -> u64 {
    match port {
        Port::Requests => REQUESTS,
        Port::Publishing => PUBLISHING,
    }
}

/// A socket that listens, and where.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    address: SocketAddr,
}

impl Listener {
    /// Listens at this address; port 0 picks a free one.
    ///
    /// # Errors
    /// When the system call fails: mostly because somebody listens there already.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        // So that a server can follow another one whose connections linger. Two that listen still collide.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        let address = SocketAddr::try_from(getsockname(&socket)?)?;
        Ok(Self { socket, address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn accept(&self) -> io::Result<Option<(OwnedFd, SocketAddr)>> {
        loop {
            match acceptfrom_with(&self.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((socket, address)) => {
                    // The peer may be gone already; then reading tells.
                    let _ = set_options(&socket);
                    let address = address.and_then(|any| SocketAddr::try_from(any).ok());
                    return Ok(Some((socket, address.unwrap_or(self.address))));
                }
                Err(Errno::AGAIN) => return Ok(None),
                // It went away before it was taken, or a signal came.
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn set_options(socket: &OwnedFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?;
    socket2::SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES)
}

/// The system's network.
pub(crate) struct SystemNetwork {
    epoll: OwnedFd,
    listeners: Option<[Listener; 2]>,
    /// Connections that are there already, in place of those that come in.
    given: Vec<(UnixStream, Port)>,
    wake: WakeReceiver,
    /// When it began; without, no time passes.
    start: Option<Instant>,
}

impl SystemNetwork {
    /// A network with these listeners, for requests and for subscribers, and a waker that ends its waits.
    /// Without listeners it has only the connections that it is given, and no time passes in it.
    ///
    /// # Errors
    /// When the system call fails.
    pub(crate) fn new(listeners: Option<[Listener; 2]>, wake: WakeReceiver) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, wake.as_fd(), EventData::new_u64(WAKER), EventFlags::IN)?;
        if let Some([requests, publishing]) = &listeners {
            for (port, listener) in [(Port::Requests, requests), (Port::Publishing, publishing)] {
                let key = EventData::new_u64(listener_key(port));
                epoll::add(&epoll, &listener.socket, key, EventFlags::IN | EventFlags::ET)?;
            }
        }
        let start = listeners.is_some().then(Instant::now);
        Ok(Self { epoll, listeners, given: Vec::new(), wake, start })
    }

    /// Adds a connection that somebody made otherwise, as if it had come in.
    pub(crate) fn give(&mut self, stream: UnixStream, port: Port) {
        self.given.push((stream, port));
    }
}

impl Network for SystemNetwork {
    type Stream = OwnedFd;

    fn now(&self) -> Duration {
        self.start.map_or(Duration::ZERO, |start| start.elapsed())
    }

    fn unix_ns(&self) -> u64 {
        let since = self.start.and_then(|_| SystemTime::now().duration_since(UNIX_EPOCH).ok());
        since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        // Beyond what a timespec holds there is no end.
        let timespec = timeout.and_then(|time| Timespec::try_from(time).ok());
        let mut room = [const { MaybeUninit::uninit() }; EVENTS_MAX];
        let events = match epoll::wait(&self.epoll, &mut room, timespec.as_ref()) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        ready.extend(events.iter().map(|&Event { flags, data }| match data.u64() {
            WAKER => Ready::Woken,
            REQUESTS => Ready::Listener(Port::Requests),
            PUBLISHING => Ready::Listener(Port::Publishing),
            key => {
                let ended = EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP;
                Ready::Stream {
                    key,
                    readable: flags.intersects(EventFlags::IN | ended),
                    writable: flags.intersects(EventFlags::OUT | ended),
                    ended: flags.intersects(ended),
                }
            }
        }));
        if ready.contains(&Ready::Woken) {
            self.wake.clear();
        }
        ready.extend(self.given.iter().map(|&(_, port)| Ready::Listener(port)));
        Ok(())
    }

    fn accept(&mut self, port: Port) -> io::Result<Option<(OwnedFd, SocketAddr)>> {
        if let Some(at) = self.given.iter().position(|&(_, given)| given == port) {
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            return Ok(Some((self.given.remove(at).0.into(), address)));
        }
        match (&self.listeners, port) {
            (Some([requests, _]), Port::Requests) => requests.accept(),
            (Some([_, publishing]), Port::Publishing) => publishing.accept(),
            (None, _) => Ok(None),
        }
    }

    fn register(&mut self, stream: &OwnedFd, key: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, stream, EventData::new_u64(key), flags)?)
    }

    fn stop_listening(&mut self) {
        // Closing a listener takes it out of the epoll.
        self.listeners = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_holds_little_that_it_has_not_sent_on_either_port() {
        let (_waker, wake) = super::super::waker::pair().unwrap();
        let bind = || Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listeners = [bind(), bind()];
        let addresses = [listeners[0].address(), listeners[1].address()];
        let mut network = SystemNetwork::new(Some(listeners), wake).unwrap();
        for (port, address) in [Port::Requests, Port::Publishing].into_iter().zip(addresses) {
            let near = std::net::TcpStream::connect(address).unwrap();
            // Some systems complete a connection on both ends at different times.
            let mut ready = Vec::new();
            let accepted = loop {
                if let Some((socket, _)) = network.accept(port).unwrap() {
                    break socket;
                }
                network.wait(Some(Duration::from_secs(20)), &mut ready).unwrap();
            };
            let socket = socket2::SockRef::from(&accepted);
            assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT_BYTES, "{port:?}");
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
            drop(near);
        }
    }
}
