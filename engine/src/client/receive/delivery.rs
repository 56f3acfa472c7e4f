//! A delivered message, and the verdicts of its receiver.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::commands::{Commands, Word};
use super::inbox::Inbox;
use super::policy::millis;
use super::settings::Kind;
use crate::client::connection::control_queue::ControlQueue;
use crate::client::error::SendError;
#[cfg(feature = "tokio")]
use crate::client::mode::Asynchronous;
use crate::client::mode::Blocking;
use crate::client::publish::payload::Payload;
use crate::client::publish::publisher::Publisher;
use crate::client::publish::receipt::Receipt;
use crate::client::receive::message::Message;
use crate::client::receive::outcome::Verdict;
use crate::wire::properties::{ERROR_HEADER, Properties};

/// Bytes of a reason.
const REASON_BYTES_MAX: usize = u8::MAX as usize;

/// Ways to the server for what a receiver says.
#[derive(Clone)]
pub(in crate::client) struct Settler {
    pub(in crate::client) commands: Arc<Commands>,
    pub(in crate::client) control_queue: Arc<ControlQueue>,
    pub(in crate::client) publisher: Arc<Publisher>,
}

/// A frame of messages that is being dealt with; when it goes, as many bytes may be delivered again.
pub(super) struct Lease {
    pub(super) inbox: Arc<Inbox>,
    pub(super) settler: Settler,
    pub(super) bytes: usize,
    /// Which it came by.
    pub(super) connection: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.settler.publisher.process.is_this() {
            return;
        }
        if let Some((bytes, connection)) = self.inbox.release(self.bytes) {
            self.settler.commands.grant(self.inbox.number, bytes, connection);
        }
    }
}

/// A [`Message`] that was delivered to a [`Subscription`](super::Subscription).
///
/// If it [asks for acknowledgement](Message::requires_ack), settle it: [`Self::ack`] when the work is done; in a group
/// also [`Self::nak`] (a later attempt), [`Self::reject`] (a dead letter) and [`Self::extend`] (more time). A delivery
/// that is dropped unsettled is delivered again: in a group when the time of the attempt is over, to a broadcast
/// subscription after the server's retry interval. For an observer, these methods do nothing.
///
/// Messages arrive in frames, and credit comes back a frame at a time: when every message of the frame is settled or
/// dropped.
///
/// ```
/// # use std::time::Duration;
/// # use mezzenger::{Client, Filter, Server};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = Server::builder().pub_port(0).recv_port(0).start()?;
/// # let client = Client::builder().port(server.recv_addr().port()).connect()?;
/// let mut jobs = client.subscription_to(Filter::pattern("orders.*")).group("packers").open()?;
/// client.message("orders.new", "tea").ack().header("shop", "7").send()?;
///
/// let job = jobs.recv()?;
/// assert_eq!((job.text(), job.header("shop"), job.attempt()), (Some("tea"), Some("7"), 1));
/// job.nak(Duration::from_millis(10)); // another attempt, after this delay
///
/// let job = jobs.recv()?;
/// assert_eq!(job.attempt(), 2);
/// job.ack();
/// # Ok(())
/// # }
/// ```
pub struct Delivery<Mode = Blocking> {
    message: Message,
    again: bool,
    retained: bool,
    attempt: u16,
    lease: Arc<Lease>,
    settled: bool,
    mode: PhantomData<Mode>,
}

impl<Mode> Delivery<Mode> {
    /// `before`: whether it was sent before, and whether it was retained.
    pub(super) fn new(
        message: Message,
        before: (bool, bool),
        attempt: u16,
        lease: Arc<Lease>,
    ) -> Self {
        let (again, retained) = before;
        Self { message, again, retained, attempt, lease, settled: false, mode: PhantomData }
    }

