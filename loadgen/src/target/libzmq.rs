//! Ends that are libzmq's own sockets, at the bare forwarder. A publisher is a DEALER that expects no answers, a subscriber a
//! SUB with a thread that reads. Each message is a frame: the name, `|`, the payload. With CURVE, libzmq encrypts on its
//! I/O threads, each frame for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use zmq::{Context, Socket, SocketType};

use super::common::{ANSWER_TIMEOUT, Run};
use super::forwarder::CONFIRM;
use crate::child::ChildServer;
use crate::count::Count;
use crate::watcher::Watcher;

/// Threads that read, write and encrypt, for all sockets: as many as the clients of other brokers have.
const IO_THREADS: i32 = 2;

/// How long what was published may take to leave when its socket is closed, in milliseconds.
const LINGER_MS: i32 = 10_000;

/// How often a subscriber looks whether it is to end, in milliseconds.
const LOOK_MS: i32 = 100;

/// A socket of libzmq that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// libzmq says why.
    #[error("libzmq: {action} failed: {source}")]
    Libzmq {
        /// What was asked for.
        action: &'static str,
        /// What it says.
        source: zmq::Error,
    },
    /// A subscription was not confirmed.
    #[error("libzmq: a subscription was not confirmed within {ANSWER_TIMEOUT:?}")]
    NotConfirmed,
    /// The system denied a thread.
    #[error("a subscriber's thread could not be started: {0}; check the process limits")]
    Thread(std::io::Error),
}

/// For `map_err`: names what was asked for.
fn failed(action: &'static str) -> impl Fn(zmq::Error) -> SocketError {
    move |source| SocketError::Libzmq { action, source }
}

/// The version of libzmq.
pub(super) fn version() -> String {
    let (major, minor, patch) = zmq::version();
    format!("{major}.{minor}.{patch}")
}

/// Makes sockets for one forwarder.
pub(crate) struct Sockets {
    context: Context,
    requests: String,
    publications: String,
    run: Run,
}

impl Sockets {
    pub(super) fn new(run: &Run, child: &ChildServer) -> Result<Self, SocketError> {
        let context = Context::new();
        context.set_io_threads(IO_THREADS).map_err(failed("to set the threads"))?;
        let [requests, publications] =
            [child.recv_addr(), child.pub_addr()].map(|address| format!("tcp://{address}"));
        Ok(Self { context, requests, publications, run: run.clone() })
    }

    fn connect(&self, kind: SocketType, endpoint: &str) -> Result<Socket, SocketError> {
        let connect = || {
            let socket = self.context.socket(kind)?;
            socket.set_linger(LINGER_MS)?;
            if let Some(keys) = &self.run.keys {
                socket.set_curve_serverkey(keys.server.as_bytes())?;
                socket.set_curve_publickey(keys.client.public().as_bytes())?;
                socket.set_curve_secretkey(keys.client.secret().as_bytes())?;
            }
            socket.connect(endpoint)?;
            Ok(socket)
        };
        connect().map_err(failed("a connection"))
    }

    pub(super) fn publisher(&self) -> Result<Publisher, SocketError> {
        let socket = self.connect(SocketType::DEALER, &self.requests)?;
        let prefixes = self.run.names.iter().map(|name| prefix(name)).collect();
        Ok(Publisher { socket, prefixes, frame: Vec::new(), count: 0, taken: Arc::default() })
    }

    /// Returns when what is published from then on arrives.
    pub(super) fn subscriber(&self, watchers: Vec<Watcher>) -> Result<Reading, SocketError> {
        let socket = self.connect(SocketType::SUB, &self.publications)?;
        let names: Vec<_> = self.run.names.iter().map(|name| prefix(name)).zip(watchers).collect();
        for (prefix, _) in &names {
            socket.set_subscribe(prefix).map_err(failed("a subscription"))?;
        }
        confirm(&socket)?;
        socket.set_rcvtimeo(LOOK_MS).map_err(failed("to set a time"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, run) = (Arc::clone(&stop), self.run.clone());
        let read = move || {
            if let Err(error) = read(&socket, names, &stopped) {
                run.notes.failures.add(|| format!("libzmq: a subscriber ended: {error}"));
            }
        };
        let thread = thread::Builder::new().name("subscriber".to_owned()).spawn(read);
        thread.map_err(SocketError::Thread)?;
        Ok(Reading(stop))
    }

    /// Opens a connection, up to a subscription that was confirmed, and closes it.
    pub(super) fn open_and_close(&self) -> Result<(), SocketError> {
        confirm(&self.connect(SocketType::SUB, &self.publications)?)
    }
}

/// What the frames of a name begin with.
fn prefix(name: &str) -> Vec<u8> {
    format!("{name}|").into_bytes()
}

/// Waits until the forwarder has all earlier subscriptions of this socket, and drops what comes before.
fn confirm(socket: &Socket) -> Result<(), SocketError> {
    let action = "the confirmation of a subscription";
    let topic = [&[CONFIRM][..], &fastrand::u128(..).to_le_bytes()].concat();
    socket.set_subscribe(&topic).map_err(failed(action))?;
    socket.set_rcvtimeo(ANSWER_TIMEOUT.as_millis() as i32).map_err(failed(action))?;
    loop {
        match socket.recv_msg(0) {
            Ok(message) if message[..] == topic => break,
            Ok(_) => {}
            Err(zmq::Error::EAGAIN) => return Err(SocketError::NotConfirmed),
            Err(error) => return Err(failed(action)(error)),
        }
    }
    socket.set_unsubscribe(&topic).map_err(failed(action))
}

/// Shows messages to the watchers of their names until it is to stop.
fn read(
    socket: &Socket,
    mut names: Vec<(Vec<u8>, Watcher)>,
    stop: &AtomicBool,
) -> Result<(), zmq::Error> {
    while !stop.load(Ordering::Relaxed) {
        let message = match socket.recv_msg(0) {
            Ok(message) => message,
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => continue,
            Err(error) => return Err(error),
        };
        let named = names
            .iter_mut()
            .find_map(|(prefix, watcher)| Some((message.strip_prefix(&prefix[..])?, watcher)));
        if let Some((payload, watcher)) = named {
            watcher.see(payload);
            if let Some(latency) = watcher.consumer_latency() {
                thread::sleep(latency);
            }
        }
    }
    Ok(())
}

/// A publisher's socket.
pub(crate) struct Publisher {
    socket: Socket,
    prefixes: Vec<Vec<u8>>,
    frame: Vec<u8>,
    count: u64,
    taken: Arc<Count>,
}

impl Publisher {
    /// Hands a message over under the name with this index; waits while the socket's queue is full.
    pub(super) fn publish(&mut self, name: usize, payload: &[u8]) -> Result<(), SocketError> {
        self.frame.clear();
        self.frame.extend_from_slice(&self.prefixes[name]);
        self.frame.extend_from_slice(payload);
        self.socket.send(&self.frame[..], 0).map_err(failed("a publish"))?;
        self.count += 1;
        self.taken.set(self.count);
        Ok(())
    }

    /// Counts the messages that left the run; the forwarder answers none.
    pub(super) fn taken(&self) -> Arc<Count> {
        Arc::clone(&self.taken)
    }
}

/// The thread of a subscriber.
pub(crate) struct Reading(Arc<AtomicBool>);

impl Reading {
    /// Ends it, which drops the watchers.
    pub(super) fn stop(self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
