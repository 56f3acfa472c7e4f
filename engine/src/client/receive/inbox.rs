//! What was delivered to one subscription and waits for its reader, and the credit that it takes.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::replies::Replies;
use super::terms::Terms;
use crate::client::error::ReceiveError;
use crate::wire::id::MessageId;

/// A valid native frame that was delivered.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    pub(super) name_bytes: usize,
    /// Places of the records that are not to be read.
    pub(super) wrong: Vec<usize>,
    pub(super) again: bool,
    pub(super) attempt: u16,
    /// Which connection it came by; a group's are void on the next one.
    pub(super) connection: u64,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame>,
    closed: Option<ReceiveError>,
    /// The reader waits.
    awaited: bool,
    /// Messages of a group that were delivered and are not settled, with their attempts.
    held: HashMap<MessageId, u16>,
    /// Bytes that were delivered and are not dealt with.
    taken: u64,
    /// Bytes that were dealt with, and for which no credit was granted yet.
    returned: u64,
    /// Bytes for which none will be granted: they were taken beyond the credit of an earlier connection.
    debt: u64,
}

/// One subscription's messages, between the request thread and the reader.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) number: u32,
    pub(super) terms: Terms,
    /// The requests that its messages are answers to, if they are.
    pub(super) replies: Option<Arc<Replies>>,
    state: Mutex<State>,
    arrived: Condvar,
    /// The connection that credit is of, and whose frames a member of a group is to read. Stored under the lock.
    connection: AtomicU64,
}

/// No connection.
const CLOSED: u64 = u64::MAX;

impl Inbox {
    pub(super) fn new(number: u32, terms: Terms, replies: Option<Arc<Replies>>) -> Self {
        Self {
            number,
            terms,
            replies,
            state: Mutex::default(),
            arrived: Condvar::new(),
            connection: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection begins: returns the credit that is left on it. What a group had delivered on the last one went
    /// to other members.
    pub(super) fn connected(&self, connection: u64) -> u64 {
        let mut state = self.lock();
        self.connection.store(connection, Ordering::Release);
        if self.terms.is_group() {
            let unread: usize = state.frames.drain(..).map(|frame| frame.bytes.len()).sum();
            state.taken -= unread as u64;
            state.held.clear();
        }
        let credit = self.terms.credit;
        state.returned = 0;
        state.debt = state.taken.saturating_sub(credit);
        credit.saturating_sub(state.taken)
    }

    /// Adds a frame, and the messages in it that are to be settled.
    pub(super) fn push(&self, frame: Frame, to_settle: impl IntoIterator<Item = MessageId>) {
        let mut state = self.lock();
        if state.closed.is_some() {
            return;
        }
        let attempt = frame.attempt;
        state.held.extend(to_settle.into_iter().map(|id| (id, attempt)));
        state.taken += frame.bytes.len() as u64;
        state.frames.push_back(frame);
        if std::mem::take(&mut state.awaited) {
            self.arrived.notify_one();
        }
    }

    /// Takes a frame, waiting until `end` for one, or (`None`) for ever.
    pub(super) fn pop(&self, end: Option<Instant>) -> Result<Frame, ReceiveError> {
        let mut state = self.lock();
        loop {
            if let Some(frame) = state.frames.pop_front() {
                return Ok(frame);
            }
            if let Some(why) = &state.closed {
                return Err(why.clone());
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

    /// Bytes were dealt with: as many may come again. Half the credit is granted at a time: how much, and on which
    /// connection.
    pub(super) fn release(&self, bytes: usize) -> Option<(u64, u64)> {
        let mut state = self.lock();
        let bytes = bytes as u64;
        state.taken -= bytes;
        let paid = state.debt.min(bytes);
        state.debt -= paid;
        state.returned += bytes - paid;
        (state.returned >= (self.terms.credit / 2).max(1))
            .then(|| (std::mem::take(&mut state.returned), self.connection.load(Ordering::Acquire)))
    }

    /// Whether a frame is still to be read: a group's unread jobs go to others when the connection ends.
    pub(super) fn is_current(&self, frame: &Frame) -> bool {
        !self.terms.is_group() || self.connection.load(Ordering::Acquire) == frame.connection
    }

    /// Notes bytes that were delivered and are not kept here.
    pub(super) fn take(&self, bytes: usize) {
        self.lock().taken += bytes as u64;
    }

    /// Whether nothing comes any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed.is_some()
    }

    /// A message of a group is settled, or nobody will say anything of it any more.
    pub(super) fn forget(&self, id: MessageId, attempt: u16) {
        let mut state = self.lock();
        // A later attempt is another delivery's.
        if state.held.get(&id) == Some(&attempt) {
            state.held.remove(&id);
        }
    }

    /// The messages that are not settled.
    pub(super) fn held(&self) -> Vec<MessageId> {
        self.lock().held.keys().copied().collect()
    }

    /// Nothing comes any more. What was delivered can still be read, unless other members of a group get it.
    pub(super) fn close(&self, why: ReceiveError) {
        let mut state = self.lock();
        state.closed.get_or_insert(why);
        if self.terms.is_group() {
            self.connection.store(CLOSED, Ordering::Release);
            state.frames.clear();
            state.held.clear();
        }
        self.arrived.notify_all();
        if let Some(replies) = &self.replies {
            replies.close();
        }
    }
}
