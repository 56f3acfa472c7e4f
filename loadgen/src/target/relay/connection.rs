//! One connection of the relay, for requests or for a subscriber.

use std::io::{self, IoSlice, Write};
use std::net::TcpStream;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use super::deliveries::Deliveries;
use super::queue::{LONG, Queue};
use crate::target::native::{self, Request};

/// Room for one read.
const READ_BYTES: usize = 256 * 1024;

/// A buffer of this many times the bytes of its frames is not queued with them: they are copied.
const WASTE_MAX: usize = 4;

/// Slices in one vectored write: what Linux takes.
const WRITE_SLICES_MAX: usize = 1024;

/// A larger frame ends its connection; clients send at most 64 MiB and some headers.
const FRAME_BYTES_MAX: usize = 80 * 1024 * 1024;

const GREETING: &[u8; 16] = b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL";
const GREETING_BYTES: usize = 64;
const READY_ROUTER: &[u8] = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER";
const READY_XPUB: &[u8] = b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04XPUB";

/// Flags of a frame.
const MORE: u8 = 1;
const COMMAND: u8 = 4;

/// What the subscription of a SUB socket begins with, and one of 18 bytes that asks to be confirmed.
const SUBSCRIBE: &[u8] = b"\x01";
const CONFIRM: &[u8] = b"\x01\x02";
const CONFIRM_BYTES: usize = 18;

pub(super) struct Connection {
    socket: TcpStream,
    is_subscriber: bool,
    pub(super) is_readable: bool,
    pub(super) is_writable: bool,
    /// The peer says no more: reads go on until the system tells so.
    pub(super) is_ending: bool,
    /// Whether the peer's greeting was read.
    is_greeted: bool,
    /// Received, and not cut into frames.
    input: Vec<u8>,
    /// Bytes of input that the next request takes, when that is known.
    wanted: usize,
    /// For this peer alone: handshake, answers, confirmations.
    output: Vec<u8>,
    pub(super) deliveries: Deliveries,
}

impl Connection {
    pub(super) fn new(socket: TcpStream, is_subscriber: bool) -> Self {
        let mut output = GREETING.to_vec();
        output.resize(GREETING_BYTES, 0);
        output.extend(if is_subscriber { READY_XPUB } else { READY_ROUTER });
        Self {
            socket,
            is_subscriber,
            is_readable: false,
            is_writable: true,
            is_ending: false,
            is_greeted: false,
            input: Vec::new(),
            wanted: 0,
            output,
            deliveries: Deliveries::default(),
        }
    }

    /// Whether it may wait until subscribers have caught up. Where there are subscriptions credit comes in, too.
    pub(super) fn only_publishes(&self) -> bool {
        !self.is_subscriber && self.deliveries.next().is_none()
    }

