//! Publishing to Redis in pipelines: what has gathered while others are in flight leaves in one.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::Pipeline;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::common::{Finished, PeerError, Publish, Setup, wait};
use crate::count::Count;

/// Commands in one pipeline.
const COMMANDS_MAX: usize = 256;

/// Pipelines of one publisher that are not answered yet, so 512 commands: the server works on one
/// while the other travels.
const PIPELINES_MAX: usize = 2;

/// Adds the command that publishes a message.
pub(super) type Encode = fn(&mut Pipeline, name: &str, payload: &[u8]);

/// A message in flight to the task that publishes it.
struct Queued {
    name: usize,
    payload: Vec<u8>,
}

/// A publisher's end at Redis.
pub(super) struct Publisher {
    runtime: Handle,
    queue: mpsc::Sender<Queued>,
    task: JoinHandle<Finished>,
    taken: Arc<Count>,
}

impl Publisher {
    pub(super) fn new(setup: &Setup, connection: MultiplexedConnection, encode: Encode) -> Self {
        let (queue, messages) = mpsc::channel(setup.queue_messages());
        let taken = Arc::<Count>::default();
        let task = Task {
            names: Arc::clone(&setup.run.names),
            connection,
            encode,
            taken: Arc::clone(&taken),
            finished: Finished { refused: 0, failure: None },
        };
        let runtime = setup.runtime.clone();
        Self { queue, task: runtime.spawn(task.run(messages)), taken, runtime }
    }
}

impl Publish for Publisher {
    fn publish(&mut self, name: usize, payload: &[u8]) -> Result<(), PeerError> {
        let message = Queued { name, payload: payload.to_vec() };
        wait(&self.runtime, self.queue.send(message)).map_err(|_| PeerError::Ended)
    }

    fn taken(&self) -> Arc<Count> {
        Arc::clone(&self.taken)
    }

    fn finish(self: Box<Self>) -> Finished {
        let Self { runtime, queue, task, .. } = *self;
        drop(queue);
        let ended = || Finished { refused: 0, failure: Some(PeerError::Ended) };
        runtime.block_on(task).unwrap_or_else(|_| ended())
    }
}

/// Publishes what one publisher has handed over.
struct Task {
    names: Arc<[String]>,
    connection: MultiplexedConnection,
    encode: Encode,
    taken: Arc<Count>,
    finished: Finished,
}

impl Task {
    async fn run(mut self, mut messages: mpsc::Receiver<Queued>) -> Finished {
        let mut gathered = Vec::with_capacity(COMMANDS_MAX);
        let mut under_way = FuturesUnordered::new();
        let mut is_open = true;
        while is_open || !under_way.is_empty() {
            tokio::select! {
                Some((commands, answer)) = under_way.next() => self.answered(commands, answer),
                count = messages.recv_many(&mut gathered, COMMANDS_MAX),
                    if is_open && under_way.len() < PIPELINES_MAX =>
                {
                    if count == 0 {
                        is_open = false;
                        continue;
                    }
                    let mut pipeline = Pipeline::with_capacity(count);
                    for Queued { name, payload } in gathered.drain(..) {
                        (self.encode)(&mut pipeline, &self.names[name], &payload);
                    }
                    let mut connection = self.connection.clone();
                    under_way.push(async move {
                        (count as u64, pipeline.exec_async(&mut connection).await)
                    });
                }
            }
        }
        self.finished
    }

    fn answered(&mut self, commands: u64, answer: redis::RedisResult<()>) {
        match answer {
            Ok(()) => self.taken.add(commands),
            Err(error) => {
                self.finished.refused += commands;
                let error = PeerError::request("a pipeline")(error);
                self.finished.failure.get_or_insert(error);
            }
        }
    }
}
