//! A subscription that is read by a task.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::Subscription;
use crate::client::error::ReceiveError;
use crate::client::mode::Asynchronous;
use crate::client::receive::delivery::Delivery;

impl Subscription<Asynchronous> {
    /// Waits for the next message. Dropping the future loses none: what came is there for the next call.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`] when the subscription has ended and all was read, [`ReceiveError::Refused`] when the
    /// server rejected it on a new connection.
    pub async fn recv(&mut self) -> Result<Delivery<Asynchronous>, ReceiveError> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// [`Self::recv`] as a stream has it: `None` when the subscription has ended.
    pub async fn next(&mut self) -> Option<Delivery<Asynchronous>> {
        self.recv().await.ok()
    }

    /// Takes the next message if one is here.
    ///
    /// # Errors
    /// [`ReceiveError::TimedOut`] when there is none now; the others as for [`Self::recv`].
    pub fn try_recv(&mut self) -> Result<Delivery<Asynchronous>, ReceiveError> {
        self.next_now()
    }

    fn poll_recv(
        &mut self,
        context: &Context<'_>,
    ) -> Poll<Result<Delivery<Asynchronous>, ReceiveError>> {
        loop {
            if let Some(delivery) = self.next_here() {
                return Poll::Ready(Ok(delivery));
            }
            if !self.settler.publisher.process.is_this() {
                return Poll::Ready(Err(ReceiveError::Forked));
            }
            match self.inbox.poll_pop(context)? {
                Poll::Ready(frame) => self.read(frame),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Stream for Subscription<Asynchronous> {
    type Item = Delivery<Asynchronous>;

    /// Waits like [`Self::recv`]; `None` when the subscription has ended.
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(context).map(Result::ok)
    }
}
