//! Other brokers as targets, each through its own well-kept client, used as a good user would.
//!
//! Publishers are threads here as for every target, so that pacing is the same; the clients run on one
//! runtime. What a publisher hands over waits in a bounded queue of its client, in bytes as large as that
//! of our client, and its client writes all that has gathered at once.
//!
//! - `nats`: core NATS; `jetstream`: its streams.
//! - `redis`: publish and subscribe; `streams`: its streams; `pipelines`: how both of them publish.
//! - `mqtt`: MQTT 3.1.1.

mod jetstream;
mod mqtt;
mod nats;
mod pipelines;
mod redis;
mod streams;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mezzenger_report::{Durability, TargetInfo};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use super::address::{Address, Broker};
use super::{Finished, Run, Target};
use crate::args::Settings;
use crate::count::Count;
use crate::notes::Notes;
use crate::watcher::Watcher;

/// Threads of the runtime: server, publishers and subscribers share a small machine, and more threads
/// only take turns.
const WORKERS: usize = 2;

/// Bytes of messages that may wait in a publisher's client: as many as in ours.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// Messages that may wait there: what async-nats has by default.
const QUEUE_MESSAGES_MAX: usize = 2048;

/// The same for large messages, so that the client always has some to write.
const QUEUE_MESSAGES_MIN: usize = 16;

