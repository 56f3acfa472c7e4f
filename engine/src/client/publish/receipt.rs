//! Receipts: what a publisher holds until the server answers.

use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::client::error::SendError;
use crate::client::process::Process;
use crate::client::run::here;
use crate::client::waiting::{WaitSlot, Wakers};

/// What the server says of what it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::client) struct Acceptance {
    /// How many connections it was for; `None` where that is not known.
    pub(in crate::client) receivers: Option<u32>,
    /// How many of these are no observers.
    pub(in crate::client) takers: Option<u32>,
}

/// The fate that all messages of one frame share.
#[derive(Debug, Default)]
pub(in crate::client) struct SharedOutcome {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    decided: Option<Result<Acceptance, SendError>>,
    waiting: usize,
    tasks: Wakers,
    /// Those who wait for the answers to requests.
    requests: Wakers,
    abandoned: bool,
}

impl SharedOutcome {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each field is replaced as a whole, so a panicked holder leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides it, once: later decisions change nothing.
    pub(in crate::client) fn decide(&self, result: Result<(), SendError>) {
        self.decide_for(result.map(|()| Acceptance::default()));
    }

    /// [`Self::decide`] with what the server says.
    pub(in crate::client) fn decide_for(&self, result: Result<Acceptance, SendError>) {
        let mut state = self.lock();
        if state.decided.is_none() {
            let is_received = result.as_ref().is_ok_and(|taken| taken.takers != Some(0));
            state.decided = Some(result);
            // A notification costs a system call even when nobody waits.
            if state.waiting > 0 {
                self.changed.notify_all();
            }
            let mut tasks = state.tasks.take();
            if !is_received {
                tasks.extend(state.requests.take());
            }
            drop(state);
            tasks.wake();
        }
    }

    /// Whoever waited for it went before it was decided.
    pub(in crate::client) fn abandon(&self) {
        self.lock().abandoned = true;
    }

    /// Whether somebody who waited for it went.
    pub(in crate::client) fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// What is decided, for whoever waits for the answer to a request among the messages: woken only if there will be none,
    /// because it failed or was for nobody.
    pub(super) fn poll_request(
        &self,
        place: &mut WaitSlot,
        context: &Context<'_>,
    ) -> Poll<Result<Acceptance, SendError>> {
        let mut state = self.lock();
        if let Some(decided) = &state.decided {
            return Poll::Ready(decided.clone());
        }
        state.requests.join(place, context);
        Poll::Pending
    }

    /// Nobody waits any more at a place that [`Self::poll_request`] gave.
    pub(super) fn leave_request(&self, place: &mut WaitSlot) {
        if !place.is_none() {
            self.lock().requests.leave(place);
        }
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn requests_waiting(&self) -> usize {
        self.lock().requests.waiting()
    }

    /// Waits for the decision until `end`, or forever.
    pub(in crate::client) fn wait_until(
        &self,
        end: Option<Instant>,
    ) -> Option<Result<(), SendError>> {
        self.taken_until(end).map(|result| result.map(|_| ()))
    }

    /// [`Self::wait_until`] with what the server says.
    fn taken_until(&self, end: Option<Instant>) -> Option<Result<Acceptance, SendError>> {
        let mut state = self.lock();
        if state.decided.is_none() && !here::may_wait() {
            return Some(Err(SendError::InCallback));
        }
        state.waiting += 1;
        while state.decided.is_none() {
            state = match end {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(end) => {
                    let left = end.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    let woken = self.changed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.waiting -= 1;
        state.decided.clone()
    }
}

/// Stands for the server's answer to one published message.
///
/// Messages that left in one frame share an answer. A receipt may be dropped: an error is then still
/// counted, reported, and returned by the next [`Client::flush`](crate::Client::flush).
///
/// It is also a future: a task that awaits it gets what [`Self::wait`] returns.
#[derive(Debug)]
pub struct Receipt {
    outcome: Arc<SharedOutcome>,
    /// Of the task that awaits it.
    place: WaitSlot,
    process: Process,
}

impl Receipt {
    /// `process`: of the client.
    pub(in crate::client) fn new(outcome: Arc<SharedOutcome>, process: Process) -> Self {
        Self { outcome, place: WaitSlot::default(), process }
    }

    /// What is decided.
    pub(in crate::client) fn outcome(&self) -> &Arc<SharedOutcome> {
        &self.outcome
    }

    /// Waits as a task, for what the server says.
    pub(super) fn poll_taken(
        &mut self,
        context: &Context<'_>,
    ) -> Poll<Result<Acceptance, SendError>> {
        if !self.process.is_this() {
            return Poll::Ready(Err(SendError::Forked));
        }
        let mut state = self.outcome.lock();
        if let Some(decided) = &state.decided {
            return Poll::Ready(decided.clone());
        }
        state.tasks.join(&mut self.place, context);
        Poll::Pending
    }

    /// Waits until the server has answered, or until the client gives up: after `send_timeout` times
    /// `connection_retries`, counted again from when the message leaves.
    ///
    /// # Errors
    /// Why the message was not published; [`SendError::TimedOut`] and [`SendError::Stopped`] when that is not known.
    pub fn wait(&self) -> Result<(), SendError> {
        if !self.process.is_this() {
            return Err(SendError::Forked);
        }
        // Without an end the wait ends with a decision.
        self.outcome.wait_until(None).unwrap_or(Err(SendError::Stopped))
    }

    /// Waits as [`Self::wait`] does, and returns the number of connections that the message's frame was for when the server accepted
    /// it; `None` when that is not known, because the frame was sent again. For a message without ack, 0 means that nobody received it. A kept or
    /// delayed message may still reach later subscribers, which are not counted.
    ///
    /// # Errors
    /// As for [`Self::wait`].
    ///
    /// ```
    /// # use mezzenger::{Client, Server};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().pub_port(0).recv_port(0).start()?;
    /// # let client = Client::builder().port(server.recv_addr().port()).connect()?;
    /// assert_eq!(client.publish("greet", "hello")?.receivers()?, Some(0));
    /// let _messages = client.subscription("greet")?;
    /// assert_eq!(client.publish("greet", "hello")?.receivers()?, Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn receivers(&self) -> Result<Option<u32>, SendError> {
        if !self.process.is_this() {
            return Err(SendError::Forked);
        }
        let taken = self.outcome.taken_until(None).unwrap_or(Err(SendError::Stopped))?;
        Ok(taken.receivers)
    }

    /// Waits so long at most; `None` when the answer is still missing.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<(), SendError>> {
        if !self.process.is_this() {
            return Some(Err(SendError::Forked));
        }
        self.outcome.wait_until(Instant::now().checked_add(timeout))
    }

    /// Whether the answer is there, so that [`Self::wait`] returns at once.
    pub fn is_done(&self) -> bool {
        self.outcome.lock().decided.is_some()
    }
}

impl Clone for Receipt {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.outcome), self.process)
    }
}

impl Future for Receipt {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_taken(context).map_ok(|_| ())
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.place.is_none() && self.process.is_this() {
            self.outcome.lock().tasks.leave(&mut self.place);
        }
    }
}
