//! Reads the server's answers.

use bytes::Bytes;

use crate::client::error::{SendError, SubscribeError, unreadable};
use crate::wire::reply::{self, ErrorCode, Reply};

/// The answer to a question, or why there is none.
pub(super) fn read_answer(body: &Bytes) -> Result<Bytes, SendError> {
    match reply::read(body) {
        Some(Reply::Refused { .. }) => Err(read_reply(body).err().unwrap_or(SendError::Stopped)),
        // The answer to a question begins as that does, which no reply does.
        _ => Ok(body.clone()),
    }
}

/// What the server says to what a subscription asked for: a number that means something for some of it.
pub(super) fn read_subscription_reply(bytes: &[u8]) -> Result<u32, SubscribeError> {
    match reply::read(bytes) {
        Some(Reply::Ok { connections, .. }) => Ok(connections),
        Some(Reply::Refused { code: Some(ErrorCode::NotAllowed), text }) => {
            Err(SubscribeError::NotAllowed { text: text.into_owned() })
        }
        Some(Reply::Refused { text, .. }) => {
            Err(SubscribeError::Refused { text: text.into_owned() })
        }
        None => Err(SubscribeError::Refused { text: unreadable(bytes) }),
    }
}

/// Whom a request's messages were for.
#[derive(Clone, Copy, Default)]
pub(super) struct RecipientCounts {
    pub(super) connections: u32,
    /// Those of them that are no observers.
    pub(super) takers: u32,
}

/// Whom the request's messages were for, if it was taken.
pub(super) fn read_reply(bytes: &[u8]) -> Result<RecipientCounts, SendError> {
    match reply::read(bytes) {
        Some(Reply::Ok { connections, takers }) => Ok(RecipientCounts { connections, takers }),
        Some(Reply::Refused { code, text }) => {
            let raw_code = bytes.get(1..3).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
            Err(SendError::refused(code, raw_code, text.into_owned()))
        }
        None => Err(SendError::Unknown { code: 0, text: unreadable(bytes) }),
    }
}
