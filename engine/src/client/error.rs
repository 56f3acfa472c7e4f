//! Errors: one type for each family of calls, a variant for each reason.

mod admin;
mod receive;

use std::error::Error;
use std::io;
use std::time::Duration;

pub use self::admin::AdminError;
pub use self::receive::{ReceiveError, SubscribeError};
use crate::plural::counted;
use crate::wire::name::NameError;
use crate::wire::properties::PropertiesError;
use crate::wire::reply::ErrorCode;
use crate::zmtp::error::ConnectionError;

/// An option with a value that cannot work: the builder's method, and the rule.
pub(super) type Problem = (&'static str, &'static str);

/// Why a client could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server did not answer in time. A later attempt may succeed.
    #[error(
        "could not connect to {address}:{port}: no answer within {} of {timeout:?}{}; check \
         that mezzenger-server runs there and that the ports match",
        counted(*tries, "try", "tries"),
        last(source.as_deref())
    )]
    NoAnswer {
        /// The server's address.
        address: String,
        /// The port that did not answer.
        port: u16,
        /// How long each try waited, the look-up of a host name not counted.
        timeout: Duration,
        /// How many tries were made.
        tries: u32,
        /// What the last attempt to connect met, if it failed before a request was sent.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Nothing listens at this port: every address of the host rejected the connection.
    #[error(
        "could not connect to {address}:{port}: {source}: nothing listens there; start mezzenger-server, \
         or check the address and the port"
    )]
    Refused {
        /// The server's address.
        address: String,
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// The host cannot be reached. The client tried until its time was over, because networks come back.
    #[error("could not connect to {address}:{port}: {source}; check the address and the network")]
    Unreachable {
        /// The server's address.
        address: String,
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// There is no such host.
    #[error("could not connect to {host}: no such host: {source}; check the name")]
    NoSuchHost {
        /// The host.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// `server_address` is neither a host nor a URL.
    #[error(
        "the server's address '{address}' is neither a host nor a URL: give '{host}' alone, or with its port, as HOST:PORT or \
         mezzenger://HOST:PORT"
    )]
    NotAHost {
        /// What was given.
        address: String,
        /// The right form.
        host: String,
    },
    /// The port in `server_address` is not between 1 and 65535.
    #[error("the server's address '{address}' has port {port}: give one of 1 to 65535")]
    NotAPort {
        /// What was given.
        address: String,
        /// The port in it.
        port: String,
    },
    /// The peer speaks another protocol, or requires credentials that this client does not have.
    #[error(
        "could not connect to {address}:{port}: this is no Mezzenger server: {source}; check the address and the port"
    )]
    NotMezzenger {
        /// The server's address.
        address: String,
        /// The port.
        port: u16,
        /// What it does instead.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The keys of the server and of this client do not fit (CURVE): one has no keys, or does not accept those of the other.
    #[error("could not connect to {address}:{port}: {source}")]
    Security {
        /// The server's address.
        address: String,
        /// The port.
        port: u16,
        /// The difference.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A ZeroMQ socket of another type answers, such as the server's own at its `--pub-port`.
    #[error(
        "could not connect to {address}:{port}: a ZeroMQ socket of type {found} answers there, and {expected} is needed; \
         give the server's --recv-port (7202 by default), not its --pub-port"
    )]
    WrongSocket {
        /// The server's address.
        address: String,
        /// The port.
        port: u16,
        /// The type that it says it has.
        found: String,
        /// The type that is needed.
        expected: &'static str,
    },
    /// The server answered with an error.
    #[error("could not connect to {address}:{port}: the server rejected the connection: {source}")]
    Rejected {
        /// The server's address.
        address: String,
        /// Its request port.
        port: u16,
        /// What it answered.
        source: SendError,
    },
    /// An option has a value that cannot work.
    #[error("the option {option} {problem}")]
    Option {
        /// The builder's method.
        option: &'static str,
        /// What is wrong with the value.
        problem: &'static str,
    },
    /// The system has no descriptors left.
    #[error("could not connect: {0}; check the limit of open files (ulimit -n)")]
    System(#[source] io::Error),
    /// Called in a callback that reports something, on the thread that reads what a server sends.
    #[error("a callback that reports must not wait for a server: connect from another thread")]
    InCallback,
    /// The runtime lacks what a client whose calls are futures needs.
    #[cfg(feature = "tokio")]
    #[error("could not connect: this takes a tokio runtime with enable_all(), and {problem}")]
    Runtime {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A thread could not be started.
    #[error("could not connect: a thread could not be started: {0}; check the process limits")]
    Thread(#[source] io::Error),
}

/// What the last attempt met, for an error's text.
fn last(source: Option<&(dyn Error + Send + Sync)>) -> String {
    source.map_or_else(String::new, |source| format!(", the last: {source}"))
}

impl ConnectError {
    /// The error for a failure that a further attempt would meet again.
    pub(super) fn certain(address: String, port: u16, failure: ConnectionError) -> Self {
        match failure {
            ConnectionError::NobodyListens(source) => Self::Refused { address, port, source },
            ConnectionError::Resolve { host, source } => Self::NoSuchHost { host, source },
            failure @ ConnectionError::NoAddress => {
                Self::NoSuchHost { host: address, source: io::Error::other(failure) }
            }
            ConnectionError::WrongSocket { found, expected } => {
                Self::WrongSocket { address, port, found, expected }
            }
            source if source.is_about_keys() => {
                Self::Security { address, port, source: source.into() }
            }
            source => Self::NotMezzenger { address, port, source: source.into() },
        }
    }

    /// The error for a server that did not answer, after this failure.
    pub(super) fn no_answer(
        address: String,
        port: u16,
        timeout: Duration,
        tries: u32,
        failure: Option<ConnectionError>,
    ) -> Self {
        match failure {
            Some(ConnectionError::Unreachable(source)) => {
                Self::Unreachable { address, port, source }
            }
            failure => {
                let source = failure.map(Into::into);
                Self::NoAnswer { address, port, timeout, tries, source }
            }
        }
    }
}

/// Why a message was not published, or why that is not known.
///
/// [`Self::Full`], [`Self::PendingFull`], [`Self::ShuttingDown`] and [`Self::ChecksumMismatch`] mean that the message was not published: it may be
/// published again, after a pause. [`Self::JournalFailed`] is the same, once the server was restarted with a journal that works. After [`Self::TimedOut`] and
/// [`Self::Stopped`] nobody knows whether it was published; publishing it again is safe with an
/// [idempotency key](crate::OutgoingMessage::idempotency_key), as long as the server remembers the key (two minutes by default). The other errors
/// repeat until the message, the program or the server's settings change.
///
/// Several messages travel in one frame and share its fate, hence `Clone`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The message is larger than this client sends.
    #[error(
        "the message needs {bytes} bytes and max_message_size is {bytes_max}: split it, or raise the \
         limit at the client and at the server (--max-message-size)"
    )]
    TooLarge {
        /// Bytes of the message as it would travel.
        bytes: usize,
        /// The client's limit in bytes.
        bytes_max: usize,
    },
    /// The properties of the message break a rule.
    #[error(transparent)]
    Properties(#[from] PropertiesError),
    /// The message does not name where a reply goes.
    #[error("the message asks for no answer: it was published, and not sent as a request")]
    NoReplyWanted,
    /// The value of a typed message could not be archived.
    #[error("the value could not be archived: {text}")]
    Archive {
        /// What rkyv says.
        text: String,
    },
    /// The message never left: the server did not take earlier ones in time.
    #[error(
        "no room within {waited:?}: the server does not keep up or is away; the message was not sent"
    )]
    Full {
        /// How long the message waited.
        waited: Duration,
    },
    /// The server did not answer. It may or may not have published the message.
    #[error(
        "no answer within {} of {timeout:?}: whether the message was published is not \
         known; check the server, and publish again if a duplicate does no harm",
        counted(*tries, "try", "tries")
    )]
    TimedOut {
        /// How often the message was sent.
        tries: u32,
        /// How long each try waited for the answer.
        timeout: Duration,
    },
    /// Called in a callback that reports something, on the thread that reads the server's answers.
    #[error(
        "a callback that reports must not wait for the server: publish without waiting, or use another thread"
    )]
    InCallback,
    /// The client was stopped, or its thread ended, before the server answered.
    #[error("the client has stopped; make a new one to go on")]
    Stopped,
    /// This process was forked from the one that made the client, whose connection and threads stay there.
    #[error("this process was forked from the one that made the client: make a new client here")]
    Forked,
    /// The server says that the request breaks a rule of the format.
    #[error("the server rejected the message as malformed: {text}")]
    Malformed {
        /// The server's explanation.
        text: String,
    },
    /// The message is larger than the server accepts. It was not sent.
    #[error(
        "the message needs {bytes} bytes and the server takes {bytes_max}: split it, or raise the \
         server's --max-message-size"
    )]
    TooLargeForServer {
        /// Bytes of the message as it would travel.
        bytes: usize,
        /// The server's limit in bytes when the client connected.
        bytes_max: usize,
    },
    /// The server rejected the request as too large: its limit was lowered while the message waited.
    #[error("the server rejected the message as too large: {text}; see its --max-message-size")]
    RefusedAsTooLarge {
        /// The server's explanation.
        text: String,
    },
    /// The server says that the message's publisher id was not proved on this connection.
    #[error("the server rejected the publisher id: {text}; use the same release of both")]
    NotYours {
        /// The server's explanation.
        text: String,
    },
    /// The server does not allow this client to publish under this name.
    #[error("{text}")]
    NotAllowed {
        /// The server's explanation: what was asked for, and what this client may do.
        text: String,
    },
    /// The server does not speak this client's format.
    #[error("the server does not speak this client's format: {text}; use the same release of both")]
    UnsupportedVersion {
        /// The server's explanation.
        text: String,
    },
    /// The server holds as many unacknowledged messages as it may.
    #[error("the server rejected the message: {text}")]
    PendingFull {
        /// The server's explanation.
        text: String,
    },
    /// The server can no longer store messages durably.
    #[error("the server cannot store messages durably: {text}")]
    JournalFailed {
        /// The server's explanation.
        text: String,
    },
    /// The server is shutting down, and no other server accepted the message in time.
    #[error("the server is shutting down: {text}; retry when it is back")]
    ShuttingDown {
        /// The server's explanation.
        text: String,
    },
    /// The message was damaged in transit.
    #[error("the message's checksum did not match at the server: {text}; send it again")]
    ChecksumMismatch {
        /// The server's explanation.
        text: String,
    },
    /// The server answered with a code that this client does not know.
    #[error("the server rejected the message: {text} (code {code}, not known to this release)")]
    Unknown {
        /// The code; 0 when the answer was no reply at all.
        code: u16,
        /// The server's explanation.
        text: String,
    },
}