/// How long a broker may take to answer what is asked of it beside messages.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the clients may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// What a client's own errors become.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong with another broker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// There is no connection.
    #[error("no connection to {address}: {source}; is the broker running there?")]
    Connect {
        /// Host and port.
        address: String,
        /// What its client says.
        source: BoxError,
    },
    /// A request was refused, or not answered.
    #[error("{action} failed: {source}; the broker's log may say why")]
    Request {
        /// What was asked for.
        action: &'static str,
        /// What its client says.
        source: BoxError,
    },
    /// No answer came in time.
    #[error("{0} was not answered within {ANSWER_TIMEOUT:?}: is the broker overloaded?")]
    NoAnswer(&'static str),
    /// The client ended by itself.
    #[error("the client ended before its last message; its failure is noted above")]
    Ended,
    /// The system refused a thread.
    #[error("the clients' threads could not be started: {0}; check the process limits")]
    Runtime(#[from] io::Error),
}

impl PeerError {
    /// For `map_err`: names what was asked for.
    fn request<E: Into<BoxError>>(action: &'static str) -> impl Fn(E) -> Self {
        move |source| Self::Request { action, source: source.into() }
    }
}

/// A publisher's end at another broker.
pub(crate) trait Publish: Send {
    /// Hands a message over under the name with this index; waits while the client's queue is full.
    fn publish(&mut self, name: usize, payload: &[u8]) -> Result<(), PeerError>;
    /// Counts the messages that the broker took, or that left the client where the broker does not
    /// answer.
    fn taken(&self) -> Arc<Count>;
    /// Waits until all messages are answered, or have left.
    fn finish(self: Box<Self>) -> Finished;
}

/// One broker, and how to make ends for it.
trait MakeEnds: Send + Sync {
    /// What the broker says of its version.
    fn version(&self) -> Option<String>;
    /// What it says of its messages' safety.
    fn durability(&self) -> Option<Durability>;
    fn publisher(&self) -> Result<Box<dyn Publish>, PeerError>;
    /// Returns when what is published from then on arrives.
    fn subscriber(&self, watchers: Vec<Watcher>) -> Result<Reading, PeerError>;
    /// Messages acknowledged so far.
    fn settled(&self) -> Option<u64> {
        None
    }
    /// Messages that the broker still keeps.
    fn pending(&self) -> Result<Option<u64>, PeerError> {
        Ok(None)
    }
    /// Deletes what the run made at the broker.
    fn clean_up(&self) {}
}

/// The tasks that read for one subscriber, with its watchers.
pub(crate) struct Reading(Vec<JoinHandle<()>>);

impl Reading {
    /// Ends them, which drops the watchers.
    pub(super) fn stop(self) {
        for task in self.0 {
            task.abort();
        }
    }
}

/// What all ends of a run at another broker have in common.
#[derive(Clone)]
struct Setup {
    runtime: Handle,
    host: String,
    port: u16,
    run: Run,
    ack: bool,
    subs: u16,
    message_bytes_max: usize,
}

impl Setup {
    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn notes(&self) -> Notes {
        self.run.notes.clone()
    }

    /// What the names of all messages of the run begin with.
    fn prefix(&self) -> String {
        format!("loadgen.{:08x}", self.run.id)
    }

    /// Messages that may wait in a publisher's client.
    fn queue_messages(&self) -> usize {
        (QUEUE_BYTES / self.message_bytes_max).clamp(QUEUE_MESSAGES_MIN, QUEUE_MESSAGES_MAX)
    }

    fn connect_error(&self, source: impl Into<BoxError>) -> PeerError {
        PeerError::Connect { address: self.address(), source: source.into() }
    }

    /// Waits for the answer to something asked beside messages.
    fn ask<T>(
        &self,
        action: &'static str,
        answer: impl Future<Output = Result<T, PeerError>>,
    ) -> Result<T, PeerError> {
        let answer = async { tokio::time::timeout(ANSWER_TIMEOUT, answer).await };
        self.runtime.block_on(answer).unwrap_or(Err(PeerError::NoAnswer(action)))
    }

    /// The index of a name of the run, which stands at its end.
    fn index(name: &str) -> Option<usize> {
        name.rsplit_once('.')?.1.parse().ok()
    }
}

/// Another broker as the target of a run.
pub(crate) struct Peer {
    broker: Box<dyn MakeEnds>,
    info: TargetInfo,
    /// Emptied when it ends.
    runtime: Option<Runtime>,
}

impl Peer {
    /// Connects to it, asks what it is, and makes what the run needs there.
    pub(super) fn connect(
        address: &Address,
        settings: &Settings,
        run: &Run,
    ) -> Result<Self, PeerError> {
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
        let setup = Setup {
            runtime: runtime.handle().clone(),
            host: address.host.clone(),
            port: address.port,
            run: run.clone(),
            ack: settings.acks() > 0.0,
            subs: settings.subs.saturating_add(settings.faults.churn),
            message_bytes_max: settings.size.max,
        };
        let broker: Box<dyn MakeEnds> = match address.broker {
            Broker::Nats => Box::new(nats::Nats::connect(setup)?),
            Broker::JetStream(storage) => Box::new(jetstream::JetStream::connect(setup, storage)?),
            Broker::Redis => Box::new(redis::PubSub::connect(setup)?),
            Broker::RedisStreams => Box::new(streams::Streams::connect(setup)?),
            Broker::Mqtt(qos) => Box::new(mqtt::Mqtt::connect(setup, qos)?),
        };
        let info = TargetInfo {
            name: Target::Peer(address.clone()).name().to_owned(),
            version: broker.version(),
            durability: broker.durability().or(settings.target.durability),
        };
        Ok(Self { broker, info, runtime: Some(runtime) })
    }

    pub(super) fn info(&self) -> &TargetInfo {
        &self.info
    }

    pub(super) fn publisher(&self) -> Result<Box<dyn Publish>, PeerError> {
        self.broker.publisher()
    }

    pub(super) fn subscriber(&self, watchers: Vec<Watcher>) -> Result<Reading, PeerError> {
        self.broker.subscriber(watchers)
    }

    pub(super) fn settled(&self) -> Option<u64> {
        self.broker.settled()
    }

    pub(super) fn pending(&self) -> Result<Option<u64>, PeerError> {
        self.broker.pending()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.broker.clean_up();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(END_TIMEOUT);
        }
    }
}

/// Shows a message to its watcher, and takes as long for it as the subscriber does.
async fn show(watcher: &mut Watcher, payload: &[u8]) {
    watcher.see(payload);
    if let Some(latency) = watcher.consumer_latency() {
        tokio::time::sleep(latency).await;
    }
}

/// Shows a message to the watcher of its name. The server has no subscription to other names.
async fn show_by_name(watchers: &mut [Watcher], name: &str, payload: &[u8]) {
    if let Some(watcher) = Setup::index(name).and_then(|name| watchers.get_mut(name)) {
        show(watcher, payload).await;
    }
}

/// Waits for a client on a publisher's thread. Mostly there is nothing to wait for.
fn wait<T>(runtime: &Handle, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let entered = runtime.enter();
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => {
            drop(entered);
            runtime.block_on(future)
        }
    }
}
