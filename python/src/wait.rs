//! How a blocking call waits: without the interpreter, and in slices, so that Ctrl-C ends it.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// How often a wait looks for signals.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// What ends this thread's pause.
pub(crate) fn waker() -> Waker {
    // A thread that ends has none any more, and waits slice by slice.
    WAKER.try_with(Waker::clone).unwrap_or_else(|_| Waker::noop().clone())
}

/// Waits for a future. A signal handler that raises ends it, and what was begun is dropped.
pub(crate) fn wait<T>(py: Python<'_>, future: impl Future<Output = T>) -> PyResult<T> {
    let mut future = pin!(future);
    loop {
        // Without an end it does not end without.
        if let Some(value) = wait_until(py, None, future.as_mut())? {
            return Ok(value);
        }
    }
}

/// [`wait`] until `end` at the latest: `None` when it is not done then.
pub(crate) fn wait_until<T>(
    py: Python<'_>,
    end: Option<Instant>,
    future: impl Future<Output = T>,
) -> PyResult<Option<T>> {
    let (mut future, waker) = (pin!(future), waker());
    let mut context = Context::from_waker(&waker);
    loop {
        // Attached: what it borrows of Python's objects is read here alone.
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(Some(value));
        }
        let left = end.map_or(SLICE, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Ok(None);
        }
        py.detach(|| thread::park_timeout(left.min(SLICE)));
        py.check_signals()?;
    }
}

/// When a wait with this timeout ends.
pub(crate) fn end_of(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}
