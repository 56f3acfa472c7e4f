//! A message as the broker keeps it: an id, a name, and a range of one shared buffer.

use std::sync::Arc;

use bytes::Bytes;

use crate::limits::{KEPT_FRAME_SHARE_MAX, PENDING_COPY_BYTES_MAX};
use crate::wire::id::MessageId;

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
    pub name: Arc<str>,
    /// What `body` is.
    pub format: Format,
    /// The bytes behind `name|` in a frame that holds this message alone, as they arrived.
    pub body: Bytes,
}

impl Message {
    /// Makes a message from a slice of a received buffer.
    ///
    /// A small body is copied, because keeping a slice would pin the whole buffer (libzmq receives many
    /// small frames into one), and so is one that is but a little of its buffer; a large one shares the
    /// buffer. See [`PENDING_COPY_BYTES_MAX`] and [`KEPT_FRAME_SHARE_MAX`].
    pub fn keep(
        id: MessageId,
        name: Arc<str>,
        format: Format,
        buffer: &Bytes,
        body: &[u8],
    ) -> Self {
        let shares = body.len() > PENDING_COPY_BYTES_MAX
            && body.len().saturating_mul(KEPT_FRAME_SHARE_MAX) >= buffer.len();
        let body = if shares { buffer.slice_ref(body) } else { Bytes::copy_from_slice(body) };
        Self { id, name, format, body }
    }

    /// Bytes that count against the limit on pending bytes.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }
}
