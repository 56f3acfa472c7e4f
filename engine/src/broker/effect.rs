//! What the core wants done.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::check::Check;
use super::groups::GroupError;
use super::subscribers::{ConnectionId, NativeError};
use crate::journal::Op;
use crate::message::Message;
use crate::wire::ack::AckError;
use crate::wire::control::{ControlError, Delivery};
use crate::wire::frame::FrameError;
use crate::wire::hello;
use crate::wire::name::NameError;
use crate::wire::pickle::PickleError;
use crate::wire::record::RecordError;
use crate::wire::reply::ErrorCode;

/// One thing to do on a socket. `E` addresses a requester.
#[derive(Debug)]
pub(super) enum Effect<E> {
    /// Give a frame to these connections.
    Publish {
        /// The frame.
        frame: Bytes,
        /// Who gets it as it is.
        to: Arc<[ConnectionId]>,
        /// Which subscriptions get it behind what names them. Of both there is one at least.
        direct: Vec<Direct>,
        /// Whether a subscriber that does not keep up may lose it: nobody has to acknowledge it.
        droppable: bool,
    },
    /// Frames for these connections follow in later turns, in place of a [`Self::Publish`] of them now.
    Deferred {
        /// Who gets them: somebody.
        to: Arc<[ConnectionId]>,
    },
    /// A connection granted credit to a subscription that had overdrawn its own.
    Granted {
        /// The connection.
        connection: ConnectionId,
        /// Whether none of its subscriptions is overdrawn any more.
        is_clear: bool,
    },
    /// Answer a request. Its frames stand before it.
    Reply(E, Reply),
    /// Check a request of this connection, which may send no further one meanwhile: the verdict is for
    /// [`Core::checked`](super::core::Core::checked).
    Check(ConnectionId, Check),
    /// Carry a message over to the other format, for [`Core::carried`](super::core::Core::carried).
    Carry(Message),
}

/// A subscription that gets a frame on its connection for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direct {
    pub(super) connection: ConnectionId,
    /// What stands before the frame.
    pub(super) delivery: Delivery,
    /// The subscription had no credit for it: publishers are to wait until it has some.
    pub(super) is_overdrawn: bool,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Ok,
    Hello(hello::Answer),
    Refused(Refusal, Dialect),
}

/// In which format an answer is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A refusal is an empty frame.
    V1,
    /// A refusal has a code and a text.
    V2,
}

/// What the core wants done, in order; the journal's part can go ahead of the sockets'.
#[derive(Debug)]
pub(super) struct Effects<E> {
    pub(super) queue: VecDeque<Effect<E>>,
    pub(super) journal: Vec<Op>,
}

impl<E> Default for Effects<E> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), journal: Vec::new() }
    }
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("a request has an empty frame and then one frame; this one has {0}")]
    Envelope(&'static str),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Ack(#[from] AckError),
    #[error(transparent)]
    Pickle(#[from] PickleError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Subscription(#[from] NativeError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("{0}")]
    Rule(&'static str),
    #[error(
        "message too large: {bytes} bytes, and the server's limit is {max}; send smaller messages or raise \
         --max-message-size"
    )]
    TooLarge { bytes: u64, max: u64 },
    #[error(
        "a request with several messages has {bytes} bytes, and at most {max} are allowed; send fewer messages \
         in one request"
    )]
    BatchTooLarge { bytes: usize, max: usize },
    #[error(
        "this connection did not prove that it is publisher {publisher:016x}; send a hello with its secret first"
    )]
    NotYours { publisher: u64 },
    #[error(
        "message {sequence} of publisher {publisher:016x} was published with another content; use a secret of its own \
         for each client"
    )]
    Reused { publisher: u64, sequence: u64 },
    #[error("the checksum of a message does not match its name, payload and timestamp")]
    Checksum,
    #[error("{0}")]
    PendingFull(String),
    #[error("{0}")]
    JournalFailed(String),
    #[error("the server is ending: send again when it is back")]
    ShuttingDown,
}

impl Refusal {
    /// The code that a native client is told.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Self::Frame(FrameError::Version { .. }) => ErrorCode::UnsupportedVersion,
            Self::Envelope(_)
            | Self::Frame(_)
            | Self::Name(_)
            | Self::Record(_)
            | Self::Ack(_)
            | Self::Pickle(_)
            | Self::Control(_)
            | Self::Reused { .. }
            | Self::Rule(_) => ErrorCode::Malformed,
            Self::NotYours { .. } => ErrorCode::NotYours,
            Self::Subscription(_) | Self::Group(_) => ErrorCode::Subscription,
            Self::TooLarge { .. } | Self::BatchTooLarge { .. } => ErrorCode::TooLarge,
            Self::Checksum => ErrorCode::ChecksumMismatch,
            Self::PendingFull(_) => ErrorCode::PendingFull,
            Self::JournalFailed(_) => ErrorCode::JournalFailed,
            Self::ShuttingDown => ErrorCode::ShuttingDown,
        }
    }
}