    /// The message, which may be kept longer than the delivery.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Whether the server kept the message and delivers it from there: to a subscriber that did not acknowledge it, or that
    /// subscribed after it was published. So it may have been delivered here before, and it may arrive after messages that
    /// were published later.
    pub fn is_redelivered(&self) -> bool {
        self.again
    }

    /// Whether it is a retained message that was delivered because the subscription asked for
    /// [retained messages](super::SubscriptionBuilder::with_last), and not because it was published just now.
    pub fn is_retained(&self) -> bool {
        self.retained
    }

    /// The number of this attempt of its group at the message, from 1; 0 outside of groups.
    pub fn attempt(&self) -> u16 {
        self.attempt
    }

    /// Acknowledges the message. Returns at once: acknowledgements are sent together. An acknowledgement that is lost with the
    /// connection, or that comes after a later attempt began, is reported to
    /// [`on_error`](crate::ClientBuilder::on_error), and the message is delivered again.
    pub fn ack(mut self) {
        if !self.message.requires_ack() || !self.lease.settler.publisher.process.is_this() {
            return;
        }
        let Lease { inbox, settler, .. } = &*self.lease;
        match inbox.settings.kind {
            Kind::Observer => {}
            Kind::Broadcast => settler.control_queue.acknowledge(self.message.id()),
            Kind::Group(_) => self.say(Word::Ack),
        }
        self.settled = true;
    }

    /// Asks for a later attempt: the group delivers the message again after `delay`, to this member or another one. With
    /// a delay of zero, the group's [backoff](super::GroupBuilder::backoff) decides. The longest delay is about 49 days; a longer one is
    /// shortened. Outside of groups it does nothing: the server itself delivers the message again until it is acknowledged.
    pub fn nak(mut self, delay: Duration) {
        if self.is_job() {
            self.say(Word::Nak { delay_ms: millis(delay) });
            self.settled = true;
        }
    }

    /// Gives the message up: it becomes a dead letter of its group, with the first 255 bytes of the reason.
    /// [`Client::dead_letters`](crate::Client::dead_letters) lists dead letters. Outside of groups it does nothing.
    pub fn reject(mut self, reason: &str) {
        if self.is_job() {
            let reason = reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].into();
            self.say(Word::Reject { reason });
            self.settled = true;
        }
    }

    /// Asks for more time: the group's [time for an attempt](super::GroupBuilder::ack_wait) begins again now. A client does this
    /// by itself while it holds a delivery, unless that was
    /// [switched off](super::GroupBuilder::extend_automatically). Outside of groups it does nothing.
    pub fn extend(&self) {
        if self.is_job() {
            self.say(Word::Extend);
        }
    }

    /// Says what a callback says.
    pub(super) fn settle(self, verdict: Verdict) {
        match verdict {
            Verdict::Ack => self.ack(),
            Verdict::Nak(delay) => self.nak(delay),
            Verdict::Reject(reason) => self.reject(&reason),
        }
    }

    /// The name that an answer goes to, and what it says besides its payload.
    fn answer(&self) -> Result<(&str, Properties<'_>), SendError> {
        let name = self.message.reply_to().ok_or(SendError::NoReplyWanted)?;
        let correlation = self.message.correlation();
        Ok((name, Properties { correlation, ..Properties::default() }))
    }

    /// The same for an answer that says why the request failed.
    fn failure<'a>(&'a self, reason: &'a str) -> Result<(&'a str, Properties<'a>), SendError> {
        let (name, properties) = self.answer()?;
        Ok((name, Properties { headers: vec![(ERROR_HEADER, reason)], ..properties }))
    }

    /// Whether its group waits for what becomes of it.
    fn is_job(&self) -> bool {
        self.message.requires_ack() && self.lease.inbox.settings.is_group()
    }

    /// Says it, unless this delivery is over: it would count for a later one.
    fn say(&self, word: Word) {
        if !self.lease.settler.publisher.process.is_this() {
            return;
        }
        let Lease { inbox, settler, connection, .. } = &*self.lease;
        let id = self.message.id();
        let is_held = match word {
            Word::Extend => inbox.is_held(id, self.attempt, *connection),
            _ => inbox.forget(id, self.attempt, *connection),
        };
        if is_held {
            settler.commands.settle(inbox.number, word, id);
        } else {
            settler.commands.void(&word);
        }
    }
}

