//! A stream of bytes that never blocks, and what a server needs of the system beyond it: the seam at which a
//! simulation takes the system's place.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use crate::zmtp::inbox::Room;
use crate::zmtp::session::Port;

/// A connection's bytes, both ways.
pub(crate) trait ByteStream {
    /// Appends what is there to the buffer, no more than it has room for; 0 at the end of the stream.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing is there, others when the connection is lost.
    fn read(&mut self, room: Room<'_>) -> io::Result<usize>;

    /// Takes some of these bytes, in their order, and says how many.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when none can be taken now, others when the connection is lost.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

impl ByteStream for &OwnedFd {
    fn read(&mut self, mut room: Room<'_>) -> io::Result<usize> {
        loop {
            let result = match &mut room {
                Room::Behind(buffer) => rustix::io::read(&**self, spare_capacity(buffer)),
                Room::Over(bytes) => rustix::io::read(&**self, &mut **bytes),
            };
            match result {
                Ok(bytes) => return Ok(bytes),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let mut control = SendAncillaryBuffer::default();
            match sendmsg(&**self, slices, &mut control, SendFlags::NOSIGNAL) {
                Ok(bytes) => return Ok(bytes),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl ByteStream for OwnedFd {
    fn read(&mut self, room: Room<'_>) -> io::Result<usize> {
        (&*self).read(room)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write(slices)
    }
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Somebody connects.
    Listener(Port),
    /// A connection, by the number that it was registered under.
    Stream {
        /// Its number.
        key: u64,
        /// There is something to read, the end perhaps.
        readable: bool,
        /// It takes bytes again.
        writable: bool,
        /// The peer sends no more, or the connection is lost: reading comes to an end.
        ended: bool,
    },
    /// The waker was woken.
    Woken,
}

/// Connections that come in, and the time. What is ready is reported once, when it becomes so: who does not
/// read or write until the stream would block must remember.
pub(crate) trait Network {
    /// A connection.
    type Stream: ByteStream;

    /// Time since the network began.
    fn now(&self) -> Duration;

    /// The time of the day, in nanoseconds since the Unix epoch. It stamps, and nothing waits by it.
    fn unix_ns(&self) -> u64;

    /// Waits until something is ready, or the time is over (`None`: no end), and appends what is.
    ///
    /// # Errors
    /// When the system call fails.
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()>;

    /// Takes the next connection that somebody made to this port, if one is there.
    ///
    /// # Errors
    /// When the system call fails, for want of descriptors for instance.
    fn accept(&mut self, port: Port) -> io::Result<Option<(Self::Stream, SocketAddr)>>;

    /// Begins to tell when this stream is ready, under this number.
    ///
    /// # Errors
    /// When the system call fails.
    fn register(&mut self, stream: &Self::Stream, key: u64) -> io::Result<()>;

    /// No further connections come in.
    fn stop_listening(&mut self);
}
