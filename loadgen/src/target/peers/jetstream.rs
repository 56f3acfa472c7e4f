//! NATS `JetStream` through async-nats: publishes are answered, with 512 of each publisher in flight;
//! a push consumer for each subscriber, which acknowledges each message for itself, or one that the members of a group
//! share. Pull consumers, in batches of 200 and of 1,000, were no faster.
//!
//! One subscriber, or a group, makes the stream a work queue: a message goes when it is acknowledged. With several
//! it goes when each of them has acknowledged it (interest).

use std::sync::Arc;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, push};
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture};
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType, Stream};
use async_nats::{Client, Subject};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::common::{
    Durability, Finished, GROUP, MakeEnds, PeerError, Publish, Reading, Setup, show_by_name, wait,
};
use super::nats::{connect, subjects};
use crate::address::Storage;
use crate::count::Count;
use crate::watcher::Watcher;

/// Publishes of one publisher that are not answered yet.
const PUBLISHES_MAX: usize = 512;

/// Messages that a consumer may have delivered without an acknowledgement. The default, 1000, makes
/// the server wait for the consumer under load.
const UNACKNOWLEDGED_MAX: i64 = 16_384;

pub(super) struct JetStream {
    setup: Setup,
    storage: Storage,
    version: String,
    context: Context,
    stream: Stream,
    /// Where the members of a group receive.
    inbox: String,
    settled: Arc<Count>,
}

impl JetStream {
    pub(super) fn connect(setup: Setup, storage: Storage) -> Result<Self, PeerError> {
        let client = connect(&setup)?;
        let version = client.server_info().version;
        let inbox = client.new_inbox();
        let context = context(&setup, client);
        let config = Config {
            name: stream_name(&setup),
            subjects: vec![format!("{}.>", setup.prefix())],
            retention: match setup.ack && (setup.group || setup.subs == 1) {
                true => RetentionPolicy::WorkQueue,
                false => RetentionPolicy::Interest,
            },
            storage: match storage {
                Storage::Memory => StorageType::Memory,
                Storage::File => StorageType::File,
            },
            ..Config::default()
        };
        let action = "the creation of a stream (does the server run with --jetstream?)";
        let stream = setup.ask(action, async {
            context.create_stream(config).await.map_err(PeerError::request(action))
        })?;
        Ok(Self { setup, storage, version, context, stream, inbox, settled: Arc::default() })
    }
}

/// A context starts a task of its own.
fn context(setup: &Setup, client: Client) -> Context {
    let _entered = setup.runtime.enter();
    ContextBuilder::new().max_ack_inflight(PUBLISHES_MAX).build(client)
}

fn stream_name(setup: &Setup) -> String {
    setup.prefix().replace('.', "-")
}

impl MakeEnds for JetStream {
    fn version(&self) -> Option<String> {
        Some(self.version.clone())
    }

    fn durability(&self) -> Option<Durability> {
        Some(match self.storage {
            Storage::Memory => Durability::Memory,
            Storage::File => Durability::PageCache,
        })
    }

    fn publisher(&self) -> Result<Box<dyn Publish>, PeerError> {
        let context = context(&self.setup, connect(&self.setup)?);
        let taken = Arc::<Count>::default();
        let (waiting, answers) = mpsc::unbounded_channel();
        Ok(Box::new(Publisher {
            runtime: self.setup.runtime.clone(),
            context,
            subjects: subjects(&self.setup),
            collector: self.setup.runtime.spawn(collect(answers, Arc::clone(&taken))),
            waiting,
            taken,
        }))
    }

    fn subscriber(&self, mut watchers: Vec<Watcher>) -> Result<Reading, PeerError> {
        let client = connect(&self.setup)?;
        let group = self.setup.group.then(|| GROUP.to_owned());
        let config = push::Config {
            deliver_subject: match group {
                Some(_) => self.inbox.clone(),
                None => client.new_inbox(),
            },
            durable_name: group.clone(),
            deliver_group: group,
            ack_policy: if self.setup.ack { AckPolicy::Explicit } else { AckPolicy::None },
            max_ack_pending: if self.setup.ack { UNACKNOWLEDGED_MAX } else { 0 },
            ..push::Config::default()
        };
        // The consumer must be read through its own connection.
        let context = context(&self.setup, client);
        let name = stream_name(&self.setup);
        let action = "the creation of a consumer";
        let mut messages = self.setup.ask(action, async {
            let consumer = context
                .create_consumer_on_stream(config, name)
                .await
                .map_err(PeerError::request(action))?;
            consumer.messages().await.map_err(PeerError::request(action))
        })?;
        let (ack, notes, settled) = (self.setup.ack, self.setup.notes(), self.settled.clone());
        let task = async move {
            while let Some(message) = messages.next().await {
                let outcome: Result<(), async_nats::Error> = async {
                    let message = message?;
                    show_by_name(&mut watchers, &message.subject, &message.payload).await;
                    if ack {
                        message.ack().await?;
                        settled.add(1);
                    }
                    Ok(())
                }
                .await;
                if let Err(error) = outcome {
                    notes.failures.add(|| format!("jetstream: {error}"));
                }
            }
        };
        Ok(Reading(vec![self.setup.runtime.spawn(task)]))
    }

    fn settled(&self) -> Option<u64> {
        self.setup.ack.then(|| self.settled.get())
    }

    fn pending(&self) -> Result<Option<u64>, PeerError> {
        let action = "a question for a stream's state";
        let info = self.setup.ask(action, async {
            self.stream.get_info().await.map_err(PeerError::request(action))
        })?;
        Ok(Some(info.state.messages))
    }

    fn clean_up(&self) {
        let action = "the deletion of a stream";
        let deleted = self.setup.ask(action, async {
            let name = stream_name(&self.setup);
            self.context.delete_stream(name).await.map_err(PeerError::request(action))
        });
        if let Err(error) = deleted {
            self.setup.run.notes.warnings.add(|| error.to_string());
        }
    }
}

struct Publisher {
    runtime: Handle,
    context: Context,
    subjects: Vec<Subject>,
    /// Bounded by the publishes that may be in flight.
    waiting: mpsc::UnboundedSender<PublishAckFuture>,
    collector: JoinHandle<Finished>,
    taken: Arc<Count>,
}

/// Waits for the answer to each publish, in order.
async fn collect(
    mut answers: mpsc::UnboundedReceiver<PublishAckFuture>,
    taken: Arc<Count>,
) -> Finished {
    let mut finished = Finished { refused: 0, failure: None };
    while let Some(answer) = answers.recv().await {
        match answer.await {
            Ok(_) => taken.add(1),
            Err(error) => {
                finished.refused += 1;
                let error = PeerError::request("a publish")(error);
                finished.failure.get_or_insert(error);
            }
        }
    }
    finished
}

impl Publish for Publisher {
    fn publish(&mut self, name: usize, payload: &[u8]) -> Result<(), PeerError> {
        let payload = Bytes::copy_from_slice(payload);
        let answer =
            wait(&self.runtime, self.context.publish(self.subjects[name].clone(), payload))
                .map_err(PeerError::request("a publish"))?;
        self.waiting.send(answer).map_err(|_| PeerError::Ended)
    }

    fn taken(&self) -> Arc<Count> {
        Arc::clone(&self.taken)
    }

    fn finish(self: Box<Self>) -> Finished {
        let Self { runtime, waiting, collector, .. } = *self;
        drop(waiting);
        let ended = || Finished { refused: 0, failure: Some(PeerError::Ended) };
        runtime.block_on(collector).unwrap_or_else(|_| ended())
    }
}
