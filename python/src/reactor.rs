//! How an event loop hears that operations can go on: one descriptor, which is readable while any of them can.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use rustix::event::{EventfdFlags, eventfd};

use crate::errors;
use crate::operation::Task;

/// What can go on.
pub(crate) struct Ready {
    descriptor: OwnedFd,
    /// Whether the descriptor is readable, or about to be.
    is_raised: AtomicBool,
    tasks: Mutex<Vec<Arc<Task>>>,
}

impl Ready {
    /// A task can go on.
    pub(crate) fn push(&self, task: Arc<Task>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        self.raise();
    }

    /// Has the loop look.
    pub(crate) fn raise(&self) {
        // The swap orders what was pushed before the loop's look at it. The counter takes any number of ones.
        if !self.is_raised.swap(true, Ordering::AcqRel) {
            let _ = rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes());
        }
    }

    /// What can go on now.
    fn take(&self) -> Vec<Arc<Task>> {
        // The counter first: were the flag taken back first, the read could take a later one away.
        let _ = rustix::io::read(&self.descriptor, &mut [0; 8]);
        self.is_raised.swap(false, Ordering::AcqRel);
        std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What an event loop watches for a client.
#[pyclass(frozen, module = "mezzenger._core")]
pub(crate) struct Reactor(Arc<Ready>);

impl Reactor {
    pub(crate) fn ready(&self) -> Arc<Ready> {
        Arc::clone(&self.0)
    }
}

#[pymethods]
impl Reactor {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let descriptor = eventfd(0, flags).map_err(|error| {
            let text =
                format!("could not connect: {error}; check the limit of open files (ulimit -n)");
            errors::new(py, "ConnectSystem", text)
        })?;
        let (is_raised, tasks) = Default::default();
        Ok(Self(Arc::new(Ready { descriptor, is_raised, tasks })))
    }

    /// The descriptor to watch.
    fn fileno(&self) -> i32 {
        self.0.descriptor.as_raw_fd()
    }

    /// Goes on with what can, when the descriptor is readable.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        // One that fails holds up no other.
        let results: Vec<_> = self.0.take().iter().map(|task| task.run(py)).collect();
        results.into_iter().collect()
    }
}
