//! Groups: durable ones are created and deleted, and all are listed.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::client::connection::control_queue::ControlQueue;
use crate::client::error::{AdminError, unreadable};
#[cfg(feature = "tokio")]
use crate::client::mode::Asynchronous;
use crate::client::mode::Blocking;
use crate::client::receive::{Filter, Policy};
use crate::client::waiting::block;
use crate::limits::GROUPS_LISTED_MAX;
use crate::wire::durable::{self, Entry, Request, Unsettled};
use crate::wire::name;
use crate::wire::reply::{self, Reply};

/// A group as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The filter that selects its jobs.
    pub filter: Filter,
    /// Whether it is there until it is deleted; otherwise it ends with its last member.
    pub is_durable: bool,
    /// How long a member may take to settle a message.
    pub ack_wait: Duration,
    /// Maximum of unsettled messages per member.
    pub in_flight_max: u32,
    /// Maximum attempts per message, after which it becomes a dead letter; 0: no maximum.
    pub attempts_max: u16,
    /// Delays after failed attempts: the first after the first attempt, and so on.
    pub backoff: Vec<Duration>,
    /// Whether messages that expire become dead letters.
    pub keeps_expired: bool,
    /// How many members it has.
    pub members: u32,
    /// Messages that wait for a member, or for their next attempt.
    pub waiting: u64,
    /// Messages that members have and have not settled.
    pub in_flight: u64,
    /// Its [dead letters](crate::Client::dead_letters).
    pub dead_letters: u64,
}

impl Group {
    /// `None` for a filter that is none.
    fn read(entry: &Entry<'_>) -> Option<Self> {
        let Entry { is_durable, members, waiting, in_flight, letters, filter, group } = *entry;
        let time = |ms: u32| Duration::from_millis(ms.into());
        Some(Self {
            name: group.name.to_owned(),
            filter: Filter::read(filter.kind(), filter.text())?,
            is_durable,
            ack_wait: time(group.ack_wait_ms),
            in_flight_max: group.in_flight_max,
            attempts_max: group.attempts_max,
            backoff: group.backoff.delays_ms().iter().copied().map(time).collect(),
            keeps_expired: group.keeps_expired,
            members,
            waiting,
            in_flight,
            dead_letters: letters,
        })
    }
}

/// The groups of the server: [`Client::groups`](crate::Client::groups).
///
/// ```
/// use mezzenger::{Client, Filter};
///
/// # let server = mezzenger::Server::builder().pub_port(0).recv_port(0).start()?;
/// # let client = Client::builder().port(server.recv_addr().port()).connect()?;
/// // Once; the same again changes nothing.
/// client.groups().durable("packers", Filter::pattern("orders.*")).attempts_max(5).create()?;
///
/// // From now on messages wait for the group, whether it has members or not.
/// client.message("orders.new", "a book").ack().send()?;
/// assert_eq!(client.groups().list()?[0].waiting, 1);
///
/// let mut jobs =
///     client.subscription_to(Filter::pattern("orders.*")).group("packers").open()?;
/// let job = jobs.recv().expect("there is one");
/// assert_eq!(job.text(), Some("a book"));
/// job.ack();
/// drop(jobs);
/// # while client.groups().list()?[0].members + client.groups().list()?[0].waiting as u32 > 0 {}
/// client.groups().delete("packers")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Groups<Mode = Blocking> {
    control_queue: Arc<ControlQueue>,
    mode: PhantomData<Mode>,
}

impl<Mode> Groups<Mode> {
    pub(in crate::client) fn new(control_queue: Arc<ControlQueue>) -> Self {
        Self { control_queue, mode: PhantomData }
    }

