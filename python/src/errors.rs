//! The exceptions of the package: one class for each variant of the library's errors, with the same text. They are defined in
//! `mezzenger/_errors.py`.

use std::fmt::Display;
use std::time::Duration;

use mezzenger::{
    AdminError, ConnectError, ReceiveError, RequestError, RunError, SendError, StartError,
    SubscribeError,
};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;

use crate::arguments::Given;

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
pub(crate) trait Raise {
    /// The name of its class.
    fn class(&self) -> &'static str;

    /// What it says.
    fn text(&self) -> String;

    /// The option that cannot work, and why.
    fn option(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// The exception.
    fn raise(&self, py: Python<'_>) -> PyErr {
        new(py, self.class(), self.text())
    }
}

/// What an error says of a request that was not answered.
fn unanswered(what: &str, tries: u32, timeout: Duration) -> String {
    let word = if tries == 1 { "try" } else { "tries" };
    format!("no answer to {what} within {tries} {word} of {timeout:?}; check the server")
}

/// An error of a call with options: it names the option that cannot work, and its value.
pub(crate) struct WithOptions<E> {
    error: E,
    given: Given,
}

impl<E> WithOptions<E> {
    pub(crate) fn new(error: E, given: Given) -> Self {
        Self { error, given }
    }
}

impl<E: Raise> Raise for WithOptions<E> {
    fn class(&self) -> &'static str {
        self.error.class()
    }

    fn text(&self) -> String {
        match self.error.option() {
            Some((option, problem)) => self.given.explain(option, problem),
            None => self.error.text(),
        }
    }
}

/// Why a ping has no answer.
pub(crate) struct PingError(pub(crate) SendError);

impl Raise for PingError {
    fn class(&self) -> &'static str {
        match self.0 {
            SendError::TimedOut { .. } => "PingTimedOut",
            _ => self.0.class(),
        }
    }

    fn text(&self) -> String {
        match self.0 {
            SendError::TimedOut { tries, timeout } => unanswered("the ping", tries, timeout),
            _ => self.0.to_string(),
        }
    }
}

/// The error of messages that a client had when it was closed.
pub(crate) struct CloseError(pub(crate) SendError);

impl Raise for CloseError {
    fn class(&self) -> &'static str {
        match self.0 {
            SendError::Stopped => "CloseTimedOut",
            _ => self.0.class(),
        }
    }

    fn text(&self) -> String {
        match self.0 {
            SendError::Stopped => "the client was closed, and not all its messages had an answer within send_timeout: whether those were \
                                   published is not known"
                .to_owned(),
            _ => self.0.to_string(),
        }
    }
}

impl Raise for ConnectError {
    fn class(&self) -> &'static str {
        match self {
            Self::NoAnswer { .. } => "ConnectNoAnswer",
            Self::Refused { .. } => "ConnectRefused",
            Self::Unreachable { .. } => "ConnectUnreachable",
            Self::NoSuchHost { .. } => "ConnectNoSuchHost",
            Self::NotAHost { .. } | Self::NotAPort { .. } => "ConnectNotAHost",
            Self::NotMezzenger { .. } => "ConnectNotMezzenger",
            Self::WrongSocket { .. } => "ConnectWrongSocket",
            Self::Rejected { .. } => "ConnectRejected",
            Self::Security { .. } => "ConnectSecurity",
            Self::Option { .. } => "InvalidOption",
            Self::System(_) => "ConnectSystem",
            Self::Thread(_) => "ConnectThread",
            _ => "ConnectError",
        }
    }
    fn text(&self) -> String {
        self.to_string()
    }

    fn option(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Option { option, problem } => Some((option, problem)),
            _ => None,
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
            Self::NotAllowed { .. } => "SendNotAllowed",
            Self::UnsupportedVersion { .. } => "SendUnsupportedVersion",
            Self::PendingFull { .. } => "SendPendingFull",
            Self::JournalFailed { .. } => "SendJournalFailed",
            Self::ShuttingDown { .. } => "SendShuttingDown",
            Self::ChecksumMismatch { .. } => "SendChecksumMismatch",
            Self::Unknown { .. } => "SendUnknown",
            _ => "SendError",
        }
    }
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Raise for SubscribeError {
    fn class(&self) -> &'static str {
        match self {
            Self::Name(_) => "InvalidName",
            Self::Filter(_) | Self::Pattern { .. } => "InvalidFilter",
            Self::Option { .. } => "InvalidOption",
            Self::Refused { .. } => "SubscribeRefused",
            Self::NotAllowed { .. } => "SubscribeNotAllowed",
            Self::NotSubscribed { .. } => "NotSubscribed",
            Self::NotConfirmed { .. } => "SubscribeNotConfirmed",
            Self::Stopped => "Stopped",
            Self::Forked => "Forked",
            _ => "SubscribeError",
        }
    }
    fn text(&self) -> String {
        match self {
            Self::NotConfirmed { tries, timeout } => {
                unanswered("the subscription, which was taken back,", *tries, *timeout)
            }
            _ => self.to_string(),
        }
    }

    fn option(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Option { option, problem } => Some((option, problem)),
            _ => None,
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
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Raise for RequestError {
    fn class(&self) -> &'static str {
        match self {
            Self::NoSubscriber { .. } => "NoSubscriber",
            Self::TimedOut { .. } => "RequestTimedOut",
            Self::Failed { .. } => "RequestFailed",
            Self::Send(error) => error.class(),
            Self::Subscribe(error) => error.class(),
            _ => "RequestError",
        }
    }
    fn text(&self) -> String {
        match self {
            Self::Subscribe(error) => error.text(),
            _ => self.to_string(),
        }
    }
}

impl Raise for AdminError {
    fn class(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "AdminRefused",
            Self::NotAllowed { .. } => "AdminNotAllowed",
            Self::Name(_) => "InvalidName",
            Self::Filter(_) => "InvalidFilter",
            Self::Option { .. } => "InvalidOption",
            Self::Send(error) => match error {
                SendError::TimedOut { .. } | SendError::Full { .. } => "AdminTimedOut",
                SendError::Stopped | SendError::Forked => error.class(),
                _ => "AdminRefused",
            },
            _ => "AdminError",
        }
    }
    fn text(&self) -> String {
        match self {
            Self::Send(SendError::TimedOut { tries, timeout }) => {
                let text = unanswered("what the server was asked", *tries, *timeout);
                format!("{text}. What was to be changed may have been")
            }
            _ => self.to_string(),
        }
    }

    fn option(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Option { option, problem } => Some((option, problem)),
            _ => None,
        }
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
    fn text(&self) -> String {
        in_python(&self.to_string())
    }
}

impl Raise for RunError {
    fn class(&self) -> &'static str {
        match self {
            Self::Journal(_) | Self::DrainTimeout => "ServerJournalError",
            _ => "ServerError",
        }
    }
    fn text(&self) -> String {
        in_python(&self.to_string())
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

/// A text that names settings of a server as its command line does, with Python's names.
fn in_python(text: &str) -> String {
    let mut parts = text.split("--");
    let mut said = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(part.len());
        let (flag, rest) = part.split_at(end);
        said += match flag {
            "recv-port" => "port",
            "insecure" => "insecure=True",
            "repair" => "repair=True",
            _ => "",
        };
        if !matches!(flag, "recv-port" | "insecure" | "repair") {
            said += &flag.replace('-', "_");
        }
        said += rest;
    }
    said
}
