//! A message that is about to be published, and a request.

mod answer;
#[cfg(feature = "tokio")]
mod tasks;

use std::marker::PhantomData;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::payload::Payload;
use super::publisher::Publisher;
use super::receipt::Receipt;
use crate::client::error::{RequestError, SendError};
use crate::client::mode::Blocking;
use crate::client::receive::message::Message;
use crate::client::receive::{Request, Requests};
use crate::client::run::here;
use crate::client::waiting::block_until;
use crate::wire::properties::{Properties, PropertiesError};
use answer::PendingAnswer;

/// A message that is about to be published, made by [`Client::message`](crate::Client::message).
///
/// ```no_run
/// let client = mezzenger::Client::connect("127.0.0.1")?;
/// client.message("orders.new", "tea").ack().header("shop", "7").send()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "call publish(), send() or request()"]
pub struct OutgoingMessage<'a, P, Mode = Blocking> {
    publisher: &'a Publisher,
    requests: &'a Requests,
    name: &'a str,
    payload: P,
    ack: bool,
    properties: Properties<'a>,
    expires_in: Option<Duration>,
    deliver: Option<DeliveryTime>,
    mode: PhantomData<Mode>,
}

/// When a message is delivered.
#[derive(Clone, Copy)]
enum DeliveryTime {
    In(Duration),
    At(SystemTime),
}

fn unix_ms(time: SystemTime) -> u64 {
    // A clock before 1970 reads as 1970.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time from now on, in milliseconds since the Unix epoch.
fn from_now_ms(time: Duration) -> u64 {
    let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    unix_ms(SystemTime::now()).saturating_add(time_ms)
}

impl<'a, P: Payload, Mode> OutgoingMessage<'a, P, Mode> {
    pub(in crate::client) fn new(
        publisher: &'a Publisher,
        requests: &'a Requests,
        name: &'a str,
        payload: P,
    ) -> Self {
        let (ack, properties, expires_in, deliver) = Default::default();
        let mode = PhantomData;
        Self { publisher, requests, name, payload, ack, properties, expires_in, deliver, mode }
    }

    /// Asks for acknowledgement: the server keeps the message, and delivers it again until a receiver acknowledges it.
    pub fn ack(mut self) -> Self {
        self.ack = true;
        self
    }

    /// Adds a header, a pair of texts that receivers find with [`Message::header`]. All properties of a message
    /// together have 64 KiB at most. Original clients do not see them.
    pub fn header(mut self, key: &'a str, value: &'a str) -> Self {
        self.properties.headers.push((key, value));
        self
    }

    /// Sets the media type of the payload: `application/json`.
    pub fn content_type(mut self, content_type: &'a str) -> Self {
        self.properties.content_type = Some(content_type);
        self
    }

    /// Sets the name under which a reply is to be published, for a subscriber there; [`Self::request`] does both.
    pub fn reply_to(mut self, name: &'a str) -> Self {
        self.properties.reply_to = Some(name);
        self
    }

    /// Expires the message after this time, counted from when it is published: then it is no longer delivered, neither for the
    /// first time nor again, and the server no longer keeps it ([`Metrics::expired`](crate::Metrics::expired) counts
    /// it).
    ///
    /// The client computes the time of expiry by this machine's clock, and the server compares it with its own clock: if the two
    /// differ, the message lives longer or shorter by the difference. A receiver that has the message by then keeps it; a member of a group
    /// that acknowledges it afterwards receives an error: it is too late. A group may [keep](crate::GroupBuilder::keep_expired)
    /// a message with ack that expires, as a dead letter.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use mezzenger::{Client, Server};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().pub_port(0).recv_port(0).start()?;
    /// # let client = Client::builder().port(server.recv_addr().port()).connect()?;
    /// // Whoever subscribes within a minute receives it.
    /// client.message("price.tea", "7").ack().expires_in(Duration::from_secs(60)).send()?;
    /// let price = client.subscription("price.tea")?.recv()?;
    /// assert_eq!(price.text(), Some("7"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expires_in = Some(time);
        self
    }

    /// Has the server hold the message for this time, counted from when it is published, and then deliver it to the
    /// subscribers of that moment, as if it was published then. It arrives after what this client publishes meanwhile.
    /// Without [`Self::ack`] it is lost if the server ends; with it, and a journal, it is delivered at its time also
    /// after a restart.
    ///
    /// As for [`Self::expires_in`], the server's clock decides. A message cannot be delivered more than 3,650 days ahead, and counts
    /// in the server's limits meanwhile.
    ///
    /// ```
    /// # use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
    /// # use mezzenger::{Client, Server};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().pub_port(0).recv_port(0).start()?;
    /// # let client = Client::builder().port(server.recv_addr().port()).connect()?;
    /// let mut reminders = client.subscription("reminders")?;
    /// let delay = Duration::from_millis(100);
    /// let start = Instant::now();
    /// client.message("reminders", "tea is ready").ack().deliver_in(delay).send()?;
    /// client.message("reminders", "tea is on").send()?;
    /// assert_eq!(reminders.recv()?.text(), Some("tea is on"));
    /// assert_eq!(reminders.recv()?.text(), Some("tea is ready"));
    /// assert!(start.elapsed() >= delay - Duration::from_millis(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn deliver_in(mut self, time: Duration) -> Self {
        self.deliver = Some(DeliveryTime::In(time));
        self
    }

    /// As [`Self::deliver_in`], at this time by the server's clock; at once if the time has passed.
    pub fn deliver_at(mut self, time: SystemTime) -> Self {
        self.deliver = Some(DeliveryTime::At(time));
        self
    }

    /// Has the server keep the message as the last one of its name, in place of the one before, for subscriptions [with
    /// the last values](crate::SubscriptionBuilder::with_last), until it is [cleared](crate::Retained::clear) or
    /// expires. A server with a journal stores it before it answers, also without [`Self::ack`]. A delayed message
    /// cannot be retained.
    ///
    /// ```
    /// # use mezzenger::{Client, Filter, Server};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().pub_port(0).recv_port(0).start()?;
    /// # let client = Client::builder().port(server.recv_addr().port()).connect()?;
    /// client.message("price.tea", "6").retain().send()?;
    /// client.message("price.tea", "7").retain().send()?;
    /// let mut prices = client.subscription_to(Filter::pattern("price.*")).with_last().open()?;
    /// let price = prices.recv()?;
    /// assert_eq!((price.name(), price.text()), ("price.tea", Some("7")));
    /// # Ok(())
    /// # }
    /// ```
    pub fn retain(mut self) -> Self {
        self.properties.retain = true;
        self
    }

    /// Sets an idempotency key of 1 to 255 bytes: the server answers another message under the same name and key with
    /// OK and does not publish it, whoever sends it, within its idempotency window (2 minutes unless configured
    /// otherwise). So a program may publish again after a restart of its own. With [`Self::ack`] and a journal, keys
    /// survive restarts of the server, too.
    ///
    /// ```
    /// # use mezzenger::{Client, Server};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().pub_port(0).recv_port(0).start()?;
    /// # let client = Client::builder().port(server.recv_addr().port()).connect()?;
    /// # let other = Client::builder().port(server.recv_addr().port()).connect()?;
    /// client.message("orders.new", "tea").ack().idempotency_key("order-17").send()?;
    /// other.message("orders.new", "tea").ack().idempotency_key("order-17").send()?;
    /// assert_eq!(server.metrics().pending_messages, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn idempotency_key(mut self, key: &'a str) -> Self {
        self.properties.key = Some(key);
        self
    }

    /// Says that it is this client's request.
    fn ask(&mut self, request: &Request<'_>) {
        self.properties.reply_to = Some(self.requests.name());
        self.properties.correlation = Some(request.number);
    }

    /// Says when it expires and is delivered, as it is about to be published.
    fn stamp(&mut self) -> Result<(), PropertiesError> {
        self.properties.expires_ms = self.expires_in.map(from_now_ms);
        self.properties.deliver_at_ms = self.deliver.map(|when| match when {
            DeliveryTime::In(time) => from_now_ms(time),
            DeliveryTime::At(time) => unix_ms(time),
        });
        self.properties.check_times()
    }

    /// Whether it waits for who is to get it.
    fn waits(&self) -> bool {
        self.ack || self.deliver.is_some()
    }
}

