//! The server without messages: how fast it starts, what it uses.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mezzenger_report::Spread;
use mezzenger_report::number::round_to;
use mezzenger_report::process;

use super::{FootprintError, Measured, cargo};
use crate::collect;
use crate::raw::{Bound, Measure};

/// Starts that are timed.
const STARTS: usize = 20;

/// How long the server is left alone before it is looked at, and again while its processor time is
/// counted.
const IDLE: Duration = Duration::from_secs(3);

const PROGRAM: &str = "mezzenger-server";

pub(super) fn measure() -> Measured {
    cargo(&["build", "--release", "--locked", "-p", PROGRAM])?;
    let mut starts_ms = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let start = Instant::now();
        let _server = Server::start()?;
        starts_ms.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let server = Server::start()?;
    let usage = || process::usage(server.child.id()).map_err(FootprintError::Usage);
    thread::sleep(IDLE);
    let before = usage()?;
    thread::sleep(IDLE);
    let after = usage()?;
    let start_ms = Spread::new(starts_ms);
    let measure = |name: &str, value, unit: &str, goal| Measure {
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
        min: None,
        max: None,
        goal: Some(Bound::AtMost(goal)),
    };
    let rss_mb = before.rss_kb as f64 * 1024.0 / 1e6;
    let cpu_ms = round_to((after.cpu_s - before.cpu_s) * 1e3, 0);
    Ok(vec![
        Measure {
            min: start_ms.map(|spread| round_to(spread.min, 2)),
            max: start_ms.map(|spread| round_to(spread.max, 2)),
            ..measure(
                &format!("from starting the server until it listens, median of {STARTS}"),
                round_to(start_ms.map_or(f64::NAN, |spread| spread.median), 2),
                "ms",
                20.0,
            )
        },
        measure("resident memory of the idle server", round_to(rss_mb, 2), "MB", 10.0),
        measure("processor time of the idle server in 3 s", cpu_ms, "ms", 0.0),
    ])
}

/// A server on free ports. Dropping it ends it.
struct Server {
    child: Child,
}

impl Server {
    /// Starts it and waits until it listens.
    fn start() -> Result<Self, FootprintError> {
        let start = |source| FootprintError::Start { program: PROGRAM.to_owned(), source };
        let child = Command::new(collect::target_folder().join("release").join(PROGRAM))
            .args(["--pub-port", "0", "--recv-port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(start)?;
        let mut server = Self { child };
        let no_pipe = || start(io::Error::other("it has no stdout"));
        let stdout = server.child.stdout.as_mut().ok_or_else(no_pipe)?;
        let mut said = String::new();
        BufReader::new(stdout).read_line(&mut said).map_err(start)?;
        if !said.starts_with("ready ") {
            let wanted = "that it is ready";
            return Err(FootprintError::Output { program: PROGRAM.to_owned(), said, wanted });
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It holds nothing that would have to be saved.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
