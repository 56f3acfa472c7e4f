//! Why a measure could not be taken.

use std::io;
use std::path::PathBuf;

use mezzenger::{AdminError, ConnectError, ReceiveError, SendError, SubscribeError};

/// Why a measure could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeasureError {
    /// There is no server to measure.
    #[error("there is no {}: build it (`cargo build --release -p mezzenger-server`), or name one with --server", .0.display())]
    NoServer(PathBuf),
    /// The server does not get to listen.
    #[error("the server did not say where it listens, but {0:?}; what it says on stderr tells why")]
    NotReady(String),
    /// A worker does not get its messages.
    #[error("a worker that was to hold {wanted} messages said {said:?}")]
    NotHeld {
        /// How many.
        wanted: u32,
        /// What it said instead.
        said: String,
    },
    /// The server does what it must not.
    #[error("{0}")]
    Wrong(String),
    /// What a connection says is no ZMTP, or an error.
    #[error("the server said {0:?} where an answer was due")]
    Answer(String),
    /// A client could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A message was not published.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A subscription was not made.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// Nothing arrived.
    #[error("a message that was due did not arrive: {0}")]
    Receive(#[from] ReceiveError),
    /// A group could not be made, or dead letters not be asked for.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The system refused something.
    #[error("a system call failed: {0}")]
    System(#[from] io::Error),
}
