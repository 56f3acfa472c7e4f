//! The check of the server against a stranger who says anything.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use mezzenger::internals::{DrivenConnection, DrivenServer, Port};
use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::wire::frame::{Frame, v2_prefix};
use mezzenger::wire::record::{Record, Records};
use mezzenger::wire::reply::{self, Reply};
use mezzenger::wire::{checksum, hello};
use mezzenger::{Config, Encoding, MessageId};

use crate::connection::{cut, greeting};

/// Turns in which the server serves a client: one to read its request, one to write what came of it.
const SERVED_TURNS: usize = 2;

/// Turns in which a handshake is over.
const HANDSHAKE_TURNS: usize = 8;

/// Pieces of the stranger's bytes between two requests of the good client.
const PIECES_BETWEEN: usize = 16;

/// Bytes that a server may keep for strangers who said at most 8 KiB each, what it queues for them included.
const KEPT_BYTES_MAX: u64 = 1024 * 1024;

const SECRET: hello::Secret = *b"the good client!";
const NAME: &str = "good";
const TIMESTAMP_NS: u64 = 1_763_866_000_120_000_000;

/// Says any bytes to both ports of a server, in pieces of any size: the server lives, keeps little, and
/// serves another client at once, between the pieces and after them.
///
/// Of the first byte, bit 0 says whether the bytes follow a good greeting or are the greeting, too, bit 1
/// whether the strangers read what the server says, and bit 2 whether they are gone when the good client
/// publishes last. The second byte says how the bytes are cut into pieces.
///
/// # Panics
/// When one of this does not hold.
pub fn session(data: &[u8]) {
    let Some((&[choice, pieces], stream)) = data.split_first_chunk() else { return };
    let config = Config {
        // The clock has no part in this.
        retry_interval: Duration::from_secs(3600),
        // Small, so that they are met.
        max_message_bytes: 4096,
        max_pending_messages: 16,
        ..Config::default()
    };
    let mut server = DrivenServer::new(&config, Arc::new(MemoryStorage::new()))
        .expect("it starts without a journal");
    let mut good = Good::connect(&mut server);
    let kept_before = server.metrics().connections;
    let mut strangers =
        [Port::Requests, Port::Publishing].map(|port| Stranger::connect(&mut server, port, choice));
    for (at, piece) in cut(stream, pieces).enumerate() {
        for stranger in &mut strangers {
            stranger.say(piece);
        }
        turn(&mut server);
        strangers.iter_mut().for_each(Stranger::hear);
        if at % PIECES_BETWEEN == 0 {
            good.publish(&mut server);
        }
    }
    if choice & 4 != 0 {
        drop(strangers);
        turn(&mut server);
        assert_eq!(server.metrics().connections, kept_before, "a connection outlives its peer");
    }
    good.publish(&mut server);
}

fn turn(server: &mut DrivenServer) {
    server.turn_broker().expect("the sockets work");
    let metrics = server.metrics();
    assert!(metrics.pending_bytes + metrics.unsent_bytes <= KEPT_BYTES_MAX, "{metrics:?}");
}

/// Who says anything.
struct Stranger {
    stream: UnixStream,
    reads: bool,
}

impl Stranger {
    fn connect(server: &mut DrivenServer, port: Port, choice: u8) -> Self {
        let stream = server.connect(port).expect("a pair of sockets");
        stream.set_nonblocking(true).expect("a socket like any");
        let mut stranger = Self { stream, reads: choice & 2 != 0 };
        if choice & 1 != 0 {
            stranger.say(&greeting(if port == Port::Requests { b"DEALER" } else { b"SUB" }));
            turn(server);
        }
        stranger
    }

    /// Says all of it, unless the server ended the connection or reads no more.
    fn say(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn hear(&mut self) {
        let mut said = [0; 4096];
        while self.reads && self.stream.read(&mut said).is_ok_and(|bytes| bytes > 0) {}
    }
}

/// A publisher and a subscriber as they should be.
struct Good {
    requests: DrivenConnection,
    subscriber: DrivenConnection,
    published: u64,
}

impl Good {
    fn connect(server: &mut DrivenServer) -> Self {
        let mut connect = |port| {
            let stream = server.connect(port).expect("a pair of sockets");
            let subscribes = port == Port::Publishing;
            let mut connection =
                DrivenConnection::over(stream, subscribes, usize::MAX).expect("a socket like any");
            for _ in 0..HANDSHAKE_TURNS {
                connection.receive();
                server.turn_broker().expect("the sockets work");
            }
            connection.receive();
            assert!(connection.is_open(), "the handshake does not end");
            connection
        };
        let (mut requests, mut subscriber) = (connect(Port::Requests), connect(Port::Publishing));
        requests.send(&[b"", &hello::request(&SECRET)]);
        subscriber.send(&[&[&[1], &v2_prefix(NAME)[..]].concat()]);
        server.turn_broker().expect("the sockets work");
        let answers = requests.receive();
        let greeted =
            answers.concat().last().is_some_and(|body| hello::read_answer(body).is_some());
        assert!(greeted, "{answers:?} to a hello");
        Self { requests, subscriber, published: 0 }
    }

    /// Publishes a message that must be taken, and arrive, at once.
    fn publish(&mut self, server: &mut DrivenServer) {
        self.published += 1;
        let id = MessageId { publisher: hello::publisher(&SECRET), sequence: self.published };
        self.requests.send(&[b"", &frame(id)]);
        let (mut answers, mut arrived) = (Vec::new(), Vec::new());
        for _ in 0..SERVED_TURNS {
            turn(server);
            answers.extend(self.requests.receive().concat());
            arrived.extend(self.subscriber.receive().concat());
        }
        // It said hello, and is told that one connection wants it; or more, if the script's own does, too.
        let is_taken = |body| matches!(reply::read(body), Some(Reply::Ok { connections: 1.., .. }));
        let [delimiter, body] = &answers[..] else {
            panic!("message {} was answered {answers:?}", self.published);
        };
        assert!(delimiter.is_empty() && is_taken(body), "message {}: {body:?}", self.published);
        let arrivals = arrived.iter().filter(|frame| holds(frame, id)).count();
        assert_eq!(arrivals, 1, "how often message {} arrived", self.published);
    }
}

/// A message that is not kept, as its number.
fn frame(id: MessageId) -> Vec<u8> {
    let text = id.sequence.to_string();
    let payload = text.as_bytes();
    let record = Record {
        id,
        ordinal: id.sequence,
        timestamp_ns: TIMESTAMP_NS,
        checksum: checksum::native(NAME, payload, TIMESTAMP_NS),
        ack: false,
        has_properties: false,
        encoding: Encoding::Text,
        payload,
    };
    let mut frame = v2_prefix(NAME);
    record.append_to(&mut frame).expect("a short payload");
    frame
}

fn holds(frame: &[u8], id: MessageId) -> bool {
    let Ok(Frame::V2 { body, .. }) = Frame::parse(frame) else { return false };
    Records::new(body).flatten().any(|(_, record)| record.id == id)
}
