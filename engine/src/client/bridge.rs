//! Joins a client's connection to a socket of libzmq within the process, without I/O threads.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use bytes::Bytes;

use crate::net::inbox::{Filled, Inbox};
use crate::net::sending::Sending;
use crate::transport::{Context, Part, Received, Socket, SocketOptions, TransportError};
use crate::zmtp::error::ConnectionError;
use crate::zmtp::frame::Head;
use crate::zmtp::handshake::{GREETING, GREETING_BYTES, Kind, ready};

/// Bytes that go to the client at a time. A stream takes that many whatever the system's memory looks
/// like, so that they arrive in the same pieces each time.
const PIECE_BYTES: usize = 32 * 1024;

/// The far end of a client's connection, and the socket in the process that stands for it.
pub(super) struct Bridge {
    kind: Kind,
    stream: UnixStream,
    greeted: bool,
    inbox: Inbox,
    /// What is to go to the client, and the piece of it that is on its way.
    waiting: VecDeque<Bytes>,
    sending: Sending,
    socket: Socket,
}

impl Bridge {
    /// A bridge to this endpoint, and the client's end of it.
    pub(super) fn new(
        context: &Context,
        kind: Kind,
        endpoint: &str,
    ) -> Result<(Self, OwnedFd), TransportError> {
        let options =
            SocketOptions { send_hwm: Some(0), receive_hwm: Some(0), ..SocketOptions::default() };
        let (socket, peer) = match kind {
            Kind::Dealer => (context.dealer(options)?, &b"ROUTER"[..]),
            Kind::Sub => (context.sub(options)?, &b"XPUB"[..]),
        };
        socket.connect(endpoint)?;
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let (inbox, waiting, mut sending): (_, _, Sending) = Default::default();
        sending.push(Bytes::from_static(&GREETING));
        sending.push(ready(peer).into());
        let bridge = Self { kind, stream: far, greeted: false, inbox, waiting, sending, socket };
        Ok((bridge, near.into()))
    }

    /// Carries what there is both ways; whether there was anything.
    pub(super) fn carry(&mut self) -> Result<bool, TransportError> {
        let mut carried = false;
        loop {
            let filled = match self.inbox.fill(self.stream.as_fd()) {
                // A client that does not receive has no such connection.
                Err(ConnectionError::Closed) => return Ok(false),
                filled => filled.map_err(io::Error::other)?,
            };
            if !self.greeted {
                self.greeted = self.inbox.take_raw::<GREETING_BYTES>().is_some();
            }
            if self.greeted {
                self.inbox.cut(usize::MAX).map_err(io::Error::other)?;
                while let Some((head, body)) = self.inbox.take().map_err(io::Error::other)? {
                    carried = true;
                    self.hand_over(head, body)?;
                }
            }
            if filled != Filled::Full {
                break;
            }
        }
        let mut part = Part::empty();
        while self.socket.receive(&mut part)? == Received::Part {
            let more = part.has_more();
            let body = std::mem::take(&mut part).into_bytes();
            let mut head = Vec::new();
            Head::message(body.len(), more).append_to(&mut head);
            self.waiting.push_back(head.into());
            self.waiting.push_back(body);
        }
        let full = self.take_piece();
        self.sending.write(self.stream.as_fd())?;
        Ok(carried || full)
    }

    /// Puts the next piece on its way, once the last one is gone; whether any is.
    fn take_piece(&mut self) -> bool {
        let mut room = if self.sending.is_empty() { PIECE_BYTES } else { 0 };
        while room > 0
            && let Some(first) = self.waiting.front_mut()
        {
            let part = first.split_to(first.len().min(room));
            room -= part.len();
            self.sending.push(part);
            if first.is_empty() {
                self.waiting.pop_front();
            }
        }
        !self.sending.is_empty()
    }

    fn hand_over(&mut self, head: Head, body: Bytes) -> Result<(), TransportError> {
        match (self.kind, body.split_first()) {
            _ if head.command => {}
            (Kind::Dealer, _) => {
                // The queue has no bound.
                self.socket.send(&mut Part::share(body), head.more)?;
            }
            (Kind::Sub, Some((1, topic))) => self.socket.subscribe(topic)?,
            (Kind::Sub, Some((_, topic))) => self.socket.unsubscribe(topic)?,
            (Kind::Sub, None) => {}
        }
        Ok(())
    }
}
