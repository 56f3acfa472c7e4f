//! The native format over plain ZeroMQ sockets: what a test needs in order to send what the client
//! library would not, and to see what it would hide.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mezzenger::wire::checksum;
use mezzenger::wire::confirm;
use mezzenger::wire::frame::{split_v2, v2_prefix};
use mezzenger::wire::hello;
use mezzenger::wire::id::MessageId;
use mezzenger::wire::record::{Encoding, Record};
use mezzenger::wire::reply::{self, ErrorCode, Reply};
use mezzenger::wire::{ack, name};

use super::raw::{Raw, request};
use super::server::Server;
use super::wait::PATIENCE;

/// A requester that speaks the native format.
pub(crate) struct Native {
    pub(crate) socket: zmq::Socket,
    pub(crate) publisher: u64,
    secret: hello::Secret,
    sequence: u64,
    ordinals: HashMap<String, u64>,
}

/// A socket of any kind, connected, that does not hold up its test.
pub(crate) fn connect(kind: zmq::SocketType, endpoint: &str) -> zmq::Socket {
    let socket = zmq::Context::new().socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvhwm(0).unwrap();
    socket.set_sndhwm(0).unwrap();
    socket.connect(endpoint).unwrap();
    socket
}

/// The parts of the next message.
#[track_caller]
pub(crate) fn receive(socket: &zmq::Socket) -> Vec<Vec<u8>> {
    try_receive(socket, PATIENCE).unwrap_or_else(|| panic!("nothing came within {PATIENCE:?}"))
}

/// The parts of the next message, if one comes in time.
pub(crate) fn try_receive(socket: &zmq::Socket, time: Duration) -> Option<Vec<Vec<u8>>> {
    let deadline = Instant::now() + time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left_ms = i64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap();
        match socket.poll(zmq::POLLIN, left_ms) {
            Ok(0) => return None,
            // What a socket drops by itself, as a correlating REQ does with late replies, wakes it, too.
            Ok(_) => match socket.recv_multipart(zmq::DONTWAIT) {
                Ok(parts) => return Some(parts),
                Err(zmq::Error::EAGAIN) => {}
                Err(error) => panic!("{error}"),
            },
            Err(zmq::Error::EINTR) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_nanos()).unwrap()
}

impl Native {
    pub(crate) fn connect(server: &Server) -> Self {
        Self::with(server, fastrand::u128(..).to_le_bytes())
    }

    /// One with this secret, from which its publisher follows.
    pub(crate) fn with(server: &Server, secret: hello::Secret) -> Self {
        let native = Self {
            socket: connect(zmq::DEALER, &server.recv_endpoint()),
            publisher: hello::publisher(&secret),
            secret,
            sequence: 0,
            ordinals: HashMap::new(),
        };
        native.hello();
        let answer = one_frame(receive(&native.socket));
        assert!(hello::read_answer(&answer).is_some(), "{answer:?}");
        native
    }

    /// The id of the message that was written last.
    pub(crate) fn last_id(&self) -> MessageId {
        MessageId { publisher: self.publisher, sequence: self.sequence }
    }

    /// Writes the next message's record to the end of a frame.
    pub(crate) fn append(
        &mut self,
        frame: &mut Vec<u8>,
        name: &str,
        encoding: Encoding,
        payload: &[u8],
        ack: bool,
    ) {
        self.sequence += 1;
        let ordinal = self.ordinals.entry(name.to_owned()).or_default();
        *ordinal += 1;
        let timestamp_ns = now_ns();
        let record = Record {
            id: MessageId { publisher: self.publisher, sequence: self.sequence },
            ordinal: *ordinal,
            timestamp_ns,
            checksum: checksum::native(name, payload, timestamp_ns),
            ack,
            has_properties: false,
            encoding,
            payload,
        };
        record.append_to(frame).unwrap();
    }

    /// The frame of one new message.
    pub(crate) fn frame(&mut self, name: &str, payload: &[u8], ack: bool) -> Vec<u8> {
        let mut frame = v2_prefix(name);
        self.append(&mut frame, name, Encoding::Bytes, payload, ack);
        frame
    }

    /// The frame of several new messages.
    pub(crate) fn frame_of(
        &mut self,
        name: &str,
        payloads: &[impl AsRef<[u8]>],
        ack: bool,
    ) -> Vec<u8> {
        let mut frame = v2_prefix(name);
        for payload in payloads {
            self.append(&mut frame, name, Encoding::Bytes, payload.as_ref(), ack);
        }
        frame
    }

    /// Another connection of the same publisher, which goes on with its numbers.
    pub(crate) fn again(&self, server: &Server) -> Self {
        let (sequence, ordinals) = (self.sequence, self.ordinals.clone());
        Self { sequence, ordinals, ..Self::with(server, self.secret) }
    }

    /// What proves, on another connection, that it is this publisher's.
    pub(crate) fn hello_request(&self) -> Vec<u8> {
        hello::request(&self.secret)
    }

    /// Another connection, by hand, on which it may publish.
    #[track_caller]
    pub(crate) fn raw(&self, server: &Server) -> Raw {
        let mut raw = Raw::connect(server.recv_addr, "DEALER");
        raw.say(&request(&self.hello_request()));
        raw.hear().unwrap();
        raw
    }