    /// Begins to create a durable group. It exists until it is [deleted](Self::delete), also without members, and, on a server with a
    /// journal, over restarts. Each message with ack that its filter selects and that is published from then on
    /// is its job. Members [join it](crate::SubscriptionBuilder::group) by its name, with the same filter.
    pub fn durable(&self, name: impl Into<String>, filter: Filter) -> DurableGroupBuilder<Mode> {
        DurableGroupBuilder {
            groups: self.clone(),
            name: name.into(),
            filter,
            policy: Policy::default(),
        }
    }

    async fn all(&self) -> Result<Vec<Group>, AdminError> {
        let (mut groups, mut from) = (Vec::new(), String::new());
        loop {
            let next = self.page(&from, GROUPS_LISTED_MAX as u16, &mut groups).await?;
            // A server that goes on with what it told already would go on for ever.
            if next <= from {
                return Ok(groups);
            }
            from = next;
        }
    }

    async fn one(&self, name: &str) -> Result<Option<Group>, AdminError> {
        name::check_publishable(name)?;
        let mut groups = Vec::new();
        self.page(name, 1, &mut groups).await?;
        Ok(groups.into_iter().find(|group| group.name == name))
    }

    /// Adds some groups from this name on; the name to go on from.
    async fn page(
        &self,
        from: &str,
        limit: u16,
        groups: &mut Vec<Group>,
    ) -> Result<String, AdminError> {
        let answer = self.ask(&Request::List { from, limit }).await?;
        let unread = || AdminError::Refused { text: unreadable(&answer) };
        let (listed, mut entries) = durable::read_listed(&answer).ok_or_else(unread)?;
        while !entries.is_empty() {
            let (entry, rest) = durable::read_entry(entries).ok_or_else(unread)?;
            groups.push(Group::read(&entry).ok_or_else(unread)?);
            entries = rest;
        }
        Ok(listed.next.to_owned())
    }

    async fn remove(&self, name: &str, unsettled: Unsettled) -> Result<(), AdminError> {
        name::check_publishable(name)?;
        self.ask_ok(&Request::Delete { name, unsettled }).await
    }

    /// A request that is answered with OK.
    async fn ask_ok(&self, request: &Request<'_>) -> Result<(), AdminError> {
        let answer = self.ask(request).await?;
        match reply::read(&answer) {
            Some(Reply::Ok { .. }) => Ok(()),
            _ => Err(AdminError::Refused { text: unreadable(&answer) }),
        }
    }

    async fn ask(&self, request: &Request<'_>) -> Result<Bytes, AdminError> {
        Ok(self.control_queue.answer_to(durable::request(request).into()).await?)
    }
}

impl Groups {
    /// All groups, durable ones and those that have members, in the order of their names.
    ///
    /// # Errors
    /// [`AdminError`]: the server rejected the request or did not answer, or the client was stopped.
    pub fn list(&self) -> Result<Vec<Group>, AdminError> {
        block(self.all())
    }

    /// The group of this name, if there is one.
    ///
    /// # Errors
    /// [`AdminError`]: the name breaks a rule, the server rejected the request or did not answer, or the client was stopped.
    pub fn get(&self, name: &str) -> Result<Option<Group>, AdminError> {
        block(self.one(name))
    }

    /// Deletes a durable group that has no members, and no messages that wait for one. Its dead letters stay until they are purged.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when there is no durable group of this name, or when it has members or messages.
    pub fn delete(&self, name: &str) -> Result<(), AdminError> {
        block(self.remove(name, Unsettled::Kept))
    }

    /// Deletes a durable group that has no members, and discards the messages that wait for one, but for those that others need.
    /// Its dead letters stay until they are purged.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when there is no durable group of this name, or when it has members.
    pub fn delete_with_messages(&self, name: &str) -> Result<(), AdminError> {
        block(self.remove(name, Unsettled::Discarded))
    }
}

#[cfg(feature = "tokio")]
impl Groups<Asynchronous> {
    /// All groups, durable ones and those that have members, in the order of their names.
    ///
    /// # Errors
    /// [`AdminError`]: the server rejected the request or did not answer, or the client was stopped.
    pub async fn list(&self) -> Result<Vec<Group>, AdminError> {
        self.all().await
    }

