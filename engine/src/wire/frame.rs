//! Frames: `name|body` in both formats, cut apart without copying.

use super::name::{self, NameError, SEPARATOR};
use super::record::Records;

/// The first byte of a native frame.
pub const V2: u8 = 0x01;
/// First bytes below this are versions; names begin at or above it.
const VERSIONS_END: u8 = 0x20;

/// Whether whoever sends a request with this first byte speaks the native format, and reads typed errors.
pub fn is_native(first: u8) -> bool {
    first < VERSIONS_END
}

/// A frame, borrowed.
#[derive(Clone, Debug)]
pub enum Frame<'a> {
    /// The original format: the name, and a pickle.
    V1 {
        /// The name before the `|`.
        name: &'a str,
        /// The pickle behind it, not looked at yet.
        pickle: &'a [u8],
    },
    /// The native format: the name, and records.
    V2 {
        /// The name before the `|`.
        name: &'a str,
        /// What lies behind it: records, or ids when the name is `ack`.
        body: &'a [u8],
    },
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No bytes at all.
    #[error("an empty frame")]
    Empty,
    /// A first byte below 0x20 that is no known version.
    #[error("format version {version:#04x} is not known here: this speaks 0x01 and the original")]
    Version {
        /// The first byte.
        version: u8,
    },
    /// No `|` within the longest possible name.
    #[error("a frame is 'name|body', and this one has no '|' where a name can end")]
    NoSeparator,
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl<'a> Frame<'a> {
    /// Cuts a frame into name and body.
    ///
    /// # Errors
    /// A [`FrameError`] that says which rule the bytes break.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let native = match *bytes.first().ok_or(FrameError::Empty)? {
            V2 => true,
            version if version < VERSIONS_END => return Err(FrameError::Version { version }),
            _ => false,
        };
        let bytes = if native { &bytes[1..] } else { bytes };
        let searched = &bytes[..bytes.len().min(crate::limits::NAME_BYTES_MAX + 1)];
        let end = searched.iter().position(|&b| b == SEPARATOR).ok_or(FrameError::NoSeparator)?;
        let name = name::check(&bytes[..end])?;
        let body = &bytes[end + 1..];
        Ok(if native { Self::V2 { name, body } } else { Self::V1 { name, pickle: body } })
    }
}

/// Walks the records of a native frame received by a subscriber; the name was subscribed to, so it is
/// only cut off here. `None` when the bytes are not a native frame.
pub fn split_v2(bytes: &[u8]) -> Option<(&str, Records<'_>)> {
    match Frame::parse(bytes) {
        Ok(Frame::V2 { name, body }) => Some((name, Records::new(body))),
        _ => None,
    }
}

/// The bytes before the records of a native frame: what a subscriber to exactly this name filters by.
pub fn v2_prefix(name: &str) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(name.len() + 2);
    prefix.push(V2);
    prefix.extend_from_slice(name.as_bytes());
    prefix.push(SEPARATOR);
    prefix
}

/// The bytes before the pickle of a v1 frame.
pub fn v1_prefix(name: &str) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(name.len() + 1);
    prefix.extend_from_slice(name.as_bytes());
    prefix.push(SEPARATOR);
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum;
    use crate::wire::id::MessageId;
    use crate::wire::record::{Encoding, ROOT_BYTES, Record, RecordError, Stamp, stamp};
    use proptest::prelude::*;

    #[track_caller]
    fn check_error(bytes: &[u8], expected: FrameError) {
        match Frame::parse(bytes) {
            Err(error) => assert_eq!(error, expected),
            Ok(frame) => panic!("{frame:?} should be refused"),
        }
    }

    #[test]
    fn bad_frames_say_which_rule_they_break() {
        check_error(b"", FrameError::Empty);
        check_error(b"\x02greet|", FrameError::Version { version: 2 });
        check_error(b"greet", FrameError::NoSeparator);
        check_error(&[b'a'; 300], FrameError::NoSeparator);
        check_error(b"|body", FrameError::Name(NameError::Empty));
        check_error(b"\x01a\x07|", FrameError::Name(NameError::Control));
    }

    #[test]
    fn the_first_separator_ends_the_name() {
        let Ok(Frame::V1 { name, pickle }) = Frame::parse(b"greet|a|b") else { panic!() };
        assert_eq!((name, pickle), ("greet", &b"a|b"[..]));
    }

    fn sample(payload: &[u8]) -> Record<'_> {
        Record {
            id: MessageId { publisher: 7, sequence: 9 },
            ordinal: 3,
            timestamp_ns: 1_763_866_000_123_456_789,
            checksum: checksum::native("greet", payload, 1_763_866_000_123_456_789),
            ack: true,
            has_properties: false,
            encoding: Encoding::Text,
            payload,
        }
    }

    #[test]
    fn the_fixed_part_of_a_record_is_58_bytes() {
        assert_eq!(ROOT_BYTES, 58);
        let mut out = Vec::new();
        sample(b"hello").append_to(&mut out).unwrap();
        assert_eq!(out.len(), 4 + 5 + 58);
        assert_eq!(&out[..9], b"\x3f\0\0\0hello");
        assert_eq!(&out[9..17], 7_u64.to_le_bytes());
        assert_eq!(&out[17..25], 9_u64.to_le_bytes());
    }

    #[test]
    fn a_stamp_is_written_in_place() {
        let mut out = Vec::new();
        sample(b"hello").append_to(&mut out).unwrap();
        stamp(&mut out[4..], Stamp { sequence: 77, ordinal: 5, checksum: [9; 16] }).unwrap();
        let (_, record) = Records::new(&out).next().unwrap().unwrap();
        let stamped = (record.id.sequence, record.ordinal, record.checksum);
        assert_eq!(stamped, (77, 5, [9; 16]));
        assert_eq!(record.payload, b"hello");
    }

    #[test]
    fn an_archive_that_points_elsewhere_is_refused() {
        let mut out = Vec::new();
        sample(b"hellohello").append_to(&mut out).unwrap();
        let length_at = out.len() - 4;
        out[length_at] = 5; // a valid archive whose payload is a part of the bytes
        assert_eq!(Record::read(&out[4..]), Err(RecordError::Archive));
    }

    proptest! {
        #[test]
        fn records_come_back_as_they_were_written(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
            publisher in 1..(1_u64 << 63), sequence in 1..u64::MAX - 100, timestamp_ns: u64, ack: bool,
        ) {
            let records: Vec<_> = payloads.iter().zip(sequence..).map(|(payload, sequence)| Record {
                id: MessageId { publisher, sequence },
                ordinal: sequence / 2,
                timestamp_ns,
                checksum: checksum::native("name", payload, timestamp_ns),
                ack,
                has_properties: false, encoding: Encoding::Bytes,
                payload,
            }).collect();
            let mut bytes = v2_prefix("name");
            for record in &records {
                record.append_to(&mut bytes).unwrap();
            }
            let (name, walked) = split_v2(&bytes).unwrap();
            prop_assert_eq!(name, "name");
            let walked: Vec<_> = walked.map(|item| item.unwrap().1).collect();
            prop_assert_eq!(walked, records);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Records::new(&bytes).count();
            let _ = Frame::parse(&bytes);
        }

        #[test]
        fn a_flipped_byte_never_reaches_past_the_record(at in 0_usize..72, value: u8) {
            let mut bytes = Vec::new();
            sample(b"0123456789").append_to(&mut bytes).unwrap();
            bytes[at] = value;
            for (_, record) in Records::new(&bytes).flatten() {
                prop_assert_eq!(record.payload.len(), 10);
            }
        }
    }
}
