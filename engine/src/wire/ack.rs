//! The native acknowledgement: `0x01 ack|` and 16 bytes for each message.

use super::frame::v2_prefix;
use super::id::MessageId;
use super::name;

/// Why a body is no list of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an acknowledgement is one or more ids of 16 bytes, and this one has {bytes} bytes")]
pub struct AckError {
    /// The length of the body.
    pub bytes: usize,
}

/// A frame that acknowledges these messages.
pub fn frame(ids: &[MessageId]) -> Vec<u8> {
    let mut frame = v2_prefix(name::ACK);
    frame.reserve_exact(ids.len() * MessageId::BYTES);
    frame.extend(ids.iter().flat_map(|id| id.to_bytes()));
    frame
}

/// The ids behind the name.
pub fn body(ids: &[MessageId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_bytes()).collect()
}

/// Reads the ids behind the name.
///
/// # Errors
/// [`AckError`] when the length is no multiple of 16, or 0.
pub fn ids(
    body: &[u8],
) -> Result<impl ExactSizeIterator<Item = MessageId> + DoubleEndedIterator + '_, AckError> {
    let (ids, rest) = body.as_chunks::<{ MessageId::BYTES }>();
    if ids.is_empty() || !rest.is_empty() {
        return Err(AckError { bytes: body.len() });
    }
    Ok(ids.iter().map(|bytes| MessageId::from_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Frame;

    #[test]
    fn ids_come_back_and_broken_lists_do_not() {
        let sent = [1, 2, 3].map(|n| MessageId { publisher: n, sequence: n * 10 });
        let bytes = frame(&sent);
        let Ok(Frame::V2 { name: "ack", body }) = Frame::parse(&bytes) else { panic!() };
        assert!(ids(body).unwrap().eq(sent));
        assert_eq!(ids(&body[1..]).err(), Some(AckError { bytes: 47 }));
        assert_eq!(ids(b"").err(), Some(AckError { bytes: 0 }));
    }
}
