//! Opens a subscription.

#[cfg(feature = "tokio")]
mod tasks;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::delivery::Voice;
use super::filter::Filter;
use super::inbox::{Inbox, Reader};
use super::replies::Replies;
use super::subscription::Subscription;
use super::terms::{Group, Kind, Terms, millis};
use crate::client::error::{ReceiveError, SubscribeError};
use crate::client::here;
use crate::client::mode::Blocking;
use crate::client::waiting::oneshot::{Receiver, oneshot};
use crate::limits::CLIENT_GROUP_CREDIT_BYTES;
use crate::wire::control::{Backoff, Overflow};
use crate::wire::name;

/// How a client opens subscriptions.
#[derive(Clone)]
pub(in crate::client) struct Opener {
    voice: Voice,
    timeout: Duration,
    tries: u32,
}

impl Opener {
    pub(in crate::client) fn new(voice: Voice, timeout: Duration, tries: u32) -> Self {
        Self { voice, timeout, tries }
    }

    /// Opens a subscription that is read like an iterator.
    pub(super) fn open(self, terms: Terms) -> Result<Subscription, SubscribeError> {
        let inbox = self.begin(terms, Reader::Subscription)?;
        Ok(Subscription::new(inbox, self.voice))
    }

    /// Opens a subscription whose messages are answers to these requests.
    pub(super) fn open_replies(
        self,
        terms: Terms,
        replies: Arc<Replies>,
    ) -> Result<Subscription, SubscribeError> {
        let inbox = self.begin(terms, Reader::Replies(replies))?;
        Ok(Subscription::new(inbox, self.voice))
    }

    /// Asks the server for a subscription and waits until it has it.
    pub(super) fn begin(&self, terms: Terms, reader: Reader) -> Result<Arc<Inbox>, SubscribeError> {
        let mut opening = self.ask(terms, reader)?;
        if !here::may_wait() {
            return Err(SubscribeError::InCallback);
        }
        let outcome = opening.outcome.recv_until(self.patience());
        opening.finish(outcome)
    }

    /// Asks the server for a subscription.
    fn ask(&self, terms: Terms, reader: Reader) -> Result<Opening<'_>, SubscribeError> {
        terms.filter.check()?;
        if terms.credit == 0 {
            return Err(SubscribeError::Option {
                option: "credit",
                problem: "must be at least 1 byte",
            });
        }
        if !self.voice.publisher.process.is_this() {
            return Err(SubscribeError::Forked);
        }
        let number = self.voice.commands.number().ok_or(SubscribeError::Stopped)?;
        let inbox = Arc::new(Inbox::new(number, terms, reader));
        let (answer, outcome) = oneshot();
        self.voice.commands.begin(Arc::clone(&inbox), answer);
        Ok(Opening { opener: self, inbox, outcome, is_done: false })
    }

    /// Ends a subscription. Does not wait.
    pub(super) fn end(&self, inbox: &Inbox) {
        inbox.close(ReceiveError::Closed);
        self.voice.commands.end(inbox.number);
    }

    /// When the server's answer comes no more.
    pub(super) fn patience(&self) -> Option<Instant> {
        Instant::now().checked_add(self.timeout.saturating_mul(self.tries))
    }

    pub(super) fn voice(&self) -> &Voice {
        &self.voice
    }

    /// What is said when nothing comes in that time.
    pub(super) fn not_confirmed(&self) -> SubscribeError {
        SubscribeError::NotConfirmed { tries: self.tries, timeout: self.timeout }
    }
}

/// A subscription that was asked for. When it goes before it is there, it ends.
struct Opening<'a> {
    opener: &'a Opener,
    inbox: Arc<Inbox>,
    outcome: Receiver<Result<(), SubscribeError>>,
    is_done: bool,
}

impl Opening<'_> {
    /// The subscription, if the server has it. `outcome`: what came in time, if anything did.
    fn finish(
        mut self,
        outcome: Option<Option<Result<(), SubscribeError>>>,
    ) -> Result<Arc<Inbox>, SubscribeError> {
        match outcome {
            Some(answer) => answer.unwrap_or(Err(SubscribeError::Stopped))?,
            None => return Err(self.opener.not_confirmed()),
        }
        self.is_done = true;
        Ok(Arc::clone(&self.inbox))
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.opener.end(&self.inbox);
        }
    }
}

