//! Commands: what the ends of a connection send between messages.
//!
//! A command is a frame with the command flag: a byte of length, that many bytes of name, then what the
//! command holds.

use super::frame::Head;

/// Bytes of a PING's context that a PONG repeats, at most: [ZMTP 3.1](https://rfc.zeromq.org/spec/37/).
const CONTEXT_BYTES_MAX: usize = 16;

/// Longest reason of an ERROR, in bytes: its length stands in one byte.
const REASON_BYTES_MAX: usize = 255;

/// A command of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// What the peer is: a list of properties.
    Ready(&'a [u8]),
    /// Why the peer gives up.
    Error,
    /// Asks whether the peer is alive.
    Ping {
        /// Silence after which the peer wants to be given up, in tenths of a second; 0 for never.
        ttl_ds: u16,
        /// What the answer repeats.
        context: &'a [u8],
    },
    /// The answer to a ping.
    Pong,
    /// Asks for messages that begin with these bytes.
    Subscribe(&'a [u8]),
    /// Takes a subscription back.
    Cancel(&'a [u8]),
    /// One that this version does not know, and ignores.
    Unknown,
}

/// A command that ends within its own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Truncated;

impl<'a> Command<'a> {
    /// Reads a command frame's body.
    ///
    /// # Errors
    /// [`Truncated`] when the body is too short for its name or its fields.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Truncated> {
        let (&name_bytes, rest) = body.split_first().ok_or(Truncated)?;
        let (name, rest) = rest.split_at_checked(usize::from(name_bytes)).ok_or(Truncated)?;
        Ok(match name {
            b"READY" => Self::Ready(rest),
            b"ERROR" => Self::Error,
            b"PING" => {
                let (ttl, context) = rest.split_first_chunk().ok_or(Truncated)?;
                let context = &context[..context.len().min(CONTEXT_BYTES_MAX)];
                Self::Ping { ttl_ds: u16::from_be_bytes(*ttl), context }
            }
            b"PONG" => Self::Pong,
            b"SUBSCRIBE" => Self::Subscribe(rest),
            b"CANCEL" => Self::Cancel(rest),
            _ => Self::Unknown,
        })
    }
}

/// Walks the properties of a READY command: a byte of length and a name, four bytes of length and a value.
pub(crate) fn properties(
    mut rest: &[u8],
) -> impl Iterator<Item = Result<(&[u8], &[u8]), Truncated>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let property = split_property(rest).ok_or(Truncated);
        rest = property.map_or(&[], |(_, _, after)| after);
        Some(property.map(|(name, value, _)| (name, value)))
    })
}

/// Splits a property off: its name, its value, what follows.
fn split_property(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(length))?;
    let (length, rest) = rest.split_first_chunk()?;
    let (value, rest) =
        rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((name, value, rest))
}

/// Appends a command as a frame.
pub(crate) fn append(name: &[u8], content: &[&[u8]], out: &mut Vec<u8>) {
    let content_bytes: usize = content.iter().map(|part| part.len()).sum();
    Head::command(1 + name.len() + content_bytes).append_to(out);
    // Names are literals of a few bytes.
    out.push(name.len() as u8);
    out.extend_from_slice(name);
    for part in content {
        out.extend_from_slice(part);
    }
}

/// Appends the property that says of which type a socket is.
pub(crate) fn append_socket_type(socket_type: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x0bSocket-Type");
    out.extend_from_slice(&(socket_type.len() as u32).to_be_bytes());
    out.extend_from_slice(socket_type);
}

/// Appends the READY command of a socket of this type.
pub(crate) fn append_ready(socket_type: &[u8], out: &mut Vec<u8>) {
    let mut properties = Vec::new();
    append_socket_type(socket_type, &mut properties);
    append(b"READY", &[&properties], out);
}

/// Appends an ERROR command with a reason.
pub(crate) fn append_error(reason: &str, out: &mut Vec<u8>) {
    let reason = &reason.as_bytes()[..reason.len().min(REASON_BYTES_MAX)];
    append(b"ERROR", &[&[reason.len() as u8], reason], out);
}

/// Appends the answer to a PING.
pub(crate) fn append_pong(context: &[u8], out: &mut Vec<u8>) {
    append(b"PONG", &[context], out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_as_the_specification_shows_them() {
        let cases: [(&[u8], Command<'_>); 7] = [
            (b"\x05READYrest", Command::Ready(b"rest")),
            (b"\x05ERROR\x02no", Command::Error),
            (b"\x04PING\x01\x02ctx", Command::Ping { ttl_ds: 0x0102, context: b"ctx" }),
            (b"\x04PONGctx", Command::Pong),
            (b"\x09SUBSCRIBEgreet", Command::Subscribe(b"greet")),
            (b"\x06CANCELgreet", Command::Cancel(b"greet")),
            (b"\x05HELLO", Command::Unknown),
        ];
        for (body, command) in cases {
            assert_eq!(Command::read(body), Ok(command));
        }
    }

    #[test]
    fn a_ping_too_short_for_its_time_to_live_is_no_command() {
        for body in [&b""[..], b"\x04", b"\x04PIN", b"\x04PING", b"\x04PING\0"] {
            assert_eq!(Command::read(body), Err(Truncated), "{body:?}");
        }
    }

    #[test]
    fn a_pong_repeats_sixteen_bytes_at_most() {
        let ping = [&b"\x04PING\0\0"[..], &[7; 40]].concat();
        let Ok(Command::Ping { context, .. }) = Command::read(&ping) else { panic!() };
        let mut pong = Vec::new();
        append_pong(context, &mut pong);
        assert_eq!(pong, [&[4, 21][..], b"\x04PONG", &[7; 16]].concat());
    }

    #[test]
    fn properties_are_walked_and_never_beyond_their_end() {
        let mut frame = Vec::new();
        append_ready(b"SUB", &mut frame);
        assert_eq!(frame, *b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB");
        let Ok(Command::Ready(list)) = Command::read(&frame[2..]) else { panic!() };
        let all: Vec<_> = properties(list).collect();
        assert_eq!(all, [Ok((&b"Socket-Type"[..], &b"SUB"[..]))]);
        for end in 1..list.len() {
            assert_eq!(properties(&list[..end]).last(), Some(Err(Truncated)));
        }
    }
}
