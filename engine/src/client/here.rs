//! Whether this is a client's request thread, which must not wait for a server: it reads what that answers.

use std::cell::Cell;

thread_local! {
    static IS_REQUEST_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Says that it is.
pub(super) fn enter() {
    IS_REQUEST_THREAD.set(true);
}

/// Whether it is.
pub(super) fn is_request_thread() -> bool {
    IS_REQUEST_THREAD.get()
}
