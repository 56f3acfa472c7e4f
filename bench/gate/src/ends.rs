//! Publishers and subscribers of both formats, driven turn by turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mezzenger::internals::{DrivenClient, DrivenConnection, DrivenServer, Port};
use mezzenger::wire::frame::{Frame, v1_prefix, v2_prefix};
use mezzenger::wire::hello;
use mezzenger::wire::record::{Record, Records};
use mezzenger::wire::reply::{self, Reply};
use mezzenger::wire::{checksum, pickle};
use mezzenger::{Client, ClientBuilder, Encoding, Message, MessageId};

use crate::error::PipelineError;
use crate::flow::Dialect;
use crate::payload::{self, NAME};

/// Far longer than any run: nothing is to happen by the clock.
pub(crate) const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Largest frame that an end takes.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// What raw publishers prove themselves with.
const SECRET: hello::Secret = *b"the gate's pipes";

/// A connection of the library's client, made.
fn connect(server: &mut DrivenServer, port: Port) -> Result<DrivenConnection, PipelineError> {
    let subscribes = port == Port::Publishing;
    let stream = server.connect(port)?;
    let mut connection = DrivenConnection::over(stream, subscribes, FRAME_BYTES_MAX)?;
    while !connection.is_open() {
        connection.receive();
        server.turn_broker()?;
    }
    Ok(connection)
}

fn driven(
    options: &ClientBuilder,
    server: &mut DrivenServer,
) -> Result<DrivenClient, PipelineError> {
    let stream = server.connect(Port::Requests)?;
    // What leaves when shall not depend on the clock.
    let options = options.clone().target_delay(NEVER);
    let mut client = DrivenClient::over(&options, stream)?;
    // Once it is connected and has been told of the server, what may leave at once does.
    for _ in 0..HANDSHAKE_TURNS {
        client.turn();
        server.turn_broker()?;
    }
    Ok(client)
}

/// Turns of both sides in which a handshake and a hello are over.
const HANDSHAKE_TURNS: usize = 8;

/// One publisher.
pub(crate) enum Publisher {
    /// A client of the library.
    Client(Box<DrivenClient>),
    /// A connection, the format of what it sends, a message a request, and how many were answered OK.
    Raw(Box<DrivenConnection>, Dialect, u64),
}

impl Publisher {
    /// A client of the library.
    pub(crate) fn client(server: &mut DrivenServer) -> Result<Self, PipelineError> {
        let options = Client::builder().send_timeout(NEVER);
        Ok(Self::Client(Box::new(driven(&options, server)?)))
    }

    /// A bare connection.
    pub(crate) fn raw(server: &mut DrivenServer, dialect: Dialect) -> Result<Self, PipelineError> {
        let mut connection = connect(server, Port::Requests)?;
        connection.send(&[b"", &hello::request(&SECRET)]);
        server.turn_broker()?;
        connection.receive();
        Ok(Self::Raw(Box::new(connection), dialect, 0))
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
                    match ack {
                        true => client.client().message(NAME, text).ack().publish()?,
                        false => client.client().publish(NAME, text)?,
                    };
                }
            }
            Self::Raw(connection, dialect, _) => {
                for (text, number) in texts.iter().zip(first..) {
                    let frame = match dialect {
                        Dialect::Native => native_frame(text, number, ack),
                        Dialect::V1 => v1_frame(text, ack),
                    };
                    connection.send(&[b"", &frame]);
                }
            }
        }
        Ok(())
    }

    /// Whether the server has something for it that [`Self::hear`] is to see.
    pub(crate) fn has_input(&self) -> bool {
        match self {
            Self::Client(client) => client.has_input(),
            Self::Raw(connection, ..) => connection.has_input(),
        }
    }

    /// Takes the answers that came, and sends what waited for them.
    pub(crate) fn hear(&mut self) {
        match self {
            Self::Client(client) => client.turn(),
            Self::Raw(connection, _, taken) => {
                let answers = connection.receive();
                let read = answers.iter().filter_map(|parts| reply::read(parts.last()?));
                *taken += read.filter(|reply| matches!(reply, Reply::Ok { .. })).count() as u64;
            }
        }
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
        id: MessageId { publisher: hello::publisher(&SECRET), sequence: number + 1 },
        ordinal: number + 1,
        timestamp_ns: TIMESTAMP_NS,
        checksum: checksum::native(NAME, text.as_bytes(), TIMESTAMP_NS),
        ack,
        has_properties: false,
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
    /// A connection, and the length of payloads.
    Raw(Box<DrivenConnection>, usize),
}

impl Subscriber {
    /// A client of the library, subscribed. What arrives goes to the ledger.
    pub(crate) fn client(
        server: &mut DrivenServer,
        verify: bool,
        bytes: usize,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, PipelineError> {
        let options = Client::builder().verify_checksums(verify).send_timeout(NEVER);
        let mut client = driven(&options, server)?;
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
            client.turn();
            server.turn_broker()?;
            thread::yield_now();
        }
        match caller.join() {
            Ok(subscribed) => subscribed?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(Self::Client(Box::new(client)))
    }

    /// A bare connection, subscribed to frames of this format.
    pub(crate) fn raw(
        server: &mut DrivenServer,
        dialect: Dialect,
        bytes: usize,
    ) -> Result<Self, PipelineError> {
        let mut connection = connect(server, Port::Publishing)?;
        let topic = match dialect {
            Dialect::Native => v2_prefix(NAME),
            Dialect::V1 => v1_prefix(NAME),
        };
        connection.send(&[&[&[1], &topic[..]].concat()]);
        server.turn_broker()?;
        Ok(Self::Raw(Box::new(connection), bytes))
    }

    /// Whether the server has something for it that [`Self::receive`] is to see.
    pub(crate) fn has_input(&self) -> bool {
        match self {
            Self::Client(client) => client.has_input(),
            Self::Raw(connection, _) => connection.has_input(),
        }
    }

    /// Takes what arrived, and acknowledges what asks for it if it is a client of the library.
    pub(crate) fn receive(&mut self, ledger: &Ledger) {
        match self {
            // What it acknowledged leaves in the second one.
            Self::Client(client) => {
                client.turn();
                client.turn();
            }
            Self::Raw(connection, bytes) => {
                for frame in connection.receive().concat() {
                    read(&frame, *bytes, ledger);
                }
            }
        }
    }
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
