//! What the tests share: the server as a process, clients of both formats, and waiting with a deadline.
//!
//! - [`axe`]: what the page is checked with.
//! - [`binaries`]: builds the workspace's programs, once.
//! - [`server`]: runs `mezzenger-server` on free ports and ends it.
//! - [`http`]: HTTP over a plain socket.
//! - [`process`]: a child process whose output is kept and whose end has a deadline.
//! - [`python`]: the original-format client, run by Python in an environment made here.
//! - [`native`]: the native format over plain sockets, so that tests can send what the library would not.
//! - [`pages`]: the pages of the guide.
//! - [`pickles`]: pickles that no Python would write.
//! - [`raw`]: ZMTP by hand, for what no ZeroMQ library would do.
//! - [`shell`]: a shell that gives the guide's commands.
//! - [`small_disk`]: a file system that can be filled.
//! - [`wait`]: waits for a condition.

use std::io::Write;

pub(crate) mod axe;
pub(crate) mod binaries;
pub(crate) mod http;
pub(crate) mod native;
pub(crate) mod pages;
pub(crate) mod pickles;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod raw;
pub(crate) mod server;
pub(crate) mod shell;
pub(crate) mod small_disk;
pub(crate) mod wait;

pub(crate) use native::{Native, NativeSubscriber};
pub(crate) use python::Python;
pub(crate) use raw::Raw;
pub(crate) use server::Server;
pub(crate) use wait::{PATIENCE, eventually};

/// Says that something was not tested, and why, past the capturing of the tests' output: nobody shall
/// take it for a success. In CI it is a failure.
#[track_caller]
pub(crate) fn skipped(what: &str, why: &str) {
    let text = format!("SKIPPED: {what}: {why}");
    let _ = writeln!(std::io::stderr(), "{text}");
    assert!(!in_ci(), "{text}");
}

/// Whether this is a run of CI, which installs all that tests need.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| !ci.is_empty())
}
