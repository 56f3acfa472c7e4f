//! The client as its users hold it.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::driver::{Driver, End};
use super::thread::ThreadState;
use crate::client::admin::dead_letters::tasks::DeadLetters;
use crate::client::admin::groups::Groups;
use crate::client::admin::retained::Retained;
use crate::client::builder::ClientBuilder;
use crate::client::core::Core;
use crate::client::error::{ConnectError, SendError, SubscribeError};
use crate::client::mode::Asynchronous;
use crate::client::options::Options;
use crate::client::publish::archive::{ArchivePayload, TypedPayload};
use crate::client::publish::outgoing::OutgoingMessage;
use crate::client::publish::payload::Payload;
use crate::client::publish::receipt::{Receipt, SharedOutcome};
use crate::client::receive::message::Message;
use crate::client::receive::{Filter, Subscription, SubscriptionBuilder};
use crate::client::report::Counters;
use crate::net::waker;
use crate::wire::properties::Properties;

/// A connection to a Mezzenger server: publishes and subscribes, from any number of tasks.
///
/// Clones are handles to one client, which stops when the last of them is dropped. Subscriptions do not keep it alive.
///
/// ```no_run
/// use mezzenger::asynchronous::Client;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::connect("mezzenger://127.0.0.1:7202").await?;
/// let mut greetings = client.subscription("greet").await?;
/// client.publish("greet", "hello").await?;
/// println!("{:?}", greetings.recv().await?.text());
/// client.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
    /// Decided when the task has ended.
    ended: Arc<SharedOutcome>,
}

impl ClientBuilder {
    /// Starts a client whose calls are futures, on the runtime of the caller, and waits until the server said hello. Needs the feature `tokio`. The runtime needs its
    /// drivers of I/O and of time (`enable_all`). Callbacks that report run on the client's task; there are none for messages.
    ///
    /// # Errors
    /// As for [`Self::connect`]; [`ConnectError::Runtime`] outside of such a runtime.
    pub async fn connect_async(self) -> Result<Client, ConnectError> {
        self.options.check()?;
        let options = &self.options;
        let runtime = runtime()?;
        let (waker, wakes) = waker::for_task();
        let (core, requester) = Core::for_task(options, waker)?;
        let answered = core.connect();
        let driver = Driver::new(requester, wakes, Arc::clone(&core.publisher().clock));
        let ended = driver.ended();
        runtime.spawn(driver.run());
        greeted(core, options, answered, ended).await
    }

    /// Starts a client whose calls are futures, with a thread of its own that does its work, and waits until the server said hello: for executors
    /// other than tokio's. What the client has to tell wakes the futures that wait for it. Callbacks that report run on the client's
    /// thread; there are none for messages.
    ///
    /// ```
    /// # use mezzenger::{Client, Server};
    /// # fn block_on<T>(future: impl Future<Output = T>) -> T {
    /// #     tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().pub_port(0).recv_port(0).start()?;
    /// let options = Client::builder().port(server.recv_addr().port());
    /// // Any executor, or one that a program has written itself.
    /// let text = block_on(async {
    ///     let client = options.connect_on_thread().await?;
    ///     let mut greetings = client.subscription("greet").await?;
    ///     client.publish("greet", "hello").await?;
    ///     let text = greetings.recv().await?.text().map(ToOwned::to_owned);
    ///     client.close().await?;
    ///     Ok::<_, Box<dyn std::error::Error>>(text)
    /// })?;
    /// assert_eq!(text.as_deref(), Some("hello"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Self::connect`].
    pub async fn connect_on_thread(self) -> Result<Client, ConnectError> {
        self.options.check()?;
        let options = &self.options;
        let (waker, wakes) = waker::pair().map_err(ConnectError::System)?;
        let (core, requester) = Core::for_thread(options, waker)?;
        let answered = core.connect();
        let (clock, _end) = (Arc::clone(&core.publisher().clock), End::default());
        let ended = _end.outcome();
        ThreadState { requester, wakes, clock, _end }.start().map_err(ConnectError::Thread)?;
        greeted(core, options, answered, ended).await
    }
}

