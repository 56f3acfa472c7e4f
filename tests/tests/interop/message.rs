//! Original-format messages, which clients send without knowing what is in them.

use md5::{Digest, Md5};

use crate::harness::pickles::{Dict, float, int, text};

/// A quarter of a second: both Pythons show it with the same digits.
const TIMESTAMP: f64 = 1_763_866_000.25;

/// A message as an original client sends it.
pub(super) struct Message {
    /// The name, `|` and the pickle.
    pub(super) frame: Vec<u8>,
    checksum: String,
}

impl Message {
    /// A message that is sent once.
    pub(super) fn once(name: &str, payload: &str) -> Self {
        Self::new(name, payload, 0)
    }

    /// A message that is sent until it is acknowledged.
    pub(super) fn kept(name: &str, payload: &str) -> Self {
        Self::new(name, payload, 1)
    }

    /// The request that acknowledges this message.
    pub(super) fn acknowledgement(&self) -> Vec<u8> {
        Self::once("ack", &self.checksum).frame
    }

    fn new(name: &str, payload: &str, ack: u8) -> Self {
        let digest = Md5::digest(format!("{name}{payload}{TIMESTAMP}"));
        let checksum: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let dict = Dict::message(name, text(payload))
            .with("ack", int(ack))
            .with("timestamp", float(TIMESTAMP))
            .with("checksum", text(&checksum));
        Self { frame: dict.frame(name), checksum }
    }
}

/// The request that is answered and goes no further.
pub(super) fn ping() -> Vec<u8> {
    Message::once("ping", "").frame
}
