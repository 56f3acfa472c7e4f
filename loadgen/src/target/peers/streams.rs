//! Redis streams through the redis crate: a stream for each name, one group, one consumer or those of --group.
//!
//! Publishers XADD in pipelines. A consumer reads 512 messages a turn with XREADGROUP and acknowledges
//! (XACK) and deletes (XDEL) them in the pipeline that reads the next ones; without --ack it reads with
//! NOACK, and deletes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, Pipeline, RedisResult};

use super::common::{
    Durability, GROUP, MakeEnds, PeerError, Publish, Reading, Setup, show_by_name,
};
use super::pipelines::Publisher;
use super::redis::{client, connection, durability, version};
use crate::count::Count;
use crate::watcher::Watcher;

const FIELD: &str = "m";

/// Messages read in one turn.
const MESSAGES_MAX: usize = 512;

/// How long a read waits for messages, in milliseconds. The acknowledgements that travel with it are
/// answered at its end.
const BLOCK_MS: usize = 20;

/// What a read gives: for each stream its key and its messages, each with an id, a field and a payload.
/// Nothing when none came in time.
type Read = Option<Vec<(String, Vec<(String, (String, Vec<u8>))>)>>;

pub(super) struct Streams {
    setup: Setup,
    client: Client,
    version: Option<String>,
    durability: Option<Durability>,
    settled: Arc<Count>,
    /// How many there are.
    consumers: AtomicU16,
}

impl Streams {
    pub(super) fn connect(setup: Setup) -> Result<Self, PeerError> {
        let client = client(&setup)?;
        let mut connection = connection(&setup, &client)?;
        let version = version(&setup, connection.clone())?;
        let durability = durability(&setup, connection.clone());
        let action = "XGROUP CREATE";
        let mut groups = Pipeline::new();
        for name in setup.run.names.iter() {
            groups.cmd("XGROUP").arg("CREATE").arg(name).arg(GROUP).arg("0").arg("MKSTREAM");
        }
        setup.ask(action, async {
            groups.query_async::<()>(&mut connection).await.map_err(PeerError::request(action))
        })?;
        Ok(Self {
            setup,
            client,
            version,
            durability,
            settled: Arc::default(),
            consumers: AtomicU16::new(0),
        })
    }
}

impl MakeEnds for Streams {
    fn version(&self) -> Option<String> {
        self.version.clone()
    }

    fn durability(&self) -> Option<Durability> {
        self.durability
    }

    fn publisher(&self) -> Result<Box<dyn Publish>, PeerError> {
        let connection = connection(&self.setup, &self.client)?;
        Ok(Box::new(Publisher::new(&self.setup, connection, encode)))
    }

    fn subscriber(&self, watchers: Vec<Watcher>) -> Result<Reading, PeerError> {
        let consumer = Consumer {
            name: format!("consumer-{}", self.consumers.fetch_add(1, Ordering::Relaxed)),
            connection: connection(&self.setup, &self.client)?,
            names: Arc::clone(&self.setup.run.names),
            ack: self.setup.ack,
            watchers,
            settled: Arc::clone(&self.settled),
        };
        let notes = self.setup.notes();
        let task = async move {
            if let Err(error) = consumer.run().await {
                notes.failures.add(|| format!("redis: {error}"));
            }
        };
        Ok(Reading(vec![self.setup.runtime.spawn(task)]))
    }

    fn settled(&self) -> Option<u64> {
        self.setup.ack.then(|| self.settled.get())
    }

    fn pending(&self) -> Result<Option<u64>, PeerError> {
        let mut connection = connection(&self.setup, &self.client)?;
        let mut lengths = Pipeline::new();
        for name in self.setup.run.names.iter() {
            lengths.cmd("XLEN").arg(name);
        }
        let lengths: Vec<u64> = self.setup.ask("XLEN", async {
            lengths.query_async(&mut connection).await.map_err(PeerError::request("XLEN"))
        })?;
        Ok(Some(lengths.iter().sum()))
    }

    fn clean_up(&self) {
        let deleted = connection(&self.setup, &self.client).and_then(|mut connection| {
            self.setup.ask("DEL", async {
                let mut delete = redis::cmd("DEL");
                let deleted = delete.arg(&self.setup.run.names[..]).exec_async(&mut connection);
                deleted.await.map_err(PeerError::request("DEL"))
            })
        });
        if let Err(error) = deleted {
            self.setup.run.notes.warnings.add(|| error.to_string());
        }
    }
}

fn encode(pipeline: &mut Pipeline, name: &str, payload: &[u8]) {
    pipeline.cmd("XADD").arg(name).arg("*").arg(FIELD).arg(payload).ignore();
}

/// A consumer of the group.
struct Consumer {
    name: String,
    connection: MultiplexedConnection,
    names: Arc<[String]>,
    ack: bool,
    watchers: Vec<Watcher>,
    settled: Arc<Count>,
}

impl Consumer {
    async fn run(mut self) -> RedisResult<()> {
        let mut turn = Pipeline::new();
        let mut unsettled = 0;
        loop {
            turn.add_command(self.read());
            let (read,): (Read,) = turn.query_async(&mut self.connection).await?;
            self.settled.add(unsettled);
            turn = Pipeline::new();
            unsettled = 0;
            for (key, messages) in read.into_iter().flatten() {
                let mut ids = Vec::with_capacity(messages.len());
                for (id, (_, payload)) in messages {
                    show_by_name(&mut self.watchers, &key, &payload).await;
                    ids.push(id);
                }
                unsettled += ids.len() as u64;
                if self.ack {
                    turn.cmd("XACK").arg(&key).arg(GROUP).arg(&ids).ignore();
                }
                turn.cmd("XDEL").arg(&key).arg(&ids).ignore();
            }
        }
    }

    fn read(&self) -> Cmd {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.name).arg("COUNT").arg(MESSAGES_MAX);
        read.arg("BLOCK").arg(BLOCK_MS);
        if !self.ack {
            read.arg("NOACK");
        }
        read.arg("STREAMS").arg(&self.names[..]);
        for _ in self.names.iter() {
            read.arg(">");
        }
        read
    }
}
