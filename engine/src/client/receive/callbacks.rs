//! The callbacks of a client, by what they are for.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::builder::Opener;
use super::filter::Filter;
use super::handler::{Callback, Handler};
use super::inbox::{Inbox, Reader};
use super::terms::Terms;
use crate::client::error::SubscribeError;
use crate::client::here;
use crate::client::report::Reporter;

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

    /// Calls a callback for each message that fits, and waits until the server knows.
    pub(in crate::client) fn add(
        &self,
        filter: Filter,
        callback: Callback,
    ) -> Result<(), SubscribeError> {
        let (voice, reporter) = (self.opener.voice().clone(), Arc::clone(&self.reporter));
        let handler = Handler::new(callback, voice, reporter, Arc::clone(&self.no_calls));
        let terms = Terms::broadcast(filter.clone());
        let inbox = self.opener.begin(terms, Reader::Handler(Box::new(handler)))?;
        self.lock().entry(filter).or_default().push(inbox);
        Ok(())
    }

    /// Ends all callbacks that were added for exactly this, and waits until none of them runs.
    pub(in crate::client) fn remove(&self, filter: &Filter) -> Result<(), SubscribeError> {
        let removed = self.lock().remove(filter);
        let Some(removed) = removed else {
            return Err(SubscribeError::NotSubscribed { name: filter.text().to_owned() });
        };
        removed.iter().for_each(|inbox| self.opener.end(inbox));
        if !here::may_wait() {
            return Ok(());
        }
        let end = self.opener.patience();
        match removed.iter().all(|inbox| inbox.wait_for_end(end)) {
            true => Ok(()),
            false => Err(self.opener.not_confirmed()),
        }
    }
}
