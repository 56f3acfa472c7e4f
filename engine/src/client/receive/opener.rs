//! Asks the server for subscriptions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::delivery::Settler;
use super::inbox::{Inbox, Reader};
use super::replies::Replies;
use super::settings::SubscriptionSettings;
use super::subscription::Subscription;
use crate::client::error::{ReceiveError, SubscribeError};
#[cfg(feature = "tokio")]
use crate::client::mode::Asynchronous;
use crate::client::run::here;
use crate::client::waiting::oneshot::{Receiver, oneshot};

/// How a client opens subscriptions.
#[derive(Clone)]
pub(in crate::client) struct Opener {
    settler: Settler,
    timeout: Duration,
    tries: u32,
}

impl Opener {
    pub(in crate::client) fn new(settler: Settler, timeout: Duration, tries: u32) -> Self {
        Self { settler, timeout, tries }
    }

    /// Opens a subscription that is read like an iterator.
    pub(super) fn open(
        self,
        settings: SubscriptionSettings,
    ) -> Result<Subscription, SubscribeError> {
        let inbox = self.begin(settings, Reader::Subscription, |_| ())?;
        Ok(Subscription::new(inbox, self.settler))
    }

    /// Opens a subscription whose messages are answers to these requests.
    pub(super) fn open_replies(
        self,
        settings: SubscriptionSettings,
        replies: Arc<Replies>,
    ) -> Result<Subscription, SubscribeError> {
        let inbox = self.begin(settings, Reader::Replies(replies), |_| ())?;
        Ok(Subscription::new(inbox, self.settler))
    }

    /// Asks the server for a subscription and waits until it has it. `note` hears of it before anything comes of it.
    pub(super) fn begin(
        &self,
        settings: SubscriptionSettings,
        reader: Reader,
        note: impl FnOnce(&Arc<Inbox>),
    ) -> Result<Arc<Inbox>, SubscribeError> {
        if !here::may_wait() {
            return Err(SubscribeError::InCallback);
        }
        let mut opening = self.ask(settings, reader, note)?;
        let outcome = opening.outcome.recv_until(self.patience());
        opening.finish(outcome)
    }

    /// Asks the server for a subscription.
    fn ask(
        &self,
        settings: SubscriptionSettings,
        reader: Reader,
        note: impl FnOnce(&Arc<Inbox>),
    ) -> Result<Opening<'_>, SubscribeError> {
        self.check_process()?;
        settings.filter.check()?;
        if settings.credit == 0 {
            return Err(("credit", "must be at least 1 byte").into());
        }
        let number = self.settler.commands.number().ok_or(SubscribeError::Stopped)?;
        let inbox = Arc::new(Inbox::new(number, settings, reader));
        let (answer, outcome) = oneshot();
        note(&inbox);
        self.settler.commands.begin(Arc::clone(&inbox), answer);
        Ok(Opening { opener: self, inbox, outcome, is_done: false })
    }

    /// [`Self::begin`] for a task. The future that is dropped leaves no subscription.
    #[cfg(feature = "tokio")]
    pub(super) async fn open_in_task(
        self,
        settings: SubscriptionSettings,
        reader: Reader,
    ) -> Result<Subscription<Asynchronous>, SubscribeError> {
        let mut opening = self.ask(settings, reader, |_| ())?;
        let clock = &self.settler.publisher.clock;
        let outcome = clock.until(self.patience(), &mut opening.outcome).await;
        let inbox = opening.finish(outcome)?;
        Ok(Subscription::new(inbox, self.settler))
    }

    /// Whether this process is the client's.
    pub(super) fn check_process(&self) -> Result<(), SubscribeError> {
        match self.settler.publisher.process.is_this() {
            true => Ok(()),
            false => Err(SubscribeError::Forked),
        }
    }

    /// Ends a subscription. Does not wait.
    pub(super) fn end(&self, inbox: &Inbox) {
        inbox.close(ReceiveError::Closed);
        self.settler.commands.end(inbox.number);
    }

    /// When the server's answer comes no more.
    pub(super) fn patience(&self) -> Option<Instant> {
        Instant::now().checked_add(self.timeout.saturating_mul(self.tries))
    }

    pub(super) fn settler(&self) -> &Settler {
        &self.settler
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
