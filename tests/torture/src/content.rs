//! Payloads that tell which message they are, and whether they are whole.

use fastrand::Rng;

/// Which publisher a message is of, and which of its messages it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The publisher: a number that each process gets anew.
    pub publisher: u32,
    /// Counts from 0, in the order of sending.
    pub number: u32,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.publisher, self.number)
    }
}

/// Bytes of the key at the start of a payload.
const KEY_BYTES: usize = 8;

/// Most bytes behind the key, of most messages. They are copied wherever they go.
const SMALL_BYTES_MAX: usize = 512;

/// The same of one message in eight. Servers keep the larger ones of these in the buffers they came in,
/// and the journal writes them from there.
const LARGE_BYTES_MAX: usize = 64 * 1024;

/// The payload of a message. Length and content follow from the key alone.
pub fn payload(key: Key) -> Vec<u8> {
    let mut random = Rng::with_seed(u64::from(key.publisher) << 32 | u64::from(key.number));
    let bytes_max = if random.u8(..8) == 0 { LARGE_BYTES_MAX } else { SMALL_BYTES_MAX };
    let mut payload = vec![0; KEY_BYTES + random.usize(..=bytes_max)];
    random.fill(&mut payload);
    payload[..4].copy_from_slice(&key.publisher.to_le_bytes());
    payload[4..KEY_BYTES].copy_from_slice(&key.number.to_le_bytes());
    payload
}

/// Which message this is the payload of; nothing unless every byte is as it was.
pub fn key(bytes: &[u8]) -> Option<Key> {
    let (publisher, rest) = bytes.split_first_chunk()?;
    let number = rest.first_chunk()?;
    let key =
        Key { publisher: u32::from_le_bytes(*publisher), number: u32::from_le_bytes(*number) };
    (payload(key) == bytes).then_some(key)
}

/// The name that a message is published under. Each name has one subscriber, so that who gets a message
/// twice is known.
pub fn name(key: Key, names: u32) -> String {
    name_of(key.number % names.max(1))
}

/// The name of a subscriber, which are counted from 0.
pub fn name_of(subscriber: u32) -> String {
    format!("torture.{subscriber}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_tells_which_message_it_is() {
        let lengths = (0..1000).map(|number| {
            let message = Key { publisher: 7, number };
            let payload = payload(message);
            assert_eq!(key(&payload), Some(message));
            payload.len()
        });
        let (small, large): (Vec<_>, Vec<_>) = lengths.partition(|&n| n <= 1024);
        assert!(small.len() > 500 && large.len() > 50, "{} and {}", small.len(), large.len());
    }

    #[test]
    fn a_payload_that_is_not_whole_is_none() {
        let whole = payload(Key { publisher: 1, number: 2 });
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_eq!(key(&damaged), None, "byte {at}");
            assert_eq!(key(&whole[..at]), None, "cut at {at}");
        }
    }
}
