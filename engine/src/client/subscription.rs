//! A subscription that is read like an iterator.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::errands::Errands;
use super::error::ReceiveError;
use super::message::Message;
use super::queue::{Delivery, Joint, Queue, settle};
use super::subscriber::Control;
use crate::wire::id::MessageId;
use crate::wire::record::Records;

/// A subscription that is read like an iterator, made by
/// [`Client::subscription`](super::Client::subscription).
///
/// A message that asks for acknowledgement is acknowledged when its reader comes back for the next
/// one, or calls [`Self::acknowledge`]: never before it could be processed. Dropping the subscription
/// ends it; the message read last, unless acknowledged, and those not read are delivered again, to
/// whoever is subscribed then.
///
/// Some frames wait between the client and the reader. When they are too many, the client stops
/// receiving, **for its callbacks and other subscriptions too**, until this reader goes on: give a
/// slow reader a client of its own.
///
/// ```no_run
/// use std::time::Duration;
///
/// let client = mezzenger::Client::connect("127.0.0.1")?;
/// let mut greetings = client.subscription("greet")?;
/// while let Ok(message) = greetings.recv_timeout(Duration::from_secs(10)) {
///     println!("{:?}", message.text());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Subscription {
    queue: Arc<Queue>,
    control: Arc<Control>,
    errands: Arc<Errands>,
    current: Option<Cursor>,
    unacknowledged: Option<Owed>,
}

/// A frame being read.
struct Cursor {
    delivery: Delivery,
    at: usize,
    record: usize,
}

/// The message read last.
struct Owed {
    id: MessageId,
    joint: Option<Arc<Joint>>,
    record: usize,
}

impl Subscription {
    pub(super) fn new(queue: Arc<Queue>, control: Arc<Control>, errands: Arc<Errands>) -> Self {
        Self { queue, control, errands, current: None, unacknowledged: None }
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`] when the subscription has ended and all was read.
    pub fn recv(&mut self) -> Result<Message, ReceiveError> {
        self.next_until(None)
    }

    /// Waits for the next message, so long at most.
    ///
    /// # Errors
    /// [`ReceiveError::TimedOut`] when none came, [`ReceiveError::Closed`] as in [`Self::recv`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Message, ReceiveError> {
        self.next_until(Instant::now().checked_add(timeout))
    }

    /// Takes the next message if one is here.
    ///
    /// # Errors
    /// [`ReceiveError::TimedOut`] when there is none now, [`ReceiveError::Closed`] as in
    /// [`Self::recv`].
    pub fn try_recv(&mut self) -> Result<Message, ReceiveError> {
        self.next_until(Some(Instant::now()))
    }

    /// Acknowledges the message read last now, instead of when the next one is asked for. Does nothing
    /// when that message asks for no acknowledgement, or has it.
    pub fn acknowledge(&mut self) {
        if let Some(owed) = self.unacknowledged.take() {
            settle(owed.joint.as_deref(), owed.record, owed.id, &self.errands);
        }
    }

    fn next_until(&mut self, end: Option<Instant>) -> Result<Message, ReceiveError> {
        self.acknowledge();
        loop {
            if let Some(message) = self.next_here() {
                return Ok(message);
            }
            let delivery = self.queue.pop(end)?;
            let at = delivery.name_bytes + 2;
            self.current = Some(Cursor { delivery, at, record: 0 });
        }
    }

    /// The next message of the current frame.
    fn next_here(&mut self) -> Option<Message> {
        loop {
            let cursor = self.current.as_mut()?;
            let delivery = &cursor.delivery;
            let rest = delivery.frame.get(cursor.at..).unwrap_or_default();
            let Some(Ok((whole, record))) = Records::new(rest).next() else {
                self.current = None;
                return None;
            };
            let message = Message::new(delivery.frame.clone(), delivery.name_bytes, &record);
            let owed =
                Owed { id: message.id(), joint: delivery.joint.clone(), record: cursor.record };
            let wrong = delivery.wrong.binary_search(&cursor.record).is_ok();
            cursor.at += whole.len();
            cursor.record += 1;
            if wrong {
                continue;
            }
            if message.ack() {
                self.unacknowledged = Some(owed);
            }
            return Some(message);
        }
    }
}

impl Iterator for Subscription {
    type Item = Message;

    /// Waits like [`Subscription::recv`]; `None` when the subscription has ended.
    fn next(&mut self) -> Option<Message> {
        self.recv().ok()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.close();
        self.control.drop_queue(Arc::clone(&self.queue));
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
