//! The publishing state that the handles of a client, its subscriptions and their deliveries share.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::batches::NOT_COUNTED;
use super::outbox::{NewMessage, Outbox, Pushed, frame_bytes};
use super::payload::Payload;
use super::receipt::Receipt;
use crate::client::connection::shared_connection::SharedConnection;
use crate::client::error::SendError;
use crate::client::process::Process;
use crate::client::receive::message::Message;
use crate::client::waiting::Clock;
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
pub(in crate::client) struct Content<'a> {
    pub(in crate::client) name: &'a str,
    pub(in crate::client) encoding: Encoding,
    /// The payload, and behind it its properties, if it has any.
    pub(in crate::client) payload: &'a [u8],
    pub(in crate::client) has_properties: bool,
    /// Whether it has an ordinal.
    pub(in crate::client) is_counted: bool,
    pub(in crate::client) ack: bool,
    /// Nobody waits for the answer.
    pub(in crate::client) unattended: bool,
}

/// The way out of a client.
pub(in crate::client) struct Publisher {
    pub(in crate::client) id: u64,
    pub(in crate::client) process: Process,
    pub(in crate::client) max_message_bytes: usize,
    pub(in crate::client) outbox: Arc<Outbox>,
    pub(in crate::client) connection: Arc<SharedConnection>,
    pub(in crate::client) waker: Waker,
    /// For tasks that wait.
    pub(in crate::client) clock: Arc<Clock>,
}

/// What is published with its properties, which stand behind the payload in `whole` if there are any.
fn content<'a>(
    name: &'a str,
    payload: &'a impl Payload,
    properties: &Properties<'_>,
    ack: bool,
    unattended: bool,
    whole: &'a mut Vec<u8>,
) -> Result<Content<'a>, SendError> {
    let encoding = payload.encoding();
    let typed;
    let mut properties = properties;
    if encoding == Encoding::Archive
        && let Some(payload_type) = payload.payload_type()
    {
        typed = Properties { payload_type: Some(payload_type), ..properties.clone() };
        properties = &typed;
    }
    let mut payload = payload.as_payload();
    let has_properties = !properties.is_empty();
    if has_properties {
        whole.extend_from_slice(payload);
        properties.append_to(whole)?;
        payload = whole;
    }
    let is_counted = properties.is_counted();
    Ok(Content { name, encoding, payload, has_properties, is_counted, ack, unattended })
}

/// What was received, to be published as it is under another name.
fn as_it_is<'a>(name: &'a str, message: &'a Message) -> Content<'a> {
    let encoding = match message.encoding() {
        // What it is, only the server says.
        Encoding::Pickle => Encoding::Bytes,
        encoding => encoding,
    };
    let (payload, properties) = message.parts();
    let has_properties = properties.is_some();
    let read = properties.and_then(|it| Properties::read(it).ok()).unwrap_or_default();
    let is_counted = read.is_counted();
    let payload = if has_properties { message.whole() } else { payload };
    let (ack, unattended) = (message.requires_ack(), true);
    Content { name, encoding, payload, has_properties, is_counted, ack, unattended }
}

impl Publisher {
    /// Publishes a payload with what is to stand behind it.
    pub(in crate::client) fn publish_with(
        &self,
        name: &str,
        payload: &impl Payload,
        properties: &Properties<'_>,
        ack: bool,
        unattended: bool,
    ) -> Result<Receipt, SendError> {
        self.publish(content(name, payload, properties, ack, unattended, &mut Vec::new())?)
    }

    /// [`Self::publish_with`] for a task. The future that is dropped has published all or nothing.
    pub(in crate::client) async fn publish_in_task(
        &self,
        name: &str,
        payload: impl Payload,
        properties: Properties<'_>,
        ack: bool,
        unattended: bool,
    ) -> Result<Receipt, SendError> {
        let mut whole = Vec::new();
        self.push_in_task(content(name, &payload, &properties, ack, unattended, &mut whole)?).await
    }

