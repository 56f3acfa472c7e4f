//! The real `mezzenger-server`, on free ports.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus};

use loadgen::report::ready;
use mezzenger::{Client, ClientBuilder};
use rustix::process::Signal;

use super::binaries;
use super::process::Process;
use super::wait::eventually;

/// A running server, ended with the test.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) pub_addr: SocketAddr,
    pub(crate) recv_addr: SocketAddr,
}

/// How a server ended that did not get to listen.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: String,
}

impl Server {
    /// Starts a server on free ports with further arguments, and waits until it listens.
    #[track_caller]
    pub(crate) fn start<S: AsRef<str>>(args: &[S]) -> Self {
        let mut command = command();
        command.args(["--pub-port", "0", "--recv-port", "0"]);
        Self::started(command.args(args.iter().map(AsRef::as_ref)))
    }

    /// As [`Self::start`], for a server that keeps a journal in this file.
    #[track_caller]
    pub(crate) fn start_with_journal(file: &Path, args: &[&str]) -> Self {
        let file = file.to_str().unwrap();
        Self::start(&[&["--persist-file", file], args].concat())
    }

    /// Starts a server that may have this many descriptors.
    #[track_caller]
    pub(crate) fn start_with_descriptors(descriptors: u32, args: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.env_remove("RUST_LOG");
        command.args(["-c", r#"ulimit -n "$0" && exec "$@""#]).arg(descriptors.to_string());
        command.arg(binaries::path("mezzenger-server"));
        command.args(["--pub-port", "0", "--recv-port", "0"]).args(args);
        Self::started(&mut command)
    }

    /// Runs a server with exactly the arguments of a [`command`], which has to start.
    #[track_caller]
    pub(crate) fn started(command: &mut Command) -> Self {
        Self::run(command).unwrap_or_else(|refused| panic!("the server ended: {refused:#?}"))
    }

    /// Runs a server with exactly the arguments of a [`command`].
    pub(crate) fn run(command: &mut Command) -> Result<Self, Refused> {
        let mut process = Process::start(command);
        let Some(ready) = process.line() else {
            let status = process.wait();
            let stdout = process.lines_so_far();
            return Err(Refused { code: status.code(), stdout, stderr: process.stderr() });
        };
        let (pub_addr, recv_addr) =
            ready::addresses(&ready).unwrap_or_else(|| panic!("the first line is {ready:?}"));
        Ok(Self { process, pub_addr, recv_addr })
    }

    /// Where requests go, for ZeroMQ.
    pub(crate) fn recv_endpoint(&self) -> String {
        format!("tcp://{}", self.recv_addr)
    }

    /// Where messages come from, for ZeroMQ.
    pub(crate) fn pub_endpoint(&self) -> String {
        format!("tcp://{}", self.pub_addr)
    }

    /// Options for a client of this server.
    pub(crate) fn client_options(&self) -> ClientBuilder {
        Client::builder()
            .server_address(self.recv_addr.ip().to_string())
            .port(self.recv_addr.port())
    }

    /// A client of this server.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        self.client_options().connect().unwrap()
    }

    /// Waits for the first line of the log that holds this text.
    #[track_caller]
    pub(crate) fn log_line(&self, text: &str) -> String {
        eventually("the log line", || {
            let log = self.process.stderr();
            log.lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// Ends the server cleanly, and checks that it did end so.
    #[track_caller]
    pub(crate) fn terminate(mut self) -> String {
        let status = self.signal_and_wait(Signal::TERM);
        assert_eq!(status.code(), Some(0), "{}", self.process.stderr());
        self.process.stderr()
    }

    /// Sends a signal and waits for the end.
    #[track_caller]
    pub(crate) fn signal_and_wait(&mut self, signal: Signal) -> ExitStatus {
        self.process.signal(signal);
        self.process.wait()
    }
}

/// A server's command without any argument, its environment free of what changes its logs.
pub(crate) fn command() -> Command {
    let mut command = Command::new(binaries::path("mezzenger-server"));
    command.env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
    command
}
