//! Why a torture could not go on.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use mezzenger::journal::OpenError;
use mezzenger::{AdminError, ConnectError, MessageId};
use mezzenger_torture::report::NotAReport;

use crate::plan::Role;

/// Why a torture could not go on. What died or stalls did so by itself: that is a finding.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TortureError {
    /// There is no server to torture.
    #[error("there is no {}: build it (`cargo build --release`), or name one with --server", .0.display())]
    NoServer(PathBuf),
    /// A process could not be started.
    #[error("could not start the {role}: {source}")]
    Start {
        /// Which.
        role: Role,
        /// What the system says.
        source: io::Error,
    },
    /// A process ended that was not killed.
    #[error("the {role} ended by itself, with {status}; its log says why")]
    Died {
        /// Which.
        role: Role,
        /// How.
        status: ExitStatus,
    },
    /// A process that was to end cleanly did not.
    #[error("the {role} ended with {status} when it was told to end; its log says why")]
    EndedBadly {
        /// Which.
        role: Role,
        /// How.
        status: ExitStatus,
    },
    /// SIGINT or SIGTERM came.
    #[error("told to end before the rounds were over: the account is of what was told by then")]
    Interrupted,
    /// Nothing goes on.
    #[error("{what}: not within {patience:?}")]
    Stalled {
        /// What was waited for.
        what: &'static str,
        /// How long.
        patience: Duration,
    },
    /// A process says what means nothing.
    #[error("the {role} says: {source}")]
    Report {
        /// Which.
        role: Role,
        /// What.
        source: NotAReport,
    },
    /// The server does not answer the torture itself.
    #[error("could not ask the server: {0}")]
    Connect(#[from] ConnectError),
    /// It does not answer a question about groups or dead letters.
    #[error("groups and dead letters: {0}")]
    Admin(#[from] AdminError),
    /// A dead letter holds no job of this torture.
    #[error("the message {id} of a dead letter is none that was posted")]
    Letter {
        /// The message's id.
        id: MessageId,
    },
    /// The journal cannot be read at the end.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The result could not be written.
    #[error("could not write the result to {}: {source}", path.display())]
    Json {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system refused something.
    #[error("a system call failed: {0}")]
    System(#[from] io::Error),
}
