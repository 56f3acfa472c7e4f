//! How tasks wait for the outbox.

use std::task::{Context, Poll};
use std::time::Instant;

use super::{NewMessage, Outbox, Pushed, Waiting};
use crate::client::error::SendError;
use crate::client::waiting::WaitSlot;
use crate::limits::CLIENT_BLOCKED_TOLD;

/// A task that waits for room. When it goes, it waits no longer.
pub(in crate::client) struct CapacityWait<'a> {
    outbox: &'a Outbox,
    place: WaitSlot,
    waiting: Waiting<'a>,
}

impl CapacityWait<'_> {
    /// When it is to be told that it waits, and when it has waited for too long.
    pub(in crate::client) fn ends(&self) -> [Instant; 2] {
        let (since, patience) = (self.waiting.since, self.outbox.bounds.patience);
        // A clock that ends before has ended a longer wait long since.
        let end = |time| since.checked_add(time).unwrap_or(since);
        [end(CLIENT_BLOCKED_TOLD.min(patience)), end(patience)]
    }

    /// Takes a message as soon as there is room.
    pub(in crate::client::publish) fn poll_push(
        &mut self,
        name: &str,
        parcel: &mut NewMessage<'_>,
        unattended: bool,
        context: &Context<'_>,
    ) -> Poll<Result<Pushed, SendError>> {
        let mut state = self.outbox.lock();
        match self.outbox.try_push(&mut state, name, parcel, unattended)? {
            Some(pushed) => Poll::Ready(Ok(pushed)),
            None => {
                state.entering.join(&mut self.place, context);
                Poll::Pending
            }
        }
    }

    /// The error when it has waited for too long.
    pub(in crate::client) fn full(&self) -> SendError {
        SendError::Full { waited: self.waiting.time() }
    }
}

impl Drop for CapacityWait<'_> {
    fn drop(&mut self) {
        self.outbox.lock().entering.leave(&mut self.place);
    }
}

/// A task that flushes. When it goes, it waits no longer.
pub(in crate::client) struct Flushing<'a> {
    outbox: &'a Outbox,
    place: WaitSlot,
    /// The last batch that it waits for.
    last: u64,
}

impl Flushing<'_> {
    /// As [`Outbox::flush`].
    pub(in crate::client) fn poll(&mut self, context: &Context<'_>) -> Poll<Result<(), SendError>> {
        let mut state = self.outbox.lock();
        if state.unsettled.front().is_some_and(|&number| number <= self.last) {
            state.settling.join(&mut self.place, context);
            return Poll::Pending;
        }
        Poll::Ready(state.first_error.take().map_or(Ok(()), Err))
    }
}

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.outbox.lock().settling.leave(&mut self.place);
    }
}

impl Outbox {
    /// Takes a message if there is room now.
    pub(in crate::client::publish) fn push_now(
        &self,
        name: &str,
        parcel: &mut NewMessage<'_>,
        unattended: bool,
    ) -> Result<Option<Pushed>, SendError> {
        self.try_push(&mut self.lock(), name, parcel, unattended)
    }

    #[cfg(all(test, feature = "tokio"))]
    pub(in crate::client) fn waiting(&self) -> usize {
        let state = self.lock();
        state.entering.waiting() + state.settling.waiting()
    }

    /// A task begins to wait for room.
    pub(in crate::client) fn room(&self) -> CapacityWait<'_> {
        CapacityWait {
            outbox: self,
            place: WaitSlot::default(),
            waiting: Waiting::begin(&self.reporter),
        }
    }

    /// A task has waited for room long enough to tell.
    pub(in crate::client) fn tell_blocked(&self) {
        let state = self.lock();
        if state.full {
            self.blocks();
        }
    }

    /// A task begins to flush what was published before.
    pub(in crate::client) fn flushing(&self) -> Flushing<'_> {
        let last = self.lock().last_number;
        Flushing { outbox: self, place: WaitSlot::default(), last }
    }
}
