//! Why a connection ends.

use std::io;
use std::time::Duration;

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
    /// The system refused, or the peer.
    #[error("{0}; is the server running, at this address?")]
    System(#[from] io::Error),
    /// The peer closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// Making the connection took too long.
    #[error("no connection within {0:?}; is this the server's address?")]
    Slow(Duration),
    /// Nothing came back for too long.
    #[error("the server gave no sign of life for {0:?}")]
    Silent(Duration),
    /// What answers is no ZeroMQ socket, or too old a one.
    #[error("what answers there speaks no ZMTP 3; is this the server's port?")]
    Foreign,
    /// The server asks for authentication.
    #[error("the server asks for the mechanism {0}, and this client has none")]
    Mechanism(String),
    /// The server refused this client.
    #[error("the server refused the connection: {0}")]
    Refused(String),
    /// A ZeroMQ socket, but another one.
    #[error("a {found} socket answers there, and not {expected}; are the two ports swapped?")]
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
