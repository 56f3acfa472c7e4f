//! Messages that wait for the reader of one subscription, and the credit that they take.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::replies::Replies;
use super::settings::SubscriptionSettings;
use crate::client::error::ReceiveError;
use crate::client::run::here;
use crate::wire::id::MessageId;

/// A valid native frame that was delivered.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    pub(super) name_bytes: usize,
    /// Places of the records that are not to be read.
    pub(super) wrong: Vec<usize>,
    pub(super) again: bool,
    /// It was retained.
    pub(super) retained: bool,
    pub(super) attempt: u16,
    /// Which connection it came by; a group's are void on the next one.
    pub(super) connection: u64,
    /// From when on copies of its messages may follow, because they were not acknowledged.
    pub(super) copies_from: Instant,
}

/// What has a callback called.
pub(super) trait Handle: Send + Sync {
    /// Calls it for some of what waits in its inbox; whether more may.
    fn call(&self, inbox: &Arc<Inbox>) -> bool;

    /// Nothing is called any more, as soon as a call that runs is over.
    fn end(&self);

    /// Waits until no call runs, until then at most; whether none does.
    fn wait_for_end(&self, end: Option<Instant>) -> bool;
}

/// Who reads what was delivered.
pub(super) enum Reader {
    /// Whoever takes it.
    Subscription,
    /// A callback.
    Handler(Box<dyn Handle>),
    /// The requests that its messages are answers to.
    Replies(Arc<Replies>),
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame>,
    closed: Option<ReceiveError>,
    /// The reader waits, or the task that reads does.
    awaited: bool,
    task: Option<Waker>,
    /// The callback is called, or about to be.
    is_called: bool,
    /// Messages of a group that were delivered and are not settled, with their attempts.
    held: HashMap<MessageId, u16>,
    /// Bytes that were delivered and are not dealt with.
    taken: u64,
    /// Bytes that were dealt with, and for which no credit was granted yet; and when some was granted last.
    returned: u64,
    granted_at: Option<Instant>,
    /// Bytes for which none will be granted: they were taken beyond the credit of an earlier connection.
    debt: u64,
}

impl State {
    /// The next frame, or why none comes any more; `None` when there is none yet.
    fn pop(&mut self) -> Option<Result<Frame, ReceiveError>> {
        let frame = self.frames.pop_front().map(Ok);
        frame.or_else(|| self.closed.clone().map(Err))
    }
}

/// One subscription's messages, between the I/O thread and the reader.
pub(in crate::client) struct Inbox {
    pub(super) number: u32,
    pub(super) settings: SubscriptionSettings,
    pub(super) reader: Reader,
    state: Mutex<State>,
    arrived: Condvar,
    /// The connection that credit is of, and whose frames a member of a group is to read. Stored under the lock.
    connection: AtomicU64,
}

/// How often a slow reader grants what it has dealt with: servers wait for a second.
pub(super) const GRANT_INTERVAL: Duration = Duration::from_millis(100);

/// No connection.
const CLOSED: u64 = u64::MAX;

/// Wakes the task that reads, if it waits, under no lock.
fn wake(mut state: MutexGuard<'_, State>) {
    let task = state.task.take();
    drop(state);
    if let Some(task) = task {
        task.wake();
    }
}

