//! Where the answers to a client's requests arrive.

use std::sync::{Arc, Mutex, PoisonError};

use super::filter::Filter;
#[cfg(feature = "tokio")]
use super::inbox::Reader;
use super::opener::Opener;
use super::replies::{Replies, Request};
use super::settings::{Kind, SubscriptionSettings};
use super::subscription::Subscription;
use crate::client::error::SubscribeError;
#[cfg(feature = "tokio")]
use crate::client::mode::Asynchronous;
use crate::limits::CLIENT_CREDIT_BYTES;
use crate::wire::control::Overflow;
use crate::wire::name::REPLY_PREFIX;

/// A client's requests. The subscription to their answers begins with the first of them.
pub(in crate::client) struct Requests {
    opener: Opener,
    name: String,
    replies: Arc<Replies>,
    subscription: Mutex<Option<Subscription>>,
    #[cfg(feature = "tokio")]
    in_task: tokio::sync::Mutex<Option<Subscription<Asynchronous>>>,
}

impl Requests {
    /// Those of the publisher with this id.
    pub(in crate::client) fn new(opener: Opener, publisher: u64) -> Self {
        let name = format!("{REPLY_PREFIX}{publisher:016x}");
        let (replies, subscription) = Default::default();
        Self {
            opener,
            name,
            replies,
            subscription,
            #[cfg(feature = "tokio")]
            in_task: tokio::sync::Mutex::default(),
        }
    }

    /// The name that answers are to be published under.
    pub(in crate::client) fn name(&self) -> &str {
        &self.name
    }

    #[cfg(all(test, feature = "tokio"))]
    pub(in crate::client) fn waiting(&self) -> usize {
        self.replies.waiting()
    }

    /// Whether a thread has the lock.
    #[cfg(all(test, not(loom)))]
    pub(in crate::client) fn are_locked(&self) -> bool {
        self.subscription.try_lock().is_err()
    }

    /// Begins a request.
    pub(in crate::client) fn begin(&self) -> Result<Request<'_>, SubscribeError> {
        // Before the lock, which a thread of the parent may have held when it forked.
        self.opener.check_process()?;
        let mut subscription = self.subscription.lock().unwrap_or_else(PoisonError::into_inner);
        if subscription.as_ref().is_none_or(Subscription::has_ended) {
            let replies = Arc::clone(&self.replies);
            *subscription = Some(self.opener.clone().open_replies(self.settings(), replies)?);
        }
        Ok(self.replies.expect())
    }

    /// [`Self::begin`] for a task.
    #[cfg(feature = "tokio")]
    pub(in crate::client) async fn begin_in_task(&self) -> Result<Request<'_>, SubscribeError> {
        self.opener.check_process()?;
        let mut subscription = self.in_task.lock().await;
        if subscription.as_ref().is_none_or(Subscription::has_ended) {
            let reader = Reader::Replies(Arc::clone(&self.replies));
            *subscription = Some(self.opener.clone().open_in_task(self.settings(), reader).await?);
        }
        Ok(self.replies.expect())
    }

    /// Answers alone come under the client's name, and each is taken at once.
    fn settings(&self) -> SubscriptionSettings {
        let (filter, kind) = (Filter::name(&*self.name), Kind::Observer);
        SubscriptionSettings {
            filter,
            kind,
            overflow: Overflow::Hold,
            with_last: false,
            credit: CLIENT_CREDIT_BYTES,
        }
    }
}
