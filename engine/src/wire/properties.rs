//! Properties of a message: where replies go, the type of its payload, headers, delay and expiry.
//!
//! They stand behind the payload, each as a number, a length and as many bytes, and at their end how many bytes they
//! are. Numbers are little-endian; readers pass over what they do not know. The table is in
//! `docs/wire-format.md`.

use super::name::{self, NameError};
use crate::limits::{KEY_BYTES_MAX, PROPERTIES_BYTES_MAX, TYPE_NAME_BYTES_MAX};

const REPLY_TO: u8 = 1;
const CORRELATION: u8 = 2;
const CONTENT_TYPE: u8 = 3;
const HEADER: u8 = 4;
const EXPIRES: u8 = 5;
const DELIVER_AT: u8 = 6;
const RETAIN: u8 = 7;
const KEY: u8 = 8;
const PAYLOAD_TYPE: u8 = 9;

/// The header of an answer which says, instead of answering, why the request failed.
pub const ERROR_HEADER: &str = "mezzenger-error";

/// Bytes before each property.
const HEAD_BYTES: usize = 5;
/// Bytes behind them all.
pub const LENGTH_BYTES: usize = 4;

/// Of which type a payload is an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PayloadType<'a> {
    /// A number of what the type consists of; only whether it is the same means anything.
    pub layout: u64,
    /// What the type is called.
    pub name: &'a str,
}

/// The properties of a message, borrowed from where they lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    /// The name that an answer is to be published under.
    pub reply_to: Option<&'a str>,
    /// What an answer repeats, so that it finds its question.
    pub correlation: Option<u64>,
    /// What the payload is, a media type as in MIME.
    pub content_type: Option<&'a str>,
    /// Pairs of texts, in their order; a key may be repeated.
    pub headers: Vec<(&'a str, &'a str)>,
    /// From when on nobody gets the message any more, in milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
    /// Before when nobody gets the message, in milliseconds since the Unix epoch.
    pub deliver_at_ms: Option<u64>,
    /// Whether the server keeps the message as the last one of its name.
    pub retain: bool,
    /// The publisher's own key: another message under it is the same one again.
    pub key: Option<&'a str>,
    /// Of which type the payload is an archive.
    pub payload_type: Option<PayloadType<'a>>,
}

/// Why bytes are no properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// They are too many bytes.
    #[error(
        "the properties of a message have {PROPERTIES_BYTES_MAX} bytes at most, and these have {bytes}"
    )]
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// One of them is cut short.
    #[error("property {at} of a message is cut short")]
    Short {
        /// Which one, from 1.
        at: usize,
    },
    /// A text is not UTF-8.
    #[error("property {at} of a message is not UTF-8 text")]
    NotUtf8 {
        /// Which one, from 1.
        at: usize,
    },
    /// A key is empty or too long.
    #[error("an idempotency key has 1 to {KEY_BYTES_MAX} bytes, and this one has {bytes}")]
    Key {
        /// How many.
        bytes: usize,
    },
    /// The name of a payload's type is empty, too long, or holds a control character.
    #[error(
        "the name of a payload's type has 1 to {TYPE_NAME_BYTES_MAX} bytes and no control characters, and this one has \
         {bytes} bytes"
    )]
    TypeName {
        /// How many.
        bytes: usize,
    },
    /// A content type holds a control character.
    #[error("a content type must not hold control characters")]
    ContentType,
    /// The name for answers breaks a rule.
    #[error("the name for answers: {0}")]
    ReplyTo(#[from] NameError),
    /// It expires before it is delivered.
    #[error(
        "the message is over {early_ms} ms before its delivery, and nobody would get it: have it expire later, or be delivered sooner"
    )]
    ExpiresFirst {
        /// By how many milliseconds.
        early_ms: u64,
    },
}

