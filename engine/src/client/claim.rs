//! Which of two comes first.

use crate::sync::atomic::{AtomicBool, Ordering};

/// What the first of those who ask for it gets.
#[derive(Debug, Default)]
pub(super) struct Claim(AtomicBool);

impl Claim {
    /// Takes it; `false` when it was taken before.
    pub(super) fn take(&self) -> bool {
        // What goes with it travels by other ways.
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// Whether it was taken.
    pub(super) fn is_taken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
