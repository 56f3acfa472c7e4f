//! A server program that is started for a measurement.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How long a server is left alone before its memory is looked at.
const SETTLED: Duration = Duration::from_secs(3);

/// A server on ports of its own. It is ended when this is dropped.
pub struct Server {
    child: Child,
    /// Where subscribers connect, as `ADDR:PORT`.
    pub pub_addr: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts the program and waits until it listens.
    ///
    /// # Panics
    /// When it does not get so far.
    pub fn start(program: &Path, args: &[impl AsRef<OsStr>]) -> Self {
        let mut child = Command::new(program)
            .args(["--pub-port", "0", "--recv-port", "0"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("a pipe");
        let mut server = Self { child, pub_addr: String::new() };
        let mut said = String::new();
        BufReader::new(stdout).read_line(&mut said).expect("a line");
        let pub_addr = said.split_whitespace().find_map(|word| word.strip_prefix("pub="));
        server.pub_addr = pub_addr.unwrap_or_else(|| panic!("{said:?}")).to_owned();
        server
    }

    /// The memory that it takes once it is at rest.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn resident_bytes(&self) -> u64 {
        thread::sleep(SETTLED);
        resident_bytes(&self.child.id().to_string())
    }
}

/// The memory that a process takes: its number, or `self`.
///
/// # Panics
/// When the system does not say.
pub fn resident_bytes(process: &str) -> u64 {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = std::fs::read_to_string(path).expect("this needs Linux");
    let line = text.lines().find(|line| line.starts_with("Rss:")).expect("an Rss line");
    let kib: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kib * 1024
}