impl Inbox {
    pub(super) fn new(number: u32, settings: SubscriptionSettings, reader: Reader) -> Self {
        Self {
            number,
            settings,
            reader,
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
        if self.settings.is_group() {
            let unread: usize = state.frames.drain(..).map(|frame| frame.bytes.len()).sum();
            state.taken -= unread as u64;
            state.held.clear();
        }
        let credit = self.settings.credit;
        state.returned = 0;
        state.debt = state.taken.saturating_sub(credit);
        credit.saturating_sub(state.taken)
    }

    /// Adds a frame, and the messages in it that are to be settled. Whether its callback is to be called.
    pub(super) fn push(
        &self,
        frame: Frame,
        to_settle: impl IntoIterator<Item = MessageId>,
    ) -> bool {
        let mut state = self.lock();
        if state.closed.is_some() {
            return false;
        }
        let attempt = frame.attempt;
        state.held.extend(to_settle.into_iter().map(|id| (id, attempt)));
        state.taken += frame.bytes.len() as u64;
        state.frames.push_back(frame);
        if std::mem::take(&mut state.awaited) {
            self.arrived.notify_one();
        }
        let is_new = !std::mem::replace(&mut state.is_called, true);
        wake(state);
        is_new && matches!(self.reader, Reader::Handler(_))
    }

    /// Calls the callback for some of what waits; whether more does.
    pub(in crate::client) fn call(self: &Arc<Self>) -> bool {
        match &self.reader {
            Reader::Handler(handler) => handler.call(self),
            Reader::Subscription | Reader::Replies(_) => false,
        }
    }

    /// Takes the next frame for the callback. `None`: there is none, and the next one that comes has it called again.
    pub(super) fn next_called(&self) -> Option<Frame> {
        let mut state = self.lock();
        let frame = state.frames.pop_front();
        state.is_called = frame.is_some();
        frame
    }

    /// Its callback is called no more, as soon as a call that runs is over.
    pub(super) fn end_calls(&self) {
        if let Reader::Handler(handler) = &self.reader {
            handler.end();
        }
    }

    /// Waits until its callback, which has been ended, does not run, until then at most, or runs on this very thread.
    pub(super) fn wait_for_end(&self, end: Option<Instant>) -> bool {
        match &self.reader {
            Reader::Handler(handler) => {
                here::is_in_call_of(self.address()) || handler.wait_for_end(end)
            }
            Reader::Subscription | Reader::Replies(_) => true,
        }
    }

    /// Where it lies, by which it is known.
    pub(in crate::client) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Takes a frame, or has the task of this context woken when there is one.
    pub(super) fn poll_pop(&self, context: &Context<'_>) -> Poll<Result<Frame, ReceiveError>> {
        let mut state = self.lock();
        if let Some(now) = state.pop() {
            return Poll::Ready(now);
        }
        state.task = Some(context.waker().clone());
        Poll::Pending
    }

    /// Takes a frame if one is here, or says that none comes any more.
    pub(super) fn try_pop(&self) -> Option<Result<Frame, ReceiveError>> {
        self.lock().pop()
    }

    /// Takes a frame, waiting until `end` for one, or (`None`) forever.
    pub(super) fn pop(&self, end: Option<Instant>) -> Result<Frame, ReceiveError> {
        if let Some(now) = self.try_pop() {
            return now;
        }
        if !here::may_wait() {
            return Err(ReceiveError::InCallback);
        }
        let mut state = self.lock();
        loop {
            if let Some(now) = state.pop() {
                return now;
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

    /// Bytes were dealt with: as many may be delivered. Half the credit is granted at a time, or less when that takes long
    /// and the server may have none left: how much, and on which connection.
    pub(super) fn release(&self, bytes: usize) -> Option<(u64, u64)> {
        let mut state = self.lock();
        let bytes = bytes as u64;
        state.taken -= bytes;
        let paid = state.debt.min(bytes);
        state.debt -= paid;
        state.returned += bytes - paid;
        let half = (self.settings.credit / 2).max(1);
        if state.returned < half {
            // While the server has some left, it waits for nothing.
            if state.returned == 0 || state.taken + state.returned < self.settings.credit {
                return None;
            }
            let now = Instant::now();
            if state.granted_at.is_some_and(|at| now.duration_since(at) < GRANT_INTERVAL) {
                return None;
            }
            state.granted_at = Some(now);
        }
        Some((std::mem::take(&mut state.returned), self.connection.load(Ordering::Acquire)))
    }

    /// Whether a frame is still to be read: a group's unread jobs go to others when the connection ends.
    pub(super) fn is_current(&self, frame: &Frame) -> bool {
        !self.settings.is_group() || self.connection.load(Ordering::Acquire) == frame.connection
    }

    /// Notes bytes that were delivered and are not kept here.
    pub(super) fn take(&self, bytes: usize) {
        self.lock().taken += bytes as u64;
    }

    /// Whether nothing comes any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed.is_some()
    }

    /// A message of a group is settled, or nobody will say anything of it any more. False if this delivery is over already:
    /// its connection is gone, or a later attempt came. That one is another delivery's.
    pub(super) fn forget(&self, id: MessageId, attempt: u16, connection: u64) -> bool {
        let mut state = self.lock();
        let is_held = self.holds(&state, id, attempt, connection);
        if is_held {
            state.held.remove(&id);
        }
        is_held
    }

    /// Whether this delivery of a group's message is not settled, nor over.
    pub(super) fn is_held(&self, id: MessageId, attempt: u16, connection: u64) -> bool {
        self.holds(&self.lock(), id, attempt, connection)
    }

    fn holds(&self, state: &State, id: MessageId, attempt: u16, connection: u64) -> bool {
        self.connection.load(Ordering::Acquire) == connection
            && state.held.get(&id) == Some(&attempt)
    }

    /// The messages that are not settled.
    pub(super) fn held(&self) -> Vec<MessageId> {
        self.lock().held.keys().copied().collect()
    }

    /// Nothing comes any more. What was delivered can still be read, unless other members of a group get it.
    pub(super) fn close(&self, why: ReceiveError) {
        let mut state = self.lock();
        state.closed.get_or_insert(why);
        if self.settings.is_group() {
            self.connection.store(CLOSED, Ordering::Release);
            state.frames.clear();
            state.held.clear();
        }
        if matches!(self.reader, Reader::Handler(_)) {
            state.frames.clear();
        }
        self.arrived.notify_all();
        wake(state);
        match &self.reader {
            Reader::Replies(replies) => replies.close(),
            Reader::Handler(handler) => handler.end(),
            Reader::Subscription => {}
        }
    }
}
