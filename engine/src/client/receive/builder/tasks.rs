//! Opens a subscription for tasks.

use std::sync::Arc;

use super::{GroupBuilder, SubscriptionBuilder};
use crate::client::error::{ReceiveError, SubscribeError};
use crate::client::mode::Asynchronous;
use crate::client::receive::delivery::Delivery;
use crate::client::receive::inbox::Reader;
use crate::client::receive::outcome::Outcome;
use crate::client::receive::subscription::Subscription;

impl SubscriptionBuilder<Asynchronous> {
    /// Subscribes. When it returns, the server has the subscription: what is published from now on arrives. After a
    /// lost connection, the client subscribes again on the next one, before anything else. Dropping the future ends a subscription that it began.
    ///
    /// # Errors
    /// What is wrong with the filter or an option; [`SubscribeError::Refused`] with what the server says;
    /// [`SubscribeError::NotConfirmed`] without an answer within `send_timeout` times `connection_retries`.
    pub async fn open(self) -> Result<Subscription<Asynchronous>, SubscribeError> {
        let (callbacks, settings) = self.settings();
        callbacks.opener().clone().open_in_task(settings, Reader::Subscription).await
    }
}

impl GroupBuilder<Asynchronous> {
    /// Joins the group, as [`SubscriptionBuilder::open`] subscribes.
    ///
    /// # Errors
    /// As for [`SubscriptionBuilder::open`]; [`SubscribeError::Refused`] also when the group exists with another filter, or
    /// with other options than those that are set here.
    pub async fn open(self) -> Result<Subscription<Asynchronous>, SubscribeError> {
        let (callbacks, settings) = self.settings()?;
        callbacks.opener().clone().open_in_task(settings, Reader::Subscription).await
    }

    /// Joins the group and works until the subscription ends: calls `callback` with each delivery, one after the other, and settles it by
    /// the future's result, as the blocking [`call`](crate::GroupBuilder::call) does. To work on several at the same time, join several
    /// times. Dropping the future leaves the group, and its jobs go to other members.
    ///
    /// ```
    /// # use mezzenger::{Filter, Server, Verdict};
    /// # use mezzenger::asynchronous::{Client, Delivery};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().pub_port(0).recv_port(0).start()?;
    /// # let client = Client::connect(format!("mezzenger://{}", server.recv_addr())).await?;
    /// # let stopping = client.clone();
    /// client.message("orders.new", "tea").ack().send().await?;
    /// let group = client.subscription_to(Filter::pattern("orders.*")).group("packers");
    /// let worked = group.run(async |order: &Delivery| {
    ///     let text = order.text().ok_or("no text")?;
    ///     assert_eq!((text, order.attempt()), ("tea", 1));
    /// #   stopping.close().await.map_err(|_| "not closed")?;
    ///     Ok::<_, &str>(())
    /// });
    /// # let _ =
    /// worked.await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// To work in a task of its own, spawn a block that awaits it, and name the type of the delivery and of the result:
    ///
    /// ```
    /// # use mezzenger::{Filter, Server};
    /// # use mezzenger::asynchronous::{Client, Delivery};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().pub_port(0).recv_port(0).start()?;
    /// # let client = Client::connect(format!("mezzenger://{}", server.recv_addr())).await?;
    /// let group = client.subscription_to(Filter::pattern("orders.*")).group("packers");
    /// let working = tokio::spawn(async move {
    ///     group.run(async move |order: &Delivery| {
    ///         println!("packing {}", order.text().ok_or("no text")?);
    ///         Ok::<_, &str>(())
    ///     })
    ///     .await
    /// });
    /// // At the end of the program:
    /// client.close().await?;
    /// working.await?.unwrap_err(); // SubscribeError::Stopped
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Self::open`] when it cannot join. Later [`SubscribeError::Stopped`] when the client was closed, and the server's reason when it
    /// rejects the subscription on a new connection.
    pub async fn run<F, O>(self, mut callback: F) -> Result<(), SubscribeError>
    where
        F: AsyncFnMut(&Delivery<Asynchronous>) -> O,
        O: Outcome,
    {
        let stated = self.retry_delay;
        let (callbacks, name) = (Arc::clone(&self.callbacks), self.group.name.clone());
        let mut jobs = self.open().await?;
        let retry_delay = match stated {
            Some(delay) => delay,
            None => callbacks.retry_delay(&name).await,
        };
        loop {
            let job = match jobs.recv().await {
                Ok(job) => job,
                Err(ReceiveError::Refused(error)) => return Err(error),
                Err(_) => return Err(SubscribeError::Stopped),
            };
            let verdict = callback(&job).await.verdict();
            let verdict = callbacks.judged(&job, verdict, retry_delay);
            job.settle(verdict);
        }
    }
}
