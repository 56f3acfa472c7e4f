//! What a native client says first on a connection for requests, and what the server answers.
//!
//! A request whose body is `0x02`, the kind `0x01`, and a secret of 16 bytes. The publisher's id is a hash of
//! the secret: only who knows the secret can publish under the id, on any connection. The answer is `0x02
//! 0x01`, the server's `max_message_bytes` and a number that changes with each start of the server, both `u64`, and its
//! retry interval in milliseconds, `u32`, all little-endian. Readers ignore what follows.

use md5::{Digest, Md5};

use super::id::V1_ID_BIT;

/// The first byte of a control request's body, and of the answer to a hello.
pub const CONTROL: u8 = 0x02;

/// The kind of control request that this is.
const HELLO: u8 = 0x01;

/// Bytes of a secret.
pub const SECRET_BYTES: usize = 16;

/// What publishers prove themselves with. It is not shown in logs.
pub type Secret = [u8; SECRET_BYTES];

/// What the server tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The largest message that the server takes, in bytes as it travels.
    pub max_message_bytes: u64,
    /// A random number, another for each start of the server.
    pub instance: u64,
    /// How long an unacknowledged message waits before it is sent again, in milliseconds.
    pub retry_interval_ms: u32,
}

/// The body of a hello.
pub fn request(secret: &Secret) -> Vec<u8> {
    [&[CONTROL, HELLO][..], secret].concat()
}

/// Reads the body of a hello; `None` for one that is none.
pub fn read_request(body: &[u8]) -> Option<Secret> {
    body.strip_prefix(&[CONTROL, HELLO])?.first_chunk().copied()
}

/// The body of the answer.
pub fn answer(answer: Answer) -> Vec<u8> {
    let Answer { max_message_bytes, instance, retry_interval_ms } = answer;
    let (limit, instance) = (max_message_bytes.to_le_bytes(), instance.to_le_bytes());
    [&[CONTROL, HELLO][..], &limit, &instance, &retry_interval_ms.to_le_bytes()].concat()
}

/// Reads the body of an answer; `None` for one that is none.
pub fn read_answer(body: &[u8]) -> Option<Answer> {
    let rest = body.strip_prefix(&[CONTROL, HELLO])?;
    let (limit, rest) = rest.split_first_chunk()?;
    let (instance, rest) = rest.split_first_chunk()?;
    let interval = rest.first_chunk()?;
    Some(Answer {
        max_message_bytes: u64::from_le_bytes(*limit),
        instance: u64::from_le_bytes(*instance),
        retry_interval_ms: u32::from_le_bytes(*interval),
    })
}

/// The id of the publisher with this secret: from 1 to 2^63 - 1.
pub fn publisher(secret: &Secret) -> u64 {
    let hash = Md5::new().chain_update(b"mezzenger publisher").chain_update(secret).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    (u64::from_le_bytes(first) & !V1_ID_BIT).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Secret = *b"0123456789abcdef";

    #[test]
    fn a_hello_is_as_the_format_says_and_comes_back() {
        let body = request(&SECRET);
        assert_eq!(body, *b"\x02\x010123456789abcdef");
        assert_eq!(read_request(&body), Some(SECRET));
        assert_eq!(read_request(&[&body[..], b"more"].concat()), Some(SECRET));
        for end in 0..body.len() {
            assert_eq!(read_request(&body[..end]), None);
        }
        assert_eq!(read_request(b"\x01\x010123456789abcdef"), None);
        assert_eq!(read_request(b"\x02\x020123456789abcdef"), None);
    }

    #[test]
    fn an_answer_is_as_the_format_says_and_comes_back() {
        let said =
            Answer { max_message_bytes: 0x0102, instance: 0x0304, retry_interval_ms: 0x0506 };
        let body = answer(said);
        assert_eq!(body, *b"\x02\x01\x02\x01\0\0\0\0\0\0\x04\x03\0\0\0\0\0\0\x06\x05\0\0");
        assert_eq!(read_answer(&body), Some(said));
        assert_eq!(read_answer(&[&body[..], b"more"].concat()), Some(said));
        for end in 0..body.len() {
            assert_eq!(read_answer(&body[..end]), None);
        }
        assert_eq!(read_answer(b"OK"), None);
    }

    #[test]
    fn a_publisher_s_id_is_the_hash_of_its_secret() {
        // printf 'mezzenger publisher0123456789abcdef' | md5sum
        assert_eq!(publisher(&SECRET), 0x58076be429c1807c);
        assert_ne!(publisher(&SECRET), publisher(&[0; SECRET_BYTES]));
    }
}
