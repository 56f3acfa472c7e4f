//! Opens a subscription.

#[cfg(feature = "tokio")]
mod tasks;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::callbacks::Callbacks;
use super::delivery::Delivery;
use super::filter::Filter;
use super::handler::Callback;
use super::policy::Policy;
use super::settings::{Group, Kind, SubscriptionSettings};
use super::subscription::Subscription;
use crate::client::error::SubscribeError;
use crate::client::mode::Blocking;
use crate::client::receive::outcome::Outcome;
use crate::client::waiting::block;
use crate::limits::CLIENT_GROUP_CREDIT_BYTES;
use crate::wire::control::Overflow;
use crate::wire::name;

/// A subscription that is about to be opened: [`Client::subscription_to`](crate::Client::subscription_to). By default, a subscription to a
/// pattern [observes](Self::observe), and one to a name or a prefix is a [broadcast](Self::broadcast) subscription.
///
/// ```no_run
/// use mezzenger::{Client, Filter};
///
/// let client = Client::connect("127.0.0.1")?;
/// for delivery in client.subscription_to(Filter::pattern("orders.>")).open()? {
///     println!("{}: {} bytes", delivery.name(), delivery.payload().len());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "call open() to subscribe"]
pub struct SubscriptionBuilder<Mode = Blocking> {
    callbacks: Arc<Callbacks>,
    settings: SubscriptionSettings,
    /// `None`: it is not said.
    kind: Option<Kind>,
    /// `None`: it is not said.
    credit: Option<u64>,
    mode: PhantomData<Mode>,
}

impl<Mode> SubscriptionBuilder<Mode> {
    pub(in crate::client) fn new(callbacks: Arc<Callbacks>, filter: Filter) -> Self {
        let (settings, mode) = (SubscriptionSettings::broadcast(filter), PhantomData);
        Self { callbacks, settings, kind: None, credit: None, mode }
    }

    /// Makes it an observer: it receives each message once, when it is published, and acknowledges nothing. This is the
    /// default for a pattern, because a program that watches many names must not settle messages that others work on.
    pub fn observe(mut self) -> Self {
        self.kind = Some(Kind::Observer);
        self
    }

    /// Makes it a broadcast subscription: a message that asks for acknowledgement is delivered again until one
    /// subscriber acknowledges it, and an acknowledgement here settles it for all subscribers outside of groups. This is
    /// the default for a name and for a prefix.
    ///
    /// Messages that the server already kept are delivered as [redelivered](super::Delivery::is_redelivered)
    /// ones, in their order, between the messages that are published meanwhile.
    pub fn broadcast(mut self) -> Self {
        self.kind = Some(Kind::Broadcast);
        self
    }

    /// Joins a group: each message goes to one member. A message that asks for acknowledgement is done when a member of
    /// each matching group has acknowledged it, and nobody else can acknowledge it. The group ends with its last
    /// member, unless it is [durable](crate::Groups::durable); a durable group is joined by its name and filter.
    pub fn group(self, name: impl Into<String>) -> GroupBuilder<Mode> {
        let Self { callbacks, mut settings, kind, credit, mode } = self;
        let mut policy = Policy::default();
        let other = match kind {
            Some(Kind::Observer) => Some("observe"),
            Some(_) => Some("broadcast"),
            None => None,
        };
        if let Some(other) = other {
            policy.object(other, "is not for a group: its members take messages from each other");
        }
        if settings.with_last {
            policy.object("with_last", "is not for a group: retained messages are no work");
        }
        if settings.overflow == Overflow::Drop {
            policy.object(
                "lossy",
                "is not for a group: what no member has room for waits, or is lost without ack",
            );
        }
        settings.overflow = Overflow::Drop;
        settings.credit = credit.unwrap_or(CLIENT_GROUP_CREDIT_BYTES);
        let group = Group { name: name.into(), policy, extends: true };
        GroupBuilder { callbacks, settings, group, retry_delay: None, mode }
    }

