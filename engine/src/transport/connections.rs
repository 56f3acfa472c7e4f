//! Refuses connections beyond a limit.
//!
//! When a process has no descriptor left, libzmq cannot accept the next connection and tries again and
//! again, on the thread that moves the bytes of all others. So there is a limit below that of the system:
//! a connection beyond it is accepted, and closed at once.
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::peers::cut;
use super::socket::{Context, Socket, TransportError, tcp_address};

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionBounds {
    /// Connections at all watched sockets together.
    pub connections: usize,
    /// Numbers of descriptors lie below this. The system gives out the lowest one that is free, so a
    /// higher one means that as many are in use, for whatever.
    pub descriptors: u64,
}

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// There are as many connections as there may be.
    Connections,
    /// Nearly all descriptors of the process are in use.
    Descriptors,
    /// No more are wanted.
    Ending,
}

/// How many connections there are, and how many were refused. Anybody may read it.
#[derive(Clone, Debug, Default)]
pub struct ConnectionCounts(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicU64,
    refused: AtomicU64,
    ending: AtomicBool,
}

impl ConnectionCounts {
    /// Connections now.
    pub fn open(&self) -> u64 {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Connections refused since the start because there were too many.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }
}

/// A thread that hears of each connection that sockets accept and lose.
///
/// It ends when the sockets are closed, and only then: libzmq would wait for ever for it to read. Dropping
/// it waits for that, so that the sockets have to be dropped before.
#[derive(Debug)]
pub struct ConnectionWatch {
    thread: Option<JoinHandle<()>>,
    counts: ConnectionCounts,
}

/// Told of each refused connection, on the watch's thread.
pub type OnOverflow = Box<dyn FnMut(Overflow) + Send>;

impl ConnectionWatch {
    /// Watches sockets that do not listen yet. A context has one watch at most.
    ///
    /// # Errors
    /// When libzmq or the system refuses a socket or a thread.
    pub fn start(
        context: &Context,
        sockets: &[&Socket],
        bounds: ConnectionBounds,
        on_overflow: OnOverflow,
    ) -> Result<Self, TransportError> {
        let counts = ConnectionCounts::default();
        let mut monitors = Vec::new();
        for (n, socket) in sockets.iter().enumerate() {
            monitors.push(Monitor::new(context, socket, &format!("inproc://connections-{n}"))?);
        }
        let mut watch = Watch { bounds, counts: counts.clone(), on_overflow };
        let thread = std::thread::Builder::new()
            .name("connections".into())
            .spawn(move || watch.run(monitors))?;
        Ok(Self { thread: Some(thread), counts })
    }

    /// What it counts.
    pub fn counts(&self) -> &ConnectionCounts {
        &self.counts
    }

    /// From now on refuses every new connection.
    pub fn refuse_all(&self) {
        self.counts.0.ending.store(true, Ordering::Relaxed);
    }
}

impl Drop for ConnectionWatch {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic there is a defect, and has been printed.
            let _ = thread.join();
        }
    }
}

/// Events of one socket.
struct Monitor {
    events: zmq::Socket,
    connections: Connections,
}

/// The connections of one socket.
#[derive(Default)]
struct Connections {
    open: HashSet<RawFd>,
    /// Those that were refused and are not closed yet.
    refused: HashSet<RawFd>,
    /// Those of which the end is known before the beginning: several threads of libzmq tell.
    ended: HashSet<RawFd>,
}

impl Connections {
    /// A connection ended.
    fn end(&mut self, fd: RawFd) {
        if !self.open.remove(&fd) && !self.refused.remove(&fd) {
            self.ended.insert(fd);
        }
    }
}

/// What a monitor tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A connection, and the address that it was made to.
    Accepted(RawFd, Option<SocketAddr>),
    Disconnected(RawFd),
    Stopped,
}

const ACCEPTED: u16 = zmq_sys::ZMQ_EVENT_ACCEPTED as u16;
const DISCONNECTED: u16 = zmq_sys::ZMQ_EVENT_DISCONNECTED as u16;
const STOPPED: u16 = zmq_sys::ZMQ_EVENT_MONITOR_STOPPED as u16;

impl Monitor {
    fn new(context: &Context, socket: &Socket, endpoint: &str) -> Result<Self, TransportError> {
        let events = context.0.socket(zmq::PAIR)?;
        // Without a bound: a full queue would stop libzmq's thread.
        events.set_rcvhwm(0)?;
        events.set_linger(0)?;
        socket.socket.monitor(endpoint, i32::from(ACCEPTED | DISCONNECTED | STOPPED))?;
        events.connect(endpoint)?;
        Ok(Self { events, connections: Connections::default() })
    }

