//! Hello: the first request of a native client, and the server's answer.
//!
//! A request whose body is `0x02`, the kind `0x01`, a secret of 16 bytes and, perhaps, the client's name, behind a byte
//! with its length. The publisher's id is a hash of
//! the secret: only who knows the secret can publish under the id, on any connection. The answer is `0x02
//! 0x01`, the server's `max_message_bytes` and a number that changes with each start of the server, both `u64`, and its
//! retry interval in milliseconds, `u32`, all little-endian. Readers ignore what follows.

use md5::{Digest, Md5};

use super::group::append_text;
use super::id::V1_ID_BIT;
use crate::limits::CLIENT_NAME_BYTES_MAX;

/// The first byte of a control request's body, and of the answer to a hello.
pub const CONTROL: u8 = 0x02;

/// The kind of control request that this is.
const HELLO: u8 = 0x01;

/// Bytes of a secret.
pub const SECRET_BYTES: usize = 16;

/// What publishers prove themselves with. It is not shown in logs.
pub type Secret = [u8; SECRET_BYTES];

/// What a client says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// What it proves its publisher's id with.
    pub secret: Secret,
    /// What it calls itself, which nothing proves; empty if it does not say.
    pub name: &'a str,
}

/// Why a text is no name of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientNameError {
    /// It is too long.
    #[error("the client's name has {0} bytes, and at most {CLIENT_NAME_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// It is no text.
    #[error("the client's name must be UTF-8 text")]
    NotText,
    /// It has a control character.
    #[error("the client's name has the control character {}", .0.escape_default())]
    Control(char),
}

/// Why what begins as a hello is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// It has fewer bytes behind its kind than these.
    Short(usize),
    /// The client's name breaks a rule.
    Name(ClientNameError),
}

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

/// The body of the hello of a client without a name.
pub fn request(secret: &Secret) -> Vec<u8> {
    [&[CONTROL, HELLO][..], secret].concat()
}

/// The body of the hello of a client with this name, of which at most 255 bytes are sent; without one, if it is empty.
pub fn named_request(secret: &Secret, name: &str) -> Vec<u8> {
    let mut body = request(secret);
    if !name.is_empty() {
        append_text(name, &mut body);
    }
    body
}

/// Reads what stands behind the kind of a hello.
///
/// # Errors
/// It is cut short, or the client's name breaks a rule.
pub fn read_request(rest: &[u8]) -> Result<Hello<'_>, ReadError> {
    let (&secret, rest) = rest.split_first_chunk().ok_or(ReadError::Short(SECRET_BYTES))?;
    let Some((&length, rest)) = rest.split_first() else { return Ok(Hello { secret, name: "" }) };
    let length = usize::from(length);
    let name = rest.get(..length).ok_or(ReadError::Short(SECRET_BYTES + 1 + length))?;
    Ok(Hello { secret, name: check_name(name).map_err(ReadError::Name)? })
}

/// Checks the name of a client.
///
/// # Errors
/// The rule that it breaks.
pub fn check_name(name: &[u8]) -> Result<&str, ClientNameError> {
    if name.len() > CLIENT_NAME_BYTES_MAX {
        return Err(ClientNameError::TooLong(name.len()));
    }
    let name = std::str::from_utf8(name).map_err(|_| ClientNameError::NotText)?;
    match name.chars().find(|char| char.is_control()) {
        Some(char) => Err(ClientNameError::Control(char)),
        None => Ok(name),
    }
}

/// A name that keeps the rules, made of a text that may break them: control characters are left out, and what is too much is
/// cut off.
pub fn fitting_name(text: &str) -> String {
    let mut name = String::new();
    for char in text.chars().filter(|char| !char.is_control()) {
        if name.len() + char.len_utf8() > CLIENT_NAME_BYTES_MAX {
            break;
        }
        name.push(char);
    }
    name
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
        assert_eq!(read_request(&body[2..]), Ok(Hello { secret: SECRET, name: "" }));
        assert_eq!(named_request(&SECRET, ""), body);
        for end in 2..body.len() {
            assert_eq!(read_request(&body[2..end]), Err(ReadError::Short(16)));
        }
    }

    #[test]
    fn a_client_s_name_is_as_the_format_says_and_comes_back() {
        let body = named_request(&SECRET, "grüße");
        assert_eq!(body, b"\x02\x010123456789abcdef\x07gr\xc3\xbc\xc3\x9fe");
        let hello = Ok(Hello { secret: SECRET, name: "grüße" });
        assert_eq!(read_request(&body[2..]), hello);
        assert_eq!(read_request(&[&body[2..], b"more"].concat()), hello);
        for end in 19..body.len() {
            assert_eq!(read_request(&body[2..end]), Err(ReadError::Short(24)));
        }
    }

    #[test]
    fn a_client_s_name_keeps_its_rules() {
        let (longest, longer) = ("n".repeat(64), "n".repeat(65));
        assert_eq!(check_name(longest.as_bytes()), Ok(&longest[..]));
        assert_eq!(check_name(longer.as_bytes()), Err(ClientNameError::TooLong(65)));
        assert_eq!(check_name(b"a\xff"), Err(ClientNameError::NotText));
        for control in ['\0', '\n', '\x1b', '\u{9b}'] {
            let error = ClientNameError::Control(control);
            assert_eq!(check_name(format!("a{control}").as_bytes()), Err(error));
            assert!(!error.to_string().contains(control), "{error}");
        }
        assert_eq!(fitting_name("a\n\x1b[2Jb"), "a[2Jb");
        assert_eq!(fitting_name(&longer), longest);
        assert_eq!(fitting_name(&format!("{}ü", &longest[1..])), longest[1..]);
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