    /// Credit: the bytes of messages that may be unsettled here, 1 byte to 1 GiB. The server delivers a frame while any
    /// credit is left, so one frame may exceed it. Unless the subscription is [lossy](Self::lossy), it delivers 8 MiB more before
    /// publishers are held back. Default: 4 MiB.
    pub fn credit(mut self, bytes: u64) -> Self {
        self.credit = Some(bytes);
        self
    }

    /// Delivers the [retained](crate::OutgoingMessage::retain) messages of the matching names first, each before what
    /// is published under its name from now on, as credit allows; and again after each reconnect. They are marked as
    /// [redelivered](super::Delivery::is_redelivered). Not for groups.
    pub fn with_last(mut self) -> Self {
        self.settings.with_last = true;
        self
    }

    /// Drops messages that do not fit into the credit, instead of holding back their publishers. Messages that ask for
    /// acknowledgement still wait at the server. Dropped messages are reported to
    /// [`on_missed`](crate::ClientBuilder::on_missed).
    pub fn lossy(mut self) -> Self {
        self.settings.overflow = Overflow::Drop;
        self
    }

    /// What it is to be opened with.
    fn settings(self) -> (Arc<Callbacks>, SubscriptionSettings) {
        let Self { callbacks, mut settings, kind, credit, .. } = self;
        settings.credit = credit.unwrap_or(settings.credit);
        let usual = || if settings.filter.is_pattern() { Kind::Observer } else { Kind::Broadcast };
        settings.kind = kind.unwrap_or_else(usual);
        (callbacks, settings)
    }
}

impl SubscriptionBuilder {
    /// Subscribes. When it returns, the server has the subscription: what is published from now on arrives. After a
    /// lost connection, the client subscribes again on the next one, before anything else.
    ///
    /// # Errors
    /// What is wrong with the filter or an option; [`SubscribeError::Refused`] with what the server says;
    /// [`SubscribeError::NotConfirmed`] without an answer within `send_timeout` times `connection_retries`.
    pub fn open(self) -> Result<Subscription, SubscribeError> {
        let (callbacks, settings) = self.settings();
        callbacks.opener().clone().open(settings)
    }

    /// Subscribes, and calls `callback` with each delivery, as [`Client::subscribe`](crate::Client::subscribe) does with messages, until
    /// [`Client::unsubscribe_from`](crate::Client::unsubscribe_from) is called with the same filter. The callback may return what it may there.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn call<F, O>(self, callback: F) -> Result<(), SubscribeError>
    where
        F: FnMut(&Delivery) -> O + Send + 'static,
        O: Outcome,
    {
        let (callbacks, settings) = self.settings();
        callbacks.add(settings, of_deliveries(callback, Duration::ZERO))
    }
}

fn of_deliveries<F, O>(mut callback: F, retry_delay: Duration) -> Callback
where
    F: FnMut(&Delivery) -> O + Send + 'static,
    O: Outcome,
{
    let callback = Box::new(move |delivery: &Delivery| callback(delivery).verdict());
    Callback::Deliveries { callback, retry_delay }
}

/// A member of a group that is about to join: [`SubscriptionBuilder::group`]. All members of a group have the
/// same filter. [`Self::ack_wait`], [`Self::in_flight_max`], [`Self::attempts_max`], [`Self::backoff`] and
/// [`Self::keep_expired`] are options of the group: those that a member leaves out are taken from the existing group; those that it sets
/// must match the group's.
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
    callbacks: Arc<Callbacks>,
    settings: SubscriptionSettings,
    group: Group,
    /// `None`: it is not said.
    retry_delay: Option<Duration>,
    mode: PhantomData<Mode>,
}

impl<Mode> GroupBuilder<Mode> {
    /// Time for one attempt before another member gets the message: from a millisecond to some 49 days, counted from
    /// the delivery, and again from each [`Delivery::extend`](super::Delivery::extend). Default: the server's retry
    /// interval.
    pub fn ack_wait(mut self, time: Duration) -> Self {
        self.group.policy.set_ack_wait(time);
        self
    }

