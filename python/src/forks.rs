//! Whether this process is still the one that something was made in. The interpreter tells of forks, so that looking costs one load.

use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::prelude::*;

use crate::errors;

static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process that something is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// This one.
    pub(crate) fn this() -> Self {
        Self(FORKS.load(Ordering::Relaxed))
    }

    pub(crate) fn is_this(self) -> bool {
        self == Self::this()
    }

    /// Raises Forked in a child of the process that this is. `what` is used there.
    pub(crate) fn check(self, py: Python<'_>, what: &str) -> PyResult<()> {
        if self.is_this() {
            return Ok(());
        }
        let text = format!(
            "this process was forked from the one that has the {what}: make a new one here"
        );
        Err(errors::new(py, "Forked", text))
    }
}

/// Called in the child of a fork.
#[pyfunction]
pub(crate) fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}
