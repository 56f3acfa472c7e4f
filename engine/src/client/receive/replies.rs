//! Requests that wait for their answers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::client::message::Message;
use crate::client::waiting::oneshot::{Receiver, Sender, oneshot};

/// The requests of a client that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Replies {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<u64, Sender<Message>>,
    last_number: u64,
}

impl Replies {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins: its number, and where its answer comes.
    pub(super) fn expect(&self) -> (u64, Receiver<Message>) {
        let (sender, answer) = oneshot();
        let mut state = self.lock();
        state.last_number += 1;
        let number = state.last_number;
        state.waiting.insert(number, sender);
        (number, answer)
    }

    #[cfg(all(test, feature = "tokio"))]
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Nobody waits for this answer any more.
    pub(super) fn forget(&self, number: u64) {
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
