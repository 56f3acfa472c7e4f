//! The tasks that wait for one thing.

use std::collections::BTreeMap;
use std::task::{Context, Waker};

/// A task's place among those that wait, or none yet. Whoever waits no longer gives it back with [`Wakers::leave`].
#[derive(Debug, Default)]
pub(in crate::client) struct WaitSlot(Option<u64>);

impl WaitSlot {
    /// Whether the task does not wait.
    pub(in crate::client) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

/// The tasks that wait for one thing, in the order in which they came.
#[derive(Debug, Default)]
pub(in crate::client) struct Wakers {
    waiting: BTreeMap<u64, Waker>,
    last: u64,
}

impl Wakers {
    /// The task of this context waits.
    pub(in crate::client) fn join(&mut self, place: &mut WaitSlot, context: &Context<'_>) {
        let number = *place.0.get_or_insert_with(|| {
            self.last += 1;
            self.last
        });
        let waker = self.waiting.entry(number).or_insert_with(|| context.waker().clone());
        waker.clone_from(context.waker());
    }

    /// It waits no longer.
    pub(in crate::client) fn leave(&mut self, place: &mut WaitSlot) {
        if let Some(number) = place.0.take() {
            self.waiting.remove(&number);
        }
    }

    #[cfg(all(test, not(loom)))]
    pub(in crate::client) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes all, for the caller to wake under no lock.
    pub(in crate::client) fn take(&mut self) -> Woken {
        Woken(std::mem::take(&mut self.waiting).into_values().collect())
    }
}

/// Tasks that are to be woken.
#[derive(Debug, Default)]
#[must_use = "they wait until wake() is called"]
pub(in crate::client) struct Woken(Vec<Waker>);

impl Woken {
    /// Wakes them. To be called under no lock: a waker is somebody else's code.
    pub(in crate::client) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }

    pub(in crate::client) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}