    /// The next event that is there; `None` when there is none.
    fn next(&self) -> Result<Option<Event>, zmq::Error> {
        loop {
            let parts = match self.events.recv_multipart(zmq::DONTWAIT) {
                Ok(parts) => parts,
                Err(zmq::Error::EAGAIN) => return Ok(None),
                Err(zmq::Error::EINTR) => continue,
                Err(error) => return Err(error),
            };
            // An event of 16 bits and a value of 32; then the address.
            let Some(Ok([e, f, value @ ..])) =
                parts.first().map(|part| <[u8; 6]>::try_from(part.as_slice()))
            else {
                continue;
            };
            let fd = RawFd::from_ne_bytes(value);
            match u16::from_ne_bytes([e, f]) {
                ACCEPTED => {
                    let endpoint = parts.get(1).and_then(|part| std::str::from_utf8(part).ok());
                    return Ok(Some(Event::Accepted(fd, endpoint.and_then(tcp_address))));
                }
                DISCONNECTED => return Ok(Some(Event::Disconnected(fd))),
                STOPPED => return Ok(Some(Event::Stopped)),
                _ => {}
            }
        }
    }
}

struct Watch {
    bounds: ConnectionBounds,
    counts: ConnectionCounts,
    on_overflow: OnOverflow,
}

impl Watch {
    fn run(&mut self, mut monitors: Vec<Monitor>) {
        while !monitors.is_empty() {
            let mut items: Vec<_> =
                monitors.iter().map(|m| m.events.as_poll_item(zmq::POLLIN)).collect();
            match zmq::poll(&mut items, -1) {
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(_) => return,
            }
            let mut total: usize = monitors.iter().map(|m| m.connections.open.len()).sum();
            monitors.retain_mut(|monitor| {
                let others = total - monitor.connections.open.len();
                let goes_on = self.hear(monitor, others);
                total = others + monitor.connections.open.len();
                goes_on
            });
            self.counts.0.open.store(total as u64, Ordering::Relaxed);
        }
    }

    /// Takes what a monitor has to tell; `false` when that was the last. `others`: the connections of
    /// the other sockets.
    fn hear(&mut self, monitor: &mut Monitor, others: usize) -> bool {
        loop {
            match monitor.next() {
                Ok(None) => return true,
                Ok(Some(Event::Stopped)) | Err(_) => return false,
                Ok(Some(event)) => self.apply(event, &mut monitor.connections, others),
            }
        }
    }

    fn apply(&mut self, event: Event, connections: &mut Connections, others: usize) {
        match event {
            Event::Accepted(fd, _) if connections.ended.remove(&fd) => {}
            Event::Accepted(fd, address) => {
                match self.overflow(fd, others + connections.open.len()).zip(address) {
                    Some((overflow, address)) => {
                        connections.refused.insert(fd);
                        cut(fd, address);
                        self.refused(overflow);
                    }
                    None => _ = connections.open.insert(fd),
                }
            }
            Event::Disconnected(fd) => connections.end(fd),
            Event::Stopped => {}
        }
    }

    fn refused(&mut self, overflow: Overflow) {
        if overflow != Overflow::Ending {
            self.counts.0.refused.fetch_add(1, Ordering::Relaxed);
        }
        let on_overflow = &mut self.on_overflow;
        // Without this thread libzmq's would stop.
        let _ = catch_unwind(AssertUnwindSafe(|| on_overflow(overflow)));
    }

    /// Why a new connection is one too many, beside `open` others.
    fn overflow(&self, fd: RawFd, open: usize) -> Option<Overflow> {
        if u64::try_from(fd).is_ok_and(|fd| fd >= self.bounds.descriptors) {
            Some(Overflow::Descriptors)
        } else if open >= self.bounds.connections {
            Some(Overflow::Connections)
        } else if self.counts.0.ending.load(Ordering::Relaxed) {
            Some(Overflow::Ending)
        } else {
            None
        }
    }
}

