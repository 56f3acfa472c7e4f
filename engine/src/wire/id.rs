//! The identity of a message: 16 bytes, the same for both formats.

use std::fmt;
use std::str::FromStr;

/// The bit of [`MessageId::publisher`] that tells an id made from a v1 checksum from a native one.
pub const V1_ID_BIT: u64 = 1 << 63;

/// Identifies one message: the publisher that made it and its number there.
///
/// A native publisher picks a random id below 2^63 and counts its messages from 1. A v1 message has
/// no such id: its MD5 checksum serves, as it did in the original, with the top bit set so that the
/// two kinds never meet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The publisher's id: 1 to 2^63 - 1, or a v1 checksum's first half with the top bit set.
    pub publisher: u64,
    /// The publisher's count of its messages, from 1, or a v1 checksum's second half.
    pub sequence: u64,
}

impl MessageId {
    /// Bytes of an id on the wire and on disk.
    pub const BYTES: usize = 16;

    /// The id of a v1 message with this MD5 checksum.
    pub fn from_v1_checksum(checksum: [u8; 16]) -> Self {
        let whole = u128::from_be_bytes(checksum);
        Self { publisher: (whole >> 64) as u64 | V1_ID_BIT, sequence: whole as u64 }
    }

    /// Whether a v1 checksum made this id.
    pub fn is_v1(self) -> bool {
        self.publisher & V1_ID_BIT != 0
    }

    /// Whether a native publisher may use this id.
    pub fn is_native(self) -> bool {
        self.publisher != 0 && !self.is_v1() && self.sequence != 0
    }

    /// The id as it travels: publisher, then sequence, both little-endian.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        (u128::from(self.publisher) | u128::from(self.sequence) << 64).to_le_bytes()
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let whole = u128::from_le_bytes(bytes);
        Self { publisher: whole as u64, sequence: (whole >> 64) as u64 }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.publisher, self.sequence)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is two numbers of 16 hexadecimal digits each, with a dash between them")]
pub struct MessageIdError;

impl FromStr for MessageId {
    type Err = MessageIdError;

    /// Reads what `to_string` wrote.
    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        let (publisher, sequence) = text.split_once('-').ok_or(MessageIdError)?;
        let number = |digits: &str| {
            let is_number =
                digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            if !is_number {
                return Err(MessageIdError);
            }
            u64::from_str_radix(digits, 16).map_err(|_| MessageIdError)
        };
        Ok(Self { publisher: number(publisher)?, sequence: number(sequence)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_is_read_back_and_others_are_refused() {
        let id = MessageId { publisher: 0x0102, sequence: u64::MAX };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "-",
            "0-0",
            "0000000000000001-000000000000000g",
            "+000000000000001-0000000000000001",
        ] {
            assert_eq!(text.parse::<MessageId>(), Err(MessageIdError), "{text}");
        }
    }

    #[test]
    fn bytes_are_publisher_then_sequence_little_endian() {
        let id = MessageId { publisher: 0x0102, sequence: 0x0304 };
        let expected = [2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0];
        assert_eq!(id.to_bytes(), expected);
        assert_eq!(MessageId::from_bytes(expected), id);
    }

    #[test]
    fn v1_ids_never_meet_native_ones() {
        let id = MessageId::from_v1_checksum([0; 16]);
        assert!(id.is_v1());
        assert!(!id.is_native());
        assert!(MessageId { publisher: V1_ID_BIT - 1, sequence: 1 }.is_native());
    }
}
