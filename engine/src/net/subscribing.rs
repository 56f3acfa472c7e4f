//! A connection that remembers what it subscribed to.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::connection::{Change, Connection};
use super::wait::Polled;
use crate::zmtp::frame::Head;

/// What a subscription begins with in ZMTP 3.0, and a cancellation.
const SUBSCRIBE: u8 = 1;
const CANCEL: u8 = 0;

/// A connection to a publishing socket. Each new one begins with all subscriptions.
#[derive(Debug)]
pub(crate) struct Subscribing {
    connection: Connection,
    /// How often each topic was subscribed to. In their order they are told on a new connection: one that
    /// begins with a larger byte comes after all others.
    topics: BTreeMap<Vec<u8>, usize>,
    parts: Vec<Bytes>,
}

impl Subscribing {
    /// Over this connection.
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, topics: BTreeMap::new(), parts: Vec::new() }
    }

    /// Adds a subscription; equal ones count.
    pub(crate) fn subscribe(&mut self, topic: &[u8]) {
        let count = self.topics.entry(topic.to_vec()).or_default();
        *count += 1;
        if *count == 1 {
            self.tell(SUBSCRIBE, topic);
        }
    }

    /// Takes one subscription back.
    pub(crate) fn unsubscribe(&mut self, topic: &[u8]) {
        let Some(count) = self.topics.get_mut(topic) else { return };
        *count -= 1;
        if *count == 0 {
            self.topics.remove(topic);
            self.tell(CANCEL, topic);
        }
    }

    fn tell(&mut self, what: u8, topic: &[u8]) {
        self.connection.send(change(what, topic));
        self.connection.flush();
    }

    /// As [`Connection::advance`].
    pub(crate) fn advance(&mut self) {
        if self.connection.advance() {
            for topic in self.topics.keys() {
                self.connection.send(change(SUBSCRIBE, topic));
            }
            self.connection.flush();
        }
    }

    /// The next message. Of one in several parts, which a server never sends, the first.
    pub(crate) fn receive(&mut self) -> Option<Bytes> {
        self.connection.receive(&mut self.parts).then(|| self.parts.swap_remove(0))
    }

    /// As [`Connection::take_changes`].
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        self.connection.take_changes()
    }

    /// As [`Connection::socket`].
    pub(crate) fn socket(&self) -> Option<Arc<OwnedFd>> {
        self.connection.socket()
    }

    /// As [`Connection::readable`].
    pub(crate) fn readable(&mut self) {
        self.connection.readable();
    }

    /// As [`Connection::polled`].
    pub(crate) fn polled(&self) -> Option<Polled> {
        self.connection.polled()
    }

    /// As [`Connection::deadline`].
    pub(crate) fn deadline(&self, reading: bool) -> Option<Instant> {
        self.connection.deadline(reading)
    }
}

fn change(what: u8, topic: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(topic.len() + 10);
    Head::message(topic.len() + 1, false).append_to(&mut frame);
    frame.push(what);
    frame.extend(topic);
    frame.into()
}
