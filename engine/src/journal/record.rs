//! The bytes of a journal: the file's header and the records, with nothing of files or threads.
//!
//! `docs/journal-format.md` has the diagrams.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::group::{self, GroupBody, JobsBody};
use super::keys::{self, KeyBody};
use super::letter::{self, EndBody, LetterBody};
use super::retained::{self, RetainedBody};
use crate::message::Format;
use crate::wire::id::MessageId;

/// The first bytes of every journal. The first is not ASCII, so that no text file starts like this.
pub const MAGIC: [u8; 8] = *b"\x8dMEZJRNL";
/// The version of the format that this code writes, and the newest that it reads.
pub const VERSION: u32 = 2;
/// Bytes of one copy of the file's header.
pub const FILE_HEADER_BYTES: usize = 32;
/// Where the second copy of the file's header lies, in bytes: on another page than the first.
pub const SECOND_HEADER_OFFSET: u64 = 4096;
/// Where the records start, in bytes.
pub const RECORDS_OFFSET: u64 = SECOND_HEADER_OFFSET + FILE_HEADER_BYTES as u64;
/// Bytes of a record's header.
pub const RECORD_HEADER_BYTES: usize = 32;
/// Bytes of one entry of a seen record.
pub const SEEN_RUN_BYTES: usize = 24;

/// In place of the format, in records that are no messages: they were written under the policy `never`.
/// Readers of the first servers ignore it.
pub const UNDER_NEVER: u8 = 1;

const CHECKSUM_BYTES: usize = 8;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
}

/// The file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// The format's version.
    pub version: u32,
    /// A random number that all checksums of records' headers in this file depend on.
    pub salt: u64,
}

impl FileHeader {
    /// One copy of the header.
    pub fn encode(self) -> [u8; FILE_HEADER_BYTES] {
        let mut out = [0; FILE_HEADER_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&self.version.to_le_bytes());
        out[16..24].copy_from_slice(&self.salt.to_le_bytes());
        let checksum = xxh3_64(&out[..FILE_HEADER_BYTES - CHECKSUM_BYTES]);
        out[24..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads one copy; `None` unless it is whole and its checksum is right.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..FILE_HEADER_BYTES)?;
        let checked = &bytes[..FILE_HEADER_BYTES - CHECKSUM_BYTES];
        (bytes.starts_with(&MAGIC) && u64_at(bytes, 24) == xxh3_64(checked))
            .then(|| Self { version: u32_at(bytes, 8), salt: u64_at(bytes, 16) })
    }
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// One message.
    Append = 1,
    /// Ids of messages that are settled.
    Settle = 2,
    /// Runs of sequence numbers that were appended to the file before it was compacted.
    Seen = 3,
    /// Nothing; its header tells that what lies before it is synced.
    Mark = 4,
    /// A group gave a message up.
    Letter = 5,
    /// A dead letter is no more.
    LetterEnd = 6,
    /// A durable group is created.
    Group = 7,
    /// A durable group is deleted.
    GroupEnd = 8,
    /// What a durable group has to do with some messages.
    Jobs = 9,
    /// The last message of a name.
    Retained = 10,
    /// The last message of a name is no more.
    Cleared = 11,
    /// A message was published under a key.
    Key = 12,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Append,
            2 => Self::Settle,
            3 => Self::Seen,
            4 => Self::Mark,
            5 => Self::Letter,
            6 => Self::LetterEnd,
            7 => Self::Group,
            8 => Self::GroupEnd,
            9 => Self::Jobs,
            10 => Self::Retained,
            11 => Self::Cleared,
            12 => Self::Key,
            _ => return None,
        })
    }
}

/// A record's header, as checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the record holds.
    pub kind: Kind,
    /// The format of an appended message, otherwise 0 or [`UNDER_NEVER`].
    pub format: u8,
    /// Bytes of an appended message's name, otherwise 0.
    pub name_bytes: u8,
    /// Bytes of the body behind this header.
    pub body_bytes: u32,
    /// Bytes before this record that were not known to be synced when it was written; `u32::MAX` for more.
    pub unsynced_bytes: u32,
    /// Records before this one in the file, wrapping.
    pub ordinal: u32,
    /// XXH3 of the body.
    pub body_checksum: u64,
}