    /// Reads once. An error ends the connection.
    pub(super) fn read(&mut self, queue: &mut Queue) -> io::Result<()> {
        let missing = self.wanted.saturating_sub(self.input.len()).max(1);
        if self.input.capacity() - self.input.len() < missing {
            self.input.reserve_exact(missing.max(READ_BYTES));
        }
        match rustix::io::read(&self.socket, spare_capacity(&mut self.input)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            // Less than there was room for was all there is.
            Ok(_) => {
                self.is_readable = self.is_ending || self.input.len() == self.input.capacity();
            }
            Err(Errno::AGAIN) => self.is_readable = false,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.cut(queue)
    }

    /// Cuts the input into frames, answers them, and queues what is for subscribers.
    fn cut(&mut self, queue: &mut Queue) -> io::Result<()> {
        if !self.is_greeted {
            if self.input.len() < GREETING_BYTES {
                return Ok(());
            }
            self.input.drain(..GREETING_BYTES);
            self.is_greeted = true;
        }
        let mut taken = Vec::new();
        let (mut done, mut at) = (0, 0);
        self.wanted = 0;
        while let Some((flags, body, end)) = head(&self.input[at..]) {
            if end > FRAME_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let frame = at..at + end;
            let Some(body) = self.input.get(at + body..frame.end) else {
                self.wanted = frame.end - done;
                break;
            };
            at = frame.end;
            if flags & COMMAND != 0 {
                pong(body, &mut self.output);
            } else if self.is_subscriber {
                if self.deliveries.next().is_none() && body.starts_with(SUBSCRIBE) {
                    self.deliveries.take_all(queue);
                }
                if body.starts_with(CONFIRM) && body.len() == CONFIRM_BYTES {
                    self.output.extend([0, body.len() as u8 - 1]);
                    self.output.extend(&body[1..]);
                }
            } else if flags & MORE != 0 {
                continue;
            } else {
                self.output.extend(&self.input[done..frame.start]);
                let request = native::read(body);
                let answer = match request {
                    Request::Hello => native::hello(FRAME_BYTES_MAX as u64),
                    Request::Refused => native::REFUSAL.to_vec(),
                    Request::Publish => native::ok(queue.readers),
                    _ => native::ok(0),
                };
                self.output.extend([0, answer.len() as u8]);
                self.output.extend(answer);
                match request {
                    Request::Publish => taken.push(frame),
                    Request::Subscribe(wanted) => self.deliveries.subscribe(wanted, queue),
                    Request::Unsubscribe(number) => self.deliveries.unsubscribe(number),
                    Request::Credit { number, bytes } => self.deliveries.grant(number, bytes),
                    Request::Hello | Request::Ping | Request::Refused => {}
                }
            }
            done = at;
        }
        if taken.is_empty() || done * WASTE_MAX < self.input.capacity() {
            taken.into_iter().for_each(|at| queue.push(Bytes::copy_from_slice(&self.input[at])));
            self.input.drain(..done);
        } else {
            let mut rest = Vec::with_capacity(self.wanted.max(READ_BYTES));
            rest.extend_from_slice(&self.input[done..]);
            let whole = Bytes::from(std::mem::replace(&mut self.input, rest));
            taken.into_iter().for_each(|at| queue.push(whole.slice(at)));
        }
        Ok(())
    }

    /// Whether there is something to be written, and the system takes it.
    pub(super) fn wants_write(&self, queue: &Queue) -> bool {
        self.is_writable && (self.deliveries.is_due(queue) || !self.output.is_empty())
    }

    /// Writes once. An error ends the connection.
    pub(super) fn write(&mut self, queue: &Queue) -> io::Result<()> {
        self.deliveries.pay(queue);
        // Between two frames, not within one.
        let own = if self.deliveries.is_within_frame() { &[] } else { &self.output[..] };
        let mut slices = vec![IoSlice::new(own)];
        let lengths = self.deliveries.gather(queue, &mut slices);
        slices.truncate(WRITE_SLICES_MAX);
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        let written = match self.socket.write_vectored(&slices) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        };
        self.is_writable = written == bytes;
        let own = own.len().min(written);
        self.output.drain(..own);
        self.deliveries.advance(written - own, &lengths);
        Ok(())
    }
}

/// The flags of the frame that begins here, where its body begins and where it ends, once its head is
/// all there.
fn head(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&flags, rest) = bytes.split_first()?;
    let (body, length) = match flags & LONG {
        0 => (2, usize::from(*rest.first()?)),
        _ => (9, u64::from_be_bytes(*rest.first_chunk()?).try_into().unwrap_or(usize::MAX)),
    };
    Some((flags, body, length.saturating_add(body)))
}

/// Answers a PING command with its context; other commands have no answer.
fn pong(command: &[u8], output: &mut Vec<u8>) {
    let context = command.strip_prefix(b"\x04PING").and_then(|rest| rest.get(2..));
    if let Some(context) = context.map(|context| &context[..context.len().min(16)]) {
        output.extend([COMMAND, 5 + context.len() as u8]);
        output.extend(b"\x04PONG");
        output.extend(context);
    }
}
