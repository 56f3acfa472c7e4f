//! What the public interface does not offer, for measurements that must be exact and tests that play the
//! other end: the engine without its threads, one thread doing the work of all in turns that never wait,
//! for `bench/gate` and `fuzz/checks`; and a server on a disk that lies, for `tests/torture`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;

use crate::broker::run::{Broker, CoreState, Live, Parts, RunError};
use crate::config::Config;
use crate::journal::Writer;
use crate::journal::storage::Storage;
use crate::metrics::{Counters, Metrics};
use crate::net::connection::{Connection, Settings};
use crate::net::waker;
use crate::pending::{Limits, PendingMap, PendingView};
use crate::server::{Server, StartError, recover, sockets};
use crate::transport::Context;
use crate::transport::part::Outstanding;
use crate::zmtp::handshake::Kind;

pub use crate::client::driven::DrivenClient;

/// As [`Server::start`], with the journal in `storage`.
///
/// # Errors
/// As [`Server::start`].
pub fn start_server(config: &Config, storage: Arc<dyn Storage>) -> Result<Server, StartError> {
    Server::start_in(config, storage)
}

/// What the broker's thread and the journal's thread would run.
pub struct DrivenServer {
    broker: Broker,
    writer: Option<Writer>,
    counters: Arc<Counters>,
    pending: PendingView,
}

impl DrivenServer {
    /// A server that listens at these endpoints, for requests and for subscribers, of any kind that
    /// libzmq knows; the addresses in `config` are not used. With [`Config::persist_file`] its journal
    /// is in `storage`.
    ///
    /// # Errors
    /// When a socket cannot be made, an endpoint used or the journal opened.
    pub fn new(
        config: &Config,
        context: &Context,
        [request_endpoint, publishing_endpoint]: [&str; 2],
        storage: Arc<dyn Storage>,
    ) -> Result<Self, StartError> {
        let (waker, wake) = waker::pair()?;
        let counters = Arc::new(Counters::default());
        let map = PendingMap::new(Limits {
            messages: config.max_pending_messages,
            bytes: config.max_pending_bytes,
        });
        let pending = map.view().clone();
        let mut core = CoreState::new(config, map, Arc::clone(&counters));
        let (journal, writer) = match &config.persist_file {
            Some(path) => {
                let opened = recover(path, config, storage, &mut core)?;
                let live = Arc::new(Live(pending.clone()));
                let (journal, writer) = opened.split(live, Box::new(move |_| waker.wake()));
                (Some(journal), Some(writer))
            }
            None => (None, None),
        };
        let (requests, publisher) = sockets(context, config)?;
        publisher.bind(publishing_endpoint)?;
        requests.bind(request_endpoint)?;
        let parts = Parts {
            context: context.clone(),
            requests,
            publisher,
            // Where subscribers that do not read would be looked for.
            publisher_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            outstanding: Outstanding::default(),
            connections: None,
            journal,
            wake,
            stop: Arc::new(AtomicBool::new(false)),
            counters: Arc::clone(&counters),
        };
        Ok(Self { broker: Broker::new(core, config, parts), writer, counters, pending })
    }

    /// One turn of the broker's thread.
    ///
    /// # Errors
    /// When a socket fails.
    pub fn turn_broker(&mut self) -> Result<(), RunError> {
        Ok(self.broker.turn_at_once()?)
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

/// A client's end of a connection, for whoever plays the server.
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
            address: None,
            kind: if subscribes { Kind::Sub } else { Kind::Dealer },
            frame_bytes_max,
            heartbeat: NEVER,
            silence_max: NEVER,
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

    /// Whether it was given up.
    pub fn is_lost(&self) -> bool {
        self.0.polled().is_none()
    }
}
