//! The small requests beside the messages: acknowledgements and pings.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::SendError;
use super::receipt::Fate;
use super::report::{Reporter, add};
use crate::limits::{CLIENT_ACKS_PER_FRAME, CLIENT_ACKS_WAITING_MAX};
use crate::transport::Waker;
use crate::wire::id::MessageId;

#[derive(Debug, Default)]
struct State {
    acks: VecDeque<MessageId>,
    acks_dropped: usize,
    pings: Vec<Arc<Fate>>,
    /// No acknowledgement is on its way, so the next one must wake the request thread.
    idle: bool,
    closed: bool,
}

/// What waits to be sent. Any thread adds; the request thread takes.
pub(super) struct Errands {
    waker: Waker,
    reporter: Arc<Reporter>,
    state: Mutex<State>,
}

/// What the request thread took.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Messages to acknowledge in one frame.
    pub(super) acks: Vec<MessageId>,
    /// Acknowledgements dropped since the last time.
    pub(super) acks_dropped: usize,
    pub(super) pings: Vec<Arc<Fate>>,
}

impl Errands {
    pub(super) fn new(waker: Waker, reporter: Arc<Reporter>) -> Self {
        Self { waker, reporter, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acknowledges a message soon. Never waits: at the bound the acknowledgement is dropped, and the
    /// server delivers again.
    pub(super) fn acknowledge(&self, id: MessageId) {
        let mut state = self.lock();
        if state.closed {
            // Counted only: nobody is left to tell, and a reader may have many.
            add(&self.reporter.acks_dropped, 1);
            return;
        }
        if state.acks.len() >= CLIENT_ACKS_WAITING_MAX {
            state.acks_dropped += 1;
            return;
        }
        state.acks.push_back(id);
        if std::mem::take(&mut state.idle) {
            self.waker.wake();
        }
    }

    /// Pings the server soon.
    pub(super) fn ping(&self) -> Arc<Fate> {
        let fate = Arc::<Fate>::default();
        let mut state = self.lock();
        if state.closed {
            fate.decide(Err(SendError::Stopped));
        } else {
            state.pings.push(Arc::clone(&fate));
            self.waker.wake();
        }
        fate
    }

    /// Takes pings, and acknowledgements unless some are on their way.
    pub(super) fn take(&self, acks_in_flight: bool) -> Taken {
        let mut state = self.lock();
        let mut taken = Taken {
            acks_dropped: std::mem::take(&mut state.acks_dropped),
            pings: std::mem::take(&mut state.pings),
            acks: Vec::new(),
        };
        if !acks_in_flight {
            let count = state.acks.len().min(CLIENT_ACKS_PER_FRAME);
            taken.acks = state.acks.drain(..count).collect();
            state.idle = taken.acks.is_empty();
        }
        taken
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.acks.is_empty() && state.pings.is_empty()
    }

    /// The end: what waits is dropped, and nothing more comes in. Returns how many acknowledgements were
    /// dropped and not told.
    pub(super) fn close(&self) -> usize {
        let mut state = self.lock();
        state.closed = true;
        let dropped =
            std::mem::take(&mut state.acks).len() + std::mem::take(&mut state.acks_dropped);
        for ping in state.pings.drain(..) {
            ping.decide(Err(SendError::Stopped));
        }
        dropped
    }
}
