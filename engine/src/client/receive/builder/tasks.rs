//! Opens a subscription for tasks.

use super::{GroupBuilder, Opener, SubscriptionBuilder};
use crate::client::error::SubscribeError;
use crate::client::mode::Asynchronous;
use crate::client::receive::inbox::Reader;
use crate::client::receive::subscription::Subscription;
use crate::client::receive::terms::Terms;

impl Opener {
    /// [`Self::begin`] for a task. The future that is dropped leaves no subscription.
    pub(in crate::client::receive) async fn open_in_task(
        self,
        terms: Terms,
        reader: Reader,
    ) -> Result<Subscription<Asynchronous>, SubscribeError> {
        let mut opening = self.ask(terms, reader)?;
        let clock = &self.voice.publisher.clock;
        let outcome = clock.until(self.patience(), &mut opening.outcome).await;
        let inbox = opening.finish(outcome)?;
        Ok(Subscription::new(inbox, self.voice))
    }
}

impl SubscriptionBuilder<Asynchronous> {
    /// Subscribes. When it is done, the server has the subscription: what is published from now on arrives. When the
    /// connection is lost, the client subscribes again on the next one, before anything else. Dropping the future ends what it began.
    ///
    /// # Errors
    /// What is wrong with the filter or an option; [`SubscribeError::Refused`] with what the server says;
    /// [`SubscribeError::NotConfirmed`] without an answer within `send_timeout` times `connection_retries`.
    pub async fn open(self) -> Result<Subscription<Asynchronous>, SubscribeError> {
        self.opener.open_in_task(self.terms, Reader::Subscription).await
    }
}

impl GroupBuilder<Asynchronous> {
    /// Joins the group, as [`SubscriptionBuilder::open`] subscribes.
    ///
    /// # Errors
    /// As for [`SubscriptionBuilder::open`]; [`SubscribeError::Refused`] when the group's other members say otherwise of
    /// what they have to agree on.
    pub async fn open(self) -> Result<Subscription<Asynchronous>, SubscribeError> {
        let (opener, terms) = self.terms()?;
        opener.open_in_task(terms, Reader::Subscription).await
    }
}
