//! Why requests are rejected.

use super::groups::GroupError;
use super::letters::LetterError;
use super::subscribers::NativeError;
use crate::limits::DELAY_DAYS_MAX;
use crate::metrics::{Counter, TrafficCounters};
use crate::wire::ack::AckError;
use crate::wire::control::ControlError;
use crate::wire::frame::FrameError;
use crate::wire::name::NameError;
use crate::wire::pickle::PickleError;
use crate::wire::properties::PropertiesError;
use crate::wire::record::RecordError;
use crate::wire::reply::ErrorCode;

/// In which format an answer is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A rejection is an empty frame.
    V1,
    /// A rejection has a code and a text.
    V2,
}

/// Why a request was rejected.
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
    Properties(#[from] PropertiesError),
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
    /// Something about a group itself, and not about a subscription to it.
    #[error(transparent)]
    Durable(GroupError),
    #[error(transparent)]
    Letter(#[from] LetterError),
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
        "this connection proved that it is publisher {first:016x}; another publisher needs a connection of its own"
    )]
    SecondPublisher { first: u64 },
    #[error(
        "message {sequence} of publisher {publisher:016x} was published with another content; use a secret of its own \
         for each client"
    )]
    Reused { publisher: u64, sequence: u64 },
    #[error(
        "a message is to be delivered {days} days from now by the server's clock, and at most {DELAY_DAYS_MAX} are allowed; publish \
         it nearer to its time, and say that in milliseconds since 1970"
    )]
    TooFarAhead { days: u64 },
    #[error("not allowed: {0}")]
    NotAllowed(Box<str>),
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
    /// Where a server counts it.
    pub(super) fn counted<'a>(&self, counters: &'a TrafficCounters) -> &'a Counter {
        match self.code() {
            ErrorCode::Malformed => &counters.refused_malformed,
            ErrorCode::TooLarge => &counters.refused_too_large,
            ErrorCode::UnsupportedVersion => &counters.refused_unsupported_version,
            ErrorCode::PendingFull => &counters.refused_pending_full,
            ErrorCode::JournalFailed => &counters.refused_journal_failed,
            ErrorCode::ShuttingDown => &counters.refused_shutting_down,
            ErrorCode::ChecksumMismatch => &counters.refused_checksum,
            ErrorCode::NotYours => &counters.refused_not_yours,
            ErrorCode::Subscription => &counters.refused_subscription,
            ErrorCode::Letter => &counters.refused_letter,
            ErrorCode::Group => &counters.refused_group,
            ErrorCode::NotAllowed => &counters.refused_not_allowed,
        }
    }

    /// The code that a native client gets.
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
            | Self::Properties(_)
            | Self::TooFarAhead { .. }
            | Self::Rule(_) => ErrorCode::Malformed,
            Self::NotYours { .. } | Self::SecondPublisher { .. } => ErrorCode::NotYours,
            Self::Subscription(_) | Self::Group(_) => ErrorCode::Subscription,
            Self::Durable(_) => ErrorCode::Group,
            Self::Letter(_) => ErrorCode::Letter,
            Self::TooLarge { .. } | Self::BatchTooLarge { .. } => ErrorCode::TooLarge,
            Self::NotAllowed(_) => ErrorCode::NotAllowed,
            Self::Checksum => ErrorCode::ChecksumMismatch,
            Self::PendingFull(_) => ErrorCode::PendingFull,
            Self::JournalFailed(_) => ErrorCode::JournalFailed,
            Self::ShuttingDown => ErrorCode::ShuttingDown,
        }
    }
}