/// The client, once the server said hello.
async fn greeted(
    core: Core,
    options: &Options,
    mut answered: Receipt,
    ended: Arc<SharedOutcome>,
) -> Result<Client, ConnectError> {
    let patience = options.send_timeout.saturating_mul(options.connection_retries);
    let end = Instant::now().checked_add(patience);
    let answer = core.publisher().clock.until(end, &mut answered).await;
    let core = Arc::new(core.connected(options, answer)?);
    Ok(Client { core, ended })
}

/// The caller's runtime, if it has what the task needs.
fn runtime() -> Result<Handle, ConnectError> {
    let refuse = |problem| Err(ConnectError::Runtime { problem });
    let Ok(runtime) = Handle::try_current() else {
        return refuse("there is none on this thread");
    };
    // Tokio tells it by a panic alone.
    let has_time = catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO)));
    if has_time.is_err() {
        return refuse("it has no time driver");
    }
    match catch_unwind(AssertUnwindSafe(tokio::net::UnixDatagram::unbound)) {
        Ok(_) => Ok(runtime),
        Err(_) => refuse("it has no I/O driver"),
    }
}

impl Client {
    /// Returns a builder with all options at their defaults; [`ClientBuilder::connect_async`] starts the client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Connects to the server at this host or URL, with all other options at their defaults.
    ///
    /// # Errors
    /// As for [`ClientBuilder::connect_async`].
    pub async fn connect(server_address: impl Into<String>) -> Result<Self, ConnectError> {
        Self::builder().server_address(server_address).connect_async().await
    }

    /// Pings the server, and returns how long the answer took.
    ///
    /// # Errors
    /// [`SendError::TimedOut`] without an answer, after `send_timeout` times `connection_retries`.
    pub async fn ping(&self) -> Result<Duration, SendError> {
        let start = Instant::now();
        self.core.ask_for_life().await?;
        Ok(start.elapsed())
    }

    /// Publishes a message without waiting for the answer, and without asking for acknowledgement; [`Self::message`] is for messages with
    /// properties. Waits only for room in the buffer, for at most `send_timeout` times `connection_retries`. Several messages travel in one
    /// frame, and those of one name arrive in their order, as for the blocking [`publish`](crate::Client::publish).
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = mezzenger::asynchronous::Client::connect("127.0.0.1").await?;
    /// for n in 0..1_000_000 {
    ///     client.publish("numbers", format!("{n}")).await?;
    /// }
    /// client.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What is known at once: a bad name, a message that is too large, no room in time ([`SendError::Full`]), a stopped client. The
    /// server's answer comes through the [`Receipt`].
    pub async fn publish(&self, name: &str, payload: impl Payload) -> Result<Receipt, SendError> {
        let publisher = self.core.publisher();
        publisher.publish_in_task(name, payload, Properties::default(), false, true).await
    }

    /// Publishes a received message unchanged under another name: payload, encoding and properties, and whether it asks for
    /// acknowledgement.
    ///
    /// # Errors
    /// As for [`Self::publish`].
    pub async fn forward(&self, name: &str, message: &Message) -> Result<Receipt, SendError> {
        self.core.publisher().forward_in_task(name, message).await
    }

    /// [`Self::publish`] with the archive of a typed value, which subscribers read in place with
    /// [`Message::archive`](crate::Message::archive). A [`TypedPayload`] is a typed value for [`Self::message`].
    ///
    /// # Errors
    /// As for [`Self::publish`], and [`SendError::Archive`].
    pub async fn publish_archive<T: ArchivePayload>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<Receipt, SendError> {
        let payload = TypedPayload::new(value)?;
        self.publish(name, payload).await
    }

