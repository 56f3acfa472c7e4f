//! A server, and the command pointed at it.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use mezzenger::{Client, Server, ServerBuilder};

/// Bound on what a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A server, and the command pointed at it.
pub(crate) struct Broker {
    pub(crate) server: Server,
    port: String,
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::start_with(|server| server)
    }

    pub(crate) fn start_with(change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let server =
            Server::builder().pub_port(0).recv_port(0).retry_interval(Duration::from_millis(200));
        let server = change(server).start().expect("a server on free ports");
        let port = server.recv_addr().port().to_string();
        Self { server, port }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mezzenger"));
        // Before the command, whose arguments may be another program's.
        command.args(["--port", &self.port]).args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("mezzenger starts")
    }

    /// Runs with this on standard input.
    pub(crate) fn run_with(&self, args: &[&str], stdin: &[u8]) -> Output {
        let mut child = self.spawn(args);
        let mut pipe = child.stdin.take().expect("a pipe");
        pipe.write_all(stdin).expect("mezzenger reads");
        drop(pipe);
        child.wait_with_output().expect("mezzenger ends")
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("mezzenger starts")
    }

    pub(crate) fn client(&self) -> Client {
        Client::builder()
            .port(self.server.recv_addr().port())
            .connect()
            .expect("the server answers")
    }

    /// A subscription that takes part, whose messages asked for acknowledgement find it however late it comes:
    /// what is published before is delivered again.
    pub(crate) fn subscribe(&self, args: &[&str]) -> Child {
        self.spawn(&[&["sub", "--ack"], args].concat())
    }
}

#[track_caller]
pub(crate) fn check_ok(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.as_ref()), (Some(0), ""));
    String::from_utf8(output.stdout.clone()).expect("text")
}

pub(crate) fn finish(child: Child) -> Output {
    child.wait_with_output().expect("mezzenger ends")
}
