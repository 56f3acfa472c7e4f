//! The callbacks of a client, by what they are for.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::filter::Filter;
#[cfg(feature = "tokio")]
use super::handler::report;
use super::handler::{Callback, Handler};
use super::inbox::{Inbox, Reader};
use super::opener::Opener;
use super::settings::SubscriptionSettings;
use crate::client::error::SubscribeError;
#[cfg(feature = "tokio")]
use crate::client::receive::message::Message;
#[cfg(feature = "tokio")]
use crate::client::receive::outcome::Verdict;
use crate::client::report::Reporter;
use crate::client::run::here;
use crate::limits::CLIENT_CALLBACK_RETRY;
use crate::wire::durable::{self, Request};

/// The subscriptions that callbacks are called for.
pub(in crate::client) struct Callbacks {
    opener: Opener,
    reporter: Arc<Reporter>,
    /// None is called any more.
    no_calls: Arc<AtomicBool>,
    inboxes: Mutex<HashMap<Filter, Vec<Arc<Inbox>>>>,
}

impl Callbacks {
    pub(in crate::client) fn new(
        opener: Opener,
        reporter: Arc<Reporter>,
        no_calls: Arc<AtomicBool>,
    ) -> Self {
        Self { opener, reporter, no_calls, inboxes: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Filter, Vec<Arc<Inbox>>>> {
        // Nothing in here panics half-way.
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn opener(&self) -> &Opener {
        &self.opener
    }

    /// After how long a group gets a message again for which a callback failed, unless it is said: zero where the group's
    /// delays say it.
    pub(super) async fn retry_delay(&self, group: &str) -> Duration {
        let request = durable::request(&Request::List { from: group, limit: 1 });
        // What is not known, as of a group that is not there yet, has none.
        let answer =
            self.opener.settler().control_queue.answer_to(request.into()).await.unwrap_or_default();
        let entry = durable::read_listed(&answer).and_then(|(_, rest)| durable::read_entry(rest));
        let found = entry.filter(|(entry, _)| entry.group.name == group);
        match found.is_some_and(|(entry, _)| !entry.group.backoff.delays_ms().is_empty()) {
            true => Duration::ZERO,
            false => CLIENT_CALLBACK_RETRY,
        }
    }

    /// What is said of a message that a task's callback was called with.
    #[cfg(feature = "tokio")]
    pub(super) fn judged(
        &self,
        message: &Message,
        verdict: Result<Verdict, String>,
        retry_delay: Duration,
    ) -> Verdict {
        verdict.unwrap_or_else(|reason| {
            report(message, reason, &self.reporter);
            Verdict::Nak(retry_delay)
        })
    }

    /// Calls a callback for each message that fits, and waits until the server knows.
    pub(super) fn add(
        &self,
        settings: SubscriptionSettings,
        callback: Callback,
    ) -> Result<(), SubscribeError> {
        let (settler, reporter) = (self.opener.settler().clone(), Arc::clone(&self.reporter));
        let handler = Handler::new(callback, settler, reporter, Arc::clone(&self.no_calls));
        let filter = settings.filter.clone();
        // It may be called, and end itself, before this thread has the answer.
        let note = |inbox: &Arc<Inbox>| {
            self.lock().entry(filter.clone()).or_default().push(Arc::clone(inbox));
        };
        let opened = self.opener.begin(settings, Reader::Handler(Box::new(handler)), note);
        if opened.is_err() {
            self.forget_ended(&filter);
        }
        opened.map(drop)
    }

    fn forget_ended(&self, filter: &Filter) {
        let mut inboxes = self.lock();
        if let Some(same) = inboxes.get_mut(filter) {
            same.retain(|inbox| !inbox.is_closed());
            if same.is_empty() {
                inboxes.remove(filter);
            }
        }
    }

    /// Calls a callback for each message that fits, whose acknowledgements count, and waits until the server knows.
    pub(in crate::client) fn add_broadcast(
        &self,
        filter: Filter,
        callback: Callback,
    ) -> Result<(), SubscribeError> {
        self.add(SubscriptionSettings::broadcast(filter), callback)
    }

    /// Ends all callbacks that were added for exactly this, and waits until none of them runs.
    pub(in crate::client) fn remove(&self, filter: &Filter) -> Result<(), SubscribeError> {
        self.opener.check_process()?;
        let removed = self.lock().remove(filter);
        let Some(removed) = removed else {
            return Err(SubscribeError::NotSubscribed { name: filter.text().to_owned() });
        };
        let mut all_ended = true;
        if here::may_wait() {
            // What a group's member says after the end of its subscription does not count any more.
            removed.iter().for_each(|inbox| inbox.end_calls());
            let end = self.opener.patience();
            all_ended = removed.iter().all(|inbox| inbox.wait_for_end(end));
        }
        removed.iter().for_each(|inbox| self.opener.end(inbox));
        if all_ended { Ok(()) } else { Err(self.opener.not_confirmed()) }
    }
}