    /// Maximum of unsettled messages per member. Default: what the server allows, 8,192.
    pub fn in_flight_max(mut self, messages: u32) -> Self {
        self.group.policy.set_in_flight_max(messages);
        self
    }

    /// Maximum attempts per message, after which it becomes a [dead letter](crate::Client::dead_letters). An attempt
    /// fails when its time is over, or when its member [asks for a later one](super::Delivery::nak) or is gone. Attempts count from 1
    /// again after a restart of the server. Default: no maximum.
    pub fn attempts_max(mut self, attempts: u16) -> Self {
        self.group.policy.set_attempts_max(attempts);
        self
    }

    /// Delays after failed attempts: the first after the first attempt, and so on; the last one after all further
    /// attempts. At most 16, each at most some 49 days. A delay above zero that a member gives takes precedence.
    /// Default: none, the next attempt follows at once.
    pub fn backoff(mut self, delays: &[Duration]) -> Self {
        self.group.policy.set_backoff(delays);
        self
    }

    /// Keeps messages that [expire](crate::OutgoingMessage::expires_in) in the group as [dead
    /// letters](crate::Client::dead_letters). One that is replayed does not expire again.
    pub fn keep_expired(mut self) -> Self {
        self.group.policy.set_keeps_expired();
        self
    }

    /// Credit, as for [`SubscriptionBuilder::credit`]. With 1, a member gets its next message when the last one was
    /// settled or dropped; until then messages go to other members. Default: 256 KiB.
    pub fn credit(mut self, bytes: u64) -> Self {
        self.settings.credit = bytes;
        self
    }

    /// Whether the client itself extends the time of unsettled messages, read or not, as long as the process and the
    /// connection live. Default: true.
    pub fn extend_automatically(mut self, extends: bool) -> Self {
        self.group.extends = extends;
        self
    }

    /// Delay before a message whose callback failed is delivered again; zero: the group's [delays](Self::backoff).
    /// Default: zero, or a second if the group has no delays when it is joined.
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = Some(delay);
        self
    }

    /// What it is to be opened with.
    fn settings(self) -> Result<(Arc<Callbacks>, SubscriptionSettings), SubscribeError> {
        let Self { callbacks, mut settings, group, .. } = self;
        name::check_group(&group.name)?;
        group.policy.check()?;
        settings.kind = Kind::Group(group);
        Ok((callbacks, settings))
    }
}

impl GroupBuilder {
    /// Joins the group, as [`SubscriptionBuilder::open`] subscribes.
    ///
    /// # Errors
    /// As for [`SubscriptionBuilder::open`]; [`SubscribeError::Refused`] also when the group exists with another filter, or
    /// with other options than those that are set here.
    pub fn open(self) -> Result<Subscription, SubscribeError> {
        let (callbacks, settings) = self.settings()?;
        callbacks.opener().clone().open(settings)
    }

