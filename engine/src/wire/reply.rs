//! Replies to native requests: `OK`, or a typed error.

use std::borrow::Cow;

use super::frame::V2;

/// The reply to every request that was taken. On a connection that said hello, [`taken`] says more.
pub const OK: &[u8] = b"OK";

/// Bytes of a reply that says a number, and of one that says how many connections a message was for.
const NUMBER_BYTES: usize = OK.len() + 4;
const TAKEN_BYTES: usize = NUMBER_BYTES + 4;

/// Why the server rejected a request. The number is the wire format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The request breaks a rule of the format.
    Malformed = 1,
    /// The request is larger than the server takes.
    TooLarge = 2,
    /// The first byte names a format that the server does not speak.
    UnsupportedVersion = 3,
    /// The server holds as many unacknowledged messages as it may.
    PendingFull = 4,
    /// The server can no longer store messages durably.
    JournalFailed = 5,
    /// The server is ending.
    ShuttingDown = 6,
    /// A message's checksum does not match its content.
    ChecksumMismatch = 7,
    /// A message's publisher id was not proved on this connection.
    NotYours = 8,
    /// A subscription cannot be begun, ended or granted credit.
    Subscription = 9,
    /// A dead letter, or a group that should have some, is not there, or there may be no more of them.
    Letter = 10,
    /// A group cannot be created or deleted: it is not there, is there with other terms, or has members; or there may be no
    /// more of them.
    Group = 11,
    /// What the server says of who may do what does not allow it.
    NotAllowed = 12,
}

impl ErrorCode {
    fn from_u16(code: u16) -> Option<Self> {
        Some(match code {
            1 => Self::Malformed,
            2 => Self::TooLarge,
            3 => Self::UnsupportedVersion,
            4 => Self::PendingFull,
            5 => Self::JournalFailed,
            6 => Self::ShuttingDown,
            7 => Self::ChecksumMismatch,
            8 => Self::NotYours,
            9 => Self::Subscription,
            10 => Self::Letter,
            11 => Self::Group,
            12 => Self::NotAllowed,
            _ => return None,
        })
    }
}

/// A reply, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The request was taken.
    Ok {
        /// How many connections the server had its messages for; 0 if there were none or it did not tell. To what a
        /// subscription asked for, the number that stands there instead.
        connections: u32,
        /// How many of these are no observers.
        takers: u32,
    },
    /// The request was rejected.
    Refused {
        /// The kind, when this version knows it.
        code: Option<ErrorCode>,
        /// What the server says of it.
        text: Cow<'a, str>,
    },
}

/// The bytes of the reply to a request that was taken, on a connection that said hello: `OK`, for how many connections its
/// messages were, and how many of these are no observers, each as a little-endian `u32`.
pub fn taken(connections: u32, takers: u32) -> [u8; TAKEN_BYTES] {
    let mut out = [0; TAKEN_BYTES];
    out[..NUMBER_BYTES].copy_from_slice(&number(connections));
    out[NUMBER_BYTES..].copy_from_slice(&takers.to_le_bytes());
    out
}

/// The bytes of the reply to a request that was taken and whose answer has another number: `OK`, and a little-endian `u32`.
pub fn number(number: u32) -> [u8; NUMBER_BYTES] {
    let mut out = [0; NUMBER_BYTES];
    out[..OK.len()].copy_from_slice(OK);
    out[OK.len()..].copy_from_slice(&number.to_le_bytes());
    out
}

/// The bytes of a rejection: `0x01`, the code as a little-endian `u16`, the text.
pub fn refusal(code: ErrorCode, text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(3 + text.len());
    out.push(V2);
    out.extend_from_slice(&(code as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out
}

/// Reads a reply; `None` for bytes that are none.
pub fn read(bytes: &[u8]) -> Option<Reply<'_>> {
    if let Some(rest) = bytes.strip_prefix(OK) {
        let (connections, takers) = match rest {
            [] => (0, 0),
            [a, b, c, d] => (u32::from_le_bytes([*a, *b, *c, *d]), 0),
            [a, b, c, d, rest @ ..] => {
                let takers = u32::from_le_bytes(rest.try_into().ok()?);
                (u32::from_le_bytes([*a, *b, *c, *d]), takers)
            }
            _ => return None,
        };
        return Some(Reply::Ok { connections, takers });
    }
    let (head, text) = bytes.split_first_chunk::<3>()?;
    if head[0] != V2 {
        return None;
    }
    let code = ErrorCode::from_u16(u16::from_le_bytes([head[1], head[2]]));
    Some(Reply::Refused { code, text: String::from_utf8_lossy(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_back() {
        assert_eq!(read(OK), Some(Reply::Ok { connections: 0, takers: 0 }));
        assert_eq!(taken(0x0102, 3), *b"OK\x02\x01\0\0\x03\0\0\0");
        for connections in [0, 1, u32::MAX] {
            assert_eq!(read(&taken(connections, 7)), Some(Reply::Ok { connections, takers: 7 }));
            assert_eq!(read(&number(connections)), Some(Reply::Ok { connections, takers: 0 }));
        }
        for bytes in [5, 7, 9] {
            assert_eq!(read(&taken(1, 1)[..bytes]), None);
        }
        for code in (1..=12).map(|n| ErrorCode::from_u16(n).unwrap()) {
            let bytes = refusal(code, "why");
            assert_eq!(read(&bytes), Some(Reply::Refused { code: Some(code), text: "why".into() }));
        }
        assert_eq!(
            read(b"\x01\xff\xffnew"),
            Some(Reply::Refused { code: None, text: "new".into() })
        );
        assert_eq!(read(b""), None);
        assert_eq!(read(b"NO"), None);
    }
}
