//! Ends that are clients of this project.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mezzenger::{Client, ConnectError, Failure, Message, SubscribeError};

use super::common::Run;
use crate::args::TargetArgs;
use crate::child::ChildServer;
use crate::notes::Notes;
use crate::watcher::Watcher;

/// A client that did not connect, or did not subscribe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// It did not connect.
    #[error("{who} {index}: {source}")]
    Connect {
        /// Publisher or subscriber.
        who: &'static str,
        /// Which.
        index: u16,
        /// Why.
        source: ConnectError,
    },
    /// It did not subscribe.
    #[error("subscriber {index}: {source}")]
    Subscribe {
        /// Which.
        index: u16,
        /// Why.
        source: SubscribeError,
    },
}

/// Makes clients for one server.
pub(crate) struct Clients {
    host: String,
    send_port: u16,
    sub_port: u16,
    names: Arc<[String]>,
    notes: Notes,
    target_delay: Option<Duration>,
}

impl Clients {
    /// For the run's own server, or for the one that the settings name.
    pub(super) fn new(args: &TargetArgs, run: &Run, child: Option<&ChildServer>) -> Self {
        let (host, send_port, sub_port) = match child {
            Some(child) => {
                let address = child.recv_addr();
                (address.ip().to_string(), address.port(), child.pub_addr().port())
            }
            None => {
                let host = args.server.as_deref().unwrap_or("127.0.0.1");
                (host.to_owned(), args.send_port, args.sub_port)
            }
        };
        let (names, notes) = (Arc::clone(&run.names), run.notes.clone());
        Self { host, send_port, sub_port, names, notes, target_delay: args.target_delay }
    }

    /// The names of the run's messages.
    pub(super) fn names(&self) -> Arc<[String]> {
        Arc::clone(&self.names)
    }

    /// A client that only publishes.
    pub(super) fn publisher(&self, index: u16) -> Result<Client, ClientError> {
        self.connect("publisher", index, false)
    }

    /// A client that shows every message to the watcher of its name.
    pub(super) fn subscriber(
        &self,
        index: u16,
        watchers: Vec<Watcher>,
    ) -> Result<Client, ClientError> {
        let client = self.connect("subscriber", index, true)?;
        for (name, mut watcher) in self.names.iter().zip(watchers) {
            let see = move |payload: &[u8], _: &Message| {
                watcher.see(payload);
                if let Some(latency) = watcher.consumer_latency() {
                    thread::sleep(latency);
                }
            };
            client
                .subscribe(name, see)
                .map_err(|source| ClientError::Subscribe { index, source })?;
        }
        Ok(client)
    }

    fn connect(
        &self,
        who: &'static str,
        index: u16,
        receives: bool,
    ) -> Result<Client, ClientError> {
        let notes = self.notes.clone();
        let mut options = Client::builder();
        if let Some(delay) = self.target_delay {
            options = options.target_delay(delay);
        }
        options
            .server_address(&self.host)
            .send_port(self.send_port)
            .sub_port(self.sub_port)
            .auto_start(receives)
            .on_error(move |failure| {
                // The server delivers those again, and duplicates are counted.
                let harmless = matches!(failure, Failure::AcksDropped { .. });
                let lines = if harmless { &notes.warnings } else { &notes.failures };
                lines.add(|| format!("{who} {index}: {failure}"));
            })
            .connect()
            .map_err(|source| ClientError::Connect { who, index, source })
    }
}