/// A subscription that is about to be opened, as a broadcast one unless it says otherwise:
/// [`Client::subscription_to`](crate::Client::subscription_to).
///
/// ```no_run
/// use mezzenger::{Client, Filter};
///
/// let client = Client::connect("127.0.0.1")?;
/// for delivery in client.subscription_to(Filter::pattern("orders.>")).observe().open()? {
///     println!("{}: {} bytes", delivery.name(), delivery.payload().len());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "call open() to subscribe"]
pub struct SubscriptionBuilder<Mode = Blocking> {
    opener: Opener,
    terms: Terms,
    mode: PhantomData<Mode>,
}

impl<Mode> SubscriptionBuilder<Mode> {
    pub(in crate::client) fn new(opener: Opener, filter: Filter) -> Self {
        Self { opener, terms: Terms::broadcast(filter), mode: PhantomData }
    }

    /// Looks on: gets each message when it is published, none again, and acknowledges nothing.
    pub fn observe(mut self) -> Self {
        self.terms.kind = Kind::Observer;
        self
    }

    /// Works: of each message one member of the group gets it. A message that asks for acknowledgement is done when
    /// a member of each group that it fits has acknowledged it, and nobody else can. The group ends with its last member, unless
    /// it is a [durable one](crate::Groups::durable), which is joined by its name and filter.
    pub fn group(mut self, name: impl Into<String>) -> GroupBuilder<Mode> {
        let (name, extends, backoff) = (name.into(), true, Backoff::NONE);
        let (ack_wait_ms, in_flight_max, attempts_max, keeps_expired) = Default::default();
        // For groups it has no meaning.
        self.terms.overflow = Overflow::Drop;
        self.terms.with_last = false;
        self.terms.credit = CLIENT_GROUP_CREDIT_BYTES;
        let group = Group {
            name,
            ack_wait_ms,
            in_flight_max,
            attempts_max,
            backoff,
            keeps_expired,
            extends,
        };
        let Self { opener, terms, mode } = self;
        GroupBuilder { opener, terms, group, backoff: Some(backoff), mode }
    }

    /// How many bytes of messages may be here and not dealt with: 1 byte to 1 GiB. A frame of messages is delivered
    /// while any is left, so that it may be exceeded by one frame; and by 8 MiB more, unless [`Self::lossy`], before publishers
    /// are slowed down. Default: 4 MiB.
    pub fn credit(mut self, bytes: u64) -> Self {
        self.terms.credit = bytes;
        self
    }

    /// Gets the [retained](super::super::OutgoingMessage::retain) messages of the names that it fits, each before what is
    /// published under its name from now on, as far as the credit goes; and again whenever the client has connected anew. They
    /// say that they are [redelivered](super::Delivery::is_redelivered). In a group nobody gets them.
    pub fn with_last(mut self) -> Self {
        self.terms.with_last = true;
        self
    }

    /// Loses what does not fit into the credit, instead of slowing the publishers down; messages that ask for
    /// acknowledgement wait at the server all the same. What is lost is told to
    /// [`on_missed`](crate::ClientBuilder::on_missed).
    pub fn lossy(mut self) -> Self {
        self.terms.overflow = Overflow::Drop;
        self
    }
}

impl SubscriptionBuilder {
    /// Subscribes. When it returns, the server has the subscription: what is published from now on arrives. When the
    /// connection is lost, the client subscribes again on the next one, before anything else.
    ///
    /// # Errors
    /// What is wrong with the filter or an option; [`SubscribeError::Refused`] with what the server says;
    /// [`SubscribeError::NotConfirmed`] without an answer within `send_timeout` times `connection_retries`.
    pub fn open(self) -> Result<Subscription, SubscribeError> {
        self.opener.open(self.terms)
    }
}

