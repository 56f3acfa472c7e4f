//! The far ends of a server's sockets, which judge what it says.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use mezzenger::internals::{DrivenConnection, DrivenServer, Port};
use mezzenger::wire::frame::{self, Frame};
use mezzenger::wire::pickle::scan;
use mezzenger::wire::record::Records;
use mezzenger::wire::reply::{self, Reply};
use mezzenger::wire::{confirm, durable, hello, letter, name, retained};

/// Envelopes of requests that this client makes are numbers; the number of this one, and whether the
/// answer has a code and a text.
type Awaited = HashMap<u64, bool>;

/// One that sends requests, one that sends anything, and one that subscribes.
pub(super) struct Client {
    requests: DrivenConnection,
    anything: DrivenConnection,
    subscriber: DrivenConnection,
    sent: u64,
    awaited: Awaited,
    /// Messages of the second that are not answered.
    unanswered: usize,
    /// One-off topics that were subscribed to.
    topics: HashSet<Bytes>,
}

impl Client {
    pub(super) fn connect(server: &mut DrivenServer) -> Self {
        let mut connect = |port| {
            let stream = server.connect(port).expect("a pair of sockets");
            let mut connection =
                DrivenConnection::over(stream, port == Port::Publishing, usize::MAX)
                    .expect("a stream that works");
            while !connection.is_open() {
                connection.receive();
                server.turn_broker().expect("the sockets work");
            }
            connection
        };
        let (requests, anything) = (connect(Port::Requests), connect(Port::Requests));
        let subscriber = connect(Port::Publishing);
        let (awaited, topics) = Default::default();
        Self { requests, anything, subscriber, sent: 0, awaited, unanswered: 0, topics }
    }

    pub(super) fn request(&mut self, body: &[u8]) {
        self.sent += 1;
        self.awaited.insert(self.sent, body.first().is_some_and(|&first| frame::is_native(first)));
        self.requests.send(&[&self.sent.to_le_bytes(), b"", body]);
    }

    /// Sends parts: what lies between bytes 0xff.
    pub(super) fn parts(&mut self, bytes: &[u8]) {
        let parts: Vec<&[u8]> = bytes.split(|&byte| byte == 0xff).collect();
        self.anything.send(&parts);
        self.unanswered += 1;
    }

    pub(super) fn subscribe(&mut self, topic: &[u8]) {
        if confirm::is_topic(topic) {
            self.topics.insert(Bytes::copy_from_slice(topic));
        }
        self.subscriber.send(&[&[&[1], topic].concat()]);
    }

    pub(super) fn unsubscribe(&mut self, topic: &[u8]) {
        self.subscriber.send(&[&[&[0], topic].concat()]);
    }

    /// Takes all that the server said.
    pub(super) fn receive(&mut self) {
        for parts in self.requests.receive() {
            let [id, empty, body] = &parts[..] else { panic!("a reply of {} parts", parts.len()) };
            let id = id.as_ref().try_into().map(u64::from_le_bytes).expect("the envelope, as sent");
            let native = self.awaited.remove(&id).expect("one answer to each request");
            assert!(empty.is_empty());
            assert_reply(body, native);
        }
        for parts in self.anything.receive() {
            assert!(parts.len() >= 2 && parts[parts.len() - 2].is_empty());
            self.unanswered = self.unanswered.checked_sub(1).expect("one answer to each message");
        }
        for parts in self.subscriber.receive() {
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

/// An answer is OK, or says why not in the way that who asked can read.
fn assert_reply(body: &[u8], native: bool) {
    match reply::read(body) {
        Some(Reply::Ok { .. }) => {}
        None if native && hello::read_answer(body).is_some() => {}
        None if native && is_list(body) => {}
        Some(Reply::Refused { code: Some(_), text }) if native => assert!(!text.is_empty()),
        None if body.is_empty() && !native => {}
        reply => panic!("{reply:?} to a request that is native: {native}"),
    }
}

/// Whether an answer lists groups, dead letters or retained messages.
fn is_list(body: &[u8]) -> bool {
    let is_of = [
        durable::read_listed(body).is_some(),
        letter::read_listed(body).is_some(),
        retained::read_listed(body).is_some(),
    ];
    is_of.contains(&true)
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
