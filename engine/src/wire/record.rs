//! The native record: an rkyv archive, read in place.
//!
//! On the wire a record is a little-endian `u32` length and that many bytes of archive. The archive
//! is the payload followed by [`ROOT_BYTES`] of fixed fields, whose last eight point back at the
//! payload: exactly that shape is accepted, so that no byte of a record goes unchecked.
//!
//! rkyv's own pointers are as wide as the program chooses that mezzenger is compiled into (`pointer_width_64`). This
//! one is written out, so that the format is the same in all of them.

use rkyv::munge::munge;
use rkyv::rancor::Failure;
use rkyv::ser::Serializer;
use rkyv::ser::allocator::SubAllocator;
use rkyv::{Archive, Serialize};

use super::checksum::{self, Checksum};
use super::id::MessageId;
use super::properties::{self, Properties};

/// Bytes of the length before each record.
pub const LENGTH_BYTES: usize = 4;
/// Bytes of a record's archive beyond its payload.
pub const ROOT_BYTES: usize = size_of::<ArchivedFields>();

/// What the bytes of a payload are.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[rkyv(compare(PartialEq), derive(Clone, Copy, Debug))]
#[repr(u8)]
pub enum Encoding {
    /// Bytes without a further meaning.
    Bytes = 0,
    /// UTF-8 text.
    Text = 1,
    /// An rkyv archive of a type that both ends know.
    Archive = 2,
    /// The whole dict of a v1 message, as the pickle it arrived in. Only the server makes these.
    Pickle = 3,
}

/// The flag of a message that is delivered again until it is acknowledged.
const ACK: u8 = 1;
/// The flag of a payload with properties behind it.
const PROPERTIES: u8 = 2;

/// The fields as they are archived. The order is the wire format's.
#[derive(Archive, Serialize)]
struct Fields {
    publisher: u64,
    sequence: u64,
    ordinal: u64,
    timestamp_ns: u64,
    checksum: Checksum,
    flags: u8,
    encoding: Encoding,
    /// From this field to the payload's first byte.
    payload_offset: i32,
    payload_bytes: u32,
}

/// Bytes of the fields before the one that points at the payload.
const POINTER_AT: usize = std::mem::offset_of!(ArchivedFields, payload_offset);

/// What points at a payload of this many bytes, which ends where the fields begin.
#[inline(always)]
fn pointer(payload_bytes: usize) -> i32 {
    // Of a longer payload than a record may have it points elsewhere, and matches nothing.
    (payload_bytes as i32).wrapping_add(POINTER_AT as i32).wrapping_neg()
}

/// One record, borrowing its payload: what a frame is written from and read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Publisher and sequence.
    pub id: MessageId,
    /// The publisher's count of its messages under this name, from 1; a subscriber that sees it jump
    /// missed some. 0 when the publisher does not count (v1).
    pub ordinal: u64,
    /// Nanoseconds since the Unix epoch, when the message was made.
    pub timestamp_ns: u64,
    /// See [`super::checksum::native`].
    pub checksum: Checksum,
    /// Whether the message is resent until a subscriber acknowledged it.
    pub ack: bool,
    /// Whether [properties](super::properties) stand behind the payload.
    pub has_properties: bool,
    /// What the payload's bytes are.
    pub encoding: Encoding,
    /// The payload, in the buffer that the record was read from, and its properties, if it has any:
    /// [`Self::parts`] parts them.
    pub payload: &'a [u8],
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The frame ends within a record or its length.
    #[error("a record overruns its frame")]
    Overrun,
    /// The archive does not validate, or is not the payload followed by the fixed fields.
    #[error("a record is not a valid archive")]
    Archive,
    /// The frame holds no record.
    #[error("a frame must hold at least one record")]
    NoRecords,
    /// The payload is too long for the length field.
    #[error("a payload of {bytes} bytes does not fit in a record")]
    PayloadTooLong {
        /// The payload's length.
        bytes: usize,
    },
}

impl<'a> Record<'a> {
    /// Reads a record's archive in place; the payload still lies in `archive`.
    ///
    /// # Errors
    /// [`RecordError::Archive`] unless the bytes are exactly one valid record.
    // Inlined, as what calls it: a record is large, and moving one costs more than reading it.
    #[inline(always)]
    pub fn read(archive: &'a [u8]) -> Result<Self, RecordError> {
        let fields =
            rkyv::access::<ArchivedFields, Failure>(archive).map_err(|_| RecordError::Archive)?;
        let payload = &archive[..archive.len() - ROOT_BYTES];
        // It could point anywhere. Only the canonical form passes.
        if fields.payload_bytes.to_native() as usize != payload.len()
            || fields.payload_offset.to_native() != pointer(payload.len())
        {
            return Err(RecordError::Archive);
        }
        let flags = fields.flags;
        let has_properties = flags & PROPERTIES != 0;
        if flags > ACK | PROPERTIES || (has_properties && properties::split(payload).is_none()) {
            return Err(RecordError::Archive);
        }
        Ok(Self {
            id: MessageId {
                publisher: fields.publisher.to_native(),
                sequence: fields.sequence.to_native(),
            },
            ordinal: fields.ordinal.to_native(),
            timestamp_ns: fields.timestamp_ns.to_native(),
            checksum: fields.checksum,
            ack: flags & ACK != 0,
            has_properties,
            encoding: match fields.encoding {
                ArchivedEncoding::Bytes => Encoding::Bytes,
                ArchivedEncoding::Text => Encoding::Text,
                ArchivedEncoding::Archive => Encoding::Archive,
                ArchivedEncoding::Pickle => Encoding::Pickle,
            },
            payload,
        })
    }

