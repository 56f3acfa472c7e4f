//! How a subscriber learns that the server has its subscriptions.
//!
//! The publishing socket sees subscriptions in the order they were made. A subscriber subscribes to
//! what it wants, then to a one-off topic: `0x02` and 16 random bytes. The server answers such a
//! subscription by publishing the topic itself; when it arrives, all earlier subscriptions are live.

/// The first byte of a confirmation topic.
pub const CONFIRM: u8 = 0x02;
/// Bytes of a confirmation topic.
pub const TOPIC_BYTES: usize = 17;

/// The topic for a token.
pub fn topic(token: u128) -> [u8; TOPIC_BYTES] {
    let mut topic = [CONFIRM; TOPIC_BYTES];
    topic[1..].copy_from_slice(&token.to_le_bytes());
    topic
}

/// Whether a subscription asks for a confirmation.
pub fn is_topic(bytes: &[u8]) -> bool {
    bytes.len() == TOPIC_BYTES && bytes[0] == CONFIRM
}