impl<'a> Properties<'a> {
    /// Reads properties.
    ///
    /// # Errors
    /// The rule that they break.
    pub fn read(bytes: &'a [u8]) -> Result<Self, PropertiesError> {
        if bytes.len() > PROPERTIES_BYTES_MAX {
            return Err(PropertiesError::TooLong { bytes: bytes.len() });
        }
        let (mut properties, mut rest, mut at) = (Self::default(), bytes, 0);
        while !rest.is_empty() {
            at += 1;
            let short = PropertiesError::Short { at };
            let (&[number, length @ ..], behind) =
                rest.split_first_chunk::<HEAD_BYTES>().ok_or(short)?;
            let length = u32::from_le_bytes(length) as usize;
            let (value, behind) = behind.split_at_checked(length).ok_or(short)?;
            rest = behind;
            let number_of =
                |value: &[u8]| value.try_into().map(u64::from_le_bytes).map_err(|_| short);
            let text = |value| str::from_utf8(value).map_err(|_| PropertiesError::NotUtf8 { at });
            match number {
                REPLY_TO => {
                    let to = text(value)?;
                    name::check_publishable(to)?;
                    properties.reply_to = Some(to);
                }
                CORRELATION => properties.correlation = Some(number_of(value)?),
                CONTENT_TYPE => properties.content_type = Some(check_type(text(value)?)?),
                HEADER => {
                    let (length, value) = value.split_first_chunk().ok_or(short)?;
                    let length = usize::from(u16::from_le_bytes(*length));
                    let (key, value) = value.split_at_checked(length).ok_or(short)?;
                    properties.headers.push((text(key)?, text(value)?));
                }
                EXPIRES => properties.expires_ms = Some(number_of(value)?),
                DELIVER_AT => properties.deliver_at_ms = Some(number_of(value)?),
                RETAIN => properties.retain = true,
                KEY => properties.key = Some(check_key(text(value)?)?),
                PAYLOAD_TYPE => {
                    let (layout, name) = value.split_first_chunk().ok_or(short)?;
                    let layout = u64::from_le_bytes(*layout);
                    let name = check_type_name(text(name)?)?;
                    properties.payload_type = Some(PayloadType { layout, name });
                }
                _ => {}
            }
        }
        Ok(properties)
    }

    /// Whether the message is delivered when its turn comes, as far as its properties say, so that it has an ordinal.
    pub fn is_counted(&self) -> bool {
        self.deliver_at_ms.is_none() && self.key.is_none()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        let Self {
            reply_to,
            correlation,
            content_type,
            headers,
            expires_ms,
            deliver_at_ms,
            retain,
            key,
            payload_type,
        } = self;
        reply_to.is_none()
            && correlation.is_none()
            && content_type.is_none()
            && headers.is_empty()
            && expires_ms.is_none()
            && deliver_at_ms.is_none()
            && !retain
            && key.is_none()
            && payload_type.is_none()
    }

    /// Whether the message can reach anybody: it does not expire before it is delivered. Whoever publishes asks.
    ///
    /// # Errors
    /// When it does.
    pub fn check_times(&self) -> Result<(), PropertiesError> {
        match (self.expires_ms, self.deliver_at_ms) {
            (Some(expires_ms), Some(deliver_at_ms)) if expires_ms < deliver_at_ms => {
                Err(PropertiesError::ExpiresFirst { early_ms: deliver_at_ms - expires_ms })
            }
            _ => Ok(()),
        }
    }