    /// A v1 message, dict and all: `v1_checksum` is its own, by which it is known.
    pub fn of_v1(
        name: &str,
        dict: &'a [u8],
        ack: bool,
        timestamp_ns: u64,
        v1_checksum: Checksum,
    ) -> Self {
        Self {
            id: MessageId::from_v1_checksum(v1_checksum),
            ordinal: 0,
            timestamp_ns,
            checksum: checksum::native(name, dict, timestamp_ns),
            ack,
            has_properties: false,
            encoding: Encoding::Pickle,
            payload: dict,
        }
    }

    /// The payload alone, and the properties behind it.
    pub fn parts(&self) -> (&'a [u8], &'a [u8]) {
        // Checked when it was read.
        let parts = if self.has_properties { properties::split(self.payload) } else { None };
        parts.unwrap_or((self.payload, &[]))
    }

    /// The properties, which were checked when the message was taken.
    pub fn properties(&self) -> Properties<'a> {
        Properties::read(self.parts().1).unwrap_or_default()
    }

    /// Appends the record to a frame, its length first. This is the one copy of the payload.
    ///
    /// # Errors
    /// [`RecordError::PayloadTooLong`] from 2 GiB on; `out` is then unchanged.
    pub fn append_to(&self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        if self.payload.len() > (i32::MAX as usize) - ROOT_BYTES {
            return Err(RecordError::PayloadTooLong { bytes: self.payload.len() });
        }
        let archive_bytes = self.payload.len() + ROOT_BYTES;
        out.reserve(LENGTH_BYTES + archive_bytes);
        out.extend_from_slice(&(archive_bytes as u32).to_le_bytes());
        let fields = Fields {
            publisher: self.id.publisher,
            sequence: self.id.sequence,
            ordinal: self.ordinal,
            timestamp_ns: self.timestamp_ns,
            checksum: self.checksum,
            flags: if self.ack { ACK } else { 0 }
                | if self.has_properties { PROPERTIES } else { 0 },
            encoding: self.encoding,
            payload_offset: pointer(self.payload.len()),
            payload_bytes: self.payload.len() as u32,
        };
        let start = out.len();
        out.extend_from_slice(self.payload);
        // Numbers need no scratch space.
        let mut serializer = Serializer::new(std::mem::take(out), SubAllocator::new(&mut []), ());
        let written = rkyv::api::serialize_using::<_, Failure>(&fields, &mut serializer);
        *out = serializer.into_writer();
        if written.is_err() {
            out.truncate(start - LENGTH_BYTES);
            return Err(RecordError::PayloadTooLong { bytes: self.payload.len() });
        }
        debug_assert_eq!(out.len() - start, archive_bytes);
        Ok(())
    }
}

/// What a record is given after it was written, when the frame it stands in leaves.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Its place in its publisher's sequence.
    pub sequence: u64,
    /// See [`Record::ordinal`].
    pub ordinal: u64,
    /// See [`super::checksum::native`].
    pub checksum: Checksum,
}

/// Writes a stamp into a record.
///
/// # Errors
/// [`RecordError::Archive`] unless the bytes are a valid archive.
#[expect(unsafe_code, reason = "munge! expands to one; it borrows three disjoint fields")]
pub fn stamp(archive: &mut [u8], stamp: Stamp) -> Result<(), RecordError> {
    let fields =
        rkyv::access_mut::<ArchivedFields, Failure>(archive).map_err(|_| RecordError::Archive)?;
    munge!(let ArchivedFields { sequence, ordinal, checksum, .. } = fields);
    *sequence.unseal() = stamp.sequence.into();
    *ordinal.unseal() = stamp.ordinal.into();
    *checksum.unseal() = stamp.checksum;
    Ok(())
}

/// Walks the records of a frame. After an error the walk ends.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Walks `bytes`, the part of a frame behind its name.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline(always)]
    fn cut(&mut self) -> Result<(&'a [u8], Record<'a>), RecordError> {
        let (length, rest) =
            self.rest.split_first_chunk::<LENGTH_BYTES>().ok_or(RecordError::Overrun)?;
        let length = u32::from_le_bytes(*length) as usize;
        let archive = rest.get(..length).ok_or(RecordError::Overrun)?;
        let whole = &self.rest[..LENGTH_BYTES + length];
        self.rest = &rest[length..];
        Ok((whole, Record::read(archive)?))
    }
}

impl<'a> Iterator for Records<'a> {
    /// The record's bytes with their length, as they can be put into another frame, and the record.
    type Item = Result<(&'a [u8], Record<'a>), RecordError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = self.cut();
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}