/// A member of a group that is about to join: [`SubscriptionBuilder::group`]. All members of a group have the
/// same filter. What a member does not say of [`Self::ack_wait`], [`Self::in_flight_max`], [`Self::attempts_max`], [`Self::backoff`] and
/// [`Self::keep_expired`] is as the group has it that is there; what it says has to be the same.
///
/// ```no_run
/// use std::time::Duration;
/// use mezzenger::{Client, Filter};
///
/// let client = Client::connect("127.0.0.1")?;
/// let jobs = client.subscription_to(Filter::name("orders")).group("packers").open()?;
/// for job in jobs {
///     match job.text() {
///         Some(order) => {
///             println!("packing {order}");
///             job.ack();
///         }
///         None => job.nak(Duration::from_secs(1)),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "call open() to join the group"]
pub struct GroupBuilder<Mode = Blocking> {
    opener: Opener,
    terms: Terms,
    group: Group,
    /// `None` when there are too many delays.
    backoff: Option<Backoff>,
    mode: PhantomData<Mode>,
}

impl<Mode> GroupBuilder<Mode> {
    /// How long a member may take to settle a message before another one gets it: a millisecond to 49 days, counted
    /// from the delivery, and anew with each [`Delivery::extend`](super::Delivery::extend). Default: the server's retry
    /// interval.
    pub fn ack_wait(mut self, time: Duration) -> Self {
        self.group.ack_wait_ms = millis(time).max(1);
        self
    }

    /// Most messages that a member may have without having settled them. Default: as many as the server allows, 8,192.
    pub fn in_flight_max(mut self, messages: u32) -> Self {
        self.group.in_flight_max = messages;
        self
    }

    /// How often the group gets a message before it becomes a [dead letter](crate::Client::dead_letters). An attempt fails when its
    /// time is over, or its member [gives it back](super::Delivery::nak) or is gone. Default: without end.
    pub fn attempts_max(mut self, attempts: u16) -> Self {
        self.group.attempts_max = attempts;
        self
    }

    /// How long the group waits after a failed attempt before the next one: the first delay after the first attempt, and so on;
    /// the last one after all further attempts. At most 16, each of at most some 49 days. A delay above zero that a member gives
    /// comes first. Default: none, the next attempt comes at once.
    pub fn backoff(mut self, delays: &[Duration]) -> Self {
        let delays: Vec<_> = delays.iter().copied().map(millis).collect();
        self.backoff = Backoff::new(&delays);
        self
    }

    /// Has messages that [expire](crate::OutgoingMessage::expires_in) while the group has them become
    /// [dead letters](crate::Client::dead_letters), instead of being no more. One that is replayed does not expire again.
    pub fn keep_expired(mut self) -> Self {
        self.group.keeps_expired = true;
        self
    }

    /// How many bytes of messages may be here and not dealt with, as for
    /// [`SubscriptionBuilder::credit`]. Who takes long for a message gives 1, and gets the next one when the last was
    /// dropped or settled: until then it goes to another member. Default: 256 KiB.
    pub fn credit(mut self, bytes: u64) -> Self {
        self.terms.credit = bytes;
        self
    }

    /// Whether the client asks for more time by itself for what was delivered and is not settled yet, read or not, as
    /// long as the process lives and the connection does. Default: true.
    pub fn extend_automatically(mut self, extends: bool) -> Self {
        self.group.extends = extends;
        self
    }

    /// What it is to be opened with.
    fn terms(self) -> Result<(Opener, Terms), SubscribeError> {
        let Self { opener, mut terms, mut group, backoff, .. } = self;
        name::check_publishable(&group.name)?;
        let (option, problem) = ("backoff", "must have at most 16 delays");
        group.backoff = backoff.ok_or(SubscribeError::Option { option, problem })?;
        terms.kind = Kind::Group(group);
        Ok((opener, terms))
    }
}

impl GroupBuilder {
    /// Joins the group, as [`SubscriptionBuilder::open`] subscribes.
    ///
    /// # Errors
    /// As for [`SubscriptionBuilder::open`]; [`SubscribeError::Refused`] when the group's other members say otherwise of
    /// what they have to agree on.
    pub fn open(self) -> Result<Subscription, SubscribeError> {
        let (opener, terms) = self.terms()?;
        opener.open(terms)
    }
}