impl<P: Payload> OutgoingMessage<'_, P> {
    /// Publishes it without waiting for the server, as [`Client::publish`](crate::Client::publish) does.
    ///
    /// # Errors
    /// As for [`Client::publish`](crate::Client::publish), and [`SendError::Properties`].
    pub fn publish(mut self) -> Result<Receipt, SendError> {
        self.leave(true)
    }

    /// Publishes it and waits until the server has accepted it. With [`Self::ack`], the server has stored it then.
    ///
    /// Without an answer within `send_timeout` the same bytes are sent again, at most `connection_retries`
    /// times in all; the server publishes them once.
    ///
    /// # Errors
    /// Why it was not published; [`SendError::TimedOut`] and [`SendError::Stopped`] when that is not known.
    pub fn send(mut self) -> Result<(), SendError> {
        self.leave(false)?.wait()
    }

    /// Publishes it as a request, and waits for the first reply, which a receiver publishes with
    /// [`Delivery::reply`](crate::Delivery::reply).
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// let client = mezzenger::Client::connect("127.0.0.1")?;
    /// let answer = client.message("sum", "1 2 3").request(Duration::from_secs(1))?;
    /// assert_eq!(answer.text(), Some("6"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RequestError::NoSubscriber`] at once when nobody receives the request, unless it asks for acknowledgement, so that the
    /// server keeps it, or is delivered later; [`RequestError::TimedOut`] if no reply arrives in time. A client's first request also
    /// subscribes to replies, which takes additional time. Other variants: publishing or that subscription failed.
    pub fn request(mut self, timeout: Duration) -> Result<Message, RequestError> {
        let end = Instant::now().checked_add(timeout);
        if !here::may_wait() {
            return Err(SendError::InCallback.into());
        }
        let request = self.requests.begin()?;
        self.ask(&request);
        let receipt = self.leave(false)?;
        let answer = PendingAnswer::new(self.name, request, &receipt, self.waits());
        let late = || RequestError::TimedOut { name: self.name.to_owned(), timeout };
        block_until(end, answer).ok_or_else(late)?
    }

    fn leave(&mut self, unattended: bool) -> Result<Receipt, SendError> {
        if !unattended && !here::may_wait() {
            return Err(SendError::InCallback);
        }
        self.stamp()?;
        let Self { publisher, name, payload, ack, properties, .. } = self;
        publisher.publish_with(name, payload, properties, *ack, unattended)
    }
}
