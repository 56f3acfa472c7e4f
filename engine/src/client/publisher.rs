//! Publishing: what the handles of a client, its subscriptions and their deliveries share of it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::batches::NOT_COUNTED;
use super::error::SendError;
use super::line::Line;
use super::outbox::{Outbox, frame_bytes};
use super::payload::Payload;
use super::receipt::Receipt;
use crate::limits::CLIENT_OWN_FRAME_BYTES;
use crate::net::waker::Waker;
use crate::wire::checksum::Checksum;
use crate::wire::frame::v2_prefix;
use crate::wire::id::MessageId;
use crate::wire::name;
use crate::wire::properties::Properties;
use crate::wire::record::{Encoding, Record};

/// What is published.
#[derive(Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) name: &'a str,
    pub(super) encoding: Encoding,
    /// The payload, and behind it its properties, if it has any.
    pub(super) payload: &'a [u8],
    pub(super) has_properties: bool,
    /// Whether it has an ordinal.
    pub(super) is_counted: bool,
    pub(super) ack: bool,
    /// Nobody waits for the answer.
    pub(super) unattended: bool,
}

/// The way out of a client.
pub(super) struct Publisher {
    pub(super) id: u64,
    pub(super) max_message_bytes: usize,
    pub(super) outbox: Arc<Outbox>,
    pub(super) line: Arc<Line>,
    pub(super) waker: Waker,
}

impl Publisher {
    /// Publishes a payload with what is to stand behind it.
    pub(super) fn publish_with(
        &self,
        name: &str,
        payload: &impl Payload,
        properties: &Properties<'_>,
        ack: bool,
        unattended: bool,
    ) -> Result<Receipt, SendError> {
        let (encoding, payload) = (payload.encoding(), payload.as_payload());
        let has_properties = !properties.is_empty();
        let is_counted = properties.is_counted();
        let content =
            Content { name, encoding, payload, has_properties, is_counted, ack, unattended };
        if !has_properties {
            return self.publish(content);
        }
        let mut payload = payload.to_vec();
        properties.append_to(&mut payload)?;
        self.publish(Content { payload: &payload, ..content })
    }

    /// Gives a message to the outbox.
    pub(super) fn publish(&self, content: Content<'_>) -> Result<Receipt, SendError> {
        let Content { name, encoding, payload, has_properties, is_counted, ack, unattended } =
            content;
        let bytes = frame_bytes(name, payload.len());
        let bytes_max = self.max_message_bytes;
        if bytes > bytes_max {
            return Err(SendError::TooLarge { bytes, bytes_max });
        }
        let bytes_max = self.outbox.server_bytes_max();
        if bytes > bytes_max {
            return Err(SendError::TooLargeForServer { bytes, bytes_max });
        }
        let record = Record {
            // The stamp of the frame that it leaves in gives it the rest.
            id: MessageId { publisher: self.id, sequence: 0 },
            ordinal: if is_counted { 0 } else { NOT_COUNTED },
            timestamp_ns: now_ns(),
            checksum: Checksum::default(),
            ack,
            has_properties,
            encoding,
            payload,
        };
        let pushed = if bytes < CLIENT_OWN_FRAME_BYTES {
            self.outbox.push(name, &record, unattended)?
        } else {
            name::check_publishable(name)?;
            let mut frame = v2_prefix(name);
            frame.reserve_exact(bytes - frame.len());
            record
                .append_to(&mut frame)
                .map_err(|_| SendError::TooLarge { bytes, bytes_max: i32::MAX as usize })?;
            self.outbox.push_frame(name, frame, is_counted, unattended)?
        };
        if pushed.may_leave && !self.line.send(&self.outbox) {
            self.waker.wake();
        }
        Ok(Receipt { fate: pushed.fate })
    }
}

fn now_ns() -> u64 {
    // A clock before 1970 reads as 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
