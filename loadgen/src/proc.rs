//! The processor time of this process, the precision of its sleeps, and how many files it may open.

use std::fs;
use std::path::Path;

use loadgen::report::process;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The processor time of this process; 0 where the system does not say.
pub(crate) fn own_cpu_s() -> f64 {
    process::usage(std::process::id()).map_or(0.0, |usage| usage.cpu_s)
}

/// Lets this process open as many files as it may: each client has some. What is too few then fails where
/// one is opened.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Makes this thread's sleeps end on time: by default Linux may end each up to 50 µs late.
pub(crate) fn sleep_precisely() {
    // PID/task/TID. Without it sleeps are late, which the latencies then show.
    let Ok(path) = fs::read_link("/proc/thread-self") else { return };
    if let Some(thread) = path.file_name() {
        let _ = fs::write(Path::new("/proc").join(thread).join("timerslack_ns"), "1");
    }
}