    /// Publishes a message as an original client does, and waits until the server has accepted it. `pickle` is the pickled dict of its name,
    /// payload, ack, timestamp and checksum (`docs/wire-format.md`, v1). Original clients receive it byte for byte. Without an answer it is
    /// sent again, as any message; a message with ack is still published once.
    ///
    /// # Errors
    /// Why it was not published; [`SendError::TimedOut`] when that is not known. [`SendError::Malformed`] when `pickle` is not a pickle, or has
    /// another name.
    pub async fn send_original(&self, name: &str, pickle: &[u8]) -> Result<(), SendError> {
        let publisher = self.core.publisher();
        publisher.check_original(name, pickle)?;
        let frame = [name.as_bytes(), b"|", pickle].concat();
        // An original client is told that it was refused by an empty answer.
        if self.core.control_queue().answer_to(frame.into()).await?.is_empty() {
            let text = "it is no message of an original client; the server's log says why";
            return Err(SendError::Malformed { text: text.to_owned() });
        }
        Ok(())
    }

    /// Begins a message with properties: acknowledgement, headers, a media type, expiry, a name for the reply.
    /// [`request`](super::OutgoingMessage::request) waits for the reply.
    pub fn message<'a, P: Payload>(
        &'a self,
        name: &'a str,
        payload: P,
    ) -> OutgoingMessage<'a, P, Asynchronous> {
        self.core.message(name, payload)
    }

    /// Waits until every message published before has its answer.
    ///
    /// # Errors
    /// The first error of a published message since the last flush, whether or not its receipt was
    /// looked at; [`SendError::Stopped`] of a client that was closed.
    pub async fn flush(&self) -> Result<(), SendError> {
        let is_stopped = self.core.is_stopped();
        self.flushed().await?;
        if is_stopped { Err(SendError::Stopped) } else { Ok(()) }
    }

    async fn flushed(&self) -> Result<(), SendError> {
        let mut flushing = self.core.flushing()?;
        poll_fn(|context| flushing.poll(context)).await
    }

    /// Subscribes to a name: [`Self::subscription_to`] with its defaults. When it returns, the server has the subscription.
    ///
    /// A text that looks like a pattern, as `orders.*`, is rejected. For a pattern, use [`Self::subscription_to`] with
    /// [`Filter::pattern`]; for a name that looks like one, with [`Filter::name`].
    ///
    /// # Errors
    /// As for [`SubscriptionBuilder::open`](super::SubscriptionBuilder::open), and [`SubscribeError::Pattern`].
    pub async fn subscription(
        &self,
        name: &str,
    ) -> Result<Subscription<Asynchronous>, SubscribeError> {
        self.subscription_to(Filter::of_name(name)?).open().await
    }

    /// Begins a subscription to a filter: as an observer, a broadcast subscription or a member of a group.
    pub fn subscription_to(&self, filter: Filter) -> SubscriptionBuilder<Asynchronous> {
        self.core.subscription_to(filter)
    }

    /// The messages that a group gave up. An empty name means all groups; it works for `list` and `count` only.
    pub fn dead_letters(&self, group: &str) -> DeadLetters {
        self.core.dead_letters_in_task(group)
    }

    /// The groups of the server: those that have members, and durable ones, which are created and deleted there.
    pub fn groups(&self) -> Groups<Asynchronous> {
        self.core.groups()
    }

    /// The retained messages of the server.
    pub fn retained(&self) -> Retained<Asynchronous> {
        self.core.retained()
    }

    /// This client's random id, the publisher in the [`Message::id`](crate::Message::id) of all it publishes.
    pub fn publisher_id(&self) -> u64 {
        self.core.publisher_id()
    }

    /// How many waits of tasks are noted anywhere.
    #[cfg(test)]
    pub(in crate::client) fn waiting(&self) -> usize {
        self.core.waiting()
    }

    /// Counts since the client was made.
    pub fn counters(&self) -> Counters {
        self.core.counters()
    }

    /// Closes the client: rejects further messages, ends its subscriptions, sends what waits, and takes the answers that arrive
    /// within `send_timeout`; messages without an answer by then fail with [`SendError::Stopped`]. It returns when the client's task has ended.
    /// All handles of the client are closed; closing again waits for the same end.
    ///
    /// # Errors
    /// The first error of a published message since the last flush.
    pub async fn close(&self) -> Result<(), SendError> {
        self.core.stop();
        // The task that is gone with its runtime has decided it, too.
        let _ = self.core.receipt(Arc::clone(&self.ended)).await;
        self.flushed().await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("publisher_id", &self.publisher_id())
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