    /// Appends them, and how many bytes they are, to a payload.
    ///
    /// # Errors
    /// The rule that they break; `payload` is then unchanged.
    pub fn append_to(&self, payload: &mut Vec<u8>) -> Result<(), PropertiesError> {
        if let Some(to) = self.reply_to {
            name::check_publishable(to)?;
        }
        self.content_type.map(check_type).transpose()?;
        self.key.map(check_key).transpose()?;
        self.payload_type.map(|it| check_type_name(it.name)).transpose()?;
        let start = payload.len();
        let mut put = |number, parts: &[&[u8]]| {
            let bytes: usize = parts.iter().map(|part| part.len()).sum();
            payload.push(number);
            payload.extend((bytes as u32).to_le_bytes());
            parts.iter().for_each(|part| payload.extend_from_slice(part));
        };
        if let Some(to) = self.reply_to {
            put(REPLY_TO, &[to.as_bytes()]);
        }
        if let Some(correlation) = self.correlation {
            put(CORRELATION, &[&correlation.to_le_bytes()]);
        }
        if let Some(content_type) = self.content_type {
            put(CONTENT_TYPE, &[content_type.as_bytes()]);
        }
        for (key, value) in &self.headers {
            // A longer key is over the bound of them all.
            let length = (key.len() as u16).to_le_bytes();
            put(HEADER, &[&length, key.as_bytes(), value.as_bytes()]);
        }
        if let Some(at) = self.expires_ms {
            put(EXPIRES, &[&at.to_le_bytes()]);
        }
        if let Some(at) = self.deliver_at_ms {
            put(DELIVER_AT, &[&at.to_le_bytes()]);
        }
        if self.retain {
            put(RETAIN, &[]);
        }
        if let Some(key) = self.key {
            put(KEY, &[key.as_bytes()]);
        }
        if let Some(PayloadType { layout, name }) = self.payload_type {
            put(PAYLOAD_TYPE, &[&layout.to_le_bytes(), name.as_bytes()]);
        }
        let bytes = payload.len() - start;
        if bytes > PROPERTIES_BYTES_MAX {
            payload.truncate(start);
            return Err(PropertiesError::TooLong { bytes });
        }
        payload.extend((bytes as u32).to_le_bytes());
        Ok(())
    }
}

fn check_key(text: &str) -> Result<&str, PropertiesError> {
    let bytes = text.len();
    if (1..=KEY_BYTES_MAX).contains(&bytes) {
        Ok(text)
    } else {
        Err(PropertiesError::Key { bytes })
    }
}

fn check_type_name(name: &str) -> Result<&str, PropertiesError> {
    let bytes = name.len();
    if (1..=TYPE_NAME_BYTES_MAX).contains(&bytes) && !name.chars().any(char::is_control) {
        Ok(name)
    } else {
        Err(PropertiesError::TypeName { bytes })
    }
}

fn check_type(text: &str) -> Result<&str, PropertiesError> {
    if text.chars().any(char::is_control) { Err(PropertiesError::ContentType) } else { Ok(text) }
}

