//! The client as its users hold it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admin::dead_letters::DeadLetters;
use super::admin::groups::Groups;
use super::admin::retained::Retained;
use super::core::Core;
use super::error::{SendError, SubscribeError};
use super::publish::archive::ArchivePayload;
use super::publish::outgoing::OutgoingMessage;
use super::publish::payload::Payload;
use super::publish::receipt::Receipt;
use super::receive::message::Message;
use super::receive::outcome::Outcome;
use super::receive::{Filter, Subscription, SubscriptionBuilder};
use super::report::Counters;

/// A connection to a Mezzenger server: publishes and subscribes, from any number of threads.
///
/// Clones are handles to one client, which stops when the last of them is dropped. A callback that
/// holds one keeps the client alive: call [`Self::stop`] then.
///
/// ```no_run
/// let client = mezzenger::Client::connect("127.0.0.1")?;
/// client.subscribe("greet", |payload, _message| println!("{} bytes", payload.len()))?;
/// client.message("greet", "hello").ack().send()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
}

impl Client {
    pub(super) fn from_core(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Pings the server, and returns how long the answer took.
    ///
    /// # Errors
    /// [`SendError::TimedOut`] without an answer, after `send_timeout` times `connection_retries`.
    pub fn ping(&self) -> Result<Duration, SendError> {
        let start = Instant::now();
        self.core.ping()?;
        Ok(start.elapsed())
    }

    /// Publishes a message without waiting for the answer: the fast path.
    ///
    /// A message leaves at once while fewer than four frames of its name are in flight; after a full frame, while none
    /// is. Otherwise messages gather in a frame that leaves when an answer comes, or when it is full. Messages of one
    /// name arrive in the order in which they were published, as long as the connection holds. When the connection is
    /// lost, all frames without an answer are sent again on the next one, in their order. After a reconnect, messages
    /// may be duplicated or arrive out of order: to keep the order then, too, wait for each [`Receipt`], or sort by
    /// [`Message::ordinal`].
    ///
    /// Blocks only when the server does not keep up and
    /// [`ClientBuilder::buffer_bytes`](super::ClientBuilder::buffer_bytes) are queued, for at most `send_timeout` times
    /// `connection_retries`.
    ///
    /// ```no_run
    /// let client = mezzenger::Client::connect("127.0.0.1")?;
    /// for n in 0..1_000_000 {
    ///     client.publish("numbers", format!("{n}"))?;
    /// }
    /// client.flush()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What is known at once: a bad name, a message that is too large, a full buffer
    /// ([`SendError::Full`]), a stopped client. The server's answer comes through the [`Receipt`].
    pub fn publish(&self, name: &str, payload: impl Payload) -> Result<Receipt, SendError> {
        self.core.publish(name, &payload)
    }

    /// Begins a message with properties: headers, a media type, expiry, a name for the reply.
    /// [`OutgoingMessage::request`] waits for the reply.
    pub fn message<'a, P: Payload>(&'a self, name: &'a str, payload: P) -> OutgoingMessage<'a, P> {
        self.core.message(name, payload)
    }

    /// [`Self::publish`] with the archive of a typed value, which subscribers read in place with
    /// [`Message::archive`].
    ///
    /// ```no_run
    /// #[derive(rkyv::Archive, rkyv::Serialize)]
    /// struct Quote {
    ///     price: u32,
    /// }
    /// // Names the type, so that nobody takes it for another one.
    /// mezzenger::archive_type!(Quote { price: u32 });
    ///
    /// let client = mezzenger::Client::connect("127.0.0.1")?;
    /// client.publish_archive("quotes", &Quote { price: 7 })?.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A [`TypedPayload`](crate::TypedPayload) is a typed value for [`Self::message`], with headers or as a request.
    ///
    /// # Errors
    /// As for [`Self::publish`], and [`SendError::Archive`].
    pub fn publish_archive<T: ArchivePayload>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<Receipt, SendError> {
        self.core.publish_archive(name, value)
    }

    /// Publishes a received message unchanged under another name: payload, encoding and properties, and whether it asks
    /// for acknowledgement.
    ///
    /// # Errors
    /// As for [`Self::publish`].
    pub fn forward(&self, name: &str, message: &Message) -> Result<Receipt, SendError> {
        self.core.forward(name, message)
    }

    /// Waits until every message published before has its answer.
    ///
    /// # Errors
    /// The first error of a published message since the last flush, whether or not its receipt was
    /// looked at.
    pub fn flush(&self) -> Result<(), SendError> {
        self.core.flush()
    }

    /// Calls `callback` with the payload and the whole message for each message of this name. When it
    /// returns, the server has the subscription: what is published from now on arrives.
    ///
    /// A text that looks like a pattern, as `orders.*`, is rejected. For a pattern, use [`Self::subscription_to`] with
    /// [`Filter::pattern`]; for a name that looks like one, with [`Filter::name`].
    ///
    /// Each subscription's callback is called for one message after the other. Those of different subscriptions run
    /// independently, [`callback_threads`](super::ClientBuilder::callback_threads) of them at the same time, and none
    /// holds up what the client sends or reads. At most 4 MiB of messages wait for a callback; further ones wait at the
    /// server, which slows their publishers down. A message that asks for it is acknowledged after the callback
    /// returned `()` or `Ok`; when it returned an error or panicked, that is reported and the server delivers the
    /// message again. [`SubscriptionBuilder::call`] is for other kinds of subscriptions, and [`GroupBuilder::call`](super::GroupBuilder::call) for work.
    ///
    /// A callback may use the client for everything, and wait for it. It may stop the client, too: the message that it
    /// was called for is then not acknowledged, whatever the callback returns, and delivered again.
    ///
    /// ```no_run
    /// let client = mezzenger::Client::connect("127.0.0.1")?;
    /// client.subscribe("orders", |payload, message| {
    ///     let text = std::str::from_utf8(payload)?;
    ///     println!("{}: {text}", message.id());
    ///     Ok::<(), std::str::Utf8Error>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`SubscriptionBuilder::open`], and [`SubscribeError::Pattern`].
    pub fn subscribe<F, O>(&self, name: &str, callback: F) -> Result<(), SubscribeError>
    where
        F: FnMut(&[u8], &Message) -> O + Send + 'static,
        O: Outcome,
    {
        self.core.subscribe_callback(Filter::of_name(name)?, callback)
    }

    /// [`Self::subscribe`] to all names that begin with `prefix`; the empty one means all messages.
    ///
    /// # Errors
    /// As for [`Self::subscribe`].
    pub fn subscribe_prefix<F, O>(&self, prefix: &str, callback: F) -> Result<(), SubscribeError>
    where
        F: FnMut(&[u8], &Message) -> O + Send + 'static,
        O: Outcome,
    {
        self.core.subscribe_callback(Filter::prefix(prefix), callback)
    }

    /// Subscribes to a name and returns a subscription that is read like an iterator and acknowledged explicitly:
    /// [`Self::subscription_to`] with its defaults. When it returns, the server has the subscription. As
    /// [`Self::subscribe`], it rejects a text that looks like a pattern.
    ///
    /// # Errors
    /// As for [`SubscriptionBuilder::open`], and [`SubscribeError::Pattern`].
    pub fn subscription(&self, name: &str) -> Result<Subscription, SubscribeError> {
        self.subscription_to(Filter::of_name(name)?).open()
    }

    /// Begins a subscription to a filter: as an observer, a broadcast subscription or a member of a group.
    pub fn subscription_to(&self, filter: Filter) -> SubscriptionBuilder {
        self.core.subscription_to(filter)
    }

    /// The messages that a group gave up: those that a member [rejected](super::Delivery::reject), those whose
    /// [attempts](super::GroupBuilder::attempts_max) were used up, and expired ones that the group
    /// [keeps](super::GroupBuilder::keep_expired). An empty name means all groups; it works for `list` and `count` only.
    pub fn dead_letters(&self, group: &str) -> DeadLetters {
        self.core.dead_letters(group)
    }

    /// The groups of the server: those that have members, and durable ones, which are created and deleted there.
    pub fn groups(&self) -> Groups {
        self.core.groups()
    }

    /// The retained messages of the server.
    pub fn retained(&self) -> Retained {
        self.core.retained()
    }

    /// Ends all callbacks for this name, but not those for a prefix. None of them runs after this returned, except the one that
    /// calls this.
    ///
    /// # Errors
    /// [`SubscribeError::NotSubscribed`] when there is none; [`SubscribeError::NotConfirmed`] when one still runs after
    /// `send_timeout` times `connection_retries`, for the last time; [`SubscribeError::Pattern`], for which there is
    /// [`Self::unsubscribe_from`].
    pub fn unsubscribe(&self, name: &str) -> Result<(), SubscribeError> {
        self.core.unsubscribe(&Filter::of_name(name)?)
    }

    /// Ends all callbacks for exactly this prefix.
    ///
    /// # Errors
    /// [`SubscribeError::NotSubscribed`] when there is none.
    pub fn unsubscribe_prefix(&self, prefix: &str) -> Result<(), SubscribeError> {
        self.core.unsubscribe(&Filter::prefix(prefix))
    }

    /// Ends all callbacks for exactly this filter, also those of group members, as [`Self::unsubscribe`] does. The message that a group's
    /// callback works on is still settled, unless this is called in a callback: then it goes to another member.
    ///
    /// # Errors
    /// As for [`Self::unsubscribe`].
    pub fn unsubscribe_from(&self, filter: &Filter) -> Result<(), SubscribeError> {
        self.core.unsubscribe(filter)
    }

    /// This client's random id, the publisher in the [`Message::id`] of all it publishes.
    pub fn publisher_id(&self) -> u64 {
        self.core.publisher_id()
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn requests_are_locked(&self) -> bool {
        self.core.requests_are_locked()
    }

    /// Counts since the client was started.
    pub fn counters(&self) -> Counters {
        self.core.counters()
    }

    /// How many messages were published but never arrived here; see
    /// [`ClientBuilder::on_missed`](super::ClientBuilder::on_missed).
    pub fn missed(&self) -> u64 {
        self.counters().missed
    }

    /// Stops the client: rejects further messages, ends its subscriptions, sends what waits and takes
    /// the answers that come within `send_timeout` (receipts without one fail with
    /// [`SendError::Stopped`]), then ends its threads. Stopping again does nothing.
    ///
    /// Returns within three times `send_timeout` and a second, also while the server is away. A
    /// callback that runs longer is left behind, on a thread that ends with it. From inside a callback
    /// it returns without waiting for that callback, whose message is not acknowledged and so delivered
    /// again (to another client, or a later one).
    pub fn stop(&self) {
        self.core.stop();
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