    /// Proves that it is its publisher. The socket connects anew by itself, and nobody knows when, so this
    /// goes before each request.
    pub(crate) fn hello(&self) {
        self.socket.send_multipart([&b""[..], &hello::request(&self.secret)], 0).unwrap();
    }

    /// Sends a request and does not wait.
    pub(crate) fn send(&self, frame: &[u8]) {
        self.hello();
        self.socket.send_multipart([&b""[..], frame], 0).unwrap();
    }

    /// The next reply's one frame, but for those to a hello.
    #[track_caller]
    pub(crate) fn reply(&self) -> Vec<u8> {
        loop {
            let reply = one_frame(receive(&self.socket));
            if hello::read_answer(&reply).is_none() {
                return reply;
            }
        }
    }

    /// Sends a request and waits for its reply.
    #[track_caller]
    pub(crate) fn request(&self, frame: &[u8]) -> Vec<u8> {
        self.send(frame);
        self.reply()
    }

    /// Publishes one message and checks that it was taken.
    #[track_caller]
    pub(crate) fn publish(&mut self, name: &str, payload: &[u8], ack: bool) -> MessageId {
        let frame = self.frame(name, payload, ack);
        assert_ok(&self.request(&frame));
        self.last_id()
    }

    /// Acknowledges messages.
    #[track_caller]
    pub(crate) fn ack(&self, ids: &[MessageId]) {
        assert_ok(&self.request(&ack::frame(ids)));
    }

    /// Pings, which also waits for everything sent before.
    #[track_caller]
    pub(crate) fn ping(&self) {
        assert_ok(&self.request(&v2_prefix(name::PING)));
    }
}

/// Cuts the delimiter off a reply and checks that exactly one frame is left.
#[track_caller]
fn one_frame(parts: Vec<Vec<u8>>) -> Vec<u8> {
    let count = parts.len();
    match <[Vec<u8>; 2]>::try_from(parts) {
        Ok([delimiter, body]) if delimiter.is_empty() => body,
        _ => panic!("a reply of {count} frames where a delimiter and one frame should be"),
    }
}

#[track_caller]
pub(crate) fn assert_ok(reply: &[u8]) {
    let ok = matches!(reply::read(reply), Some(Reply::Ok { .. }));
    assert!(ok, "{:?}", String::from_utf8_lossy(reply));
}

/// Checks that a reply is this refusal, and returns its text.
#[track_caller]
pub(crate) fn assert_refused(reply: &[u8], expected: ErrorCode) -> String {
    match reply::read(reply) {
        Some(Reply::Refused { code: Some(code), text }) if code == expected => text.into_owned(),
        other => panic!("expected {expected:?}, got {other:?}"),
    }
}

/// A message as it came out of a native frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) name: String,
    pub(crate) id: MessageId,
    pub(crate) ordinal: u64,
    pub(crate) ack: bool,
    pub(crate) encoding: Encoding,
    pub(crate) payload: Vec<u8>,
}

/// A subscriber that speaks the native format.
pub(crate) struct NativeSubscriber {
    pub(crate) socket: zmq::Socket,
    ready: VecDeque<Delivery>,
}

impl NativeSubscriber {
    /// A subscriber to one name, its subscription live.
    #[track_caller]
    pub(crate) fn new(server: &Server, name: &str) -> Self {
        Self::to_prefixes(server, &[v2_prefix(name)])
    }

    /// A subscriber to any prefixes, its subscriptions live.
    #[track_caller]
    pub(crate) fn to_prefixes(server: &Server, prefixes: &[Vec<u8>]) -> Self {
        let socket = connect(zmq::SUB, &server.pub_endpoint());
        for prefix in prefixes {
            socket.set_subscribe(prefix).unwrap();
        }
        let mut subscriber = Self { socket, ready: VecDeque::new() };
        subscriber.confirm();
        subscriber
    }

    #[track_caller]
    fn confirm(&mut self) {
        let topic = confirm::topic(fastrand::u128(..));
        self.socket.set_subscribe(&topic).unwrap();
        loop {
            let parts = receive(&self.socket);
            if parts == [topic.to_vec()] {
                break;
            }
            self.take(&parts);
        }
        self.socket.set_unsubscribe(&topic).unwrap();
    }

    #[track_caller]
    fn take(&mut self, parts: &[Vec<u8>]) {
        let [frame] = parts else { panic!("a published message has one frame: {parts:?}") };
        let (name, records) = split_v2(frame).unwrap();
        for record in records {
            let (_, record) = record.unwrap();
            self.ready.push_back(Delivery {
                name: name.to_owned(),
                id: record.id,
                ordinal: record.ordinal,
                ack: record.ack,
                encoding: record.encoding,
                payload: record.payload.to_vec(),
            });
        }
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Delivery {
        match self.next_within(PATIENCE) {
            Some(delivery) => delivery,
            None => panic!("no message within {PATIENCE:?}"),
        }
    }

    /// The next message, if one comes in time.
    #[track_caller]
    pub(crate) fn next_within(&mut self, time: Duration) -> Option<Delivery> {
        while self.ready.is_empty() {
            let parts = try_receive(&self.socket, time)?;
            self.take(&parts);
        }
        self.ready.pop_front()
    }
}
