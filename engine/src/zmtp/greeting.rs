//! The server's greeting, sent in the steps that peers of every version expect.
//!
//! A peer of ZMTP 2.0 reads a socket type where one of 3.x reads a minor version, so this end says no more
//! than its own major version before it knows the peer's.

use super::handshake::{GREETING_BYTES, MECHANISM, MECHANISM_BYTES, Mechanism, VERSION};

/// The signature and the major version: all that goes to a peer whose version is not known yet.
pub(crate) const FIRST: [u8; VERSION + 1] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3];

/// Where a greeting says whether its sender is the server of the mechanism.
const AS_SERVER: usize = MECHANISM + MECHANISM_BYTES;

/// What follows to a peer of 3.x: minor version 1, the mechanism, and zeros.
pub(crate) const REST_V3: [u8; GREETING_BYTES - FIRST.len()] = rest(Mechanism::Null);

/// The same with PLAIN, which has a server.
pub(crate) const REST_V3_PLAIN: [u8; GREETING_BYTES - FIRST.len()] = rest(Mechanism::Plain);

/// The same with CURVE, which has one, too.
pub(crate) const REST_V3_CURVE: [u8; GREETING_BYTES - FIRST.len()] = rest(Mechanism::Curve);

const fn rest(mechanism: Mechanism) -> [u8; GREETING_BYTES - FIRST.len()] {
    let mut rest = [0; GREETING_BYTES - FIRST.len()];
    rest[0] = 1;
    let (mut at, padded) = (0, mechanism.padded());
    while at < MECHANISM_BYTES {
        rest[MECHANISM - FIRST.len() + at] = padded[at];
        at += 1;
    }
    rest[AS_SERVER - FIRST.len()] = !matches!(mechanism, Mechanism::Null) as u8;
    rest
}

/// What the peer's revision byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// ZMTP 2.0: a socket type and an identity follow.
    V2,
    /// ZMTP 3.0, 3.1 or later: a greeting of 64 bytes, then commands.
    V3,
}

/// Why a peer's first bytes are no greeting that this end understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GreetingError {
    /// ZMTP 1.0, which libzmq spoke before version 3.
    #[error("it speaks ZMTP 1.0, which this server does not: use ZeroMQ 3.2 or later")]
    TooOld,
    /// No ZMTP at all.
    #[error("it does not speak ZMTP; it looks like {0}")]
    Foreign(&'static str),
    /// A security mechanism that this end does not have.
    #[error("it asks for a security mechanism other than NULL")]
    Mechanism,
    /// Another mechanism than CURVE.
    #[error("it has no keys, or does not use them: this server asks for CURVE")]
    NotCurve,
    /// Another mechanism than PLAIN.
    #[error("it says no user's name and password: this server asks for PLAIN")]
    NotPlain,
    /// ZMTP 2.0, which has no mechanisms.
    #[error("it speaks ZMTP 2.0, which has no authentication, and this server asks for it")]
    TooOldForSecurity,
}

/// How some protocols begin, and their names.
const PROTOCOLS: &[(&[u8], &str)] = &[
    (b"GET ", "HTTP"),
    (b"POST ", "HTTP"),
    (b"HEAD ", "HTTP"),
    (b"PUT ", "HTTP"),
    (b"DELETE ", "HTTP"),
    (b"OPTIONS ", "HTTP"),
    (b"PRI * HTTP", "HTTP/2"),
    (b"\x16\x03", "TLS"),
    (b"*", "RESP (Redis)"),
    (b"PING\r\n", "RESP (Redis) or NATS"),
    (b"CONNECT {", "NATS"),
    (b"CONNECT ", "HTTP"),
    (b"PUB ", "NATS"),
    (b"SUB ", "NATS"),
    (b"\x10", "MQTT"),
    (b"AMQP", "AMQP"),
    (b"SSH-", "SSH"),
];

