//! What the public interface does not offer, for measurements that must be exact and tests that play the
//! other end: the engine without its threads, one thread doing the work of all in turns that never wait,
//! for `bench/gate` and `fuzz/checks`; and a server on a disk that lies, for `tests/torture`.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use rustix::net::sockopt::set_socket_send_buffer_size;

use crate::broker::checker::Checker;
use crate::broker::run::{Broker, CoreState, Live, RunError};
use crate::config::Config;
use crate::journal::Writer;
use crate::journal::storage::Storage;
use crate::metrics::{Counters, Metrics};
use crate::net::connection::{Connection, Settings};
use crate::net::listen::SystemNetwork;
use crate::net::wait::has_input;
use crate::net::waker;
use crate::pending::PendingView;
use crate::server::{Server, StartError, recover};
use crate::zmtp::curve::Traffic;
use crate::zmtp::frame::Head;
use crate::zmtp::handshake::Kind;

pub use crate::client::run::driven::DrivenClient;
pub use crate::zmtp::session::Port;

/// As [`Server::start`], with the journal in `storage`.
///
/// # Errors
/// As [`Server::start`].
pub fn start_server(config: &Config, storage: Arc<dyn Storage>) -> Result<Server, StartError> {
    Server::start_in(config, storage)
}

/// What a stream of [`DrivenServer::connect`] takes before it is read; Linux doubles it for its bookkeeping.
/// Set, so that bytes pass in the same pieces on every machine: half of what Linux has as default and
/// allows without privileges.
const STREAM_BYTES: usize = 106_496;

/// What the broker's thread and the journal's thread would run.
pub struct DrivenServer {
    broker: Broker<SystemNetwork>,
    writer: Option<Writer>,
    counters: Arc<Counters>,
    pending: PendingView,
}

impl DrivenServer {
    /// A server to which only [`Self::connect`] connects. With [`Config::persist_file`] its journal is in
    /// `storage`.
    ///
    /// # Errors
    /// When a system call fails, or the journal cannot be opened.
    pub fn new(config: &Config, storage: Arc<dyn Storage>) -> Result<Self, StartError> {
        let (waker, wake) = waker::pair()?;
        let counters = Arc::new(Counters::default());
        let mut core = CoreState::new(config, Arc::clone(&counters));
        let pending = core.pending();
        let (journal, writer) = match &config.persist_file {
            Some(path) => {
                let opened = recover(path, config, storage, &mut core)?;
                let live = Arc::new(Live(pending.clone()));
                let (journal, writer) = opened.split(live, Box::new(move |_| waker.wake()));
                (Some(journal), Some(writer))
            }
            None => (None, None),
        };
        let network = SystemNetwork::new(None, wake)?;
        let (checker, stop) = (Checker::default(), Arc::<AtomicBool>::default());
        let broker = Broker::new(core, config, network, checker, journal, stop);
        Ok(Self { broker, writer, counters, pending })
    }

    /// A connection to one of the server's ports; the client's end of it.
    ///
    /// # Errors
    /// When the system call fails.
    pub fn connect(&mut self, port: Port) -> io::Result<UnixStream> {
        let (near, far) = UnixStream::pair()?;
        for end in [&near, &far] {
            set_socket_send_buffer_size(end, STREAM_BYTES)?;
        }
        near.set_nonblocking(true)?;
        self.broker.network().give(near, port);
        Ok(far)
    }

    /// Turns of the broker's thread until there is nothing to read or write.
    ///
    /// # Errors
    /// When the system call fails.
    pub fn turn_broker(&mut self) -> Result<(), RunError> {
        loop {
            self.broker.turn(Some(Duration::ZERO))?;
            if self.broker.is_idle() {
                return Ok(());
            }
        }
    }

    /// As if the connection that was made so manieth, from 0, had proved that it is this publisher.
    pub fn prove(&mut self, connection: u64, publisher: u64) {
        self.broker.prove(connection, publisher);
    }

    /// One turn of the journal's thread, if there is a journal: commits what has queued up.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn turn_journal(&mut self) -> Result<(), RunError> {
        match &mut self.writer {
            Some(writer) => Ok(writer.turn()?),
            None => Ok(()),
        }
    }

    /// What the server counted so far.
    pub fn metrics(&self) -> Metrics {
        Metrics {
            pending_messages: self.pending.len() as u64,
            pending_bytes: self.pending.bytes() as u64,
            ..self.counters.snapshot()
        }
    }
}

/// Both ends of what travels with CURVE, without a connection.
#[derive(Debug)]
pub struct Sealed(Traffic, Traffic);

impl Default for Sealed {
    fn default() -> Self {
        let (client, server) = Traffic::pair();
        Self(client, server)
    }
}

impl Sealed {
    /// Appends a frame of a message with this body, as the client would send it.
    pub fn seal(&mut self, body: &[u8], out: &mut Vec<u8>) {
        let mut head = Vec::new();
        Head::message(body.len(), false).append_to(&mut head);
        self.0.sealer.push(&head, out);
        self.0.sealer.push(body, out);
    }

    /// Opens such a frame as the server would; how many bytes its body has. `None` if it cannot be opened.
    pub fn open(&mut self, frame: &[u8]) -> Option<usize> {
        let (_, head_bytes) = Head::read(frame).ok()??;
        Some(self.1.opener.open(&frame[head_bytes..]).ok()?.1.len())
    }
}

/// A client's end of a connection, for whoever plays the other one.
pub struct DrivenConnection(Connection);

impl DrivenConnection {
    /// A connection over this stream, to a server that publishes or to one that takes requests. A frame
    /// of more bytes than `frame_bytes_max` ends it; silence does not.
    ///
    /// # Errors
    /// When the stream cannot be made non-blocking.
    pub fn over(stream: UnixStream, subscribes: bool, frame_bytes_max: usize) -> io::Result<Self> {
        const NEVER: Duration = Duration::from_secs(86_400);
        stream.set_nonblocking(true)?;
        let settings = Settings {
            addresses: Vec::new(),
            timeout: NEVER,
            kind: if subscribes { Kind::Sub } else { Kind::Dealer },
            frame_bytes_max,
            heartbeat: NEVER,
            silence_max: NEVER,
            keys: None,
            login: None,
        };
        Ok(Self(Connection::over(stream.into(), settings)))
    }

    /// Does what is to be done with what the stream has, and returns the messages that are whole, each in
    /// its parts.
    pub fn receive(&mut self) -> Vec<Vec<Bytes>> {
        self.0.readable();
        self.0.advance();
        let (mut messages, mut parts) = (Vec::new(), Vec::new());
        while self.0.receive(&mut parts) {
            messages.push(std::mem::take(&mut parts));
        }
        messages
    }

    /// Whether something came in.
    pub fn has_input(&self) -> bool {
        self.0.polled().is_some_and(|polled| has_input(&polled.socket))
    }

    /// Sends a message in its parts.
    pub fn send(&mut self, parts: &[&[u8]]) {
        for (at, part) in parts.iter().enumerate() {
            let mut head = Vec::new();
            Head::message(part.len(), at + 1 < parts.len()).append_to(&mut head);
            self.0.send(head.into());
            self.0.send(Bytes::copy_from_slice(part));
        }
        self.0.flush();
    }

    /// Whether it is made, so that what is sent leaves.
    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// Whether it was given up.
    pub fn is_lost(&self) -> bool {
        self.0.polled().is_none()
    }
}
