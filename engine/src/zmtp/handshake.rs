//! The handshake: a greeting of 64 bytes, then a READY command.

use super::command::{self, Command};
use super::error::ConnectionError;

/// Bytes of a greeting.
pub(crate) const GREETING_BYTES: usize = 64;

/// Version 3.0 with the NULL mechanism. To 3.0 libzmq speaks as to 3.1, but for the frames of
/// subscriptions.
pub(crate) const GREETING: [u8; GREETING_BYTES] = greeting(Mechanism::Null);

/// The same with PLAIN.
pub(crate) const GREETING_PLAIN: [u8; GREETING_BYTES] = greeting(Mechanism::Plain);

/// The same with CURVE.
pub(crate) const GREETING_CURVE: [u8; GREETING_BYTES] = greeting(Mechanism::Curve);

const fn greeting(mechanism: Mechanism) -> [u8; GREETING_BYTES] {
    let mut greeting = [0; GREETING_BYTES];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[VERSION] = 3;
    let (mut at, padded) = (0, mechanism.padded());
    while at < MECHANISM_BYTES {
        greeting[MECHANISM + at] = padded[at];
        at += 1;
    }
    greeting
}

/// How the ends of a connection know each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// Not at all.
    Null,
    /// The client by a user's name and password.
    Plain,
    /// By their keys, and all that they say is encrypted.
    Curve,
}

impl Mechanism {
    const fn name(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Plain => "PLAIN",
            Self::Curve => "CURVE",
        }
    }

    /// Its name as it stands in a greeting.
    pub(super) const fn padded(self) -> [u8; MECHANISM_BYTES] {
        let (mut padded, name) = ([0; MECHANISM_BYTES], self.name().as_bytes());
        let mut at = 0;
        while at < name.len() {
            padded[at] = name[at];
            at += 1;
        }
        padded
    }
}

/// Where the major version stands.
pub(super) const VERSION: usize = 10;
/// Where the mechanism's name stands, padded with zeros.
pub(super) const MECHANISM: usize = 12;
pub(super) const MECHANISM_BYTES: usize = 20;

/// What a socket is to its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sends requests and receives their answers.
    Dealer,
    /// Receives what it subscribed to.
    Sub,
}

impl Kind {
    /// What it calls itself.
    pub(crate) fn name(self) -> &'static [u8] {
        match self {
            Self::Dealer => b"DEALER",
            Self::Sub => b"SUB",
        }
    }

    /// What is to answer, for people.
    fn peer(self) -> &'static str {
        match self {
            Self::Dealer => "ROUTER",
            Self::Sub => "XPUB",
        }
    }

    fn talks_to(self, peer: &[u8]) -> bool {
        match self {
            Self::Dealer => peer == b"ROUTER",
            Self::Sub => peer == b"XPUB" || peer == b"PUB",
        }
    }
}

/// The READY command of a socket with this name, as a frame.
pub(crate) fn ready(socket: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    command::append_ready(socket, &mut frame);
    frame
}

/// Checks what is there of the server's greeting: who speaks otherwise may never say as much as a
/// greeting has bytes. `wanted`: the mechanism that this end has.
///
/// # Errors
/// [`ConnectionError::Foreign`], and an error for each pair of mechanisms that do not fit.
pub(crate) fn check_greeting(received: &[u8], wanted: Mechanism) -> Result<(), ConnectionError> {
    let is_wrong = |at: usize, right: fn(u8) -> bool| received.get(at).is_some_and(|&b| !right(b));
    if is_wrong(0, |byte| byte == 0xff)
        || is_wrong(9, |byte| byte & 1 == 1)
        || is_wrong(VERSION, |byte| byte >= 3)
    {
        return Err(ConnectionError::Foreign);
    }
    let Some(mechanism) = received.get(MECHANISM..MECHANISM + MECHANISM_BYTES) else {
        return Ok(());
    };
    if mechanism == wanted.padded() {
        return Ok(());
    }
    let name = mechanism.split(|&byte| byte == 0).next().unwrap_or_default();
    Err(match (name, wanted) {
        (b"CURVE", Mechanism::Null | Mechanism::Plain) => ConnectionError::NeedsKeys,
        (b"PLAIN", Mechanism::Null) => ConnectionError::NeedsLogin,
        (b"NULL", Mechanism::Plain) => ConnectionError::HasNoUsers,
        (b"NULL" | b"PLAIN", Mechanism::Curve) => ConnectionError::HasNoKeys,
        _ => ConnectionError::Mechanism(String::from_utf8_lossy(name).into_owned()),
    })
}

