//! A request that waits for its answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::client::error::{RequestError, SendError};
use crate::client::publish::receipt::{Acceptance, Receipt, SharedOutcome};
use crate::client::receive::Request;
use crate::client::receive::message::Message;
use crate::client::waiting::WaitSlot;
use crate::wire::properties::ERROR_HEADER;

/// The first answer to a request, or why there will be none. That the server took the request wakes nobody: who asked would only
/// go on waiting.
pub(super) struct PendingAnswer<'a> {
    name: &'a str,
    request: Request<'a>,
    outcome: Arc<SharedOutcome>,
    place: WaitSlot,
    /// Whether it waits for somebody who gets it.
    waits: bool,
    is_done: bool,
}

impl<'a> PendingAnswer<'a> {
    pub(super) fn new(name: &'a str, request: Request<'a>, receipt: &Receipt, waits: bool) -> Self {
        let (outcome, place) = (Arc::clone(receipt.outcome()), WaitSlot::default());
        Self { name, request, outcome, place, waits, is_done: false }
    }

    /// An answer, unless it says that the request failed.
    fn read(&self, answer: Message) -> Result<Message, RequestError> {
        match answer.header(ERROR_HEADER) {
            Some(reason) => {
                let (name, reason) = (self.name.to_owned(), reason.to_owned());
                Err(RequestError::Failed { name, reason })
            }
            None => Ok(answer),
        }
    }

    /// What ends the wait before an answer does.
    fn failure(&self, taken: Result<Acceptance, SendError>) -> Option<RequestError> {
        match taken {
            Ok(Acceptance { takers: Some(0), .. }) if !self.waits => {
                Some(RequestError::NoSubscriber { name: self.name.to_owned() })
            }
            Ok(_) => None,
            Err(error) => Some(error.into()),
        }
    }
}

impl Future for PendingAnswer<'_> {
    type Output = Result<Message, RequestError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let result = match Pin::new(&mut this.request.answer).poll(context) {
            // With the client, or with the subscription to the answers.
            Poll::Ready(Some(answer)) => this.read(answer),
            Poll::Ready(None) => Err(SendError::Stopped.into()),
            Poll::Pending => match this.outcome.poll_request(&mut this.place, context) {
                Poll::Ready(taken) => match this.failure(taken) {
                    Some(error) => Err(error),
                    None => return Poll::Pending,
                },
                Poll::Pending => return Poll::Pending,
            },
        };
        this.is_done = true;
        Poll::Ready(result)
    }
}

impl Drop for PendingAnswer<'_> {
    fn drop(&mut self) {
        self.outcome.leave_request(&mut self.place);
        if !self.is_done {
            // That it was not published is somebody else's to tell.
            self.outcome.abandon();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;
    use crate::client::process::Process;
    use crate::client::receive::Replies;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often whoever asked is woken by what the server says, and what that ends the wait with.
    fn woken_by(
        taken: Result<Acceptance, SendError>,
        waits: bool,
    ) -> (usize, Option<RequestError>) {
        let (replies, receipt) =
            (Replies::default(), Receipt::new(Arc::default(), Process::this()));
        let answer = PendingAnswer::new("a", replies.expect(), &receipt, waits);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let (mut answer, mut context) = (pin!(answer), Context::from_waker(&waker));
        assert!(answer.as_mut().poll(&mut context).is_pending());
        receipt.outcome().decide_for(taken);
        let woken = wakes.0.load(Ordering::Relaxed);
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(result) => (woken, Some(result.unwrap_err())),
            Poll::Pending => (woken, None),
        }
    }

    #[test]
    fn that_somebody_gets_the_request_wakes_nobody_and_that_none_does_ends_the_wait() {
        let taken = |takers| Ok(Acceptance { receivers: Some(1), takers });
        let nobody = RequestError::NoSubscriber { name: "a".to_owned() };
        assert_eq!(woken_by(taken(Some(1)), false), (0, None));
        assert_eq!(woken_by(taken(None), false), (0, None));
        assert_eq!(woken_by(taken(Some(0)), false), (1, Some(nobody)));
        assert_eq!(woken_by(taken(Some(0)), true).1, None);
        assert_eq!(woken_by(Err(SendError::Stopped), true), (1, Some(SendError::Stopped.into())));
    }

    #[test]
    fn one_that_goes_leaves_nothing_behind() {
        let (replies, receipt) =
            (Replies::default(), Receipt::new(Arc::default(), Process::this()));
        let answer = PendingAnswer::new("a", replies.expect(), &receipt, false);
        {
            let mut answer = pin!(answer);
            assert!(answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!((replies.waiting(), receipt.outcome().requests_waiting()), (1, 1));
        }
        assert_eq!((replies.waiting(), receipt.outcome().requests_waiting()), (0, 0));
        assert!(receipt.outcome().is_abandoned());
    }
}