/// What is said of an answer that is none.
pub(super) fn unreadable(answer: &[u8]) -> String {
    format!("an answer of {} bytes that this client cannot read", answer.len())
}

impl SendError {
    /// The error for a server's rejection.
    pub(crate) fn refused(code: Option<ErrorCode>, raw_code: u16, text: String) -> Self {
        match code {
            Some(ErrorCode::Malformed) => Self::Malformed { text },
            Some(ErrorCode::TooLarge) => Self::RefusedAsTooLarge { text },
            Some(ErrorCode::NotYours) => Self::NotYours { text },
            Some(ErrorCode::NotAllowed) => Self::NotAllowed { text },
            Some(ErrorCode::UnsupportedVersion) => Self::UnsupportedVersion { text },
            Some(ErrorCode::PendingFull) => Self::PendingFull { text },
            Some(ErrorCode::JournalFailed) => Self::JournalFailed { text },
            Some(ErrorCode::ShuttingDown) => Self::ShuttingDown { text },
            Some(ErrorCode::ChecksumMismatch) => Self::ChecksumMismatch { text },
            // No message is a subscription.
            Some(ErrorCode::Subscription | ErrorCode::Letter | ErrorCode::Group) | None => {
                Self::Unknown { code: raw_code, text }
            }
        }
    }
}

