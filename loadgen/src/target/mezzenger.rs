//! Ends that are clients of this project.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mezzenger::{Client, ConnectError, Failure, Filter, Message, SubscribeError, Subscription};

use super::common::Run;
use crate::address::GROUP_CREDIT;
use crate::args::Settings;
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
    /// It has no thread to read with.
    #[error(
        "subscriber {index}: its thread could not be started: {source}; check the process limits"
    )]
    Thread {
        /// Which.
        index: u16,
        /// Why.
        source: io::Error,
    },
}

/// Makes clients for one server.
pub(crate) struct Clients {
    host: String,
    port: u16,
    names: Arc<[String]>,
    notes: Notes,
    target_delay: Option<Duration>,
    group: bool,
    requests: bool,
}

impl Clients {
    /// For the run's own server, or for the one that the settings name.
    pub(super) fn new(settings: &Settings, run: &Run, child: Option<&ChildServer>) -> Self {
        let args = &settings.target;
        let (host, port) = match child {
            Some(child) => {
                let address = child.recv_addr();
                (address.ip().to_string(), address.port())
            }
            None => {
                let host = args.server.as_deref().unwrap_or("127.0.0.1");
                (host.to_owned(), args.port)
            }
        };
        let (names, notes) = (Arc::clone(&run.names), run.notes.clone());
        let (target_delay, group, requests) = (args.target_delay, settings.group, settings.request);
        Self { host, port, names, notes, target_delay, group, requests }
    }

    /// Whether messages are requests.
    pub(super) fn requests(&self) -> bool {
        self.requests
    }

    /// The names of the run's messages.
    pub(super) fn names(&self) -> Arc<[String]> {
        Arc::clone(&self.names)
    }

    /// A client that only publishes.
    pub(super) fn publisher(&self, index: u16) -> Result<Client, ClientError> {
        self.connect("publisher", index)
    }

    /// A client that shows every message to the watcher of its name.
    pub(super) fn subscriber(
        &self,
        index: u16,
        watchers: Vec<Watcher>,
    ) -> Result<Client, ClientError> {
        let reads = self.group || self.requests;
        let client = self.connect("subscriber", index)?;
        for (name, mut watcher) in self.names.iter().zip(watchers) {
            let failed = |source| ClientError::Subscribe { index, source };
            if reads {
                let subscription = self.open(&client, name).map_err(failed)?;
                self.read(index, subscription, watcher)?;
                continue;
            }
            let see = move |payload: &[u8], _: &Message| {
                watcher.see(payload);
                if let Some(latency) = watcher.consumer_latency() {
                    thread::sleep(latency);
                }
            };
            client.subscribe(name, see).map_err(failed)?;
        }
        Ok(client)
    }

    /// Subscribes to what is read: as a member of the name's group, if there is one.
    fn open(&self, client: &Client, name: &str) -> Result<Subscription, SubscribeError> {
        let subscription = client.subscription_to(Filter::name(name));
        if self.group {
            subscription.group(name).credit(GROUP_CREDIT).open()
        } else {
            subscription.open()
        }
    }

    /// Reads on a thread of its own, and answers or acknowledges, until the client stops.
    fn read(
        &self,
        index: u16,
        subscription: Subscription,
        mut watcher: Watcher,
    ) -> Result<(), ClientError> {
        let (answers, failures) = (self.requests, self.notes.failures.clone());
        let work = move || {
            for delivery in subscription {
                watcher.see(delivery.payload());
                if let Some(latency) = watcher.consumer_latency() {
                    thread::sleep(latency);
                }
                if answers && let Err(error) = delivery.reply(delivery.payload()) {
                    failures.add(|| format!("subscriber {index}: an answer failed: {error}"));
                }
                delivery.ack();
            }
        };
        let started = thread::Builder::new().name(format!("subscriber {index}")).spawn(work);
        started.map(|_| ()).map_err(|source| ClientError::Thread { index, source })
    }

    fn connect(&self, who: &'static str, index: u16) -> Result<Client, ClientError> {
        let notes = self.notes.clone();
        let mut options = Client::builder();
        if let Some(delay) = self.target_delay {
            options = options.target_delay(delay);
        }
        options
            .server_address(&self.host)
            .port(self.port)
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
