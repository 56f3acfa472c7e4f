//! Where and with what something was measured.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// The machine, its system, and the programs' build. What the system does not say is `unknown`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Environment {
    /// When the measurement began, in UTC.
    pub started_at: String,
    /// Version of loadgen and of the library in it.
    pub loadgen_version: String,
    /// The commit that the programs were built from; `-dirty` follows when their sources had changed.
    pub git_commit: String,
    /// The compiler.
    pub rustc: String,
    /// Release of the Linux kernel.
    pub kernel: String,
    /// The processor.
    pub cpu_model: String,
    /// Processors that the program may use.
    pub cpu_cores: usize,
    /// How TCP connections over loopback pace what they send: `cubic`, `bbr`.
    #[serde(default = "unknown")]
    pub congestion_control: String,
}

impl Environment {
    /// This program on this machine, for a measurement that begins now.
    pub fn here() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        let cpu = fs::read_to_string("/proc/cpuinfo").ok();
        let cpu = cpu.as_deref().and_then(cpu_model);
        Self {
            started_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            loadgen_version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: env!("BUILD_COMMIT").to_owned(),
            rustc: env!("BUILD_RUSTC").to_owned(),
            kernel: kernel.map_or_else(unknown, |text| text.trim().to_owned()),
            cpu_model: cpu.map_or_else(unknown, ToOwned::to_owned),
            cpu_cores: std::thread::available_parallelism().map_or(0, usize::from),
            congestion_control: congestion_control().unwrap_or_else(|_| unknown()),
        }
    }
}

/// Asks a connection, since not the system's default decides but what the route says.
fn congestion_control() -> io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let connection = TcpStream::connect(listener.local_addr()?)?;
    Ok(rustix::net::sockopt::tcp_congestion(&connection)?)
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_found_by_its_key() {
        let text = "processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC\nmodel name\t: other\n";
        assert_eq!(cpu_model(text), Some("AMD EPYC"));
        assert_eq!(cpu_model("Processor: 0\n"), None);
    }

    #[test]
    fn this_build_and_machine_are_known() {
        let here = Environment::here();
        assert!(here.rustc.starts_with("rustc 1."), "{here:?}");
        assert!(here.cpu_cores > 0, "{here:?}");
        assert_ne!(here.congestion_control, "unknown");
        assert!(here.started_at.ends_with('Z') && here.started_at.len() == 20, "{here:?}");
        let commit = here.git_commit.trim_end_matches("-dirty");
        assert!(commit == "unknown" || commit.len() == 12, "{here:?}");
    }
}
