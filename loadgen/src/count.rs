//! A count that one thread writes and others read now and then.

use std::sync::atomic::{AtomicU64, Ordering};

/// Alone in its cache lines, so that its readers do not slow other writers.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// What was stored last.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Stores a new value; for the one thread that writes it.
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    /// Adds to it, from any thread.
    #[cfg(feature = "peers")]
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::AcqRel);
    }
}
