//! Figures of a process, from Linux.

use std::{fs, io};

/// Ticks of a second in `/proc/PID/stat`: `USER_HZ`, which is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The resources of one process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Processor time, user and system, since its start.
    pub cpu_s: f64,
    /// Memory that is resident now.
    pub rss_kb: u64,
}

/// Reads the resources of a process.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    match (cpu_s(&stat), rss_kb(&status)) {
        (Some(cpu_s), Some(rss_kb)) => Ok(Usage { cpu_s, rss_kb }),
        _ => Err(io::Error::other(format!("/proc/{pid} reads unlike proc(5)"))),
    }
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
