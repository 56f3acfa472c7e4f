//! Errors that end a connection.

use std::io;
use std::time::Duration;

use super::curve::CurveError;
use super::curve::keys::PublicKey;

/// Why a connection could not be made, or was given up. A new one follows in any case.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The host name has no address.
    #[error("cannot find the address of {host}: {source}; check the name")]
    Resolve {
        /// The name.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// The host name is known, and has no address.
    #[error("the host has no address; check the name")]
    NoAddress,
    /// Every address of the host rejected the connection.
    #[error("{0}: nothing listens there; is the server running, at this address and port?")]
    NobodyListens(#[source] io::Error),
    /// There is no way to the host.
    #[error("{0}; check the address and the network")]
    Unreachable(#[source] io::Error),
    /// The system reports an error.
    #[error("{0}; is the server running, at this address?")]
    System(#[from] io::Error),
    /// The peer closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// Making the connection took too long.
    #[error("no connection within {0:?}; is this the server's address?")]
    Slow(Duration),
    /// Nothing came back for too long.
    #[error("the server answered no ping for {0:?}")]
    Silent(Duration),
    /// Requests were not answered, and a new connection is to be tried.
    #[error("requests were not answered for {0:?}")]
    Unanswered(Duration),
    /// What answers speaks another protocol, which is known.
    #[error("what answers there speaks {0}, not ZMTP 3")]
    Protocol(&'static str),
    /// What answers is no ZeroMQ socket, or too old a one.
    #[error("what answers there speaks no ZMTP 3")]
    Foreign,
    /// The server asks for keys, and this client has none.
    #[error(
        "the server asks for keys (CURVE), and this client was given none: give it its own and the server's public key"
    )]
    NeedsKeys,
    /// This client has keys, and the server none.
    #[error(
        "the server has no keys (CURVE), and this client talks only to the server whose key it was given: start the server \
         with its keys, or this client without"
    )]
    HasNoKeys,
    /// The server asks for a user's name and password, and this client has none.
    #[error(
        "the server asks for a user's name and password (PLAIN), and this client was given none"
    )]
    NeedsLogin,
    /// This client has a user's name and password, and the server asks for none.
    #[error(
        "the server has no users, and this client was given a name and a password, which it does not say to a server that \
         asks for none: start it without"
    )]
    HasNoUsers,
    /// The server does not take the user's name and password.
    #[error("the server does not accept the name '{}' with this password", _0.escape_debug())]
    WrongLogin(String),
    /// The server asks for another authentication.
    #[error("the server asks for the security mechanism {0}, which this client does not have")]
    Mechanism(String),
    /// The server does not accept this client's key.
    #[error("the server does not accept this client's key {0}: have it authorized there")]
    NotAuthorized(Box<PublicKey>),
    /// The server ended the connection before it showed that it has its key.
    #[error("the server closed the connection within the handshake: is {0} its public key?")]
    ServerKey(Box<PublicKey>),
    /// The server's part of CURVE is wrong.
    #[error("the server's security handshake or encryption is wrong: {0}")]
    Curve(#[from] CurveError),
    /// The server rejected this client.
    #[error("the server rejected the connection: {0}")]
    Refused(String),
    /// A ZeroMQ socket, but another one.
    #[error(
        "a ZeroMQ socket of type {found} answers there, and {expected} is needed: are the two ports swapped?"
    )]
    WrongSocket {
        /// What it says it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The bytes mean nothing.
    #[error("the server sent what is no ZMTP 3 frame")]
    Malformed,
    /// A frame beyond the bound.
    #[error(
        "the server sent a message of {bytes} bytes, and {bytes_max} are allowed; give this client a \
         larger max_message_size"
    )]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The bound.
        bytes_max: usize,
    },
}

/// What other servers say first, or answer to a ZMTP greeting.
const PROTOCOLS: [(&[u8], &str); 8] = [
    (b"HTTP/", "HTTP"),
    (b"SSH-", "SSH"),
    (b"INFO {", "NATS"),
    (b"-ERR", "RESP (Redis)"),
    (b"220", "SMTP or FTP"),
    (b"AMQP", "AMQP"),
    (b"\x15\x03", "TLS"),
    (b"\x16\x03", "TLS"),
];

impl ConnectionError {
    /// The error for a peer whose greeting is none.
    pub(crate) fn foreign(received: &[u8]) -> Self {
        let known = PROTOCOLS.iter().find(|(begin, _)| received.starts_with(begin));
        known.map_or(Self::Foreign, |(_, name)| Self::Protocol(name))
    }

    /// The error for an address that could not be connected to.
    pub(crate) fn from_address(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Self::Unreachable(error)
            }
            _ => Self::System(error),
        }
    }

    /// Whether it is about all addresses of all servers, not about the one that was reached.
    pub(crate) fn is_of_all(&self) -> bool {
        matches!(self, Self::Resolve { .. } | Self::NoAddress | Self::NobodyListens(_))
    }

    /// Whether the ends do not agree about keys.
    pub(crate) fn is_about_keys(&self) -> bool {
        matches!(
            self,
            Self::NeedsKeys
                | Self::HasNoKeys
                | Self::NotAuthorized(_)
                | Self::ServerKey(_)
                | Self::NeedsLogin
                | Self::HasNoUsers
                | Self::WrongLogin(_)
                | Self::Curve(_)
        )
    }

    /// Whether a further attempt would end the same way, until somebody changes something.
    pub(crate) fn is_certain(&self) -> bool {
        match self {
            // The resolver has no other way to say that it was not reached.
            Self::Resolve { source, .. } => {
                let text = source.to_string();
                !(text.contains("Temporary failure") || text.contains("Try again"))
            }
            Self::NoAddress
            | Self::NobodyListens(_)
            | Self::Protocol(_)
            | Self::Foreign
            | Self::NeedsKeys
            | Self::HasNoKeys
            | Self::NeedsLogin
            | Self::HasNoUsers
            | Self::WrongLogin(_)
            | Self::Mechanism(_)
            | Self::NotAuthorized(_)
            | Self::Curve(_)
            | Self::Refused(_)
            | Self::WrongSocket { .. }
            | Self::Malformed
            | Self::TooLarge { .. } => true,
            Self::Unreachable(_)
            | Self::ServerKey(_)
            | Self::System(_)
            | Self::Closed
            | Self::Slow(_)
            | Self::Silent(_)
            | Self::Unanswered(_) => false,
        }
    }
}
