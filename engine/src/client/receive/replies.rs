//! Requests that wait for their answers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::client::receive::message::Message;
use crate::client::waiting::oneshot::{Receiver, Sender, oneshot};

/// The requests of a client that have no answer yet.
#[derive(Debug, Default)]
pub(in crate::client) struct Replies {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<u64, Sender<Message>>,
    last_number: u64,
}

/// A request that waits for its answer; when it goes, nobody does any more.
pub(in crate::client) struct Request<'a> {
    replies: &'a Replies,
    pub(in crate::client) number: u64,
    pub(in crate::client) answer: Receiver<Message>,
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.replies.forget(self.number);
    }
}

impl Replies {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a request.
    pub(in crate::client) fn expect(&self) -> Request<'_> {
        let (sender, answer) = oneshot();
        let mut state = self.lock();
        state.last_number += 1;
        let number = state.last_number;
        state.waiting.insert(number, sender);
        Request { replies: self, number, answer }
    }

    #[cfg(all(test, not(loom)))]
    pub(in crate::client) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Nobody waits for this answer any more.
    fn forget(&self, number: u64) {
        self.lock().waiting.remove(&number);
    }

    /// No answer comes any more.
    pub(super) fn close(&self) {
        self.lock().waiting.clear();
    }

    /// Hands an answer to whoever waits for it. A further one, or one to nobody, is dropped.
    pub(super) fn answer(&self, message: Message) {
        let Some(number) = message.correlation() else { return };
        let waiting = self.lock().waiting.remove(&number);
        if let Some(sender) = waiting {
            sender.send(message);
        }
    }
}