/// The properties of a READY command of a socket with this name.
pub(crate) fn properties(socket: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    command::append_socket_type(socket, &mut list);
    list
}

/// Checks the first command of the server, a frame's body.
///
/// # Errors
/// [`ConnectionError::Refused`], [`ConnectionError::WrongSocket`], [`ConnectionError::Malformed`].
pub(crate) fn check_ready(body: &[u8], kind: Kind) -> Result<(), ConnectionError> {
    if let Some(reason) = body.strip_prefix(b"\x05ERROR") {
        let text = reason.get(1..).unwrap_or_default();
        return Err(ConnectionError::Refused(String::from_utf8_lossy(text).into_owned()));
    }
    let Ok(Command::Ready(properties)) = Command::read(body) else {
        return Err(ConnectionError::Malformed);
    };
    check_properties(properties, kind)
}

/// Checks what the server says of itself: a list of properties.
///
/// # Errors
/// [`ConnectionError::WrongSocket`], [`ConnectionError::Malformed`].
pub(crate) fn check_properties(properties: &[u8], kind: Kind) -> Result<(), ConnectionError> {
    for property in command::properties(properties) {
        let (name, value) = property.map_err(|_| ConnectionError::Malformed)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            if kind.talks_to(value) {
                return Ok(());
            }
            let found = String::from_utf8_lossy(value).into_owned();
            return Err(ConnectionError::WrongSocket { found, expected: kind.peer() });
        }
    }
    Err(ConnectionError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_first_is_as_the_specification_shows_it() {
        assert_eq!(GREETING[..16], *b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL");
        assert!(GREETING[16..].iter().all(|&byte| byte == 0));
        assert_eq!(ready(Kind::Sub.name()), *b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB");
    }

    #[test]
    fn only_the_socket_that_is_meant_is_accepted() {
        let body = |socket: &str| ready(socket.as_bytes())[2..].to_vec();
        for (kind, socket) in [(Kind::Dealer, "ROUTER"), (Kind::Sub, "XPUB"), (Kind::Sub, "PUB")] {
            check_ready(&body(socket), kind).unwrap();
        }
        let error = check_ready(&body("XPUB"), Kind::Dealer).unwrap_err();
        assert!(error.to_string().contains("are the two ports swapped?"), "{error}");
        let refused = check_ready(b"\x05ERROR\x09Not today", Kind::Sub).unwrap_err();
        assert!(refused.to_string().ends_with("Not today"), "{refused}");
    }

    #[test]
    fn garbage_is_refused_and_no_part_of_a_command_is_read_beyond_its_end() {
        let whole = &ready(b"XPUB")[2..];
        for end in 0..whole.len() {
            assert!(check_ready(&whole[..end], Kind::Sub).is_err());
        }
        for end in 0..=GREETING_BYTES {
            check_greeting(&GREETING[..end], Mechanism::Null).unwrap();
            check_greeting(&GREETING_CURVE[..end], Mechanism::Curve).unwrap();
        }
        let needs_keys = check_greeting(&GREETING_CURVE, Mechanism::Null);
        assert!(matches!(needs_keys, Err(ConnectionError::NeedsKeys)));
        let has_none = check_greeting(&GREETING, Mechanism::Curve);
        assert!(matches!(has_none, Err(ConnectionError::HasNoKeys)));
        let broken = |at: usize, byte| {
            let mut greeting = GREETING;
            greeting[at] = byte;
            // What comes after the wrong byte is not waited for.
            let received = &greeting[..(at + 1).max(MECHANISM + MECHANISM_BYTES)];
            check_greeting(received, Mechanism::Null)
        };
        let foreign = check_greeting(b"H", Mechanism::Null);
        assert!(matches!(foreign, Err(ConnectionError::Foreign)));
        assert!(matches!(broken(0, b'H'), Err(ConnectionError::Foreign)));
        assert!(matches!(broken(VERSION, 2), Err(ConnectionError::Foreign)));
        for at in [MECHANISM, MECHANISM + MECHANISM_BYTES - 1] {
            assert!(matches!(broken(at, b'P'), Err(ConnectionError::Mechanism(_))));
        }
    }
}
