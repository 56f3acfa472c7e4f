//! A connection's bytes, both ways.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rustix::net::{Shutdown, shutdown};

use super::sending::Sending;
use super::socket::ByteStream;
use crate::zmtp::command::{self, Command};
use crate::zmtp::error::ConnectionError;
use crate::zmtp::frame::Head;
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
    /// Whether the peer was asked for a sign of life since.
    pub(super) asked: bool,
    /// Whether an answer to a PING waits.
    answering: bool,
    /// Whether nothing more can leave.
    lost: bool,
}

impl Stream {
    pub(super) fn new(socket: Arc<OwnedFd>) -> Self {
        let (scratch, parts, sending) = Default::default();
        // A client is done with most of what it receives when it has called the callbacks.
        let inbox = Inbox::reusing();
        let (asked, answering, lost) = Default::default();
        let (more, heard) = (true, Instant::now());
        Self { socket, inbox, scratch, parts, sending, more, heard, asked, answering, lost }
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

    /// Asks the peer for a sign of life.
    pub(super) fn ask(&mut self) {
        self.asked = true;
        // Who has been silent for so long may be so for longer.
        self.inbox.forget_used();
        self.sending.push(Bytes::from_static(PING));
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
            self.sending.push(pong.into());
            self.write();
        }
    }
}
