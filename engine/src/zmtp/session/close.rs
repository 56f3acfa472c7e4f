//! Reasons for which the server closes a connection.

use crate::zmtp::curve::CurveError;
use crate::zmtp::curve::keys::PublicKey;
use crate::zmtp::error::ConnectionError;
use crate::zmtp::greeting::GreetingError;

/// Why the server closes a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloseReason {
    /// The peer speaks something else.
    #[error(transparent)]
    Greeting(#[from] GreetingError),
    /// The peer's bytes break the protocol.
    #[error("it broke the protocol: {0}")]
    Protocol(&'static str),
    /// An encrypted frame is larger than a request with the largest message. What it would be is said by its content, which
    /// nobody has authenticated, so that there is no answer that could say why.
    #[error(
        "an encrypted frame of {bytes} bytes is over the limit of {bytes_max}; send smaller messages or raise \
         --max-message-size"
    )]
    TooLarge {
        /// Bytes of the frame.
        bytes: u64,
        /// Bytes that it may have.
        bytes_max: usize,
    },
    /// The peer's socket has no business here.
    #[error("it is a {found} socket, and this is the port for {expected}")]
    WrongSocket {
        /// What the peer is.
        found: String,
        /// What may connect.
        expected: String,
    },
    /// The peer's part of CURVE is wrong.
    #[error(transparent)]
    Curve(#[from] CurveError),
    /// The peer proved that it has this key, which is not accepted.
    #[error("its key {0} is not among the authorized ones")]
    NotAuthorized(Box<PublicKey>),
    /// The peer said the name and password of no user.
    #[error("the name '{}' with the password that it said is that of no user", _0.escape_debug())]
    WrongLogin(String),
    /// The connection is lost, or the peer ended it.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

impl CloseReason {
    /// Whether the peer learns why before the connection is closed: in its greeting, which mechanism is asked for; by an
    /// ERROR, after which a libzmq client does not try again, what no further attempt would change.
    pub(crate) fn is_told(&self) -> bool {
        match self {
            Self::WrongSocket { .. } | Self::NotAuthorized(_) | Self::WrongLogin(_) => true,
            Self::Greeting(error) => {
                use GreetingError::{Mechanism, NotCurve, NotPlain};
                matches!(error, Mechanism | NotCurve | NotPlain)
            }
            Self::Protocol(_) | Self::TooLarge { .. } | Self::Curve(_) | Self::Connection(_) => {
                false
            }
        }
    }
}
