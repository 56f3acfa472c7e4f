//! One value, for whoever waits for it: a thread or a task.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::block_until;

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    /// Whether no value comes any more.
    closed: bool,
    waiting: Option<Waker>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Each field is replaced as a whole, so a panicked holder leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, value: Option<T>) {
        let mut state = self.lock();
        state.closed = true;
        state.value = value;
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

/// Where the value comes from. When it goes without one, none comes.
#[derive(Debug)]
pub(in crate::client) struct Sender<T>(Option<Arc<Shared<T>>>);

/// Where the value arrives, as a future: `None` when none comes any more.
#[derive(Debug)]
pub(in crate::client) struct Receiver<T>(Arc<Shared<T>>);

/// A way for one value.
pub(in crate::client) fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let state = Mutex::new(State { value: None, closed: false, waiting: None });
    let shared = Arc::new(Shared { state });
    (Sender(Some(Arc::clone(&shared))), Receiver(shared))
}

impl<T> Sender<T> {
    /// Sends it. Who waited for it may have gone.
    pub(in crate::client) fn send(mut self, value: T) {
        if let Some(shared) = self.0.take() {
            shared.close(Some(value));
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.close(None);
        }
    }
}

impl<T> Receiver<T> {
    /// Waits for the value until `end` at the latest: `None` when it did not come in time. Forever without an end.
    pub(in crate::client) fn recv_until(&mut self, end: Option<Instant>) -> Option<Option<T>> {
        block_until(end, self)
    }
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.lock();
        if state.closed {
            return Poll::Ready(state.value.take());
        }
        state.waiting = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::waiting::block;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_value_arrives_before_and_after_it_is_waited_for() {
        let (sender, receiver) = oneshot();
        sender.send(7);
        assert_eq!(block(receiver), Some(7));
        let (sender, receiver) = oneshot();
        let waiting = thread::spawn(move || block(receiver));
        sender.send(8);
        assert_eq!(waiting.join().unwrap(), Some(8));
    }

    #[test]
    fn the_end_of_the_sender_and_of_the_time_end_the_wait() {
        let (sender, mut receiver) = oneshot::<u8>();
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(receiver.recv_until(Some(soon)), None);
        let waiting = thread::spawn(move || receiver.recv_until(None));
        drop(sender);
        assert_eq!(waiting.join().unwrap(), Some(None));
    }
}
