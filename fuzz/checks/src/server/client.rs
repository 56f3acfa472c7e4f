//! The far ends of a server's sockets, which judge what it says.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use mezzenger::transport::{Context, Part, Received, Socket, SocketOptions};
use mezzenger::wire::frame::Frame;
use mezzenger::wire::pickle::scan;
use mezzenger::wire::record::Records;
use mezzenger::wire::reply::{self, Reply};
use mezzenger::wire::{confirm, name};

/// Envelopes of requests that this client makes are numbers; the number of this one, and whether the
/// answer has a code and a text.
type Awaited = HashMap<u64, bool>;

/// One that sends requests, one that sends anything, and one that subscribes.
pub(super) struct Client {
    requests: Socket,
    anything: Socket,
    subscriber: Socket,
    sent: u64,
    awaited: Awaited,
    /// Messages of the second that are not answered.
    unanswered: usize,
    /// One-off topics that were subscribed to.
    topics: HashSet<Bytes>,
}

impl Client {
    pub(super) fn connect(context: &Context, [requests_at, messages_at]: [&str; 2]) -> Self {
        // No bound: nobody reads while the other writes.
        let unbounded =
            SocketOptions { send_hwm: Some(0), receive_hwm: Some(0), ..SocketOptions::default() };
        let requests = context.dealer(unbounded).expect("a socket");
        let anything = context.dealer(unbounded).expect("a socket");
        let subscriber = context.sub(unbounded).expect("a socket");
        for (socket, endpoint) in
            [(&requests, requests_at), (&anything, requests_at), (&subscriber, messages_at)]
        {
            socket.connect(endpoint).expect("the server is there");
        }
        let (awaited, topics) = Default::default();
        Self { requests, anything, subscriber, sent: 0, awaited, unanswered: 0, topics }
    }

    pub(super) fn request(&mut self, body: &[u8]) {
        self.sent += 1;
        self.awaited.insert(self.sent, body.first().is_some_and(|&first| first < 0x20));
        send(&mut self.requests, &[&self.sent.to_le_bytes(), b"", body]);
    }

    /// Sends parts: what lies between bytes 0xff.
    pub(super) fn parts(&mut self, bytes: &[u8]) {
        let parts: Vec<&[u8]> = bytes.split(|&byte| byte == 0xff).collect();
        send(&mut self.anything, &parts);
        self.unanswered += 1;
    }

    pub(super) fn subscribe(&mut self, topic: &[u8]) {
        if confirm::is_topic(topic) {
            self.topics.insert(Bytes::copy_from_slice(topic));
        }
        self.subscriber.subscribe(topic).expect("a topic is any bytes");
    }

    pub(super) fn unsubscribe(&mut self, topic: &[u8]) {
        self.subscriber.unsubscribe(topic).expect("a topic is any bytes");
    }

    /// Takes all that the server said.
    pub(super) fn receive(&mut self) {
        while let Some(parts) = receive(&mut self.requests) {
            let [id, empty, body] = &parts[..] else { panic!("a reply of {} parts", parts.len()) };
            let id = id.as_ref().try_into().map(u64::from_le_bytes).expect("the envelope, as sent");
            let native = self.awaited.remove(&id).expect("one answer to each request");
            assert!(empty.is_empty());
            assert_reply(body, native);
        }
        while let Some(parts) = receive(&mut self.anything) {
            assert!(parts.len() >= 2 && parts[parts.len() - 2].is_empty());
            self.unanswered = self.unanswered.checked_sub(1).expect("one answer to each message");
        }
        while let Some(parts) = receive(&mut self.subscriber) {
            let [frame] = &parts[..] else { panic!("a message of {} parts", parts.len()) };
            if !self.topics.contains(frame) {
                assert_well_formed(frame);
            }
        }
    }

    pub(super) fn assert_all_answered(&self) {
        assert!(self.awaited.is_empty(), "{} requests have no answer", self.awaited.len());
        assert_eq!(self.unanswered, 0, "messages that were no requests have no answer");
    }
}

fn send(socket: &mut Socket, parts: &[&[u8]]) {
    for (at, part) in parts.iter().enumerate() {
        let more = at + 1 < parts.len();
        assert!(socket.send(&mut Part::copy_of(part), more).expect("a socket that works"));
    }
}

fn receive(socket: &mut Socket) -> Option<Vec<Bytes>> {
    let mut parts = Vec::new();
    loop {
        let mut part = Part::empty();
        match socket.receive(&mut part).expect("a socket that works") {
            Received::Nothing => return None,
            Received::Part => {
                let more = part.has_more();
                parts.push(part.into_bytes());
                if !more {
                    return Some(parts);
                }
            }
        }
    }
}

/// An answer is OK, or says why not in the way that who asked can read.
fn assert_reply(body: &[u8], native: bool) {
    match reply::read(body) {
        Some(Reply::Ok) => {}
        Some(Reply::Refused { code: Some(_), text }) if native => assert!(!text.is_empty()),
        None if body.is_empty() && !native => {}
        reply => panic!("{reply:?} to a request that is native: {native}"),
    }
}

fn assert_well_formed(frame: &[u8]) {
    let of = match Frame::parse(frame) {
        Ok(Frame::V1 { name, pickle }) => {
            let fields = scan(pickle).expect("a dict with its five keys");
            assert_eq!(fields.name, name);
            name
        }
        Ok(Frame::V2 { name, body }) => {
            assert!(!body.is_empty());
            assert!(Records::new(body).all(|record| record.is_ok()));
            name
        }
        Err(error) => panic!("published: {error}"),
    };
    assert_eq!(name::check_publishable(of), Ok(()));
}
