//! The bodies of the records of retained messages.

use crate::message::{Format, Message};
use crate::wire::id::MessageId;

/// Bytes of the body before the name.
const HEAD_BYTES: usize = 18;

/// The body of the record of a retained message, borrowed from the buffer it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainedBody<'a> {
    /// Its id.
    pub id: MessageId,
    /// Its format.
    pub format: Format,
    /// Its name.
    pub name: &'a str,
    /// Its body.
    pub body: &'a [u8],
}

/// The body of the record of a retained message, which [`super::ops::fits`] must have let pass.
pub(super) fn encode(message: &Message) -> Vec<u8> {
    let Message { id, name, format, body } = message;
    let head = [*format as u8, name.len() as u8];
    [&id.to_bytes()[..], &head, name.as_bytes(), body].concat()
}

/// Reads the body of such a record; `None` unless it is well formed.
pub(super) fn read(bytes: &[u8]) -> Option<RetainedBody<'_>> {
    let (id, rest) = bytes.split_first_chunk()?;
    let (&[format, name_bytes], rest) = rest.split_first_chunk()?;
    let (name, body) = rest.split_at_checked(name_bytes.into())?;
    let format = match format {
        1 => Format::V1,
        2 => Format::V2,
        _ => return None,
    };
    let name = std::str::from_utf8(name).ok()?;
    Some(RetainedBody { id: MessageId::from_bytes(*id), format, name, body })
}

/// Bytes of the body of the record of a retained message.
pub(super) fn body_bytes(message: &Message) -> usize {
    HEAD_BYTES + message.name.len() + message.body.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(name: &str, body: &'static [u8]) -> Message {
        let id = MessageId { publisher: 1, sequence: 2 };
        Message { id, name: name.into(), format: Format::V2, body: Bytes::from_static(body) }
    }

    #[test]
    fn a_retained_message_lies_as_documented_and_reads_back() {
        let wanted = message("ab", b"body");
        let bytes = encode(&wanted);
        assert_eq!(bytes, [&wanted.id.to_bytes()[..], b"\x02\x02abbody"].concat());
        assert_eq!(body_bytes(&wanted), bytes.len());
        let (id, format) = (wanted.id, Format::V2);
        assert_eq!(read(&bytes), Some(RetainedBody { id, format, name: "ab", body: b"body" }));
        assert_eq!(read(&bytes[..19]), None);
        for (at, byte) in [(16, 3), (17, 9), (18, 0xff)] {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            assert_eq!(read(&bytes), None, "{at}");
        }
    }
}
