//! Finds subscribers that do not read what they asked for, and disconnects them.
//!
//! libzmq tells that *some* subscriber's queue is full, never which. The kernel knows: while nothing is
//! being published, every subscriber that still reads drains its connection, and only those that do not
//! have unsent bytes in theirs. libzmq notices the closed connection and forgets the subscriber, who
//! reconnects by itself when it comes back to life.
#![expect(unsafe_code, reason = "the connections belong to libzmq; see each block")]

use std::collections::HashMap;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;

/// A look at the connections accepted at one local address.
#[derive(Debug)]
pub struct Watch {
    local: SocketAddr,
    acknowledged: HashMap<SocketAddr, u64>,
}

impl Watch {
    /// Notes how far each connection accepted at this address has got.
    ///
    /// # Errors
    /// When the process' own descriptors cannot be listed.
    pub fn start(local: SocketAddr) -> io::Result<Self> {
        let acknowledged =
            connections(local)?.map(|(fd, peer)| (peer, acknowledged_bytes(fd))).collect();
        Ok(Self { local, acknowledged })
    }

    /// Disconnects the connections that have unsent bytes and got no further since the start, with
    /// `slow_too` all that have unsent bytes, and returns their addresses.
    ///
    /// # Errors
    /// When the process' own descriptors cannot be listed.
    pub fn disconnect(&self, slow_too: bool) -> io::Result<Vec<SocketAddr>> {
        let mut disconnected = Vec::new();
        for (fd, peer) in connections(self.local)? {
            let still = self.acknowledged.get(&peer) == Some(&acknowledged_bytes(fd));
            if unsent_bytes(fd) > 0 && (still || slow_too) {
                cut(fd, self.local);
                disconnected.push(peer);
            }
        }
        Ok(disconnected)
    }
}

/// Cuts a connection that was accepted at a local address; libzmq sees its end and closes it.
pub(super) fn cut(fd: RawFd, listening: SocketAddr) {
    // libzmq may have closed it, and something else may have been opened under the same number.
    if peer(fd, listening).is_some() {
        // SAFETY: shutdown takes any number; for one that is no socket any more it fails. Should it have
        // become another connection since that look, this ends it, and its peer connects anew.
        unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
    }
}

/// The connections accepted at a local address that have most bytes unsent, `count` at most, those with
/// none left out: the address of the peer, and the bytes.
///
/// # Errors
/// When the process' own descriptors cannot be listed.
pub fn most_unsent(local: SocketAddr, count: usize) -> io::Result<Vec<(SocketAddr, u64)>> {
    let mut unsent: Vec<_> = connections(local)?
        .map(|(fd, peer)| (peer, unsent_bytes(fd)))
        .filter_map(|(peer, bytes)| Some((peer, u64::try_from(bytes).ok().filter(|&b| b > 0)?)))
        .collect();
    unsent.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
    unsent.truncate(count);
    Ok(unsent)
}

/// The connections accepted at a local address, and where they come from.
fn connections(listening: SocketAddr) -> io::Result<impl Iterator<Item = (RawFd, SocketAddr)>> {
    let entries = std::fs::read_dir("/proc/self/fd")?;
    Ok(entries.flatten().filter_map(move |entry| {
        let fd = entry.file_name().to_str()?.parse().ok()?;
        Some((fd, peer(fd, listening)?))
    }))
}

/// The other end of a connection, if it was accepted at a local address.
fn peer(fd: RawFd, listening: SocketAddr) -> Option<SocketAddr> {
    let local = address(fd, libc::getsockname)?;
    // A listening socket has no peer.
    let peer = address(fd, libc::getpeername)?;
    let accepted = local.port() == listening.port()
        && (listening.ip().is_unspecified() || local.ip() == listening.ip());
    accepted.then_some(peer)
}

type GetName =
    unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

fn address(fd: RawFd, get: GetName) -> Option<SocketAddr> {
    // SAFETY: all zeros are a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `storage` has `len` writable bytes; the call fails for anything that is no socket.
    let failed = unsafe { get(fd, (&raw mut storage).cast(), &mut len) } != 0;
    if failed {
        return None;
    }
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds this structure, and it is large enough.
            let v4 = unsafe { *(&raw const storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::from((ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { *(&raw const storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::from((ip, u16::from_be(v6.sin6_port))))
        }
        _ => None,
    }
}

fn unsent_bytes(fd: RawFd) -> libc::c_int {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int to the address it is given.
    let failed = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut bytes) } != 0;
    if failed { 0 } else { bytes }
}

/// Where `tcpi_bytes_acked` stands in the kernel's `struct tcp_info` (linux/tcp.h), which the libc crate
/// declares only in part.
const BYTES_ACKED_AT: usize = 120;

/// How many bytes the peer's kernel took in all; 0 when the system does not tell.
fn acknowledged_bytes(fd: RawFd) -> u64 {
    let mut info = [0_u8; BYTES_ACKED_AT + 8];
    let mut len = info.len() as libc::socklen_t;
    // SAFETY: `info` has `len` writable bytes, and the kernel writes no more than that.
    let failed = unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &mut len)
    } != 0;
    match info.last_chunk() {
        Some(bytes) if !failed && len as usize == info.len() => u64::from_ne_bytes(*bytes),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::time::{Duration, Instant};

    #[test]
    fn only_the_connection_that_is_not_read_is_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || {
            let client = TcpStream::connect(address).unwrap();
            (client, listener.accept().unwrap().0)
        };
        let (mut reading, mut to_reading) = connect();
        let (stalled, mut to_stalled) = connect();
        to_reading.write_all(b"x").unwrap();
        reading.read_exact(&mut [0]).unwrap();
        to_stalled.set_nonblocking(true).unwrap();
        while to_stalled.write(&[0; 65536]).is_ok() {}
        // What the peer's kernel buffers still moves for an instant.
        let deadline = Instant::now() + Duration::from_secs(10);
        let cut = loop {
            let cut = Watch::start(address).unwrap().disconnect(false).unwrap();
            if !cut.is_empty() || Instant::now() > deadline {
                break cut;
            }
        };
        assert_eq!(cut, [stalled.local_addr().unwrap()]);
        to_reading.write_all(b"y").unwrap();
        reading.read_exact(&mut [0]).unwrap();
        let error = to_stalled.write(&[0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_connection_that_moves_is_spared_unless_slow_ones_are_meant() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut slow = TcpStream::connect(address).unwrap();
        let mut to_slow = listener.accept().unwrap().0;
        to_slow.set_nonblocking(true).unwrap();
        while to_slow.write(&[0; 65536]).is_ok() {}
        let watch = Watch::start(address).unwrap();
        let mut buffer = vec![0; 1 << 20];
        let before = acknowledged_bytes(to_slow.as_raw_fd());
        while acknowledged_bytes(to_slow.as_raw_fd()) == before {
            slow.read_exact(&mut buffer).unwrap();
            while to_slow.write(&[0; 65536]).is_ok() {}
        }
        while unsent_bytes(to_slow.as_raw_fd()) == 0 {
            let _ = to_slow.write(&[0; 65536]);
        }
        assert!(watch.disconnect(false).unwrap().is_empty());
        assert_eq!(watch.disconnect(true).unwrap(), [slow.local_addr().unwrap()]);
    }
}
