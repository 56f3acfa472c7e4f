//! Idempotency keys: the bodies of their records, and which of them a series of records leaves.

use std::collections::BTreeMap;

use arcstr::ArcStr;

use super::names::Names;
use crate::message::MessageKey;

/// The body of the record of a key, borrowed from the buffer it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyBody<'a> {
    /// See [`MessageKey::at_ms`].
    pub at_ms: u64,
    /// See [`MessageKey::until_ms`].
    pub until_ms: u64,
    /// The message's name.
    pub name: &'a str,
    /// The key.
    pub key: &'a str,
}

/// The body of the record of a key. Name and key have at most 255 bytes where they come from.
pub(super) fn encode(key: &MessageKey) -> Vec<u8> {
    let MessageKey { name, key, at_ms, until_ms } = key;
    let lengths = [name.len() as u8, key.len() as u8];
    let times = [at_ms.to_le_bytes(), until_ms.to_le_bytes()].concat();
    [&times[..], &lengths, name.as_bytes(), key.as_bytes()].concat()
}

/// Reads the body of such a record; `None` unless it is well formed.
pub(super) fn read(bytes: &[u8]) -> Option<KeyBody<'_>> {
    let (at, rest) = bytes.split_first_chunk()?;
    let (until, rest) = rest.split_first_chunk()?;
    let (&[name_bytes, key_bytes], rest) = rest.split_first_chunk()?;
    let (name, key) = rest.split_at_checked(name_bytes.into())?;
    if key.len() != usize::from(key_bytes) {
        return None;
    }
    let (name, key) = (std::str::from_utf8(name).ok()?, std::str::from_utf8(key).ok()?);
    let (at_ms, until_ms) = (u64::from_le_bytes(*at), u64::from_le_bytes(*until));
    Some(KeyBody { at_ms, until_ms, name, key })
}

/// The keys that may count still, gathered while records are read. What time it is nobody says here; it was at least as late
/// as when the last key was written.
#[derive(Debug, Default)]
pub(super) struct Keys {
    all: BTreeMap<(ArcStr, ArcStr), (u64, u64)>,
    names: Names,
    latest_ms: u64,
    /// How many there were when those that count no longer were last dropped.
    kept: usize,
}

impl Keys {
    /// A record says that a message was published under a key.
    pub(super) fn add(&mut self, body: &KeyBody<'_>) {
        let place = (self.names.share(body.name), body.key.into());
        self.latest_ms = self.latest_ms.max(body.at_ms);
        self.all.insert(place, (body.at_ms, body.until_ms));
        if self.all.len() > 2 * self.kept.max(1024) {
            self.drop_old();
            self.kept = self.all.len();
        }
    }

    fn drop_old(&mut self) {
        let latest_ms = self.latest_ms;
        self.all.retain(|_, &mut (_, until_ms)| until_ms > latest_ms);
    }

    /// All that may count still.
    pub(super) fn into_keys(mut self) -> Vec<MessageKey> {
        self.drop_old();
        let key = |((name, key), (at_ms, until_ms))| MessageKey { name, key, at_ms, until_ms };
        self.all.into_iter().map(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, key: &str, at_ms: u64) -> MessageKey {
        MessageKey { name: name.into(), key: key.into(), at_ms, until_ms: at_ms + 10 }
    }

    #[test]
    fn a_key_lies_as_documented_and_reads_back() {
        let bytes = encode(&key("ab", "k-7", 5));
        assert_eq!(bytes, b"\x05\0\0\0\0\0\0\0\x0f\0\0\0\0\0\0\0\x02\x03abk-7");
        let body = KeyBody { at_ms: 5, until_ms: 15, name: "ab", key: "k-7" };
        assert_eq!(read(&bytes), Some(body));
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), None);
        }
        assert_eq!(read(&[&bytes[..], b"x"].concat()), None);
    }

    #[test]
    fn those_are_left_that_may_count_still() {
        let mut keys = Keys::default();
        for wanted in [key("a", "1", 5), key("a", "2", 8), key("b", "1", 15), key("a", "1", 16)] {
            keys.add(&read(&encode(&wanted)).unwrap());
        }
        assert_eq!(keys.into_keys(), [key("a", "1", 16), key("a", "2", 8), key("b", "1", 15)]);
        let mut keys = Keys::default();
        for n in 0..100_000 {
            keys.add(&read(&encode(&key("a", &n.to_string(), n))).unwrap());
            assert!(keys.all.len() < 3000);
        }
        assert_eq!(keys.into_keys().len(), 10);
    }
}
