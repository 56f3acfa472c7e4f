//! What Linux says about a process, and the precision of its sleeps. Nothing here on other systems.

use std::path::Path;
use std::{fs, io};

/// Ticks of a second in `/proc/PID/stat`: `USER_HZ`, which is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The resources of one process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    /// Processor time, user and system, since its start.
    pub(crate) cpu_s: f64,
    /// Memory that is resident now.
    pub(crate) rss_kb: u64,
}

/// Reads the resources of a process.
pub(crate) fn usage(pid: u32) -> io::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    match (cpu_s(&stat), rss_kb(&status)) {
        (Some(cpu_s), Some(rss_kb)) => Ok(Usage { cpu_s, rss_kb }),
        _ => Err(io::Error::other(format!("/proc/{pid} reads unlike proc(5)"))),
    }
}

/// The processor time of this process; 0 where the system does not say.
pub(crate) fn own_cpu_s() -> f64 {
    usage(std::process::id()).map_or(0.0, |usage| usage.cpu_s)
}

fn cpu_s(stat: &str) -> Option<f64> {
    // The second field is the command in parentheses, which may hold anything. Field 3 follows it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(14 - 3);
    let utime: f64 = fields.next()?.parse().ok()?;
    let stime: f64 = fields.next()?.parse().ok()?;
    Some((utime + stime) / TICKS_PER_SECOND)
}

fn rss_kb(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Makes this thread's sleeps end on time: by default Linux may end each up to 50 µs late.
pub(crate) fn sleep_precisely() {
    // PID/task/TID. Without it sleeps are late, which the latencies then show.
    let Ok(path) = fs::read_link("/proc/thread-self") else { return };
    if let Some(thread) = path.file_name() {
        let _ = fs::write(Path::new("/proc").join(thread).join("timerslack_ns"), "1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_command() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 170 0 0 0 123 45 0 0 20 0 4 0 9 1 2 3";
        assert_eq!(cpu_s(stat), Some(1.68));
        assert_eq!(cpu_s("7 (a) S 1"), None);
    }

    #[test]
    fn memory_is_found_by_its_key() {
        assert_eq!(rss_kb("Name:\tx\nVmHWM:\t  900 kB\nVmRSS:\t  800 kB\n"), Some(800));
        assert_eq!(rss_kb("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = usage(std::process::id()).expect("Linux has /proc");
        assert!(usage.rss_kb > 0);
    }
}
