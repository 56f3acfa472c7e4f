//! CURVE: authenticated and encrypted connections, as [CurveZMQ](https://rfc.zeromq.org/spec/26/) says. Pure, but
//! for random bytes.
//!
//! The client says HELLO with a short-term key that is made for this connection, and shows that it knows the server's
//! public key. The server answers WELCOME with a short-term key of its own, and a cookie. With INITIATE the client
//! returns the cookie, and proves that its long-term key vouches for the short-term one. After READY all frames travel
//! within MESSAGE commands, sealed with the short-term keys.
//!
//! - [`primitives`]: the four functions of the library that does the cryptography.
//! - [`z85`], [`keys`]: keys and their text; whose keys are accepted.
//! - [`client`], [`server`]: both ends of the handshake; [`traffic`]: what travels after it.

pub(crate) mod client;
pub(crate) mod keys;
mod primitives;
pub(crate) mod server;
#[cfg(test)]
mod tests;
pub(crate) mod traffic;
mod z85;

use self::primitives::{KEY_BYTES, NONCE_BYTES, SharedKey, TAG_BYTES};

/// Bytes of a nonce that is counted: the number behind a prefix.
const COUNT_BYTES: usize = 8;
/// Bytes of a nonce that is random, behind a prefix.
const RANDOM_BYTES: usize = 16;

/// Bytes of the cookie that a client returns.
const COOKIE_BYTES: usize = RANDOM_BYTES + 2 * KEY_BYTES + TAG_BYTES;
/// Bytes of a vouch: a nonce, and two keys in a box.
const VOUCH_BYTES: usize = RANDOM_BYTES + 2 * KEY_BYTES + TAG_BYTES;

/// What stands behind HELLO: version 1.0, and zeros, so that no answer is longer than what asked for it.
const HELLO_HEAD: [u8; 74] = {
    let mut head = [0; 74];
    head[0] = 1;
    head
};
/// What the box of a HELLO holds.
const HELLO_CONTENT: [u8; 64] = [0; 64];

/// The reason of the ERROR for a client whose key is not accepted: the status of
/// [ZAP](https://rfc.zeromq.org/spec/27/) that libzmq tells as failed authentication.
pub(crate) const NOT_AUTHORIZED: &str = "400";

/// Why a peer's bytes end the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CurveError {
    /// Another command than the one whose turn it is, or one of another size.
    #[error("its {0} command is missing or has the wrong size")]
    Command(&'static str),
    /// The client's first box does not open.
    #[error("its HELLO cannot be opened: it was made for another server key")]
    Hello,
    /// A box does not open.
    #[error("its {0} cannot be opened: it was changed in transit, or made with other keys")]
    Box(&'static str),
    /// The cookie is not the one that this connection was given.
    #[error("its cookie is not the one of this connection")]
    Cookie,
    /// The vouch is about other keys.
    #[error("its vouch is not for this connection and this server")]
    Vouch,
    /// A number that does not rise: a repeated, or a forged frame.
    #[error("the nonce of a MESSAGE does not rise")]
    Nonce,
    /// The client proved which key it has, and that is not accepted.
    #[error("its key is not among the authorized ones")]
    NotAuthorized,
}

/// The nonce of so manieth box behind this prefix.
fn counted(prefix: &[u8; NONCE_BYTES - COUNT_BYTES], count: u64) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    let (head, tail) = nonce.split_at_mut(NONCE_BYTES - COUNT_BYTES);
    head.copy_from_slice(prefix);
    tail.copy_from_slice(&count.to_be_bytes());
    nonce
}

/// The nonce with these random bytes behind this prefix.
fn random(
    prefix: &[u8; NONCE_BYTES - RANDOM_BYTES],
    bytes: &[u8; RANDOM_BYTES],
) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    let (head, tail) = nonce.split_at_mut(NONCE_BYTES - RANDOM_BYTES);
    head.copy_from_slice(prefix);
    tail.copy_from_slice(bytes);
    nonce
}

/// Both parts of a command of the handshake behind its name: the bytes before the box, as fields of fixed size, and
/// the box. `None` if it is another command, or shorter.
fn split<'a, const N: usize>(body: &'a [u8], name: &[u8]) -> Option<(&'a [u8; N], &'a [u8])> {
    let (&length, rest) = body.split_first()?;
    let (found, rest) = rest.split_at_checked(usize::from(length))?;
    if found == name { rest.split_first_chunk() } else { None }
}

/// The keys that a connection has after its handshake.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// For what this end sends.
    pub(crate) sealer: traffic::Sealer,
    /// For what it receives.
    pub(crate) opener: traffic::Opener,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

impl Traffic {
    /// `role`: which end this is. `sent` and `received`: the last numbers of nonces that were used.
    fn new(key: &SharedKey, role: Role, sent: u64, received: u64) -> Self {
        let (ours, theirs) = match role {
            Role::Client => (b"CurveZMQMESSAGEC", b"CurveZMQMESSAGES"),
            Role::Server => (b"CurveZMQMESSAGES", b"CurveZMQMESSAGEC"),
        };
        Self {
            sealer: traffic::Sealer::new(key.clone(), ours, sent),
            opener: traffic::Opener::new(key.clone(), theirs, received),
        }
    }
}

#[cfg(any(test, feature = "internals"))]
impl Traffic {
    /// Both ends of a connection after its handshake: the client's, the server's.
    pub(crate) fn pair() -> (Self, Self) {
        let [one, other] = [(); 2].map(|()| keys::KeyPair::generate());
        let key = one.secret().agree(&other.public());
        (Self::new(&key, Role::Client, 2, 1), Self::new(&key, Role::Server, 1, 2))
    }
}
