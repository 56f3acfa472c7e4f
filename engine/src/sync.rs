//! What threads share without a lock: the standard library's, or, in the models of `loom_tests`, loom's,
//! which tries every order in which threads may run and every value that they may read.
//!
//! Counters that order nothing take the standard library's as they are.

#[cfg(not(all(loom, test)))]
pub(crate) use std::sync::{OnceLock, atomic};

#[cfg(all(loom, test))]
pub(crate) use loom::sync::atomic;

#[cfg(all(loom, test))]
pub(crate) use modelled::OnceLock;

#[cfg(all(loom, test))]
mod modelled {
    use loom::sync::atomic::{AtomicBool, Ordering};

    /// The standard library's, with the order that it promises: who finds the value sees what came
    /// before it was set.
    #[derive(Debug)]
    pub(crate) struct OnceLock<T> {
        is_set: AtomicBool,
        value: std::sync::OnceLock<T>,
    }

    impl<T> Default for OnceLock<T> {
        fn default() -> Self {
            Self { is_set: AtomicBool::new(false), value: std::sync::OnceLock::new() }
        }
    }

    impl<T> OnceLock<T> {
        pub(crate) fn get(&self) -> Option<&T> {
            if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
        }

        pub(crate) fn set(&self, value: T) -> Result<(), T> {
            self.value.set(value)?;
            self.is_set.store(true, Ordering::Release);
            Ok(())
        }
    }
}
