//! Connections that do nothing, to see what they cost a server. One thread answers its pings.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use loadgen::report::Idle;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::address::Target;

/// How long the server may take to answer a connection's first bytes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the thread looks whether the run is over.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Events taken from the system at once.
const EVENTS_MAX: usize = 256;

/// Open connections, until [`IdleConnections::finish`].
pub(crate) struct IdleConnections {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<u32>>,
    opened: Idle,
}

impl IdleConnections {
    /// Opens them one after the other, each until the server answered. `rss_kb` reads the server's
    /// memory.
    pub(crate) fn open(
        connections: u32,
        target: &Target,
        (host, port): (&str, u16),
        rss_kb: impl Fn() -> Option<u64>,
    ) -> io::Result<Self> {
        let Some((hello, answer)) = target.idle_hello() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let before = rss_kb();
        let mut sockets = Vec::new();
        for number in 0..connections {
            let socket = connect(host, port, &hello, answer)?;
            epoll::add(&epoll, &socket, EventData::new_u64(number.into()), EventFlags::IN)?;
            sockets.push(Some(socket));
        }
        let grown = before.zip(rss_kb()).map(|(from, to)| to.saturating_sub(from) as f64 * 1024.0);
        let server_bytes_each = grown.map(|bytes| (bytes / f64::from(connections)).round());
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, pong) = (Arc::clone(&stop), target.idle_pong());
        let thread = thread::Builder::new()
            .name("idle connections".to_owned())
            .spawn(move || attend(&epoll, sockets, pong, &stopped))?;
        Ok(Self { stop, thread, opened: Idle { connections, server_bytes_each, closed: 0 } })
    }

    /// Closes them; tells how many the server closed before.
    pub(crate) fn finish(self) -> io::Result<Idle> {
        self.stop.store(true, Ordering::Relaxed);
        let panicked = |_| io::Error::other("the thread of the idle connections panicked");
        let closed = self.thread.join().map_err(panicked)??;
        Ok(Idle { closed, ..self.opened })
    }
}

fn connect(host: &str, port: u16, hello: &[u8], answer: &[u8]) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect((host, port))?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    socket.write_all(hello)?;
    let (mut said, mut buffer) = (Vec::<u8>::new(), [0; 4096]);
    while !said.windows(answer.len()).any(|part| part == answer) {
        let read = socket.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        said.extend(&buffer[..read]);
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Answers until told to stop; returns how many were closed.
fn attend(
    epoll: &OwnedFd,
    mut sockets: Vec<Option<TcpStream>>,
    pong: &[u8],
    stop: &AtomicBool,
) -> io::Result<u32> {
    let (mut events, mut buffer, mut closed) = (Vec::with_capacity(EVENTS_MAX), [0; 4096], 0);
    while !stop.load(Ordering::Relaxed) {
        events.clear();
        match epoll::wait(epoll, spare_capacity(&mut events), Some(&LOOK)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let place = &mut sockets[event.data.u64() as usize];
            let Some(socket) = place else { continue };
            let answered = match socket.read(&mut buffer) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) if buffer[..read].windows(4).any(|part| part == b"PING") => {
                    socket.write_all(pong)
                }
                Ok(_) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                Err(error) => Err(error),
            };
            if answered.is_err() {
                *place = None;
                closed += 1;
            }
        }
    }
    Ok(closed)
}
