//! A server that is measured.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use loadgen::report::{process, ready};
use mezzenger::{Client, ClientBuilder};

use crate::args::ServerArgs;
use crate::error::MeasureError;

/// A running server, which ends with this.
pub(crate) struct Server {
    child: Child,
    /// Where requests go.
    pub(crate) addr: SocketAddr,
}

impl Server {
    /// Starts one, and waits until it listens.
    pub(crate) fn start(args: &ServerArgs) -> Result<Self, MeasureError> {
        let beside = std::env::current_exe()?.with_file_name("mezzenger-server");
        let program = args.server.clone().unwrap_or(beside);
        if !program.is_file() {
            return Err(MeasureError::NoServer(program));
        }
        let mut command = Command::new(program);
        command.args(["--pub-port", "0", "--recv-port", "0"]).args(&args.server_arg);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let read = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
        // Whatever comes now, it ends with this.
        let mut server = Self { child, addr: SocketAddr::from(([127, 0, 0, 1], 0)) };
        read.transpose()?;
        (_, server.addr) = ready::addresses(&line).ok_or(MeasureError::NotReady(line))?;
        Ok(server)
    }

    /// Options of a client.
    pub(crate) fn client(&self) -> ClientBuilder {
        Client::builder().port(self.addr.port())
    }

    /// Its resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64, MeasureError> {
        Ok(process::usage(self.child.id())?.rss_kb * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
