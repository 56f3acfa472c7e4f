//! Addresses, and non-blocking connections to them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};

use crate::zmtp::error::ConnectionError;

/// Idle time before the system probes whether the peer's machine is there, and between its probes.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Probes that may go unanswered.
const KEEPALIVE_PROBES: u32 = 3;

/// A server's host name or IP address, and a port of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// An IPv6 address stands without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Address {
    /// The address itself, if it is no name.
    pub(super) fn literal(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.parse().ok()?, self.port))
    }

    /// All addresses that the name has now. Asks the system's resolver, which may take its time.
    pub(super) fn resolve(&self) -> Result<std::vec::IntoIter<SocketAddr>, ConnectionError> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        found.map_err(|source| ConnectionError::Resolve { host: self.host.clone(), source })
    }
}

/// What was found of all servers. A name that nobody knows is no reason not to try the others.
pub(super) fn together(
    found: impl Iterator<Item = Result<impl IntoIterator<Item = SocketAddr>, ConnectionError>>,
) -> Result<std::vec::IntoIter<SocketAddr>, ConnectionError> {
    let (mut all, mut failed) = (Vec::new(), None);
    for found in found {
        match found {
            Ok(more) => all.extend(more),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if all.is_empty() => Err(error),
        _ => Ok(all.into_iter()),
    }
}

/// What the system may hold of what a client has not read, in bytes. Left to itself it holds up to 32 MiB:
/// seconds of messages, of which the server knows nothing.
const RECEIVE_BYTES: usize = 512 * 1024;

/// Begins a connection. It is made, or failed, once the socket can be written to: [`finish`].
pub(super) fn begin(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(&socket, KEEPALIVE)?;
    sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)?;
    // Before connecting: it decides what the peers agree on.
    sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BYTES)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Whether a connection that was begun is made by now.
pub(super) fn finish(socket: &OwnedFd) -> io::Result<bool> {
    if !is(socket, PollFlags::OUT)? {
        return Ok(false);
    }
    sockopt::socket_error(socket.as_fd())??;
    Ok(true)
}

/// Whether the socket can be read or written to now, as the flags ask, or has failed.
pub(super) fn is(socket: &OwnedFd, flags: PollFlags) -> io::Result<bool> {
    let mut polled = [PollFd::new(socket, flags)];
    match poll(&mut polled, Some(&Timespec::default())) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_system_holds_a_fixed_number_of_bytes_for_a_client() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = begin(listener.local_addr().unwrap()).unwrap();
        // Linux counts as much again for its own.
        assert_eq!(sockopt::socket_recv_buffer_size(&socket).unwrap(), 2 * RECEIVE_BYTES);
    }
}
