//! Figures of this process, from the system.

use procfs::process::{LimitValue, Stat};
use serde::Serialize;

/// This process at one moment. What the system does not say is 0.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) open_fds: u64,
    pub(super) max_fds: u64,
    pub(super) threads: u64,
    pub(super) start_unix_seconds: f64,
}

impl Process {
    /// Reads it.
    pub(super) fn read() -> Self {
        let Ok(own) = procfs::process::Process::myself() else { return Self::default() };
        let limit = own.limits().ok().map(|limits| limits.max_open_files.soft_limit);
        let (stat, ticks) = (own.stat().ok(), procfs::ticks_per_second() as f64);
        let number = |of: fn(&Stat) -> u64| stat.as_ref().map_or(0, of);
        let boot_s = procfs::boot_time_secs().unwrap_or(0) as f64;
        Self {
            cpu_seconds: number(|stat| stat.utime + stat.stime) as f64 / ticks,
            resident_bytes: number(|stat| stat.rss) * procfs::page_size(),
            virtual_bytes: number(|stat| stat.vsize),
            open_fds: own.fd_count().unwrap_or(0) as u64,
            max_fds: match limit {
                Some(LimitValue::Value(limit)) => limit,
                Some(LimitValue::Unlimited) => u64::MAX,
                None => 0,
            },
            threads: number(|stat| u64::try_from(stat.num_threads).unwrap_or(0)),
            start_unix_seconds: boot_s + number(|stat| stat.starttime) as f64 / ticks,
        }
    }
}
