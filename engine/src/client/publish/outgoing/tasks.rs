//! A message that is published by a task.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::OutgoingMessage;
use super::answer::PendingAnswer;
use crate::client::error::{RequestError, SendError};
use crate::client::mode::Asynchronous;
use crate::client::publish::payload::Payload;
use crate::client::publish::receipt::{Acceptance, Receipt, SharedOutcome};
use crate::client::receive::message::Message;

/// What a task waits for. When that goes first, an error is somebody else's to tell.
struct SendWait {
    outcome: Arc<SharedOutcome>,
    is_done: bool,
}

impl Drop for SendWait {
    fn drop(&mut self) {
        if !self.is_done {
            self.outcome.abandon();
        }
    }
}

/// Waits for what the server says.
async fn taken(mut receipt: Receipt) -> Result<Acceptance, SendError> {
    let mut attended = SendWait { outcome: Arc::clone(receipt.outcome()), is_done: false };
    let taken = poll_fn(|context| receipt.poll_taken(context)).await;
    attended.is_done = true;
    taken
}

impl<P: Payload> OutgoingMessage<'_, P, Asynchronous> {
    /// Publishes it without waiting for the server, as [`Client::publish`](crate::asynchronous::Client::publish) does.
    ///
    /// # Errors
    /// As for [`Client::publish`](crate::asynchronous::Client::publish), and [`SendError::Properties`].
    pub async fn publish(self) -> Result<Receipt, SendError> {
        self.leave(true).await
    }

    /// Publishes it and waits until the server has taken it. With [`Self::ack`], the server has then stored it, and delivers
    /// it again and again until a subscriber acknowledged it.
    ///
    /// Dropping the future takes nothing back that is in the buffer: it is published, and if it is not, the next
    /// [`Client::flush`](crate::asynchronous::Client::flush) says so.
    ///
    /// # Errors
    /// Why it was not published, or ([`SendError::TimedOut`]) that this is not known; and [`SendError::Properties`].
    pub async fn send(self) -> Result<(), SendError> {
        taken(self.leave(false).await?).await.map(|_| ())
    }

    /// Publishes it as a request, and waits for the first answer: what a receiver says with
    /// [`Delivery::reply`](crate::asynchronous::Delivery::reply). Dropping the future forgets the answer.
    ///
    /// # Errors
    /// [`RequestError::NoSubscriber`] at once when nobody gets the request, unless it asks for acknowledgement and so
    /// waits for somebody; [`RequestError::TimedOut`] without an answer in time; the others when it could not be published, or answers
    /// not be subscribed to.
    pub async fn request(mut self, timeout: Duration) -> Result<Message, RequestError> {
        let end = Instant::now().checked_add(timeout);
        let (name, requests, clock) = (self.name, self.requests, Arc::clone(&self.publisher.clock));
        let answer = async {
            let request = requests.begin_in_task().await?;
            self.ask(&request);
            let waits = self.waits();
            let receipt = self.leave(false).await?;
            PendingAnswer::new(name, request, &receipt, waits).await
        };
        let late = || RequestError::TimedOut { name: name.to_owned(), timeout };
        clock.until(end, answer).await.ok_or_else(late)?
    }

    async fn leave(mut self, unattended: bool) -> Result<Receipt, SendError> {
        self.stamp()?;
        let Self { publisher, name, payload, ack, properties, .. } = self;
        publisher.publish_in_task(name, payload, properties, ack, unattended).await
    }
}
