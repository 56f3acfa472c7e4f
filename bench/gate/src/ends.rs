//! Publishers and subscribers of both formats, driven turn by turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mezzenger::internals::{DrivenClient, DrivenServer};
use mezzenger::transport::{Context, Part, Ready, Received, Socket, SocketOptions, poll};
use mezzenger::wire::frame::{Frame, v1_prefix, v2_prefix};
use mezzenger::wire::record::{Record, Records};
use mezzenger::wire::{checksum, pickle, reply};
use mezzenger::{Client, Encoding, Message, MessageId};

use crate::error::PipelineError;
use crate::flow::Dialect;
use crate::payload::{self, NAME};

/// Where requests are sent and frames come from.
pub(crate) const ENDPOINTS: [&str; 2] = ["inproc://requests", "inproc://frames"];

/// Far longer than any run: nothing is to happen by the clock.
pub(crate) const NEVER: Duration = Duration::from_secs(24 * 3600);

/// One publisher.
pub(crate) enum Publisher {
    /// A client of the library.
    Client(Box<DrivenClient>),
    /// A socket, the format of what it sends, a message a request, and how many were answered OK.
    Raw(Socket, Dialect, u64),
}

impl Publisher {
    /// A client of the library.
    pub(crate) fn client(context: &Context) -> Result<Self, PipelineError> {
        let options = Client::builder().auto_start(false).send_timeout(NEVER);
        let mut client = DrivenClient::new(&options, context, ENDPOINTS.map(str::to_owned))?;
        // Once it is connected and had a turn, what may leave at once does.
        client.turn_requests();
        while client.carry()? {
            client.turn_requests();
        }
        Ok(Self::Client(Box::new(client)))
    }

    /// A bare socket.
    pub(crate) fn raw(context: &Context, dialect: Dialect) -> Result<Self, PipelineError> {
        let socket = context.dealer(SocketOptions::default())?;
        socket.connect(ENDPOINTS[0])?;
        Ok(Self::Raw(socket, dialect, 0))
    }

    /// Publishes these payloads, of which the first has this number. What may leave at once does.
    pub(crate) fn publish(
        &mut self,
        texts: &[String],
        first: u64,
        ack: bool,
    ) -> Result<(), PipelineError> {
        match self {
            Self::Client(client) => {
                for text in texts {
                    client.client().publish(NAME, text, ack)?;
                }
            }
            Self::Raw(socket, dialect, _) => {
                for (text, number) in texts.iter().zip(first..) {
                    let frame = match dialect {
                        Dialect::Native => native_frame(text, number, ack),
                        Dialect::V1 => v1_frame(text, ack),
                    };
                    socket.send(&mut Part::empty(), true)?;
                    socket.send(&mut Part::share(frame.into()), false)?;
                }
            }
        }
        Ok(())
    }

    /// Carries what it and the server's socket have for each other; whether [`Self::hear`] is to see it.
    pub(crate) fn carry(&mut self) -> Result<bool, PipelineError> {
        match self {
            Self::Client(client) => Ok(client.carry()?),
            Self::Raw(socket, ..) => is_readable(socket),
        }
    }

    /// Takes the answers that came, and sends what waited for them.
    pub(crate) fn hear(&mut self) -> Result<(), PipelineError> {
        match self {
            Self::Client(client) => client.turn_requests(),
            Self::Raw(socket, _, taken) => {
                let mut part = Part::empty();
                while socket.receive(&mut part)? == Received::Part {
                    *taken += u64::from(part.as_slice() == reply::OK);
                }
            }
        }
        Ok(())
    }

    /// Messages that the server said OK to.
    pub(crate) fn taken(&self) -> u64 {
        match self {
            Self::Client(client) => client.client().counters().published,
            Self::Raw(_, _, taken) => *taken,
        }
    }
}

/// When all messages of bare sockets were made: the text of a timestamp has no fixed length.
const TIMESTAMP_NS: u64 = 1_763_866_000_120_000_000;

fn native_frame(text: &str, number: u64, ack: bool) -> Vec<u8> {
    let record = Record {
        id: MessageId { publisher: 1, sequence: number + 1 },
        ordinal: number + 1,
        timestamp_ns: TIMESTAMP_NS,
        checksum: checksum::native(NAME, text.as_bytes(), TIMESTAMP_NS),
        ack,
        encoding: Encoding::Text,
        payload: text.as_bytes(),
    };
    let mut frame = v2_prefix(NAME);
    // Payloads are far smaller than what a record holds.
    let written = record.append_to(&mut frame);
    debug_assert!(written.is_ok());
    frame
}

fn v1_frame(text: &str, ack: bool) -> Vec<u8> {
    let (dict, _) = pickle::write(NAME, pickle::Plain::Text(text), ack, TIMESTAMP_NS);
    let mut frame = v1_prefix(NAME);
    frame.extend(dict);
    frame
}

