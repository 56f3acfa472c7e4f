//! A message as the broker keeps it: an id, a name, and a body.
//!
//! A [`Message`] is in flight, to the journal or to subscribers, and its body lies in a shared buffer.
//! A message that waits for its acknowledgement is kept by the million, so there a [`Body`] takes 16
//! bytes, and small ones have memory of their own.

use std::ops::Deref;

use arcstr::ArcStr;
use bytes::Bytes;

use crate::limits::{KEPT_FRAME_SHARE_MAX, PENDING_COPY_BYTES_MAX};
use crate::wire::control::Backoff;
use crate::wire::frame::{v1_prefix, v2_prefix};
use crate::wire::id::MessageId;
use crate::wire::letter::Cause;

/// Which wire format a message's body is in. The number is the journal format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Format {
    /// The body is the pickle of a v1 frame.
    V1 = 1,
    /// The body is one native record with its length.
    V2 = 2,
}

/// One message, cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its identity.
    pub id: MessageId,
    /// The name it was published under, shared with other messages of that name.
    pub name: ArcStr,
    /// What `body` is.
    pub format: Format,
    /// The bytes behind `name|` in a frame that holds this message alone, as they arrived.
    pub body: Bytes,
}

impl Message {
    /// Bytes that count against the limit on pending bytes.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The frame that holds this message alone, as it would be published.
    pub fn frame(&self) -> Vec<u8> {
        let prefix = match self.format {
            Format::V1 => v1_prefix(&self.name),
            Format::V2 => v2_prefix(&self.name),
        };
        [&prefix[..], &self.body].concat()
    }
}

/// What a group that gave a message up says of it. The message itself is kept as long as it has a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message's id.
    pub id: MessageId,
    /// The group's name.
    pub group: ArcStr,
    /// The kind of the group's filter, as in the wire format.
    pub filter_kind: u8,
    /// The text of the group's filter.
    pub filter: ArcStr,
    /// Why the group gave the message up.
    pub cause: Cause<ArcStr>,
    /// How often the group got the message.
    pub attempts: u16,
    /// When the group gave it up, in nanoseconds since the Unix epoch.
    pub died_ns: u64,
    /// Whether the message is done but for its dead letters: nobody else is to get it.
    pub is_done: bool,
}

/// A group that is there without members, too: each message with ack=1 that its filter fits when it is published is its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableGroup {
    /// Which one it is of all that were ever created, from 1. A later one has a higher number, also under the same name.
    pub number: u64,
    /// Its name.
    pub name: ArcStr,
    /// The kind of its filter, as in the wire format.
    pub filter_kind: u8,
    /// The text of its filter.
    pub filter: ArcStr,
    /// As in the wire format; 0 stands for the server's retry interval, also when that changes.
    pub ack_wait_ms: u32,
    /// As in the wire format, 0 included.
    pub in_flight_max: u32,
    /// As in the wire format, 0 included.
    pub attempts_max: u16,
    /// What comes before further attempts.
    pub backoff: Backoff,
    /// Whether messages that expire become dead letters.
    pub keeps_expired: bool,
}

/// A publisher's own key, under which a message was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageKey {
    /// The message's name.
    pub name: ArcStr,
    /// The key.
    pub key: ArcStr,
    /// When it was published, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Until when the key counts, likewise.
    pub until_ms: u64,
}

/// The body of a message that is kept until it is acknowledged.
///
/// One of up to [`PENDING_COPY_BYTES_MAX`] bytes has memory of its own, because a slice would pin the
/// whole buffer it was received in (many small frames are received into one), and so has one that is
/// but a little of its buffer (see [`KEPT_FRAME_SHARE_MAX`]). Others share the buffer.
#[derive(Debug)]
pub struct Body(Memory);

#[derive(Debug)]
enum Memory {
    Own(Box<[u8]>),
    /// Boxed, so that all bodies take no more room than a small one's pointer and length.
    Shared(Box<Bytes>),
}

impl Body {
    /// Keeps `body`, a slice of `buffer`.
    pub fn keep(buffer: &Bytes, body: &[u8]) -> Self {
        let shares = body.len() > PENDING_COPY_BYTES_MAX
            && body.len().saturating_mul(KEPT_FRAME_SHARE_MAX) >= buffer.len();
        Self(if shares {
            Memory::Shared(Box::new(buffer.slice_ref(body)))
        } else {
            Memory::Own(body.into())
        })
    }

    /// The bytes for somebody else: shared if they are shared already, otherwise copied.
    pub fn to_bytes(&self) -> Bytes {
        match &self.0 {
            Memory::Own(bytes) => Bytes::copy_from_slice(bytes),
            Memory::Shared(bytes) => Bytes::clone(bytes),
        }
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Memory::Own(bytes) => bytes,
            Memory::Shared(bytes) => bytes,
        }
    }
}

/// Keeps all of a buffer, without a copy if nobody else has it.
impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(if bytes.len() <= PENDING_COPY_BYTES_MAX {
            Memory::Own(Vec::from(bytes).into())
        } else {
            Memory::Shared(Box::new(bytes))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_body_leaves_its_buffer_and_a_large_one_shares_it() {
        assert_eq!(size_of::<Body>(), 16);
        for bytes in [PENDING_COPY_BYTES_MAX, PENDING_COPY_BYTES_MAX + 1] {
            let buffer = Bytes::from((0..=bytes).map(|n| n as u8).collect::<Vec<_>>());
            let slice = &buffer[1..];
            let body = Body::keep(&buffer, slice);
            assert_eq!((&*body, &body.to_bytes()[..]), (slice, slice));
            assert_eq!(body.as_ptr() == slice.as_ptr(), bytes > PENDING_COPY_BYTES_MAX);
        }
    }

    #[test]
    fn a_body_that_is_but_a_little_of_its_buffer_leaves_it() {
        let bytes = PENDING_COPY_BYTES_MAX + 1;
        for (times, shares) in [(KEPT_FRAME_SHARE_MAX, true), (KEPT_FRAME_SHARE_MAX + 1, false)] {
            let buffer = Bytes::from(vec![7; bytes * times]);
            let body = Body::keep(&buffer, &buffer[..bytes]);
            assert_eq!(body.as_ptr() == buffer.as_ptr(), shares, "{times} times");
        }
    }

    #[test]
    fn a_buffer_that_nobody_else_has_is_not_copied() {
        for bytes in [1, PENDING_COPY_BYTES_MAX, PENDING_COPY_BYTES_MAX + 1] {
            let buffer = Bytes::from(vec![7; bytes]);
            let at = buffer.as_ptr();
            let body = Body::from(buffer);
            assert_eq!((body.as_ptr(), body.len()), (at, bytes));
        }
    }
}
