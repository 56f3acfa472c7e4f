//! Where the answers to a client's requests arrive.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::channel::Receiver;

use super::builder::Opener;
use super::filter::Filter;
use super::replies::Replies;
use super::subscription::Subscription;
use super::terms::{Kind, Terms};
use crate::client::error::SubscribeError;
use crate::client::message::Message;
use crate::limits::CLIENT_CREDIT_BYTES;
use crate::wire::control::Overflow;

/// A client's requests. The subscription to their answers begins with the first of them.
pub(in crate::client) struct Requests {
    opener: Opener,
    name: String,
    replies: Arc<Replies>,
    subscription: Mutex<Option<Subscription>>,
}

/// A request that waits for its answer; when it goes, nobody does any more.
pub(in crate::client) struct Request<'a> {
    replies: &'a Replies,
    pub(in crate::client) number: u64,
    pub(in crate::client) answer: Receiver<Message>,
}

impl Requests {
    /// Those of the publisher with this id.
    pub(in crate::client) fn new(opener: Opener, publisher: u64) -> Self {
        let name = format!("_reply.{publisher:016x}");
        let (replies, subscription) = Default::default();
        Self { opener, name, replies, subscription }
    }

    /// The name that answers are to be published under.
    pub(in crate::client) fn name(&self) -> &str {
        &self.name
    }

    /// Begins a request.
    pub(in crate::client) fn begin(&self) -> Result<Request<'_>, SubscribeError> {
        let mut subscription = self.subscription.lock().unwrap_or_else(PoisonError::into_inner);
        if subscription.as_ref().is_none_or(Subscription::has_ended) {
            let terms = Terms {
                filter: Filter::name(&*self.name),
                kind: Kind::Observer,
                overflow: Overflow::Hold,
                with_last: false,
                credit: CLIENT_CREDIT_BYTES,
            };
            let replies = Arc::clone(&self.replies);
            *subscription = Some(self.opener.clone().open_replies(terms, replies)?);
        }
        let (number, answer) = self.replies.expect();
        Ok(Request { replies: &self.replies, number, answer })
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.replies.forget(self.number);
    }
}