    /// [`Self::publish`] for a task.
    async fn push_in_task(&self, content: Content<'_>) -> Result<Receipt, SendError> {
        let mut parcel = self.parcel(&content)?;
        let Content { name, unattended, .. } = content;
        let outbox = &self.outbox;
        if let Some(pushed) = outbox.push_now(name, &mut parcel, unattended)? {
            return Ok(self.leave(pushed));
        }
        let mut room = outbox.room();
        let [told, end] = room.ends();
        let mut push = poll_fn(|context| room.poll_push(name, &mut parcel, unattended, context));
        let mut pushed = self.clock.until(Some(told), &mut push).await;
        if pushed.is_none() {
            outbox.tell_blocked();
            pushed = self.clock.until(Some(end), &mut push).await;
        }
        Ok(self.leave(pushed.unwrap_or_else(|| Err(room.full()))?))
    }

    /// Publishes what was received, as it is, under another name.
    pub(in crate::client) fn forward(
        &self,
        name: &str,
        message: &Message,
    ) -> Result<Receipt, SendError> {
        self.publish(as_it_is(name, message))
    }

    /// [`Self::forward`] for a task.
    #[cfg(feature = "tokio")]
    pub(in crate::client) async fn forward_in_task(
        &self,
        name: &str,
        message: &Message,
    ) -> Result<Receipt, SendError> {
        self.push_in_task(as_it_is(name, message)).await
    }

    /// Gives a message to the outbox.
    pub(in crate::client) fn publish(&self, content: Content<'_>) -> Result<Receipt, SendError> {
        let parcel = self.parcel(&content)?;
        Ok(self.leave(self.outbox.push(content.name, parcel, content.unattended)?))
    }

    /// Sends what may leave.
    fn leave(&self, pushed: Pushed) -> Receipt {
        // The checksum of a large message takes longer than a switch of threads, and who publishes has the next one ready meanwhile.
        if pushed.may_leave && (pushed.is_large || !self.connection.send(&self.outbox)) {
            self.waker.wake();
        }
        Receipt::new(pushed.outcome, self.process)
    }

    /// Whether an original client's message may leave.
    #[cfg(feature = "tokio")]
    pub(in crate::client) fn check_original(
        &self,
        name: &str,
        pickle: &[u8],
    ) -> Result<(), SendError> {
        if !self.process.is_this() {
            return Err(SendError::Forked);
        }
        name::check_publishable(name)?;
        self.check_size(name.len() + 1 + pickle.len())
    }

    /// Whether a frame of this many bytes may leave.
    fn check_size(&self, bytes: usize) -> Result<(), SendError> {
        let bytes_max = self.max_message_bytes;
        if bytes > bytes_max {
            return Err(SendError::TooLarge { bytes, bytes_max });
        }
        let bytes_max = self.outbox.server_bytes_max();
        if bytes > bytes_max {
            return Err(SendError::TooLargeForServer { bytes, bytes_max });
        }
        Ok(())
    }

    /// What a message is to the outbox.
    fn parcel<'a>(&self, content: &Content<'a>) -> Result<NewMessage<'a>, SendError> {
        let &Content { name, encoding, payload, has_properties, is_counted, ack, .. } = content;
        if !self.process.is_this() {
            return Err(SendError::Forked);
        }
        let bytes = frame_bytes(name, payload.len());
        self.check_size(bytes)?;
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
        if bytes < CLIENT_OWN_FRAME_BYTES {
            return Ok(NewMessage::Record(record));
        }
        name::check_publishable(name)?;
        let mut frame = v2_prefix(name);
        frame.reserve_exact(bytes - frame.len());
        record
            .append_to(&mut frame)
            .map_err(|_| SendError::TooLarge { bytes, bytes_max: i32::MAX as usize })?;
        Ok(NewMessage::Frame { bytes: frame, is_counted })
    }
}

fn now_ns() -> u64 {
    // A clock before 1970 reads as 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