/// The version of a peer, from what is there of its greeting; `None` when that is too little.
///
/// # Errors
/// [`GreetingError`] as soon as a byte is wrong: who speaks otherwise may never say as much as a greeting
/// has bytes.
pub(crate) fn version(received: &[u8]) -> Result<Option<Version>, GreetingError> {
    let Some(&first) = received.first() else { return Ok(None) };
    if first != 0xff {
        let foreign = PROTOCOLS.iter().find(|(start, _)| received.starts_with(start));
        return Err(match foreign {
            Some(&(_, name)) => GreetingError::Foreign(name),
            // ZMTP 1.0 begins with the frame of an identity: its length plus one, and flags.
            None if first >= 1 && received.get(1).is_none_or(|&flags| flags <= 1) => {
                GreetingError::TooOld
            }
            None => GreetingError::Foreign("none that is known here"),
        });
    }
    match received.get(9) {
        None => return Ok(None),
        // The length of a long identity of ZMTP 1.0 ends in flags, whose last bit is clear.
        Some(&byte) if byte & 1 == 0 => return Err(GreetingError::TooOld),
        Some(_) => {}
    }
    match received.get(VERSION) {
        None => Ok(None),
        Some(0) => Err(GreetingError::TooOld),
        Some(1 | 2) => Ok(Some(Version::V2)),
        Some(_) => Ok(Some(Version::V3)),
    }
}

/// Checks the mechanism of a whole greeting of 3.x, all of its 20 bytes. `wanted`: the one that this end has.
///
/// # Errors
/// [`GreetingError::Mechanism`], [`GreetingError::NotPlain`] and [`GreetingError::NotCurve`] for another.
pub(crate) fn check_mechanism(
    greeting: &[u8; GREETING_BYTES],
    wanted: Mechanism,
) -> Result<(), GreetingError> {
    if greeting[MECHANISM..MECHANISM + MECHANISM_BYTES] == wanted.padded() {
        return Ok(());
    }
    Err(match wanted {
        Mechanism::Null => GreetingError::Mechanism,
        Mechanism::Plain => GreetingError::NotPlain,
        Mechanism::Curve => GreetingError::NotCurve,
    })
}

#[cfg(test)]
mod tests {
    use super::super::handshake::GREETING;
    use super::*;

    #[test]
    fn the_steps_make_a_greeting_of_version_3_1() {
        let whole = [&FIRST[..], &REST_V3].concat();
        assert_eq!(whole.len(), GREETING_BYTES);
        assert_eq!(whole[..16], *b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL");
        assert!(whole[16..].iter().all(|&byte| byte == 0));
        let curve = [&FIRST[..], &REST_V3_CURVE].concat();
        assert_eq!(curve[10..17], *b"\x03\x01CURVE");
        assert_eq!(curve[AS_SERVER], 1);
    }

    #[test]
    fn versions_are_told_by_the_revision_byte_and_not_before() {
        for end in 0..=VERSION {
            assert_eq!(version(&GREETING[..end]), Ok(None));
        }
        let with = |revision| {
            let mut greeting = GREETING;
            greeting[VERSION] = revision;
            version(&greeting)
        };
        assert_eq!(with(0), Err(GreetingError::TooOld));
        assert_eq!([with(1), with(2)], [Ok(Some(Version::V2)); 2]);
        assert_eq!([with(3), with(4), with(255)], [Ok(Some(Version::V3)); 3]);
    }

    #[test]
    fn other_protocols_are_named_by_their_first_bytes() {
        let cases: [(&[u8], &str); 6] = [
            (b"GET / HTTP/1.1\r\n", "HTTP"),
            (b"\x16\x03\x01\x02\0", "TLS"),
            (b"*1\r\n$4\r\nPING\r\n", "RESP (Redis)"),
            (b"CONNECT {\"verbose\":false}\r\n", "NATS"),
            (b"\x10\x10\0\x04MQTT", "MQTT"),
            (b"hello", "none that is known here"),
        ];
        for (bytes, name) in cases {
            assert_eq!(version(bytes), Err(GreetingError::Foreign(name)));
        }
        assert_eq!(version(b"\x01\0"), Err(GreetingError::TooOld));
        assert_eq!(version(b"\xff\0\0\0\0\0\0\0\x05\0"), Err(GreetingError::TooOld));
    }

    #[test]
    fn a_mechanism_is_compared_to_its_last_byte() {
        let null = Mechanism::Null;
        assert_eq!(check_mechanism(&GREETING, null), Ok(()));
        assert_eq!(check_mechanism(&GREETING, Mechanism::Curve), Err(GreetingError::NotCurve));
        for (at, byte) in [(MECHANISM, b'n'), (MECHANISM + 4, b'X'), (MECHANISM + 19, 1)] {
            let mut greeting = GREETING;
            greeting[at] = byte;
            assert_eq!(check_mechanism(&greeting, null), Err(GreetingError::Mechanism));
        }
    }
}