/// Descriptors that the process has in use.
///
/// # Errors
/// When they cannot be listed.
pub fn descriptors_in_use() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{SocketAddr, TcpStream};
    use std::sync::mpsc::{Receiver, channel};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::transport::SocketOptions;

    struct Bench {
        context: Context,
        sockets: Vec<Socket>,
        addresses: Vec<SocketAddr>,
        watch: ConnectionWatch,
        overflows: Receiver<Overflow>,
    }

    impl Bench {
        fn new(bounds: ConnectionBounds) -> Self {
            let context = Context::new(1).unwrap();
            let sockets = vec![
                context.router(SocketOptions::default()).unwrap(),
                context.xpub(SocketOptions::default()).unwrap(),
            ];
            let (overflow, overflows) = channel();
            let on_overflow = Box::new(move |why| overflow.send(why).unwrap());
            let both: Vec<_> = sockets.iter().collect();
            let watch = ConnectionWatch::start(&context, &both, bounds, on_overflow).unwrap();
            let bind =
                |socket: &Socket| tcp_address(&socket.bind("tcp://127.0.0.1:*").unwrap()).unwrap();
            let addresses = sockets.iter().map(bind).collect();
            Self { context, sockets, addresses, watch, overflows }
        }

        fn open(&self) -> u64 {
            self.watch.counts().open()
        }

        #[track_caller]
        fn wait_for_open(&self, expected: u64) {
            let deadline = Instant::now() + Duration::from_secs(10);
            while self.open() != expected {
                assert!(Instant::now() < deadline, "{} instead of {expected}", self.open());
                std::thread::yield_now();
            }
        }

        fn end(self) {
            drop(self.sockets);
            drop(self.watch);
            drop(self.context);
        }
    }

    /// Connects, and says whether the other end hangs up instead of greeting.
    fn is_refused(address: SocketAddr) -> (TcpStream, bool) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // A greeting of 64 bytes begins at once; it may still have left before the end came.
        let mut greeting = [0; 64];
        let greeted = stream.read(&mut greeting).is_ok_and(|n| n > 0);
        (stream, !greeted)
    }

    #[test]
    fn connections_beyond_the_limit_are_closed_until_another_ends() {
        let bench = Bench::new(ConnectionBounds { connections: 3, descriptors: u64::MAX });
        let mut open: Vec<_> = [0, 1, 0].map(|n| is_refused(bench.addresses[n]).0).into();
        bench.wait_for_open(3);
        for _ in 0..3 {
            let mut surplus = TcpStream::connect(bench.addresses[1]).unwrap();
            assert_eq!(bench.overflows.recv().unwrap(), Overflow::Connections);
            // Its end, behind what the other side may have said first.
            let _ = surplus.read_to_end(&mut Vec::new());
        }
        assert_eq!((bench.open(), bench.watch.counts().refused()), (3, 3));
        open.pop();
        bench.wait_for_open(2);
        let (_again, refused) = is_refused(bench.addresses[1]);
        assert!(!refused);
        bench.wait_for_open(3);
        bench.end();
    }

    #[test]
    fn high_descriptors_are_refused_whoever_holds_the_lower_ones() {
        let bench = Bench::new(ConnectionBounds { connections: 100, descriptors: 0 });
        let mut surplus = TcpStream::connect(bench.addresses[0]).unwrap();
        assert_eq!(bench.overflows.recv().unwrap(), Overflow::Descriptors);
        let _ = surplus.read_to_end(&mut Vec::new());
        assert_eq!(bench.open(), 0);
        bench.end();
    }

    #[test]
    fn all_new_ones_are_refused_when_told_so_and_the_others_stay() {
        let bench = Bench::new(ConnectionBounds { connections: 100, descriptors: u64::MAX });
        let _open = TcpStream::connect(bench.addresses[0]).unwrap();
        bench.wait_for_open(1);
        bench.watch.refuse_all();
        let mut surplus = TcpStream::connect(bench.addresses[0]).unwrap();
        assert_eq!(bench.overflows.recv().unwrap(), Overflow::Ending);
        let _ = surplus.read_to_end(&mut Vec::new());
        assert_eq!(bench.open(), 1);
        bench.end();
    }

    #[test]
    fn an_end_that_is_told_before_its_beginning_leaves_nothing() {
        let on_overflow = Box::new(|why| panic!("{why:?}"));
        let bounds = ConnectionBounds { connections: 1, descriptors: u64::MAX };
        let mut watch = Watch { bounds, counts: ConnectionCounts::default(), on_overflow };
        let mut connections = Connections::default();
        let address = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
        for fd in [7, 8, 7] {
            watch.apply(Event::Disconnected(fd), &mut connections, 0);
            watch.apply(Event::Accepted(fd, address), &mut connections, 0);
            assert!(connections.open.is_empty() && connections.ended.is_empty());
        }
        watch.apply(Event::Accepted(7, address), &mut connections, 0);
        assert_eq!(connections.open.len(), 1);
    }

    #[test]
    fn it_ends_with_the_sockets() {
        let bench = Bench::new(ConnectionBounds { connections: 1, descriptors: u64::MAX });
        let _open = TcpStream::connect(bench.addresses[0]).unwrap();
        bench.wait_for_open(1);
        bench.end();
    }
}
