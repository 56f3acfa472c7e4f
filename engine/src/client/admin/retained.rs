//! Retained messages: the last ones of their names, which the server keeps.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::client::connection::control_queue::ControlQueue;
use crate::client::error::{AdminError, unreadable};
#[cfg(feature = "tokio")]
use crate::client::mode::Asynchronous;
use crate::client::mode::Blocking;
use crate::client::receive::Filter;
use crate::client::waiting::block;
use crate::limits::RETAINED_LISTED_MAX;
use crate::wire::id::MessageId;
use crate::wire::name;
use crate::wire::reply::{self, Reply};
use crate::wire::retained::{self, Request};

/// A retained message without its content, which is delivered to subscriptions
/// [with retained messages](crate::SubscriptionBuilder::with_last).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetainedMessage {
    /// The message's id.
    pub id: MessageId,
    /// Its name.
    pub name: String,
    /// When it was published, by its publisher's clock.
    pub published: SystemTime,
    /// Bytes of the message without its name.
    pub bytes: u32,
}

/// The retained messages of a server: [`Client::retained`](crate::Client::retained).
///
/// ```
/// # use mezzenger::{Client, Filter, Server};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = Server::builder().pub_port(0).recv_port(0).start()?;
/// # let client = Client::builder().port(server.recv_addr().port()).connect()?;
/// client.message("price.tea", "7").retain().send()?;
/// client.message("price.milk", "1").retain().send()?;
/// let retained = client.retained();
/// let names: Vec<_> = retained.list(&Filter::pattern("price.*"), 10)?;
/// assert_eq!((names[0].name.as_str(), names[1].name.as_str()), ("price.milk", "price.tea"));
/// retained.clear("price.tea")?;
/// assert_eq!(retained.count()?, 1);
/// # Ok(())
/// # }
/// ```
pub struct Retained<Mode = Blocking> {
    control_queue: Arc<ControlQueue>,
    mode: PhantomData<Mode>,
}

impl<Mode> Retained<Mode> {
    pub(in crate::client) fn new(control_queue: Arc<ControlQueue>) -> Self {
        Self { control_queue, mode: PhantomData }
    }

    async fn total(&self) -> Result<u64, AdminError> {
        self.page(&Filter::prefix(""), "", 1, |_| {}).await.map(|(total, _)| total)
    }

    async fn some(
        &self,
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<RetainedMessage>, AdminError> {
        filter.check()?;
        let (mut found, mut after) = (Vec::new(), String::new());
        while found.len() < limit {
            let left = (limit - found.len()).min(RETAINED_LISTED_MAX);
            (_, after) =
                self.page(filter, &after, left as u16, |message| found.push(message)).await?;
            if after.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// How many there are in all, and behind which name to go on.
    async fn page(
        &self,
        filter: &Filter,
        after: &str,
        limit: u16,
        mut each: impl FnMut(RetainedMessage),
    ) -> Result<(u64, String), AdminError> {
        let answer = self.ask(&Request::List { filter: filter.wire(), after, limit }).await?;
        let (listed, mut entries) =
            retained::read_listed(&answer).ok_or_else(|| unread(&answer))?;
        while !entries.is_empty() {
            let (entry, rest) = retained::read_entry(entries).ok_or_else(|| unread(&answer))?;
            each(RetainedMessage {
                id: entry.id,
                name: entry.name.to_owned(),
                published: SystemTime::UNIX_EPOCH + Duration::from_nanos(entry.published_ns),
                bytes: entry.bytes,
            });
            entries = rest;
        }
        Ok((listed.total, listed.next.to_owned()))
    }

    async fn forget(&self, name: &str) -> Result<(), AdminError> {
        name::check_publishable(name)?;
        let answer = self.ask(&Request::Clear(name)).await?;
        match reply::read(&answer) {
            Some(Reply::Ok { .. }) => Ok(()),
            _ => Err(unread(&answer)),
        }
    }

    async fn ask(&self, request: &Request<'_>) -> Result<Bytes, AdminError> {
        Ok(self.control_queue.answer_to(retained::request(request).into()).await?)
    }
}

fn unread(answer: &[u8]) -> AdminError {
    AdminError::Refused { text: unreadable(answer) }
}

impl Retained {
    /// The number of retained messages, of all names.
    ///
    /// # Errors
    /// [`AdminError`]: the server rejected the request or did not answer, or the client was stopped.
    pub fn count(&self) -> Result<u64, AdminError> {
        block(self.total())
    }

    /// The retained messages of the names that a filter selects, in the order of the names, at most `limit`.
    ///
    /// # Errors
    /// [`AdminError`]: the filter breaks a rule, the server rejected the request or did not answer, or the client was stopped.
    pub fn list(&self, filter: &Filter, limit: usize) -> Result<Vec<RetainedMessage>, AdminError> {
        block(self.some(filter, limit))
    }

    /// Has the server forget the retained message of a name, if there is one. If the server has a journal, that is stored when
    /// this returns. Subscribers that received the message keep it.
    ///
    /// # Errors
    /// [`AdminError`]: the name breaks a rule, the server rejected the request or did not answer, or the client was stopped.
    pub fn clear(&self, name: &str) -> Result<(), AdminError> {
        block(self.forget(name))
    }
}

#[cfg(feature = "tokio")]
impl Retained<Asynchronous> {
    /// The number of retained messages, of all names.
    ///
    /// # Errors
    /// [`AdminError`]: the server rejected the request or did not answer, or the client was stopped.
    pub async fn count(&self) -> Result<u64, AdminError> {
        self.total().await
    }

    /// The retained messages of the names that a filter selects, as the blocking [`list`](crate::Retained::list) returns them.
    ///
    /// # Errors
    /// [`AdminError`]: the filter breaks a rule, the server rejected the request or did not answer, or the client was stopped.
    pub async fn list(
        &self,
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<RetainedMessage>, AdminError> {
        self.some(filter, limit).await
    }

    /// Has the server forget the retained message of a name, as the blocking [`clear`](crate::Retained::clear) does.
    ///
    /// # Errors
    /// [`AdminError`]: the name breaks a rule, the server rejected the request or did not answer, or the client was stopped.
    pub async fn clear(&self, name: &str) -> Result<(), AdminError> {
        self.forget(name).await
    }
}

impl<Mode> Clone for Retained<Mode> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.control_queue))
    }
}

impl<Mode> std::fmt::Debug for Retained<Mode> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retained").finish_non_exhaustive()
    }
}
