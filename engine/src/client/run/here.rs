//! Which work this thread does for a client now, and so what it must not wait for.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// Another thread, which can take over.
pub(super) trait Backup: Send + Sync {
    /// Has it do the client's turns from now on, if nobody does them; whether it does.
    fn take_over(self: Arc<Self>) -> bool;
}

/// A callback for messages runs.
struct Call {
    /// Of which client and which of its subscriptions: addresses.
    client: usize,
    inbox: usize,
    /// Who does the client's turns meanwhile.
    backup: Arc<dyn Backup>,
}

thread_local! {
    /// The address of the outbox of the client whose turn this thread does; 0 for none.
    static TURN: Cell<usize> = const { Cell::new(0) };
    static CALL: RefCell<Option<Call>> = const { RefCell::new(None) };
}

/// A thread does a client's turn.
pub(in crate::client) struct TurnGuard {
    before: usize,
}

/// Begins a turn of the client whose outbox is at this address.
pub(in crate::client) fn begin_turn(outbox: usize) -> TurnGuard {
    TurnGuard { before: TURN.replace(outbox) }
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        TURN.set(self.before);
    }
}

/// Whether this thread does a turn of the client whose outbox is at this address.
pub(in crate::client) fn is_in_turn_of(outbox: usize) -> bool {
    TURN.get() == outbox
}

/// A thread calls callbacks.
pub(super) struct InCall {
    before: Option<Call>,
}

/// Begins to call the callback of the subscription at this address, of the client at that one.
pub(super) fn begin_call(client: usize, inbox: usize, backup: Arc<dyn Backup>) -> InCall {
    InCall { before: CALL.replace(Some(Call { client, inbox, backup })) }
}

impl Drop for InCall {
    fn drop(&mut self) {
        CALL.replace(self.before.take());
    }
}

fn is_in_call(is_it: impl FnOnce(&Call) -> bool) -> bool {
    CALL.with_borrow(|call| call.as_ref().is_some_and(is_it))
}

/// Whether this thread runs a callback of the client at this address.
pub(super) fn is_in_call_of_client(client: usize) -> bool {
    is_in_call(|call| call.client == client)
}

/// Whether this thread runs the callback of the subscription at this address.
pub(in crate::client) fn is_in_call_of(inbox: usize) -> bool {
    is_in_call(|call| call.inbox == inbox)
}

/// Whether this thread may wait for a server: not if nobody else reads what that answers. If it is about to read it after
/// a callback, another one does so from now on.
pub(in crate::client) fn may_wait() -> bool {
    TURN.get() == 0 && hand_over()
}

/// Before a wait: what this thread would do after a callback is another's to do now. Whether that does it.
pub(in crate::client) fn hand_over() -> bool {
    let backup = CALL.with_borrow(|call| call.as_ref().map(|call| Arc::clone(&call.backup)));
    backup.is_none_or(Backup::take_over)
}
