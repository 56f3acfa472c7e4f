//! The command lines of all processes of a torture.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use mezzenger_torture::jobs::GROUPS;

use crate::args::Settings;
use crate::error::TortureError;
use crate::plan::Role;

/// How long a client waits for an answer, and how often in all. Together that is more than any server takes
/// to come back, so that a message is refused only when something is wrong.
const CLIENT_OPTIONS: &str = "--send-timeout=1s --tries=60";

/// What all command lines have in common.
pub(crate) struct Launch {
    /// This program.
    own: PathBuf,
    /// The server to torture; none for this program's own.
    server: Option<PathBuf>,
    folder: PathBuf,
    pub_port: u16,
    recv_port: u16,
    server_options: Vec<String>,
    names: u32,
    window: u32,
}

impl Launch {
    /// The processes of this torture, their files in `folder`.
    pub(crate) fn new(
        settings: &Settings,
        folder: &Path,
        [pub_port, recv_port]: [u16; 2],
    ) -> Result<Self, TortureError> {
        let own = std::env::current_exe()?;
        let beside = || own.with_file_name("mezzenger-server");
        let server = settings.server.clone().unwrap_or_else(beside);
        if !settings.broken_storage && !server.is_file() {
            return Err(TortureError::NoServer(server));
        }
        let server_options = vec![
            format!("--fsync={}", settings.fsync),
            format!("--retry-interval={}ms", settings.retry_interval.as_millis()),
        ];
        Ok(Self {
            server: (!settings.broken_storage).then_some(server),
            folder: folder.to_owned(),
            pub_port,
            recv_port,
            server_options,
            names: settings.subscribers,
            window: settings.window,
            own,
        })
    }

    /// The server's journal.
    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.join("journal")
    }

    /// Where requests go.
    pub(crate) fn port(&self) -> u16 {
        self.recv_port
    }

    /// The command that starts a process; `id` is what a publisher's messages carry.
    pub(crate) fn command(&self, role: Role, id: u32) -> io::Result<Command> {
        let mut command = match role {
            Role::Server => self.server(),
            Role::Publisher(_) => {
                let mut command = self.publisher("publish", id);
                command.arg(format!("--names={}", self.names));
                command
            }
            Role::Subscriber(at) => {
                let mut command = self.client("subscribe");
                command.arg(format!("--names={}", self.names)).arg(format!("--subscriber={at}"));
                command
            }
            Role::JobPublisher(_) => self.publisher("post", id),
            Role::Worker(at) => {
                let mut command = self.client("work");
                command.arg(format!("--group={}", at as usize % GROUPS));
                command
            }
        };
        command.env_remove("RUST_LOG");
        command.stderr(self.log(role)?);
        Ok(command)
    }

    fn server(&self) -> Command {
        let mut command = match &self.server {
            Some(server) => Command::new(server),
            None => {
                let mut command = Command::new(&self.own);
                command.arg("serve");
                command
            }
        };
        command.arg("--persist-file").arg(self.journal()).args(&self.server_options);
        command.arg(format!("--pub-port={}", self.pub_port));
        command.arg(format!("--recv-port={}", self.recv_port));
        command
    }

    fn publisher(&self, subcommand: &str, id: u32) -> Command {
        let mut command = self.client(subcommand);
        command.arg(format!("--publisher={id}")).arg(format!("--window={}", self.window));
        command
    }

    fn client(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.own);
        command.arg(subcommand).args(CLIENT_OPTIONS.split(' '));
        command.arg(format!("--port={}", self.recv_port));
        command
    }

    fn log(&self, role: Role) -> io::Result<File> {
        let name = match role {
            Role::Server => "server.log",
            Role::Publisher(_) | Role::Subscriber(_) => "clients.log",
            Role::JobPublisher(_) | Role::Worker(_) => "groups.log",
        };
        OpenOptions::new().create(true).append(true).open(self.folder.join(name))
    }
}
