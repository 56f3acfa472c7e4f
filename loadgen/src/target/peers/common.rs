//! What the clients of all brokers share.

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub(super) use loadgen::report::Durability;

use super::super::common::{self, Run};
use crate::count::Count;
use crate::notes::Notes;
use crate::watcher::Watcher;

/// Bytes of messages that may wait in a publisher's client: as many as in ours.
pub(super) const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// Messages that may wait there: what async-nats has by default.
const QUEUE_MESSAGES_MAX: usize = 2048;

/// The same for large messages, so that the client always has some to write.
const QUEUE_MESSAGES_MIN: usize = 16;

/// How long a broker may take to answer what is asked of it beside messages.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// A request was rejected, or not answered.
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
    /// Connections alone are not counted here.
    #[error("connections to this broker are not counted: leave --connections out")]
    NoConnections,
    /// An answer has another payload than its request.
    #[error(
        "a request was answered with something else than its payload: the target mixes messages up"
    )]
    Answer,
    /// The client ended by itself.
    #[error("the client ended before its last message; its failure is noted above")]
    Ended,
    /// The system denied a thread.
    #[error("the clients' threads could not be started: {0}; check the process limits")]
    Runtime(#[from] io::Error),
}

impl PeerError {
    /// For `map_err`: names what was asked for.
    pub(super) fn request<E: Into<BoxError>>(action: &'static str) -> impl Fn(E) -> Self {
        move |source| Self::Request { action, source: source.into() }
    }
}

/// What the group of a run is called.
pub(super) const GROUP: &str = "loadgen";

/// Fails unless an answer is what was asked.
pub(super) fn check_answer(answer: &[u8], request: &[u8]) -> Result<(), PeerError> {
    if answer == request { Ok(()) } else { Err(PeerError::Answer) }
}

/// How a publisher's end ended.
pub(super) type Finished = common::Finished<PeerError>;

/// A publisher's end at another broker.
pub(crate) trait Publish: Send {
    /// Hands a message over under the name with this index; waits while the client's queue is full, and for the answer
    /// if it is a request.
    fn publish(&mut self, name: usize, payload: &[u8]) -> Result<(), PeerError>;
    /// Counts the messages that the broker took, or that left the client where the broker does not
    /// answer.
    fn taken(&self) -> Arc<Count>;
    /// Waits until all messages are answered, or have left.
    fn finish(self: Box<Self>) -> Finished;
}

/// One broker, and how to make ends for it.
pub(super) trait MakeEnds: Send + Sync {
    /// What the broker says of its version.
    fn version(&self) -> Option<String>;
    /// What it says of its messages' safety.
    fn durability(&self) -> Option<Durability>;
    fn publisher(&self) -> Result<Box<dyn Publish>, PeerError>;
    /// Returns when what is published from then on arrives.
    fn subscriber(&self, watchers: Vec<Watcher>) -> Result<Reading, PeerError>;
    /// Opens a connection, waits until the broker took it, and closes it.
    fn open_and_close(&self) -> Result<(), PeerError> {
        Err(PeerError::NoConnections)
    }
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
pub(crate) struct Reading(pub(super) Vec<JoinHandle<()>>);

impl Reading {
    /// Ends them, which drops the watchers.
    pub(in crate::target) fn stop(self) {
        for task in self.0 {
            task.abort();
        }
    }
}

/// What all ends of a run at another broker have in common.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) runtime: Handle,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) run: Run,
    pub(super) ack: bool,
    pub(super) subs: u16,
    /// Whether the subscribers share the messages.
    pub(super) group: bool,
    /// Whether messages are requests.
    pub(super) requests: bool,
    pub(super) message_bytes_max: usize,
    /// The folder with certificates of a run that is encrypted with TLS.
    pub(super) tls: Option<PathBuf>,
}

impl Setup {
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(super) fn notes(&self) -> Notes {
        self.run.notes.clone()
    }

    /// What the names of all messages of the run begin with.
    pub(super) fn prefix(&self) -> String {
        format!("loadgen.{:08x}", self.run.id)
    }

    /// Messages that may wait in a publisher's client.
    pub(super) fn queue_messages(&self) -> usize {
        (QUEUE_BYTES / self.message_bytes_max).clamp(QUEUE_MESSAGES_MIN, QUEUE_MESSAGES_MAX)
    }

    pub(super) fn connect_error(&self, source: impl Into<BoxError>) -> PeerError {
        PeerError::Connect { address: self.address(), source: source.into() }
    }

    /// Waits for the answer to something asked beside messages.
    pub(super) fn ask<T>(
        &self,
        action: &'static str,
        answer: impl Future<Output = Result<T, PeerError>>,
    ) -> Result<T, PeerError> {
        let answer = async { tokio::time::timeout(ANSWER_TIMEOUT, answer).await };
        self.runtime.block_on(answer).unwrap_or(Err(PeerError::NoAnswer(action)))
    }

    /// The index of a name of the run, which stands at its end.
    pub(super) fn index(name: &str) -> Option<usize> {
        name.rsplit_once('.')?.1.parse().ok()
    }
}

/// Shows a message to its watcher, and takes as long for it as the subscriber does.
pub(super) async fn show(watcher: &mut Watcher, payload: &[u8]) {
    watcher.see(payload);
    if let Some(latency) = watcher.consumer_latency() {
        tokio::time::sleep(latency).await;
    }
}

/// Shows a message to the watcher of its name. The server has no subscription to other names.
pub(super) async fn show_by_name(watchers: &mut [Watcher], name: &str, payload: &[u8]) {
    if let Some(watcher) = Setup::index(name).and_then(|name| watchers.get_mut(name)) {
        show(watcher, payload).await;
    }
}

/// Waits for a client on a publisher's thread. Mostly there is nothing to wait for.
pub(super) fn wait<T>(runtime: &Handle, future: impl Future<Output = T>) -> T {
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
