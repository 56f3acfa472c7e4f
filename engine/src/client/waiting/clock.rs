//! Times that tasks wait for. The client's own task looks at them, so that waiting needs no runtime of the caller's.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{self, Context, Poll};
use std::time::Instant;

use crate::net::waker::Waker;

/// A time, and a number for those who wait for the same.
type Due = (Instant, u64);

/// Who waits until when. Its owner calls [`Self::wake`] in time.
pub(in crate::client) struct Clock {
    /// Wakes the owner.
    owner: Waker,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<Due, task::Waker>,
    last: u64,
    /// When the owner looks again at the latest; `None` until it looked.
    looks_at: Option<Instant>,
}

/// What waits for a time, which is forgotten when it goes.
struct Waiting<'a> {
    clock: &'a Clock,
    due: Option<Due>,
}

impl Clock {
    pub(in crate::client) fn new(owner: Waker) -> Self {
        Self { owner, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a future until `end` at the latest: `None` when it is not done then. Forever without an end, and when the owner
    /// is gone, with whom whatever clients wait for ends.
    pub(in crate::client) async fn until<T>(
        &self,
        end: Option<Instant>,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let mut future = pin!(future);
        let mut waiting = Waiting { clock: self, due: None };
        poll_fn(|context| match (future.as_mut().poll(context), end) {
            (Poll::Ready(value), _) => Poll::Ready(Some(value)),
            (Poll::Pending, Some(end)) if end <= Instant::now() => Poll::Ready(None),
            (Poll::Pending, Some(end)) => {
                waiting.wait(end, context);
                Poll::Pending
            }
            (Poll::Pending, None) => Poll::Pending,
        })
        .await
    }

    /// The earliest time that somebody waits for. The owner looks again by `looks_at` or by then.
    pub(in crate::client) fn next(&self, looks_at: Instant) -> Instant {
        let mut state = self.lock();
        let first = state.waiting.first_key_value().map(|(&(at, _), _)| at);
        let at = first.map_or(looks_at, |first| first.min(looks_at));
        state.looks_at = Some(at);
        at
    }

    #[cfg(all(test, feature = "tokio"))]
    pub(in crate::client) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Wakes those whose time has come.
    pub(in crate::client) fn wake(&self, now: Instant) {
        let mut state = self.lock();
        let mut woken = Vec::new();
        while let Some(first) = state.waiting.first_entry().filter(|first| first.key().0 <= now) {
            woken.push(first.remove());
        }
        drop(state);
        woken.into_iter().for_each(task::Waker::wake);
    }
}

impl Waiting<'_> {
    fn wait(&mut self, at: Instant, context: &Context<'_>) {
        let mut state = self.clock.lock();
        let due = *self.due.get_or_insert_with(|| {
            state.last += 1;
            (at, state.last)
        });
        state.waiting.insert(due, context.waker().clone());
        if state.looks_at.is_none_or(|looks_at| at < looks_at) {
            // It need not be told again of what is later.
            state.looks_at = Some(at);
            drop(state);
            self.clock.owner.wake();
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(due) = self.due {
            self.clock.lock().waiting.remove(&due);
        }
    }
}
