//! Received frames on their way to a `Subscription`.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::errands::Errands;
use super::error::ReceiveError;
use crate::limits::{CLIENT_SUBSCRIPTION_BYTES_MAX, CLIENT_SUBSCRIPTION_FRAMES_MAX};
use crate::net::waker::Waker;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::wire::id::MessageId;

/// Acknowledges the messages of one frame after all that receive it are through with them.
#[derive(Debug)]
pub(super) struct Joint {
    /// For each record, how many are not through with it.
    remaining: Box<[AtomicUsize]>,
}

impl Joint {
    pub(super) fn new(records: usize, receivers: usize) -> Self {
        Self { remaining: (0..records).map(|_| AtomicUsize::new(receivers)).collect() }
    }

    /// One receiver is through with a record; whether it is the last one.
    pub(super) fn is_last(&self, record: usize) -> bool {
        // AcqRel orders nothing but the count itself here; the receivers share no data through it.
        let remaining = self.remaining.get(record);
        remaining.is_none_or(|remaining| remaining.fetch_sub(1, Ordering::AcqRel) == 1)
    }
}

/// One receiver is through with a message that asks for acknowledgement.
pub(super) fn settle(joint: Option<&Joint>, record: usize, id: MessageId, errands: &Errands) {
    if joint.is_none_or(|joint| joint.is_last(record)) {
        errands.acknowledge(id);
    }
}

/// A valid native frame that waits to be read.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) frame: Bytes,
    pub(super) name_bytes: usize,
    /// Places of the records that are not to be delivered.
    pub(super) wrong: Arc<[usize]>,
    pub(super) joint: Option<Arc<Joint>>,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Delivery>,
    bytes: usize,
    closed: bool,
    /// The consumer waits.
    awaited: bool,
    /// The receiving thread waits for room.
    holding: bool,
}

/// The queue between the receiving thread and one consumer. Both bounds leave room for a first frame.
pub(super) struct Queue {
    waker: Waker,
    state: Mutex<State>,
    arrived: Condvar,
}

impl Queue {
    pub(super) fn new(waker: Waker) -> Self {
        Self { waker, state: Mutex::default(), arrived: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room. When there is none, the receiving thread is woken once there is.
    pub(super) fn has_room(&self) -> bool {
        let mut state = self.lock();
        let full = state.frames.len() >= CLIENT_SUBSCRIPTION_FRAMES_MAX
            || state.bytes >= CLIENT_SUBSCRIPTION_BYTES_MAX;
        state.holding = full && !state.closed;
        !state.holding
    }

    /// Adds a frame. Only the receiving thread does, after [`Self::has_room`].
    pub(super) fn push(&self, delivery: Delivery) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.bytes += delivery.frame.len();
        state.frames.push_back(delivery);
        if std::mem::take(&mut state.awaited) {
            self.arrived.notify_one();
        }
    }

    /// Takes a frame, waiting until `end` for one, or (`None`) for ever.
    pub(super) fn pop(&self, end: Option<Instant>) -> Result<Delivery, ReceiveError> {
        let mut state = self.lock();
        loop {
            if let Some(delivery) = state.frames.pop_front() {
                state.bytes -= delivery.frame.len();
                // Not at once, so that the two threads take turns less often.
                let roomy = state.frames.len() <= CLIENT_SUBSCRIPTION_FRAMES_MAX / 2
                    && state.bytes <= CLIENT_SUBSCRIPTION_BYTES_MAX / 2;
                if state.holding && roomy {
                    state.holding = false;
                    self.waker.wake();
                }
                return Ok(delivery);
            }
            if state.closed {
                return Err(ReceiveError::Closed);
            }
            state.awaited = true;
            state = match end {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(end) => {
                    let left = end.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        state.awaited = false;
                        return Err(ReceiveError::TimedOut);
                    }
                    let woken = self.arrived.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// No frame comes any more; those that wait can still be read.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.arrived.notify_one();
    }
}