impl RecordHeader {
    /// The header as it stands in a file with this salt at this offset.
    pub fn encode(&self, salt: u64, offset: u64) -> [u8; RECORD_HEADER_BYTES] {
        let mut out = [0; RECORD_HEADER_BYTES];
        out[..4].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[4] = self.kind as u8;
        out[5] = self.format;
        out[6] = self.name_bytes;
        out[8..12].copy_from_slice(&self.unsynced_bytes.to_le_bytes());
        out[12..16].copy_from_slice(&self.ordinal.to_le_bytes());
        out[16..24].copy_from_slice(&self.body_checksum.to_le_bytes());
        let checksum = header_checksum(&out, salt, offset);
        out[24..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a header; `None` unless its checksum is right for this file and offset.
    pub fn decode(bytes: &[u8], salt: u64, offset: u64) -> Option<Self> {
        let bytes = bytes.first_chunk::<RECORD_HEADER_BYTES>()?;
        let kind = Kind::from_byte(bytes[4])?; // first, because it is cheap and a search tries each byte
        (bytes[7] == 0 && u64_at(bytes, 24) == header_checksum(bytes, salt, offset)).then(|| Self {
            kind,
            format: bytes[5],
            name_bytes: bytes[6],
            body_bytes: u32_at(bytes, 0),
            unsynced_bytes: u32_at(bytes, 8),
            ordinal: u32_at(bytes, 12),
            body_checksum: u64_at(bytes, 16),
        })
    }

    /// Bytes of the record, header and body.
    pub fn record_bytes(&self) -> u64 {
        RECORD_HEADER_BYTES as u64 + u64::from(self.body_bytes)
    }

    /// Whether the policy was `never`; `None` if the record does not tell.
    pub fn under_never(&self) -> Option<bool> {
        (self.kind != Kind::Append).then_some(self.format == UNDER_NEVER)
    }

    /// How far, in bytes from its start, the file was synced when the record at `offset` was written.
    pub fn synced_to(&self, offset: u64) -> u64 {
        offset.saturating_sub(u64::from(self.unsynced_bytes))
    }
}

/// The salt keeps a payload from looking like a record, the offset a payload that holds this very file.
fn header_checksum(header: &[u8; RECORD_HEADER_BYTES], salt: u64, offset: u64) -> u64 {
    let checked = &header[..RECORD_HEADER_BYTES - CHECKSUM_BYTES];
    xxh3_64_with_seed(checked, salt.wrapping_add(offset))
}

/// Bytes that a message occupies in the file.
pub fn append_bytes(name_bytes: usize, body_bytes: usize) -> u64 {
    (RECORD_HEADER_BYTES + MessageId::BYTES + name_bytes + body_bytes) as u64
}

/// A run of sequence numbers of one publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenRun {
    /// The publisher's id.
    pub publisher: u64,
    /// The first sequence number of the run.
    pub first: u64,
    /// The last sequence number of the run.
    pub last: u64,
}

impl SeenRun {
    /// The run as an entry of a seen record.
    pub fn encode(self) -> [u8; SEEN_RUN_BYTES] {
        let mut out = [0; SEEN_RUN_BYTES];
        out[..8].copy_from_slice(&self.publisher.to_le_bytes());
        out[8..16].copy_from_slice(&self.first.to_le_bytes());
        out[16..].copy_from_slice(&self.last.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Self {
        Self { publisher: u64_at(bytes, 0), first: u64_at(bytes, 8), last: u64_at(bytes, 16) }
    }
}

/// The body of a record whose checksum was right, borrowed from the buffer it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// One message.
    Append {
        /// Its id.
        id: MessageId,
        /// Its format.
        format: Format,
        /// Its name.
        name: &'a str,
        /// Its body.
        body: &'a [u8],
    },
    /// Whole ids of settled messages: read them with [`ids`].
    Settle(&'a [u8]),
    /// Whole runs: read them with [`runs`].
    Seen(&'a [u8]),
    /// Nothing.
    Mark,
    /// A dead letter.
    Letter(LetterBody<'a>),
    /// The end of a dead letter.
    LetterEnd(EndBody<'a>),
    /// A durable group.
    Group(GroupBody<'a>),
    /// The end of the durable group with this number.
    GroupEnd(u64),
    /// What a durable group has to do with some messages.
    Jobs(JobsBody<'a>),
    /// The last message of a name.
    Retained(RetainedBody<'a>),
    /// The last message of this name is no more.
    Cleared(&'a str),
    /// A message was published under a key.
    Key(KeyBody<'a>),
}

impl<'a> Body<'a> {
    /// Reads the body behind `header`; `None` unless its checksum is right and it is well formed.
    pub fn decode(header: &RecordHeader, bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() != header.body_bytes as usize || xxh3_64(bytes) != header.body_checksum {
            return None;
        }
        match header.kind {
            Kind::Append => {
                let (id, rest) = bytes.split_first_chunk()?;
                let (name, body) = rest.split_at_checked(usize::from(header.name_bytes))?;
                let format = match header.format {
                    1 => Format::V1,
                    2 => Format::V2,
                    _ => return None,
                };
                let name = std::str::from_utf8(name).ok()?;
                Some(Self::Append { id: MessageId::from_bytes(*id), format, name, body })
            }
            Kind::Settle => {
                bytes.len().is_multiple_of(MessageId::BYTES).then_some(Self::Settle(bytes))
            }
            Kind::Seen => bytes.len().is_multiple_of(SEEN_RUN_BYTES).then_some(Self::Seen(bytes)),
            Kind::Mark => bytes.is_empty().then_some(Self::Mark),
            Kind::Letter => letter::read(bytes).map(Self::Letter),
            Kind::LetterEnd => letter::read_end(bytes).map(Self::LetterEnd),
            Kind::Group => group::read(bytes).map(Self::Group),
            Kind::GroupEnd => group::read_end(bytes).map(Self::GroupEnd),
            Kind::Jobs => group::read_jobs(bytes).map(Self::Jobs),
            Kind::Retained => retained::read(bytes).map(Self::Retained),
            Kind::Key => keys::read(bytes).map(Self::Key),
            Kind::Cleared => std::str::from_utf8(bytes).ok().map(Self::Cleared),
        }
    }
}

/// The ids in the body of a settle record.
pub fn ids(bytes: &[u8]) -> impl Iterator<Item = MessageId> + '_ {
    bytes.as_chunks().0.iter().map(|id| MessageId::from_bytes(*id))
}

/// The runs in the body of a seen record.
pub fn runs(bytes: &[u8]) -> impl Iterator<Item = SeenRun> + '_ {
    bytes.chunks_exact(SEEN_RUN_BYTES).map(SeenRun::decode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> RecordHeader {
        RecordHeader {
            kind: Kind::Append,
            format: 2,
            name_bytes: 3,
            body_bytes: 0x0102_0304,
            unsynced_bytes: 5,
            ordinal: 6,
            body_checksum: 7,
        }
    }

    #[test]
    fn a_file_header_lies_as_documented_and_reads_back() {
        let header = FileHeader { version: 2, salt: 0x1122 };
        let bytes = header.encode();
        assert_eq!(&bytes[..8], b"\x8dMEZJRNL");
        assert_eq!(&bytes[8..24], &[2, 0, 0, 0, 0, 0, 0, 0, 0x22, 0x11, 0, 0, 0, 0, 0, 0]);
        assert_eq!(FileHeader::decode(&bytes), Some(header));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::decode(&bytes), None);
        }
    }

    #[test]
    fn a_record_header_lies_as_documented_and_reads_back() {
        let bytes = header().encode(8, 9);
        assert_eq!(&bytes[..16], &[4, 3, 2, 1, 1, 2, 3, 0, 5, 0, 0, 0, 6, 0, 0, 0]);
        assert_eq!(&bytes[16..24], &[7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(RecordHeader::decode(&bytes, 8, 9), Some(header()));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&bytes, 8, 9), None);
        }
    }

    #[test]
    fn a_record_header_is_good_in_its_file_and_place_only() {
        let bytes = header().encode(8, 9);
        assert_eq!(RecordHeader::decode(&bytes, 7, 9), None);
        assert_eq!(RecordHeader::decode(&bytes, 8, 4105), None);
        assert_eq!(RecordHeader::decode(&bytes[..31], 8, 9), None);
    }

    #[test]
    fn a_body_with_the_right_checksum_must_still_be_well_formed() {
        let check = |kind, format, name_bytes, bytes: &[u8]| {
            let header = RecordHeader {
                kind,
                format,
                name_bytes,
                body_bytes: bytes.len() as u32,
                body_checksum: xxh3_64(bytes),
                ..header()
            };
            Body::decode(&header, bytes).is_some()
        };
        assert!(check(Kind::Append, 1, 1, &[b'a'; 17]));
        assert!(!check(Kind::Append, 3, 1, &[b'a'; 17]));
        assert!(!check(Kind::Append, 1, 2, &[b'a'; 17]));
        assert!(!check(Kind::Append, 1, 1, &[0xff; 17]));
        assert!(!check(Kind::Append, 1, 0, &[b'a'; 15]));
        assert!(check(Kind::Settle, 0, 0, &[1; 32]));
        assert!(!check(Kind::Settle, 0, 0, &[1; 33]));
        assert!(!check(Kind::Seen, 0, 0, &[1; 25]));
        assert!(!check(Kind::Mark, 0, 0, &[1]));
        assert!(!check(Kind::Letter, 0, 0, &[1; 31]));
        assert!(!check(Kind::LetterEnd, 0, 0, &[1; 16]));
        assert!(!check(Kind::Group, 0, 0, &[1; 23]));
        assert!(!check(Kind::GroupEnd, 0, 0, &[1; 7]));
        assert!(!check(Kind::Jobs, 0, 0, &[1; 24]));
        assert!(!check(Kind::Key, 0, 0, &[1; 18]));
        assert!(!check(Kind::Retained, 0, 0, &[1; 17]));
        assert!(check(Kind::Cleared, 0, 0, b"a") && !check(Kind::Cleared, 0, 0, &[0xff]));
    }
}
