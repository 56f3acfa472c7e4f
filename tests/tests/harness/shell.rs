//! A shell that gives the guide's commands as a reader would.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::binaries;
use super::http;
use super::process::Process;
use super::server::{Server, command};
use super::wait::eventually;

/// A shell in a folder of its own, in which `mezzenger` talks to a server on free ports.
pub(crate) struct Shell {
    folder: PathBuf,
    pub(crate) server: Server,
}

impl Shell {
    /// Starts the server of this line in this folder, but on free ports.
    pub(crate) fn start(folder: &Path, line: &str) -> Self {
        let mut start = command();
        start.args(line.split(' ').skip(1)).current_dir(folder);
        start.args(["--pub-port", "0", "--recv-port", "0", "--http", "127.0.0.1:0"]);
        let server = Server::started(&mut start);
        Self { folder: folder.to_owned(), server }
    }

    /// Where the server listens for HTTP.
    pub(crate) fn http(&self) -> String {
        http::address(&self.server).to_string()
    }

    fn command(&self, line: &str) -> Command {
        let program = binaries::path("mezzenger");
        let programs = program.parent().unwrap().display();
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(&self.folder);
        command.env("PATH", format!("{programs}:{path}"));
        command.env("MEZZENGER_PORT", self.server.recv_addr.port().to_string());
        command.env("MEZZENGER_HTTP", self.http());
        command
    }

    /// Runs a line to its end.
    pub(crate) fn output(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Runs a line to its end; what it printed.
    #[track_caller]
    pub(crate) fn run(&self, line: &str) -> String {
        let output = self.output(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{line}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts a line that ends with the test, and waits until the server has its subscription.
    pub(crate) fn start_behind(&self, line: &str) -> Process {
        let before = self.subscriptions();
        let process = Process::start(&mut self.command(&format!("exec {line}")));
        eventually(line, || (self.subscriptions() > before).then_some(()));
        process
    }

    fn subscriptions(&self) -> u64 {
        self.figure("mezzenger_subscriptions")
    }

    /// How many connections the server has.
    pub(crate) fn connections(&self) -> u64 {
        self.figure("mezzenger_connections")
    }

    fn figure(&self, name: &str) -> u64 {
        let metrics = http::get(http::address(&self.server), "/metrics").body;
        let mut lines = metrics.lines().filter_map(|line| line.split_once(' '));
        let figure = lines.find(|(found, _)| *found == name).expect("the metric").1;
        figure.parse::<f64>().unwrap() as u64
    }
}
