//! A subscription that is read like an iterator.

#[cfg(feature = "tokio")]
mod stream;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::delivery::{Delivery, Lease, Settler};
use super::inbox::{Frame, Inbox};
use crate::client::error::ReceiveError;
use crate::client::mode::Blocking;
use crate::client::receive::message::Message;
use crate::wire::record::Records;

/// A subscription that is read like an iterator, made by [`Client::subscription`](crate::Client::subscription) and
/// [`Client::subscription_to`](crate::Client::subscription_to).
///
/// Each message comes as a [`Delivery`], which is acknowledged explicitly. Dropping the subscription ends it: what was
/// not acknowledged is delivered again, to whoever is subscribed then. It also ends when its client stops: a
/// subscription does not keep the client alive.
///
/// The iterator ends without a reason; [`Self::recv`] returns it: closed or rejected. [`Self::recv_timeout`] waits for a given time at most.
///
/// Messages that are not read wait here, up to the subscription's credit in bytes. They hold up neither other
/// subscriptions nor callbacks. Further messages wait at the server, which slows their publishers down; those of a
/// [lossy](super::SubscriptionBuilder::lossy) subscription or of a group are dropped, unless they ask for acknowledgement.
///
/// ```
/// # use mezzenger::{Client, Server};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = Server::builder().pub_port(0).recv_port(0).start()?;
/// let client = Client::builder().port(server.recv_addr().port()).connect()?;
/// let greetings = client.subscription("greet")?;
/// client.message("greet", "hello").send()?;
/// for delivery in greetings {
///     println!("{}", delivery.text().unwrap_or("(no text)"));
///     delivery.ack();
///     # break;
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it ends the subscription"]
pub struct Subscription<Mode = Blocking> {
    inbox: Arc<Inbox>,
    settler: Settler,
    current: Option<Cursor>,
    mode: PhantomData<Mode>,
}

/// A frame that is being read.
struct Cursor {
    frame: Frame,
    lease: Arc<Lease>,
    /// Where the next record begins, and its number.
    at: usize,
    record: usize,
}

impl<Mode> Subscription<Mode> {
    pub(super) fn new(inbox: Arc<Inbox>, settler: Settler) -> Self {
        Self { inbox, settler, current: None, mode: PhantomData }
    }

    /// Whether nothing comes any more.
    pub(super) fn has_ended(&self) -> bool {
        self.inbox.is_closed()
    }

    /// Begins to read a frame.
    fn read(&mut self, frame: Frame) {
        let (inbox, settler) = (Arc::clone(&self.inbox), self.settler.clone());
        let (bytes, connection) = (frame.bytes.len(), frame.connection);
        let lease = Arc::new(Lease { inbox, settler, bytes, connection });
        let at = frame.name_bytes + 2;
        self.current = Some(Cursor { frame, lease, at, record: 0 });
    }

    /// The next message of the current frame.
    fn next_here(&mut self) -> Option<Delivery<Mode>> {
        loop {
            let cursor = self.current.as_mut()?;
            let frame = &cursor.frame;
            if !self.inbox.is_current(frame) {
                self.current = None;
                return None;
            }
            let rest = frame.bytes.get(cursor.at..).unwrap_or_default();
            let Some(Ok((whole, record))) = Records::new(rest).next() else {
                self.current = None;
                return None;
            };
            let message = Message::new(frame.bytes.clone(), frame.name_bytes, &record);
            let is_wrong = frame.wrong.binary_search(&cursor.record).is_ok();
            cursor.at += whole.len();
            cursor.record += 1;
            if is_wrong {
                continue;
            }
            let lease = Arc::clone(&cursor.lease);
            let delivery =
                Delivery::new(message, (frame.again, frame.retained), frame.attempt, lease);
            if cursor.at == frame.bytes.len() {
                // The last of its frame alone holds the frame's credit.
                self.current = None;
            }
            return Some(delivery);
        }
    }
}

impl<Mode> Subscription<Mode> {
    /// The next message, of frames that `pop` gets.
    fn next_from(
        &mut self,
        mut pop: impl FnMut(&Inbox) -> Result<Frame, ReceiveError>,
    ) -> Result<Delivery<Mode>, ReceiveError> {
        loop {
            if let Some(delivery) = self.next_here() {
                return Ok(delivery);
            }
            if !self.settler.publisher.process.is_this() {
                return Err(ReceiveError::Forked);
            }
            let frame = pop(&self.inbox)?;
            self.read(frame);
        }
    }

    /// The next message, if one is here.
    fn next_now(&mut self) -> Result<Delivery<Mode>, ReceiveError> {
        self.next_from(|inbox| inbox.try_pop().unwrap_or(Err(ReceiveError::TimedOut)))
    }
}

impl Subscription {
    /// Waits for the next message.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`] when the subscription has ended and all messages were read; [`ReceiveError::Refused`] when the
    /// server rejected it on a new connection.
    pub fn recv(&mut self) -> Result<Delivery, ReceiveError> {
        self.next_until(None)
    }

    /// Waits for the next message, at most for `timeout`.
    ///
    /// # Errors
    /// [`ReceiveError::TimedOut`] when none arrived in time; the others as for [`Self::recv`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Delivery, ReceiveError> {
        self.next_until(Instant::now().checked_add(timeout))
    }

    /// Takes the next message if one is here.
    ///
    /// # Errors
    /// [`ReceiveError::TimedOut`] when there is none now; the others as for [`Self::recv`].
    pub fn try_recv(&mut self) -> Result<Delivery, ReceiveError> {
        self.next_now()
    }

    fn next_until(&mut self, end: Option<Instant>) -> Result<Delivery, ReceiveError> {
        self.next_from(|inbox| inbox.pop(end))
    }
}

impl Iterator for Subscription {
    type Item = Delivery;

    /// Waits as [`Subscription::recv`] does; `None` when the subscription has ended.
    fn next(&mut self) -> Option<Delivery> {
        self.recv().ok()
    }
}

impl<Mode> Drop for Subscription<Mode> {
    fn drop(&mut self) {
        // What another process reads goes on, and may hold locks for ever here.
        if !self.settler.publisher.process.is_this() {
            return;
        }
        self.inbox.close(ReceiveError::Closed);
        self.settler.commands.end(self.inbox.number);
    }
}

impl<Mode> std::fmt::Debug for Subscription<Mode> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("filter", &self.inbox.settings.filter)
            .finish_non_exhaustive()
    }
}
