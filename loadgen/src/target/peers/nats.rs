//! Core NATS through async-nats: each end has a connection. A publish goes to the queue of the
//! connection's task, which writes what has gathered; nothing is answered, but for requests.

use std::sync::Arc;

use async_nats::{Client, ConnectOptions, Event, Subject};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::runtime::Handle;

use super::common::{
    Durability, Finished, GROUP, MakeEnds, PeerError, Publish, Reading, Setup, check_answer, show,
    wait,
};
use crate::count::Count;
use crate::watcher::Watcher;

pub(super) struct Nats {
    setup: Setup,
    version: String,
}

impl Nats {
    pub(super) fn connect(setup: Setup) -> Result<Self, PeerError> {
        let client = connect(&setup)?;
        Ok(Self { setup, version: client.server_info().version })
    }
}

/// A connection that notes what its server and client complain of.
pub(super) fn connect(setup: &Setup) -> Result<Client, PeerError> {
    let notes = setup.notes();
    let mut options = ConnectOptions::new()
        .client_capacity(setup.queue_messages())
        .skip_subject_validation(true)
        .event_callback(move |event| {
            if !matches!(event, Event::Connected | Event::Closed) {
                notes.failures.add(|| format!("nats: {event}"));
            }
            async {}
        });
    if let Some(folder) = &setup.tls {
        let file = |name| folder.join(name);
        options = options
            .require_tls(true)
            .add_root_certificates(file("ca.pem"))
            .add_client_certificate(file("client.pem"), file("client.key"));
    }
    let address = setup.address();
    setup.ask("the connection", async {
        options.connect(address).await.map_err(|error| setup.connect_error(error))
    })
}

/// Subjects for the names of the run.
pub(super) fn subjects(setup: &Setup) -> Vec<Subject> {
    setup.run.names.iter().map(|name| Subject::from(name.as_str())).collect()
}

impl MakeEnds for Nats {
    fn version(&self) -> Option<String> {
        Some(self.version.clone())
    }

    fn durability(&self) -> Option<Durability> {
        Some(Durability::Memory)
    }

    fn publisher(&self) -> Result<Box<dyn Publish>, PeerError> {
        let taken = Arc::default();
        let runtime = self.setup.runtime.clone();
        let client = connect(&self.setup)?;
        let subjects = subjects(&self.setup);
        let requests = self.setup.requests;
        Ok(Box::new(Publisher { runtime, client, subjects, requests, taken, count: 0 }))
    }

    fn open_and_close(&self) -> Result<(), PeerError> {
        connect(&self.setup).map(drop)
    }

    fn subscriber(&self, watchers: Vec<Watcher>) -> Result<Reading, PeerError> {
        let client = connect(&self.setup)?;
        let mut tasks = Vec::with_capacity(watchers.len());
        for (subject, mut watcher) in subjects(&self.setup).into_iter().zip(watchers) {
            let mut messages = self.setup.ask("a subscription", async {
                let subscribed = match self.setup.group {
                    true => client.queue_subscribe(subject, GROUP.to_owned()).await,
                    false => client.subscribe(subject).await,
                };
                subscribed.map_err(PeerError::request("a subscription"))
            })?;
            let (answers, notes) = (client.clone(), self.setup.notes());
            tasks.push(self.setup.runtime.spawn(async move {
                while let Some(message) = messages.next().await {
                    show(&mut watcher, &message.payload).await;
                    if let Some(asking) = message.reply
                        && let Err(error) = answers.publish(asking, message.payload).await
                    {
                        notes.failures.add(|| format!("nats: an answer failed: {error}"));
                    }
                }
            }));
        }
        self.setup.ask("the confirmation of a subscription", confirm(client))?;
        Ok(Reading(tasks))
    }
}

/// Waits until the server has all earlier subscriptions of this connection: it handles what a
/// connection sends in order, so a message to oneself comes back after them.
async fn confirm(client: Client) -> Result<(), PeerError> {
    let inbox = client.new_inbox();
    let failed = "the confirmation of a subscription";
    let mut echo = client.subscribe(inbox.clone()).await.map_err(PeerError::request(failed))?;
    client.publish(inbox, Bytes::new()).await.map_err(PeerError::request(failed))?;
    echo.next().await.map(|_| ()).ok_or(PeerError::NoAnswer(failed))
}

struct Publisher {
    runtime: Handle,
    client: Client,
    subjects: Vec<Subject>,
    requests: bool,
    taken: Arc<Count>,
    count: u64,
}

impl Publish for Publisher {
    fn publish(&mut self, name: usize, payload: &[u8]) -> Result<(), PeerError> {
        let (subject, body) = (self.subjects[name].clone(), Bytes::copy_from_slice(payload));
        if self.requests {
            let answer = self.runtime.block_on(self.client.request(subject, body));
            check_answer(&answer.map_err(PeerError::request("a request"))?.payload, payload)?;
        } else {
            wait(&self.runtime, self.client.publish(subject, body))
                .map_err(PeerError::request("a publish"))?;
        }
        self.count += 1;
        self.taken.set(self.count);
        Ok(())
    }

    fn taken(&self) -> Arc<Count> {
        Arc::clone(&self.taken)
    }

    fn finish(self: Box<Self>) -> Finished {
        let flushed = self.runtime.block_on(self.client.flush());
        let failure = flushed.map_err(PeerError::request("a flush")).err();
        Finished { refused: 0, failure }
    }
}
