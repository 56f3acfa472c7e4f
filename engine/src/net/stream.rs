//! A connection's bytes, both ways.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rustix::net::{Shutdown, shutdown};

use super::sending::Sending;
use super::socket::ByteStream;
use crate::zmtp::command::{self, Command};
use crate::zmtp::curve::Traffic;
use crate::zmtp::curve::client::{ClientHandshake, Step};
use crate::zmtp::curve::traffic::OVERHEAD_BYTES;
use crate::zmtp::error::ConnectionError;
use crate::zmtp::frame::Head;
use crate::zmtp::handshake::{self, Kind};
use crate::zmtp::inbox::{Filled, Inbox, Next};

/// Parts of a message that are kept: one more than any message has that means something.
const PARTS_MAX: usize = 4;

/// Reads for one message, at most: who sends without end shall not keep the owner from all else.
const FILLS_MAX: usize = 16;

/// A PING command without a time to live and without a context, as a frame.
const PING: &[u8] = b"\x04\x07\x04PING\0\0";

/// A stream of frames.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) socket: Arc<OwnedFd>,
    pub(super) inbox: Inbox,
    /// What the system writes to.
    scratch: Vec<u8>,
    /// Of a message that is not whole yet.
    parts: Vec<Bytes>,
    pub(super) sending: Sending,
    /// Whether the system may have more than was read.
    pub(super) more: bool,
    /// When something last came in.
    pub(super) heard: Instant,
    /// Whether the peer was pinged since.
    pub(super) asked: bool,
    /// Whether an answer to a PING waits.
    answering: bool,
    /// Whether nothing more can leave.
    lost: bool,
    /// With CURVE, from the end of the handshake on.
    secured: Option<Box<Secured>>,
}

/// What seals and opens frames.
#[derive(Debug)]
struct Secured {
    traffic: Traffic,
    /// Frames that are sealed, and the one that is not whole.
    sealed: Vec<u8>,
}

impl Secured {
    /// As [`Stream::next`]: the frame that the next one holds.
    fn next(
        &mut self,
        inbox: &mut Inbox,
        bytes_max: usize,
    ) -> Result<Option<(Head, Bytes)>, ConnectionError> {
        match inbox.next(bytes_max.saturating_add(OVERHEAD_BYTES))? {
            Next::Frame(_, body) => Ok(Some(self.traffic.opener.open(&body)?)),
            Next::Nothing => Ok(None),
            Next::Oversize { head, .. } => {
                let bytes = head.body_bytes - OVERHEAD_BYTES as u64;
                Err(ConnectionError::TooLarge { bytes, bytes_max })
            }
        }
    }
}

impl Stream {
    pub(super) fn new(socket: Arc<OwnedFd>) -> Self {
        let (scratch, parts, sending) = Default::default();
        // A client is done with most of what it receives when it has called the callbacks.
        let inbox = Inbox::reusing();
        let (asked, answering, lost) = Default::default();
        let (more, heard) = (true, Instant::now());
        let secured = None;
        Self {
            socket,
            inbox,
            scratch,
            parts,
            sending,
            more,
            heard,
            asked,
            answering,
            lost,
            secured,
        }
    }

    /// Goes on with the handshake of CURVE, with a command of the server; whether it is over. From then on, what is pushed
    /// is sealed, and what comes in is opened.
    ///
    /// # Errors
    /// When the server is not the one that has the key, or does not take this end.
    pub(super) fn shake_hands(
        &mut self,
        handshake: &mut ClientHandshake,
        body: &[u8],
        kind: Kind,
    ) -> Result<bool, ConnectionError> {
        let mut out = Vec::new();
        match handshake.advance(body, &handshake::properties(kind.name()), &mut out)? {
            Step::Sent => {
                self.push(out.into());
                Ok(false)
            }
            Step::Ready(properties, traffic) => {
                handshake::check_properties(&properties, kind)?;
                self.secured = Some(Box::new(Secured { traffic, sealed: Vec::new() }));
                Ok(true)
            }
            Step::Refused(reason) => Err(ConnectionError::Refused(reason)),
            Step::NotAuthorized(key) => Err(ConnectionError::NotAuthorized(Box::new(key))),
        }
    }

