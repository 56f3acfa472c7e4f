//! Errors of the command line.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use mezzenger::curve::KeyFileError;
use mezzenger::{
    AdminError, ConnectError, JournalOpenError, ReceiveError, RequestError, SendError,
    SubscribeError,
};

use crate::show::counted;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A message was not published, or a ping not answered.
    #[error(transparent)]
    Send(#[from] SendError),
    /// There is no subscription.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// Groups, dead letters or retained messages could not be dealt with.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// A request has no answer.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalOpenError),
    /// A file with keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// There is no password for a user.
    #[error(
        "there is no password for --user: give its file (--password-file), or set MEZZENGER_PASSWORD"
    )]
    NoPassword,
    /// A password is empty, or too long.
    #[error("a password has 1 to {max} bytes, and this one has {bytes} or more")]
    PasswordLength {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// Both passwords are not the same.
    #[error("these are two passwords: type the same one twice")]
    PasswordsDiffer,
    /// Others than its owner may read a file with a password.
    #[error("{path} has mode {mode:04o}, which lets others than its owner at the password: run chmod 600 {path}", path = path.display())]
    ExposedPassword {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A subscription has ended.
    #[error(transparent)]
    Receive(ReceiveError),
    /// A group that is to be deleted has messages.
    #[error(
        "group '{group}' has {}: let its members work, or discard what waits with --discard",
        counted(*waiting, "waiting message")
    )]
    HasMessages {
        /// Its name.
        group: String,
        /// How many wait.
        waiting: u64,
    },
    /// There is no such group, nor anything of an earlier one.
    #[error(
        "there is no group '{group}', and there are no dead letters of one: see `mezzenger group list`"
    )]
    NoGroup {
        /// The name.
        group: String,
    },
    /// A program is not there.
    #[error(
        "there is no program '{command}' that can be run: check its name, and PATH if it has no '/'"
    )]
    NoCommand {
        /// The program.
        command: String,
    },
    /// A command cannot be run.
    #[error("{command} could not be run: {source}")]
    Command {
        /// The program.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// A command failed.
    #[error("{command}: {status}")]
    Failed {
        /// The program.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The message could not be read from a file.
    #[error("{} could not be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The message could not be read from standard input.
    #[error("standard input could not be read: {0}")]
    Stdin(io::Error),
    /// A message could not be printed.
    #[error("standard output could not be written: {0}")]
    Stdout(io::Error),
    /// Where the server's API is said to be is no address for it.
    #[error(
        "{url} is no address of a server's --http: give ADDRESS:PORT or http://ADDRESS:PORT (--http)"
    )]
    ApiUrl {
        /// What was given.
        url: String,
    },
    /// A file holds no token.
    #[error("{} holds no token: it has to be one line of visible ASCII characters", path.display())]
    ApiToken {
        /// The file.
        path: PathBuf,
    },
    /// Nothing answers HTTP.
    #[error(
        "no server answers at {url}: {why}; start it with --http 127.0.0.1:7280, or say where it listens for HTTP with --http"
    )]
    NoHttp {
        /// Where.
        url: String,
        /// Why.
        why: String,
    },
    /// Something else answers HTTP.
    #[error("what answers at {url} is no server of this version: {why}")]
    NoApi {
        /// Where.
        url: String,
        /// Why.
        why: String,
    },
    /// The server wants a token.
    #[error("the server at {url} {said}: give the file with its token (--http-token-file)")]
    ApiDenied {
        /// Where.
        url: String,
        /// What it does.
        said: &'static str,
    },
    /// The server rejects something.
    #[error("the server says: {why}")]
    ApiRefused {
        /// Why.
        why: String,
    },
    /// A connection is not there.
    #[error("there is no connection {id}: see `mezzenger connections`")]
    NoConnection {
        /// Its number.
        id: u64,
    },
    /// A change is to be confirmed, and nobody can be asked.
    #[error("standard input is no terminal, so nobody can be asked: confirm with --yes")]
    Unconfirmed,
    /// A thread cannot be started.
    #[error("a thread could not be started: {0}; check the process limits")]
    Thread(io::Error),
    /// The terminal cannot be used.
    #[error("the terminal could not be used: {0}")]
    Terminal(io::Error),
    /// Signals cannot be caught.
    #[error("signals could not be caught: {0}")]
    Signals(io::Error),
}

/// The result of printing, where it ends a command.
pub(crate) fn written(result: io::Result<()>) -> Result<(), Error> {
    match result {
        // Whoever read the output has had enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Error::Stdout),
    }
}