impl Delivery {
    /// Publishes the reply to a request. Does not wait for the server, and does not settle the message.
    ///
    /// # Errors
    /// [`SendError::NoReplyWanted`] when the message does not name where a reply goes; the others as for
    /// [`Client::publish`](crate::Client::publish).
    pub fn reply(&self, payload: impl Payload) -> Result<Receipt, SendError> {
        let (name, properties) = self.answer()?;
        self.lease.settler.publisher.publish_with(name, &payload, &properties, false, true)
    }

    /// Replies to a request that it failed: the requester's call returns [`RequestError::Failed`] with this reason, at once.
    /// Does not wait for the server, and does not settle the message.
    ///
    /// # Errors
    /// As for [`Self::reply`].
    ///
    /// [`RequestError::Failed`]: crate::RequestError::Failed
    pub fn reply_error(&self, reason: &str) -> Result<Receipt, SendError> {
        let (name, properties) = self.failure(reason)?;
        self.lease.settler.publisher.publish_with(name, &b"", &properties, false, true)
    }

    /// Publishes the message unchanged under another name: payload, encoding and properties, and whether it asks for
    /// acknowledgement.
    /// Does not wait for the server, and does not settle the message.
    ///
    /// # Errors
    /// As for [`Client::publish`](crate::Client::publish).
    pub fn forward_to(&self, name: &str) -> Result<Receipt, SendError> {
        self.lease.settler.publisher.forward(name, &self.message)
    }
}

#[cfg(feature = "tokio")]
impl Delivery<Asynchronous> {
    /// Publishes the reply to a request. Waits only for room in the buffer, as
    /// [`Client::publish`](crate::asynchronous::Client::publish) does, and does not settle the message.
    ///
    /// # Errors
    /// [`SendError::NoReplyWanted`] when the message does not name where a reply goes; the others as for
    /// [`Client::publish`](crate::asynchronous::Client::publish).
    pub async fn reply(&self, payload: impl Payload) -> Result<Receipt, SendError> {
        let (name, properties) = self.answer()?;
        self.lease.settler.publisher.publish_in_task(name, payload, properties, false, true).await
    }

    /// Replies to a request that it failed: the requester's call returns [`RequestError::Failed`] with this reason, at once.
    /// Waits only for room in the buffer, and does not settle the message.
    ///
    /// # Errors
    /// As for [`Self::reply`].
    ///
    /// [`RequestError::Failed`]: crate::RequestError::Failed
    pub async fn reply_error(&self, reason: &str) -> Result<Receipt, SendError> {
        let (name, properties) = self.failure(reason)?;
        self.lease.settler.publisher.publish_in_task(name, b"", properties, false, true).await
    }

    /// Publishes the message unchanged under another name: payload, encoding and properties, and whether it asks for
    /// acknowledgement.
    /// Waits only for room in the buffer, and does not settle the message.
    ///
    /// # Errors
    /// As for [`Client::publish`](crate::asynchronous::Client::publish).
    pub async fn forward_to(&self, name: &str) -> Result<Receipt, SendError> {
        self.lease.settler.publisher.forward_in_task(name, &self.message).await
    }
}

impl<Mode> Deref for Delivery<Mode> {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl<Mode> Drop for Delivery<Mode> {
    fn drop(&mut self) {
        if !self.settled && self.is_job() && self.lease.settler.publisher.process.is_this() {
            self.lease.inbox.forget(self.message.id(), self.attempt, self.lease.connection);
        }
    }
}

impl<Mode> std::fmt::Debug for Delivery<Mode> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("message", &self.message)
            .field("again", &self.again)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