/// Parts a payload from the properties behind it; `None` where they overrun it.
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, length) = bytes.split_last_chunk::<LENGTH_BYTES>()?;
    let at = rest.len().checked_sub(u32::from_le_bytes(*length) as usize)?;
    Some(rest.split_at(at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn properties_are_as_the_format_says_and_come_back() {
        let properties = Properties {
            reply_to: Some("me"),
            correlation: Some(0x0102),
            content_type: Some("a/b"),
            headers: vec![("k", "v"), ("k", "")],
            expires_ms: Some(0x0304),
            deliver_at_ms: Some(5),
            retain: true,
            key: Some("o-7"),
            payload_type: Some(PayloadType { layout: 0x0607, name: "Tea" }),
        };
        let mut bytes = b"payload".to_vec();
        properties.append_to(&mut bytes).unwrap();
        let expected =
            b"payload\x01\x02\0\0\0me\x02\x08\0\0\0\x02\x01\0\0\0\0\0\0\x03\x03\0\0\0a/b\
            \x04\x04\0\0\0\x01\0kv\x04\x03\0\0\0\x01\0k\
            \x05\x08\0\0\0\x04\x03\0\0\0\0\0\0\
            \x06\x08\0\0\0\x05\0\0\0\0\0\0\0\x07\0\0\0\0\x08\x03\0\0\0o-7\
            \x09\x0b\0\0\0\x07\x06\0\0\0\0\0\0Tea\x64\0\0\0";
        assert_eq!(bytes, expected);
        let (payload, rest) = split(&bytes).unwrap();
        assert_eq!(payload, b"payload");
        assert_eq!(Properties::read(rest), Ok(properties.clone()));
        // One that a later version knows.
        let more = [rest, b"\x63\x01\0\0\0x"].concat();
        assert_eq!(Properties::read(&more), Ok(properties));
        for end in 0..rest.len() {
            let _ = Properties::read(&rest[..end]);
        }
    }

    #[test]
    fn each_rule_has_its_error() {
        let read = |bytes: &[u8]| Properties::read(bytes).unwrap_err();
        assert_eq!(read(b"\x03\x01\0\0"), PropertiesError::Short { at: 1 });
        assert_eq!(read(b"\x63\0\0\0\0\x03\x02\0\0\0a"), PropertiesError::Short { at: 2 });
        assert_eq!(read(b"\x02\x01\0\0\0a"), PropertiesError::Short { at: 1 });
        assert_eq!(read(b"\x05\x07\0\0\0aaaaaaa"), PropertiesError::Short { at: 1 });
        assert_eq!(read(b"\x04\x03\0\0\0\x02\0a"), PropertiesError::Short { at: 1 });
        assert_eq!(read(b"\x03\x01\0\0\0\xff"), PropertiesError::NotUtf8 { at: 1 });
        assert_eq!(read(b"\x03\x01\0\0\0\n"), PropertiesError::ContentType);
        assert_eq!(read(b"\x08\0\0\0\0"), PropertiesError::Key { bytes: 0 });
        assert_eq!(read(b"\x08\x01\0\0\0\xff"), PropertiesError::NotUtf8 { at: 1 });
        assert_eq!(read(b"\x09\x07\0\0\0aaaaaaa"), PropertiesError::Short { at: 1 });
        assert_eq!(read(b"\x09\x08\0\0\0aaaaaaaa"), PropertiesError::TypeName { bytes: 0 });
        assert_eq!(read(b"\x09\x09\0\0\0aaaaaaaa\n"), PropertiesError::TypeName { bytes: 1 });
        assert_eq!(read(b"\x09\x09\0\0\0aaaaaaaa\xff"), PropertiesError::NotUtf8 { at: 1 });
        let long = [&b"\x09\x08\x01\0\0"[..], &[b'n'; 264]].concat();
        assert_eq!(read(&long), PropertiesError::TypeName { bytes: 256 });
        let long = [&b"\x08\0\x01\0\0"[..], &[b'k'; 256]].concat();
        assert_eq!(read(&long), PropertiesError::Key { bytes: 256 });
        assert_eq!(read(b"\x01\x03\0\0\0a|b"), PropertiesError::ReplyTo(NameError::Separator));
        let bytes = PROPERTIES_BYTES_MAX + 1;
        assert_eq!(read(&vec![0; bytes]), PropertiesError::TooLong { bytes });
        let long = "x".repeat(PROPERTIES_BYTES_MAX);
        let mut payload = b"kept".to_vec();
        for headers in [vec![("k", &*long)], vec![(&*long, "v")]] {
            let properties = Properties { headers, ..Properties::default() };
            let error = properties.append_to(&mut payload).unwrap_err();
            assert!(matches!(error, PropertiesError::TooLong { .. }));
            assert_eq!(payload, b"kept");
        }
        assert_eq!(split(b"abc"), None);
        assert_eq!(split(b"abc\x04\0\0\0"), None);
        assert_eq!(split(b"abc\x03\0\0\0"), Some((&b""[..], &b"abc"[..])));
    }

    proptest! {
        #[test]
        fn any_bytes_are_properties_or_are_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(properties) = Properties::read(&bytes) {
                let mut again = Vec::new();
                properties.append_to(&mut again).unwrap();
                let (payload, rest) = split(&again).unwrap();
                prop_assert!(payload.is_empty());
                prop_assert_eq!(Properties::read(rest), Ok(properties));
            }
        }
    }
}
