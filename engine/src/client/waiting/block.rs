//! How a thread waits for what is written for tasks.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

/// Ends the pause of a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// Waits for a future on this thread.
pub(in crate::client) fn block<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        // Without an end it does not end without.
        if let Some(value) = block_until(None, future.as_mut()) {
            return value;
        }
    }
}

/// [`block`] until `end` at the latest: `None` when it is not done then.
pub(in crate::client) fn block_until<T>(
    end: Option<Instant>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    let waker = WAKER.try_with(Waker::clone).unwrap_or_else(|_| {
        // The thread ends, and what it drops waits.
        Waker::from(Arc::new(Unpark(thread::current())))
    });
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Some(value);
        }
        let Some(end) = end else {
            thread::park();
            continue;
        };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}
