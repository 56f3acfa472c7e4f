//! The exceptions of the package: one class for each variant of the library's errors, with the same text. They are defined in
//! `mezzenger/_errors.py`.

use std::fmt::Display;

use mezzenger::{
    AdminError, ConnectError, PayloadError, ReceiveError, RequestError, RunError, SendError,
    StartError, SubscribeError,
};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;

/// An exception of this class of `mezzenger._errors`.
pub(crate) fn new(py: Python<'_>, class: &str, text: impl Display) -> PyErr {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || py.import("mezzenger._errors").map(Bound::unbind));
    let made = module
        .and_then(|module| module.bind(py).getattr(class))
        .and_then(|class| class.call1((text.to_string(),)));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// An error of the library.
pub(crate) trait Raise: Display {
    /// The name of its class.
    fn class(&self) -> &'static str;

    /// The exception.
    fn raise(&self, py: Python<'_>) -> PyErr {
        new(py, self.class(), self)
    }
}

impl Raise for ConnectError {
    fn class(&self) -> &'static str {
        match self {
            Self::NoAnswer { .. } => "ConnectNoAnswer",
            Self::Refused { .. } => "ConnectRefused",
            Self::Unreachable { .. } => "ConnectUnreachable",
            Self::NoSuchHost { .. } => "ConnectNoSuchHost",
            Self::NotAHost { .. } => "ConnectNotAHost",
            Self::NotMezzenger { .. } => "ConnectNotMezzenger",
            Self::WrongSocket { .. } => "ConnectWrongSocket",
            Self::Rejected { .. } => "ConnectRejected",
            Self::Option { .. } => "InvalidOption",
            Self::System(_) => "ConnectSystem",
            Self::Thread(_) => "ConnectThread",
            _ => "ConnectError",
        }
    }
}

impl Raise for SendError {
    fn class(&self) -> &'static str {
        match self {
            Self::Name(_) => "InvalidName",
            Self::TooLarge { .. } => "SendTooLarge",
            Self::Properties(_) => "InvalidProperties",
            Self::NoReplyWanted => "NoReplyWanted",
            Self::Full { .. } => "SendFull",
            Self::TimedOut { .. } => "SendTimedOut",
            Self::Stopped => "Stopped",
            Self::Forked => "Forked",
            Self::Malformed { .. } => "SendMalformed",
            Self::TooLargeForServer { .. } => "SendTooLargeForServer",
            Self::RefusedAsTooLarge { .. } => "SendRefusedAsTooLarge",
            Self::NotYours { .. } => "SendNotYours",
            Self::UnsupportedVersion { .. } => "SendUnsupportedVersion",
            Self::PendingFull { .. } => "SendPendingFull",
            Self::JournalFailed { .. } => "SendJournalFailed",
            Self::ShuttingDown { .. } => "SendShuttingDown",
            Self::ChecksumMismatch { .. } => "SendChecksumMismatch",
            Self::Unknown { .. } => "SendUnknown",
            _ => "SendError",
        }
    }
}

impl Raise for SubscribeError {
    fn class(&self) -> &'static str {
        match self {
            Self::Name(_) => "InvalidName",
            Self::Filter(_) => "InvalidFilter",
            Self::Option { .. } => "InvalidOption",
            Self::Refused { .. } => "SubscribeRefused",
            Self::NotSubscribed { .. } => "NotSubscribed",
            Self::NotConfirmed { .. } => "SubscribeNotConfirmed",
            Self::Stopped => "Stopped",
            Self::Forked => "Forked",
            _ => "SubscribeError",
        }
    }
}

impl Raise for ReceiveError {
    fn class(&self) -> &'static str {
        match self {
            Self::TimedOut => "ReceiveTimedOut",
            Self::Closed => "SubscriptionClosed",
            Self::Forked => "Forked",
            Self::Refused(_) => "ReceiveRefused",
            _ => "ReceiveError",
        }
    }
}

impl Raise for RequestError {
    fn class(&self) -> &'static str {
        match self {
            Self::NoSubscriber { .. } => "NoSubscriber",
            Self::TimedOut { .. } => "RequestTimedOut",
            Self::Send(error) => error.class(),
            Self::Subscribe(error) => error.class(),
            _ => "RequestError",
        }
    }
}

impl Raise for AdminError {
    fn class(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "AdminRefused",
            Self::Name(_) => "InvalidName",
            Self::Filter(_) => "InvalidFilter",
            Self::Option { .. } => "InvalidOption",
            Self::Send(error) => error.class(),
            _ => "AdminError",
        }
    }
}

impl Raise for PayloadError {
    fn class(&self) -> &'static str {
        "PayloadError"
    }
}

impl Raise for StartError {
    fn class(&self) -> &'static str {
        match self {
            Self::Config(_) => "ServerConfigError",
            Self::Listen { .. } => "ServerListenError",
            Self::Journal(_) => "ServerJournalError",
            _ => "ServerError",
        }
    }
}

impl Raise for RunError {
    fn class(&self) -> &'static str {
        match self {
            Self::Journal(_) | Self::DrainTimeout => "ServerJournalError",
            _ => "ServerError",
        }
    }
}

/// Raises an error of the library.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T, E: Raise> OrRaise<T> for Result<T, E> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| error.raise(py))
    }
}
