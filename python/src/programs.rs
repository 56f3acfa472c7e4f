//! The programs of the package: what `mezzenger-server` and `mezzenger` do, in this process.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs mezzenger-server with these arguments, of which the first is its name: the exit code.
#[pyfunction]
pub(crate) fn run_server(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| mezzenger_server::run(arguments))
}

/// Runs mezzenger with these arguments, of which the first is its name: the exit code.
#[pyfunction]
pub(crate) fn run_cli(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| mezzenger_cli::run(arguments))
}