    /// Adds a chunk of whole frames, or of one frame's head or body in their order, to what leaves.
    pub(super) fn push(&mut self, chunk: Bytes) {
        let Some(Secured { traffic, sealed }) = self.secured.as_deref_mut() else {
            return self.sending.push(chunk);
        };
        traffic.sealer.push(&chunk, sealed);
        if traffic.sealer.is_between_frames() {
            self.sending.push(std::mem::take(sealed).into());
        }
    }

    /// Gives the system what it takes now. When the connection is lost, reading says so, after what
    /// the peer had sent: answers among it are not to be lost with the connection.
    pub(super) fn write(&mut self) {
        if self.sending.write(&mut &*self.socket).is_err() {
            self.sending = Sending::default();
            self.lost = true;
            // So that reading comes to an end whatever the error was; that it is shut already is no harm.
            let _ = shutdown(&self.socket, Shutdown::Both);
            self.more = true;
        }
        self.answering &= !self.sending.is_empty();
    }

    /// Whether nothing more can leave.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Reads once.
    ///
    /// # Errors
    /// When the connection is lost or ended.
    pub(super) fn fill(&mut self) -> Result<(), ConnectionError> {
        let (filled, _) = self.inbox.fill(|room| (&*self.socket).read(room), &mut self.scratch)?;
        // Of a lost connection nothing is left behind what the system has.
        self.more = filled == Filled::Full || self.lost;
        if filled != Filled::Nothing {
            self.heard = Instant::now();
            self.asked = false;
        }
        Ok(())
    }

    /// Pings the peer.
    pub(super) fn ask(&mut self) {
        self.asked = true;
        // Who has been silent for so long may be so for longer.
        self.inbox.forget_used();
        self.push(Bytes::from_static(PING));
        self.write();
    }

    /// Takes the next whole message, of a longer one the first parts. `false` when it is not there yet,
    /// or takes more reads than one call may make.
    ///
    /// # Errors
    /// When the connection is lost, or makes no sense.
    pub(super) fn read(
        &mut self,
        parts: &mut Vec<Bytes>,
        frame_bytes_max: usize,
    ) -> Result<bool, ConnectionError> {
        let mut fills = 0;
        loop {
            while let Some((head, body)) = self.next(frame_bytes_max)? {
                if head.command {
                    self.obey(&body);
                    continue;
                }
                if self.parts.len() < PARTS_MAX {
                    self.parts.push(body);
                }
                if !head.more {
                    std::mem::swap(parts, &mut self.parts);
                    return Ok(true);
                }
            }
            if !self.more || fills == FILLS_MAX {
                return Ok(false);
            }
            fills += 1;
            self.fill()?;
        }
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// When it makes no sense, or is over the bound.
    pub(super) fn next(
        &mut self,
        bytes_max: usize,
    ) -> Result<Option<(Head, Bytes)>, ConnectionError> {
        if let Some(secured) = &mut self.secured {
            return secured.next(&mut self.inbox, bytes_max);
        }
        match self.inbox.next(bytes_max)? {
            Next::Frame(head, body) => Ok(Some((head, body))),
            Next::Nothing => Ok(None),
            Next::Oversize { head, .. } => {
                Err(ConnectionError::TooLarge { bytes: head.body_bytes, bytes_max })
            }
        }
    }

    /// Answers a PING; one answer serves for all that came before it left.
    fn obey(&mut self, body: &[u8]) {
        if !self.answering
            && let Ok(Command::Ping { context, .. }) = Command::read(body)
        {
            let mut pong = Vec::new();
            command::append_pong(context, &mut pong);
            self.answering = true;
            self.push(pong.into());
            self.write();
        }
    }
}