    /// Joins the group, and calls `callback` with each delivery. What it returns settles the message: `()` or `Ok(())` acknowledges, and a
    /// [`Verdict`](crate::Verdict) counts as it says. An error or a panic is reported to
    /// [`on_error`](crate::ClientBuilder::on_error), and the message is delivered again after [`Self::retry_delay`]. When `call` returns,
    /// the server has the subscription. It lasts until the client stops, or until
    /// [`Client::unsubscribe_from`](crate::Client::unsubscribe_from) is called with the same filter.
    ///
    /// The callback gets one message after the other, independently of the client's other callbacks. While it runs, the client asks for
    /// more time for its message and for those that wait behind it. To work on several messages at the same time, join several times.
    /// Other members do not get what waits here: if the work on a message takes long, set [`Self::credit`] to 1.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use mezzenger::{Client, Filter, Server};
    /// use mezzenger::Verdict;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().pub_port(0).recv_port(0).start()?;
    /// # let client = Client::builder().port(server.recv_addr().port()).connect()?;
    /// let group = client.subscription_to(Filter::pattern("orders.*")).group("packers");
    /// group.attempts_max(5).call(|order| match order.text() {
    ///     Some("later") if order.attempt() < 3 => Verdict::Nak(Duration::from_millis(10)),
    ///     Some(text) => {
    ///         println!("packing {text}");
    ///         Verdict::Ack
    ///     }
    ///     None => Verdict::Reject("no text".to_owned()),
    /// })?;
    /// client.message("orders.new", "later").ack().send()?;
    /// # while server.metrics().pending_messages > 0 {}
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn call<F, O>(self, callback: F) -> Result<(), SubscribeError>
    where
        F: FnMut(&Delivery) -> O + Send + 'static,
        O: Outcome,
    {
        let (stated, name) = (self.retry_delay, self.group.name.clone());
        let (callbacks, settings) = self.settings()?;
        let retry_delay = match stated {
            Some(delay) => delay,
            None if settings.has_backoff() => Duration::ZERO,
            None => block(callbacks.retry_delay(&name)),
        };
        callbacks.add(settings, of_deliveries(callback, retry_delay))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::client::tests::subscriptions::{client, server};

    #[test]
    fn the_order_of_calls_does_not_matter() {
        let server = server();
        let client = client(&server);
        let settings = |builder: GroupBuilder| builder.settings().unwrap().1;
        let begin = || client.subscription_to(Filter::name("a"));
        assert_eq!(settings(begin().credit(7).group("g")), settings(begin().group("g").credit(7)));
        assert_eq!(settings(begin().group("g")).credit, CLIENT_GROUP_CREDIT_BYTES);
        assert_eq!(begin().credit(7).observe().settings().1.credit, 7);
    }

    #[test]
    fn a_pattern_looks_on_unless_it_says_otherwise_and_a_name_takes_part() {
        let server = server();
        let client = client(&server);
        let begin = |filter| client.subscription_to(filter);
        let kind = |builder: SubscriptionBuilder| builder.settings().1.kind;
        assert_eq!(kind(begin(Filter::pattern("a.*"))), Kind::Observer);
        assert_eq!(kind(begin(Filter::pattern("a.*")).broadcast()), Kind::Broadcast);
        for filter in [Filter::name("a"), Filter::prefix("a")] {
            assert_eq!(kind(begin(filter.clone())), Kind::Broadcast);
            assert_eq!(kind(begin(filter).observe()), Kind::Observer);
        }
    }

    #[test]
    fn what_a_group_cannot_have_is_an_error_that_names_it() {
        let server = server();
        let client = client(&server);
        let begin = || client.subscription_to(Filter::name("a"));
        let group = || begin().group("g");
        for (builder, option) in [
            (begin().observe().group("g"), "observe"),
            (begin().with_last().group("g"), "with_last"),
            (begin().lossy().group("g"), "lossy"),
            (group().ack_wait(Duration::from_micros(999)), "ack_wait"),
            (group().in_flight_max(0), "in_flight_max"),
            (group().attempts_max(0), "attempts_max"),
            (group().ack_wait(Duration::from_hours(24 * 50)), "ack_wait"),
            (group().backoff(&[Duration::ZERO; 17]), "backoff"),
            (group().backoff(&[Duration::MAX]), "backoff"),
            (group().credit(0), "credit"),
        ] {
            let Err(SubscribeError::Option { option: named, .. }) = builder.open() else {
                panic!("{option} was taken")
            };
            assert_eq!(named, option);
        }
        // Nothing of it holds for others.
        group()
            .ack_wait(Duration::from_millis(1))
            .in_flight_max(1)
            .attempts_max(1)
            .open()
            .map(drop)
            .unwrap();
        begin().lossy().with_last().observe().open().map(drop).unwrap();
    }
}
