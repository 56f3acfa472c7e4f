//! Why the engine could not be driven.

use std::io;

use mezzenger::{ConnectError, RunError, SendError, StartError, SubscribeError};

/// Why the engine could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A client did not start.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The server failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A stream could not be made.
    #[error(transparent)]
    Stream(#[from] io::Error),
    /// A message was not published.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The subscription was refused.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// The answer is wrong, so that its cost means nothing.
    #[error("the pipeline's answer is wrong: {0}; a cost was not measured")]
    Wrong(String),
}
