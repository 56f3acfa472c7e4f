//! Heads of frames: a byte of flags, and the body's length in one byte or in eight.

use super::error::ConnectionError;

/// The flag of a frame that another one of its message follows.
pub(crate) const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Bytes of the longest head.
pub(crate) const HEAD_BYTES_MAX: usize = 9;

/// What stands before a frame's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Whether the message goes on in the next frame.
    pub(crate) more: bool,
    /// Whether the body is for the connection itself.
    pub(crate) command: bool,
    /// The body's length, as the peer says it.
    pub(crate) body_bytes: u64,
}

impl Head {
    /// A frame of a message.
    pub(crate) fn message(body_bytes: usize, more: bool) -> Self {
        Self { more, command: false, body_bytes: body_bytes as u64 }
    }

    /// A frame for the connection itself.
    pub(crate) fn command(body_bytes: usize) -> Self {
        Self { more: false, command: true, body_bytes: body_bytes as u64 }
    }

    /// Reads a head, and its own length; `None` when these bytes do not hold all of it.
    ///
    /// # Errors
    /// [`ConnectionError::Malformed`] for flags that have no meaning.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, ConnectionError> {
        let Some(&flags) = bytes.first() else { return Ok(None) };
        let (more, command) = (flags & MORE != 0, flags & COMMAND != 0);
        if flags & !(MORE | LONG | COMMAND) != 0 || (more && command) {
            return Err(ConnectionError::Malformed);
        }
        let (body_bytes, head_bytes) = if flags & LONG == 0 {
            let Some(&length) = bytes.get(1) else { return Ok(None) };
            (u64::from(length), 2)
        } else {
            let Some(length) = bytes[1..].first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*length), HEAD_BYTES_MAX)
        };
        Ok(Some((Self { more, command, body_bytes }, head_bytes)))
    }

    /// Appends the head.
    pub(crate) fn append_to(self, out: &mut Vec<u8>) {
        let mut flags = 0;
        if self.more {
            flags |= MORE;
        }
        if self.command {
            flags |= COMMAND;
        }
        match u8::try_from(self.body_bytes) {
            Ok(length) => out.extend([flags, length]),
            Err(_) => {
                out.push(flags | LONG);
                out.extend(self.body_bytes.to_be_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_as_the_specification_shows_them() {
        let cases: [(Head, &[u8]); 4] = [
            (Head::message(0, true), &[1, 0]),
            (Head::message(255, false), &[0, 255]),
            (Head::message(256, false), &[2, 0, 0, 0, 0, 0, 0, 1, 0]),
            (Head::command(5), &[4, 5]),
        ];
        for (head, bytes) in cases {
            let mut out = Vec::new();
            head.append_to(&mut out);
            assert_eq!(out, bytes);
            assert_eq!(Head::read(bytes).unwrap(), Some((head, bytes.len())));
            for end in 0..bytes.len() {
                assert_eq!(Head::read(&bytes[..end]).unwrap(), None);
            }
        }
    }

    #[test]
    fn flags_without_a_meaning_are_malformed() {
        for flags in [8, 0x80, 5] {
            assert!(matches!(Head::read(&[flags]), Err(ConnectionError::Malformed)));
        }
    }
}
