//! The callbacks of a blocking client. Python's threads call them: each takes a subscription that has messages, and calls its callback
//! for some of them in their order; so callbacks of different subscriptions run at the same time, and one holds up no other.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use mezzenger::{Filter, Verdict};
use pyo3::prelude::*;

use crate::delivery::{BaseDelivery, Maker};
use crate::filter::Wanted;
use crate::subscription::{Shared, Subscription};
use crate::time::{Delay, Timeout};
use crate::wait::{SLICE, end_of};

/// How a subscription is about its callback.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It waits for messages.
    Idle,
    /// It is among those that a thread is to take.
    Queued,
    /// A thread has it.
    Running,
    /// A thread has it, and more came meanwhile.
    RunningAgain,
}

/// A subscription with a callback.
struct Called {
    queue: Weak<Queue>,
    filter: Filter,
    subscription: Shared,
    maker: Maker,
    /// A weak reference: its client has it, and goes when nobody has that, whatever the callback knows.
    callback: Py<PyAny>,
    /// After how long a group gets a message again that the callback failed for; `None` outside of groups.
    retry_delay: Option<Duration>,
    state: Mutex<State>,
    /// A call is over.
    over: Condvar,
}

struct State {
    phase: Phase,
    has_ended: bool,
    /// Who calls it just now.
    thread: Option<ThreadId>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    ready: VecDeque<Arc<Called>>,
    all: Vec<Arc<Called>>,
    is_closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a subscription that has messages; `None` at the end.
    fn next(&self) -> Option<Arc<Called>> {
        let mut waiting = self.lock();
        loop {
            if waiting.is_closed {
                return None;
            }
            if let Some(called) = waiting.ready.pop_front() {
                return Some(called);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Wake for Called {
    fn wake(self: Arc<Self>) {
        let mut state = self.lock();
        state.phase = match state.phase {
            Phase::Idle => Phase::Queued,
            Phase::Running => Phase::RunningAgain,
            other => return state.phase = other,
        };
        if state.phase == Phase::Queued {
            drop(state);
            self.enqueue();
        }
    }
}

impl Called {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(self: &Arc<Self>) {
        if let Some(queue) = self.queue.upgrade() {
            queue.lock().ready.push_back(Arc::clone(self));
            queue.changed.notify_one();
        }
    }

    /// A thread has it from now on.
    fn begin(&self) {
        let mut state = self.lock();
        state.phase = Phase::Running;
        state.thread = Some(thread::current().id());
    }

    /// The next message, or none for now.
    fn take<'py>(self: &Arc<Self>, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.lock().has_ended {
            return Ok(None);
        }
        let waker = Waker::from(Arc::clone(self));
        let polled = self.subscription.poll(&mut Context::from_waker(&waker));
        let Poll::Ready(received) = polled else { return Ok(None) };
        match received {
            Ok(delivered) => self.maker.make(py, delivered).map(Some),
            Err(_) => {
                self.end();
                Ok(None)
            }
        }
    }

    /// The thread is done with it for now. `more`: there may be messages that it has not seen.
    fn leave(self: &Arc<Self>, more: bool) {
        let mut state = self.lock();
        state.thread = None;
        let goes_on = (more || state.phase == Phase::RunningAgain) && !state.has_ended;
        state.phase = if goes_on { Phase::Queued } else { Phase::Idle };
        drop(state);
        self.over.notify_all();
        if goes_on {
            self.enqueue();
        }
    }

    /// It is called no more.
    fn end(&self) {
        self.lock().has_ended = true;
        self.subscription.close();
        if let Some(queue) = self.queue.upgrade() {
            let this = std::ptr::from_ref(self);
            queue.lock().all.retain(|called| !std::ptr::eq(Arc::as_ptr(called), this));
        }
    }

    /// Waits until no thread calls it, but for this one, until then at most; whether none does.
    fn wait(&self, end: Instant) -> bool {
        let this = thread::current().id();
        let mut state = self.lock();
        while state.thread.is_some_and(|thread| thread != this) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.over.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// A subscription that a thread calls the callback of. Python does the calling: a thread that the interpreter ends when the program
/// does, in the middle of a callback, has nothing of the library's on its stack.
#[pyclass(frozen, module = "mezzenger._core")]
pub(crate) struct Call(Arc<Called>);

#[pymethods]
impl Call {
    /// The callback; None when its client is gone.
    fn callback(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.0.callback.call0(py)
    }

    /// The next message, or none for now.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.take(py)
    }

    /// The callback failed for a message, which the server delivers again.
    fn failed(&self, message: &Bound<'_, BaseDelivery>) {
        if let Some(delay) = self.0.retry_delay {
            message.get().settle(&Verdict::Nak(delay));
        }
    }

    /// The thread is done with it for now. `more`: there may be messages that it has not seen.
    fn leave(&self, more: bool) {
        self.0.leave(more);
    }
}

/// The callbacks of a client, and what Python's threads wait for that call them.
#[pyclass(frozen, module = "mezzenger._core")]
pub(crate) struct Calls(Arc<Queue>);

#[pymethods]
impl Calls {
    #[new]
    fn new() -> Self {
        Self(Arc::default())
    }

    /// Has what `callback`, a weak reference, leads to called for what comes to a subscription. Returns how many subscriptions there are.
    fn add(
        &self,
        py: Python<'_>,
        subscription: &Subscription,
        callback: Py<PyAny>,
        retry_delay: Option<Delay>,
    ) -> usize {
        let (shared, filter, maker) = subscription.parts(py);
        let called = Arc::new(Called {
            queue: Arc::downgrade(&self.0),
            filter,
            subscription: shared,
            maker,
            callback,
            retry_delay: retry_delay.map(|Delay(delay)| delay),
            state: Mutex::new(State { phase: Phase::Queued, has_ended: false, thread: None }),
            over: Condvar::new(),
        });
        let mut waiting = self.0.lock();
        waiting.all.push(Arc::clone(&called));
        let all = waiting.all.len();
        drop(waiting);
        // The first look has it woken from then on.
        called.enqueue();
        all
    }

    /// Waits for a subscription that has messages, which is this thread's until it leaves it; `None` after close().
    fn next(&self, py: Python<'_>) -> Option<Call> {
        let called = py.detach(|| self.0.next())?;
        called.begin();
        Some(Call(called))
    }

    /// Ends all callbacks for exactly this filter, and waits until none of them runs, but for one that this is called in: how many there
    /// were, and whether all have ended within `timeout`.
    fn remove(&self, py: Python<'_>, filter: Wanted, timeout: Timeout) -> PyResult<(usize, bool)> {
        let mut removed = Vec::new();
        self.0.lock().all.retain(|called| {
            let keeps = called.filter != filter.0;
            if !keeps {
                removed.push(Arc::clone(called));
            }
            keeps
        });
        let end = end_of(Some(timeout.0));
        removed.iter().for_each(|called| called.lock().has_ended = true);
        let mut all_ended = true;
        for called in &removed {
            let slice = || {
                let next = Instant::now() + SLICE;
                end.map_or(next, |end| end.min(next))
            };
            while !py.detach(|| called.wait(slice())) {
                py.check_signals()?;
                if end.is_some_and(|end| Instant::now() >= end) {
                    all_ended = false;
                    break;
                }
            }
            called.subscription.close();
        }
        Ok((removed.len(), all_ended))
    }

    /// Ends all callbacks, and the threads that call them as soon as their calls are over.
    fn close(&self) {
        let mut waiting = self.0.lock();
        waiting.is_closed = true;
        waiting.ready.clear();
        let all = std::mem::take(&mut waiting.all);
        drop(waiting);
        self.0.changed.notify_all();
        for called in all {
            called.lock().has_ended = true;
            called.subscription.close();
        }
    }
}