    /// The group of this name, if there is one.
    ///
    /// # Errors
    /// [`AdminError`]: the name breaks a rule, the server rejected the request or did not answer, or the client was stopped.
    pub async fn get(&self, name: &str) -> Result<Option<Group>, AdminError> {
        self.one(name).await
    }

    /// Deletes a durable group that has no members, as the blocking [`delete`](crate::Groups::delete) does.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when there is no durable group of this name, or when it has members or messages.
    pub async fn delete(&self, name: &str) -> Result<(), AdminError> {
        self.remove(name, Unsettled::Kept).await
    }

    /// Deletes a durable group that has no members, and discards its messages, as the blocking
    /// [`delete_with_messages`](crate::Groups::delete_with_messages) does.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when there is no durable group of this name, or when it has members.
    pub async fn delete_with_messages(&self, name: &str) -> Result<(), AdminError> {
        self.remove(name, Unsettled::Discarded).await
    }
}

impl<Mode> Clone for Groups<Mode> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.control_queue))
    }
}

impl<Mode> std::fmt::Debug for Groups<Mode> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").finish_non_exhaustive()
    }
}

/// A durable group that is about to be created: [`Groups::durable`].
#[must_use = "call create() to create the group"]
#[derive(Clone, Debug)]
pub struct DurableGroupBuilder<Mode = Blocking> {
    groups: Groups<Mode>,
    name: String,
    filter: Filter,
    policy: Policy,
}

impl<Mode> DurableGroupBuilder<Mode> {
    /// As [`GroupBuilder::ack_wait`](crate::GroupBuilder::ack_wait).
    pub fn ack_wait(mut self, time: Duration) -> Self {
        self.policy.set_ack_wait(time);
        self
    }

    /// As [`GroupBuilder::in_flight_max`](crate::GroupBuilder::in_flight_max).
    pub fn in_flight_max(mut self, messages: u32) -> Self {
        self.policy.set_in_flight_max(messages);
        self
    }

    /// As [`GroupBuilder::attempts_max`](crate::GroupBuilder::attempts_max).
    pub fn attempts_max(mut self, attempts: u16) -> Self {
        self.policy.set_attempts_max(attempts);
        self
    }

    /// As [`GroupBuilder::backoff`](crate::GroupBuilder::backoff).
    pub fn backoff(mut self, delays: &[Duration]) -> Self {
        self.policy.set_backoff(delays);
        self
    }

    /// As [`GroupBuilder::keep_expired`](crate::GroupBuilder::keep_expired).
    pub fn keep_expired(mut self) -> Self {
        self.policy.set_keeps_expired();
        self
    }

    async fn created(self) -> Result<(), AdminError> {
        let Self { groups, name, filter, policy } = self;
        name::check_group(&name)?;
        filter.check()?;
        policy.check()?;
        let group = policy.of(&name);
        groups.ask_ok(&Request::Create { filter: filter.wire(), group }).await
    }
}

impl DurableGroupBuilder {
    /// Creates the group; does nothing if the same group exists. When it returns, the group is stored as safely as messages with ack,
    /// and matching messages that are published from now on are its jobs.
    ///
    /// # Errors
    /// What is wrong with the name, the filter or an option; [`AdminError::Refused`] when a group of this name exists with
    /// another filter or other options, or when there are as many durable groups as the server allows.
    pub fn create(self) -> Result<(), AdminError> {
        block(self.created())
    }
}

#[cfg(feature = "tokio")]
impl DurableGroupBuilder<Asynchronous> {
    /// Creates the group, as the blocking [`create`](crate::DurableGroupBuilder::create) does.
    ///
    /// # Errors
    /// As for the blocking [`create`](crate::DurableGroupBuilder::create).
    pub async fn create(self) -> Result<(), AdminError> {
        self.created().await
    }
}
