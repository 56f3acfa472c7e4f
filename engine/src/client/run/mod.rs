//! The threads that do a client's work.
//!
//! - `threads`: they do the turns, and call callbacks meanwhile; `watchdog` sees which take long; `worker`: threads whose end is
//!   waited for within a bound. The asynchronous client has a task instead.
//! - `here`: what this thread must not wait for. `driven`: a client without threads, for measurements.

#[cfg(feature = "internals")]
pub(crate) mod driven;
pub(super) mod here;
pub(super) mod threads;
pub(super) mod watchdog;
pub(super) mod worker;