/// What a subscriber got: each publisher's messages in turn, or they are wrong.
pub(crate) struct Ledger {
    /// By publisher.
    right: Box<[AtomicU64]>,
    wrong: AtomicU64,
}

impl Ledger {
    /// Nothing, of so many publishers.
    pub(crate) fn new(publishers: usize) -> Self {
        let right = (0..publishers).map(|_| AtomicU64::new(0)).collect();
        Self { right, wrong: AtomicU64::new(0) }
    }

    fn note(&self, payload: &[u8], bytes: usize) {
        let mark = payload::mark(payload).filter(|_| payload.len() == bytes);
        let counter = mark.and_then(|mark| {
            let right = self.right.get(mark.publisher)?;
            (right.load(Ordering::Relaxed) == mark.number).then_some(right)
        });
        counter.unwrap_or(&self.wrong).fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that were as they were published, in order.
    pub(crate) fn right(&self) -> u64 {
        self.right.iter().map(|right| right.load(Ordering::Relaxed)).sum()
    }

    /// All others.
    pub(crate) fn wrong(&self) -> u64 {
        self.wrong.load(Ordering::Relaxed)
    }
}

/// The one subscriber.
pub(crate) enum Subscriber {
    /// A client of the library.
    Client(Box<DrivenClient>),
    /// A socket, and the length of payloads.
    Raw(Socket, usize),
}

impl Subscriber {
    /// A client of the library, subscribed. What arrives goes to the ledger.
    pub(crate) fn client(
        context: &Context,
        server: &mut DrivenServer,
        verify: bool,
        bytes: usize,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, PipelineError> {
        let options = Client::builder().verify_checksums(verify).send_timeout(NEVER);
        let mut client = DrivenClient::new(&options, context, ENDPOINTS.map(str::to_owned))?;
        let (handle, ledger) = (client.client().clone(), Arc::clone(ledger));
        let note = move |payload: &[u8], message: &Message| {
            if message.encoding() != Encoding::Pickle {
                return ledger.note(payload, bytes);
            }
            let value = message.value().ok();
            let text = value.as_ref().and_then(pickle::Value::as_text).unwrap_or_default();
            ledger.note(text.as_bytes(), bytes);
        };
        // It waits for the server's confirmation, and so for turns of this thread.
        let caller = thread::spawn(move || handle.subscribe(NAME, note));
        while !caller.is_finished() {
            client.turn_requests();
            client.turn_receiving();
            client.carry()?;
            server.turn_broker()?;
            thread::yield_now();
        }
        match caller.join() {
            Ok(subscribed) => subscribed?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(Self::Client(Box::new(client)))
    }

    /// A bare socket, subscribed to frames of this format.
    pub(crate) fn raw(
        context: &Context,
        server: &mut DrivenServer,
        dialect: Dialect,
        bytes: usize,
    ) -> Result<Self, PipelineError> {
        let socket = context.sub(SocketOptions::default())?;
        socket.connect(ENDPOINTS[1])?;
        socket.subscribe(&match dialect {
            Dialect::Native => v2_prefix(NAME),
            Dialect::V1 => v1_prefix(NAME),
        })?;
        server.turn_broker()?;
        Ok(Self::Raw(socket, bytes))
    }

    /// Carries what it and the server's sockets have for each other; whether [`Self::receive`] is to see
    /// it.
    pub(crate) fn carry(&mut self) -> Result<bool, PipelineError> {
        match self {
            Self::Client(client) => Ok(client.carry()?),
            Self::Raw(socket, _) => is_readable(socket),
        }
    }

    /// Takes what arrived, and acknowledges what asks for it if it is a client of the library.
    pub(crate) fn receive(&mut self, ledger: &Ledger) -> Result<(), PipelineError> {
        match self {
            Self::Client(client) => {
                client.turn_receiving();
                client.turn_requests();
            }
            Self::Raw(socket, bytes) => {
                let mut part = Part::empty();
                while socket.receive(&mut part)? == Received::Part {
                    read(part.as_slice(), *bytes, ledger);
                }
            }
        }
        Ok(())
    }
}

fn is_readable(socket: &Socket) -> Result<bool, PipelineError> {
    let mut ready = [Ready::default()];
    poll(&[socket], &[], &mut ready, Some(Duration::ZERO))?;
    Ok(ready[0].readable)
}

/// Notes the messages of a frame.
fn read(frame: &[u8], bytes: usize, ledger: &Ledger) {
    match Frame::parse(frame) {
        Ok(Frame::V1 { pickle, .. }) => {
            let value = pickle::payload_value(pickle).ok();
            let text = value.as_ref().and_then(pickle::Value::as_text).unwrap_or_default();
            ledger.note(text.as_bytes(), bytes);
        }
        Ok(Frame::V2 { body, .. }) => {
            for (_, record) in Records::new(body).flatten() {
                ledger.note(record.payload, bytes);
            }
        }
        Err(_) => ledger.note(&[], bytes),
    }
}
