//! The processor time of this process, and the precision of its sleeps.

use std::fs;
use std::path::Path;

use loadgen::report::process;

/// The processor time of this process; 0 where the system does not say.
pub(crate) fn own_cpu_s() -> f64 {
    process::usage(std::process::id()).map_or(0.0, |usage| usage.cpu_s)
}

/// Makes this thread's sleeps end on time: by default Linux may end each up to 50 µs late.
pub(crate) fn sleep_precisely() {
    // PID/task/TID. Without it sleeps are late, which the latencies then show.
    let Ok(path) = fs::read_link("/proc/thread-self") else { return };
    if let Some(thread) = path.file_name() {
        let _ = fs::write(Path::new("/proc").join(thread).join("timerslack_ns"), "1");
    }
}