/// What is not known after an error.
pub(super) fn doubt(error: &SendError) -> &'static str {
    match error {
        SendError::TimedOut { .. } | SendError::Stopped => {
            "; what was asked for may have been done"
        }
        _ => "",
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nobody who could reply received the request: only observers are subscribed to the name, or no member of a group has credit.
    #[error(
        "nobody takes requests under '{name}' now: nobody but observers is subscribed to it, or no member of a group has room"
    )]
    NoSubscriber {
        /// The request's name.
        name: String,
    },
    /// No reply arrived in time. The request may have been processed.
    #[error("no answer to the request under '{name}' within {timeout:?}")]
    TimedOut {
        /// The request's name.
        name: String,
        /// How long the call waited.
        timeout: Duration,
    },
    /// The receiver replied that it failed, with [`Delivery::reply_error`](crate::Delivery::reply_error).
    #[error("the request under '{name}' failed: {reason}")]
    Failed {
        /// The request's name.
        name: String,
        /// The receiver's reason.
        reason: String,
    },
    /// The request was not published.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The subscription to replies failed.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_there_is_no_way_to_is_named_with_what_the_system_says() {
        for kind in [io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable] {
            let failure = ConnectionError::from_address(kind.into());
            // Networks come back, so it is tried until time is over.
            assert!(!failure.is_certain());
            let timeout = Duration::from_secs(2);
            let error = ConnectError::no_answer("host".into(), 7202, timeout, 5, Some(failure));
            let ConnectError::Unreachable { address, port: 7202, source } = &error else {
                panic!("{error:?}")
            };
            assert_eq!((&address[..], source.kind()), ("host", kind));
            let text = error.to_string();
            assert!(text.starts_with(&format!("could not connect to host:7202: {kind}")), "{text}");
        }
        let other = ConnectionError::from_address(io::ErrorKind::TimedOut.into());
        let error = ConnectError::no_answer("host".into(), 7202, Duration::ZERO, 5, Some(other));
        assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error:?}");
    }
}
