//! The run's own server, relay or forwarder: this program again, as a child process that ends with
//! its parent. `serve` is the child's side.
//!
//! The parent holds the child's stdin: each line it writes there is answered with a line of counters,
//! and its end, however it comes about, ends the child.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use loadgen::report::process::{self, Usage};
use loadgen::report::ready;
use serde::{Deserialize, Serialize};

use crate::args::OwnServerArgs;
use crate::keys::Keys;

/// How long the server may take to end before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChildError {
    /// The process could not be started.
    #[error("could not start the server: {0}")]
    Start(io::Error),
    /// The process ended, or said something else, before it listened.
    #[error("the server did not come up; it said {0:?} (its errors are above)")]
    NotReady(String),
    /// The process does not answer any more.
    #[error("the server ended during the run: {0}")]
    Gone(io::Error),
}

/// What the server counted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct ServerCounts {
    /// Messages taken, without duplicates.
    pub(crate) accepted: u64,
    /// Messages recognised as sent before.
    pub(crate) duplicates: u64,
    /// Frames handed out for delivery.
    pub(crate) frames_published: u64,
    /// Messages delivered again because nobody acknowledged them in time.
    pub(crate) resent: u64,
    /// Messages acknowledged.
    pub(crate) settled: u64,
    /// Messages that wait for an acknowledgement.
    pub(crate) pending: u64,
    /// Times that publishers were held back.
    pub(crate) held_back: u64,
    /// Subscribers disconnected because they did not read.
    pub(crate) slow_subscribers: u64,
}

impl From<mezzenger::Metrics> for ServerCounts {
    fn from(metrics: mezzenger::Metrics) -> Self {
        Self {
            accepted: metrics.accepted,
            duplicates: metrics.duplicates,
            frames_published: metrics.frames_published,
            resent: metrics.resent,
            settled: metrics.settled,
            pending: metrics.pending_messages,
            held_back: metrics.held_back,
            slow_subscribers: metrics.slow_subscribers,
        }
    }
}

/// The running child. Dropping it ends it.
pub(crate) struct ChildServer {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    pub_addr: SocketAddr,
    recv_addr: SocketAddr,
    /// What it was started with.
    arguments: Vec<OsString>,
}

impl ChildServer {
    /// Starts a server, with keys if it is to encrypt, and waits until it listens.
    pub(crate) fn start(own: &OwnServerArgs, keys: Option<&Keys>) -> Result<Self, ChildError> {
        let mut arguments = vec![OsString::from("serve")];
        let mut add = |flag: &str, value: OsString| arguments.extend([flag.into(), value]);
        if let Some(path) = &own.persist_file {
            add("--persist-file", path.into());
        }
        if let Some(fsync) = own.fsync {
            add("--fsync", fsync.to_string().into());
        }
        if let Some(interval) = own.retry_interval {
            add("--retry-interval", humantime::format_duration(interval).to_string().into());
        }
        arguments.extend(keys.into_iter().flat_map(Keys::flags));
        Self::spawn(arguments, 0, 0)
    }

    /// Starts another child by the name of its subcommand, with keys if it is to encrypt, and waits until it listens.
    pub(crate) fn start_bare(subcommand: &str, keys: Option<&Keys>) -> Result<Self, ChildError> {
        let flags = keys.into_iter().flat_map(Keys::flags);
        Self::spawn(std::iter::once(subcommand.into()).chain(flags).collect(), 0, 0)
    }

    /// Kills it (SIGKILL), starts it again with the same ports and file, and waits until it listens.
    pub(crate) fn kill_and_restart(&mut self) -> Result<(), ChildError> {
        self.child.kill().map_err(ChildError::Gone)?;
        self.child.wait().map_err(ChildError::Gone)?;
        let ports = (self.pub_addr.port(), self.recv_addr.port());
        *self = Self::spawn(self.arguments.clone(), ports.0, ports.1)?;
        Ok(())
    }

    fn spawn(arguments: Vec<OsString>, pub_port: u16, recv_port: u16) -> Result<Self, ChildError> {
        let program = std::env::current_exe().map_err(ChildError::Start)?;
        let mut command = Command::new(program);
        command.args(&arguments);
        command.arg("--pub-port").arg(pub_port.to_string());
        command.arg("--recv-port").arg(recv_port.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(ChildError::Start)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(ChildError::Start(io::Error::other("the child has no pipes")));
        };
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        let read = stdout.read_line(&mut line);
        let Some((pub_addr, recv_addr)) = read.ok().and_then(|_| ready::addresses(&line)) else {
            drop(stdin);
            let _ = child.wait();
            return Err(ChildError::NotReady(line.trim_end().to_owned()));
        };
        Ok(Self { child, stdin: Some(stdin), stdout, pub_addr, recv_addr, arguments })
    }

    /// Where requests are sent.
    pub(crate) fn recv_addr(&self) -> SocketAddr {
        self.recv_addr
    }

    /// Where SUB sockets subscribe.
    #[cfg(feature = "libzmq")]
    pub(crate) fn pub_addr(&self) -> SocketAddr {
        self.pub_addr
    }

    /// Notices when the server has ended.
    pub(crate) fn check(&mut self) -> Result<(), ChildError> {
        match self.child.try_wait().map_err(ChildError::Gone)? {
            None => Ok(()),
            Some(status) => Err(ChildError::Gone(io::Error::other(status.to_string()))),
        }
    }

    /// What the server counted so far.
    pub(crate) fn counts(&mut self) -> Result<ServerCounts, ChildError> {
        let mut line = String::new();
        let answer = match &mut self.stdin {
            Some(stdin) => stdin.write_all(b"\n").and_then(|()| self.stdout.read_line(&mut line)),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        answer.map_err(ChildError::Gone)?;
        serde_json::from_str(&line).map_err(|error| ChildError::Gone(error.into()))
    }

    /// The resources that the server uses.
    pub(crate) fn usage(&self) -> Result<Usage, ChildError> {
        process::usage(self.child.id()).map_err(ChildError::Gone)
    }
}

impl Drop for ChildServer {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let end = Instant::now() + END_TIMEOUT;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
