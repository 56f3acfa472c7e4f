//! Ends that are clients of this project.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mezzenger::{
    AdminError, Client, ConnectError, Delivery, Failure, Filter, Message, SubscribeError,
};

use super::common::Run;
use crate::address::GROUP_CREDIT;
use crate::args::Settings;
use crate::child::ChildServer;
use crate::keys::Keys;
use crate::notes::Notes;
use crate::watcher::Watcher;

/// A client that did not connect, or did not subscribe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// It did not connect.
    #[error("{who} {index}: {source}")]
    Connect {
        /// Publisher, subscriber, or client.
        who: &'static str,
        /// Which.
        index: u16,
        /// Why.
        source: ConnectError,
    },
    /// Its durable group was not created.
    #[error("subscriber {index}: {source}")]
    Group {
        /// Which.
        index: u16,
        /// Why.
        source: AdminError,
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
    port: u16,
    names: Arc<[String]>,
    notes: Notes,
    target_delay: Option<Duration>,
    group: bool,
    /// Whether the group is a durable one.
    durable: bool,
    requests: bool,
    keys: Option<Arc<Keys>>,
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
        let (target_delay, requests) = (args.target_delay, settings.request);
        let (group, durable) = (settings.group, settings.durable);
        let keys = run.keys.clone();
        Self { host, port, names, notes, target_delay, group, durable, requests, keys }
    }

    /// Whether messages are requests.
    pub(super) fn requests(&self) -> bool {
        self.requests
    }

    /// The names of the run's messages.
    pub(super) fn names(&self) -> Arc<[String]> {
        Arc::clone(&self.names)
    }

    /// Opens a connection, up to the server's answer to its hello, and closes it.
    pub(super) fn open_and_close(&self, index: u16) -> Result<(), ClientError> {
        self.connect("client", index)?.stop();
        Ok(())
    }

    /// A client that only publishes.
    pub(super) fn publisher(&self, index: u16) -> Result<Client, ClientError> {
        self.connect("publisher", index)
    }

    /// A client that shows every message to the watcher of its name, as a member of the name's group if there is one, and
    /// answers requests.
    pub(super) fn subscriber(
        &self,
        index: u16,
        watchers: Vec<Watcher>,
    ) -> Result<Client, ClientError> {
        let client = self.connect("subscriber", index)?;
        for (name, watcher) in self.names.iter().zip(watchers) {
            if self.durable {
                let group = client.groups().durable(name, Filter::name(name));
                group.create().map_err(|source| ClientError::Group { index, source })?;
            }
            let subscribed = match (self.group, self.requests) {
                (false, false) => client.subscribe(name, see(watcher)),
                (false, true) => {
                    client.subscription_to(Filter::name(name)).call(self.answer(index, watcher))
                }
                (true, _) => {
                    let group = client.subscription_to(Filter::name(name)).group(name);
                    group.credit(GROUP_CREDIT).call(self.answer(index, watcher))
                }
            };
            subscribed.map_err(|source| ClientError::Subscribe { index, source })?;
        }
        Ok(client)
    }

    /// Shows deliveries to a watcher, and answers them if they are requests.
    fn answer(&self, index: u16, watcher: Watcher) -> impl FnMut(&Delivery) + Send + 'static {
        let (answers, failures) = (self.requests, self.notes.failures.clone());
        let mut see = see(watcher);
        move |delivery| {
            see(delivery.payload(), delivery.message());
            if answers && let Err(error) = delivery.reply(delivery.payload()) {
                failures.add(|| format!("subscriber {index}: an answer failed: {error}"));
            }
        }
    }

    fn connect(&self, who: &'static str, index: u16) -> Result<Client, ClientError> {
        let notes = self.notes.clone();
        let mut options = Client::builder();
        if let Some(delay) = self.target_delay {
            options = options.target_delay(delay);
        }
        if let Some(keys) = &self.keys {
            options = options.curve(keys.client.clone(), keys.server);
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

/// Shows messages to a watcher, as slowly as it says.
fn see(mut watcher: Watcher) -> impl FnMut(&[u8], &Message) + Send + 'static {
    move |payload, _| {
        watcher.see(payload);
        if let Some(latency) = watcher.consumer_latency() {
            thread::sleep(latency);
        }
    }
}
