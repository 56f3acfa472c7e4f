//! The check of `wire::record`, and of the checksums of several records at once.

use mezzenger::wire::checksum::{Content, native, native_each};
use mezzenger::wire::id::MessageId;
use mezzenger::wire::properties::Properties;
use mezzenger::wire::record::{Encoding, LENGTH_BYTES, ROOT_BYTES, Record, Records, Stamp, stamp};

/// Reads any bytes as records: those come out that the document allows, each is written back to the
/// byte, and a stamp changes nothing but what it stamps.
///
/// # Panics
/// When the reader and `docs/wire-format.md` differ.
pub fn record(data: &[u8]) {
    let mut rest = data;
    let mut read = Vec::new();
    for item in Records::new(data) {
        let Ok((whole, record)) = item else {
            assert!(expected(rest).is_none(), "a record that the document allows is refused");
            rest = &[];
            break;
        };
        assert_eq!(expected(rest), Some((whole, record)));
        let mut written = Vec::new();
        assert_eq!(record.append_to(&mut written), Ok(()));
        assert_eq!(written, whole);
        restamp(written, &record);
        rest = &rest[whole.len()..];
        read.push(record);
    }
    assert!(rest.is_empty());
    checksums(&read);
}

fn restamp(mut written: Vec<u8>, record: &Record<'_>) {
    let stamped = Record {
        id: MessageId { publisher: record.id.publisher, sequence: !record.id.sequence },
        ordinal: record.ordinal.rotate_left(1),
        checksum: record.checksum.map(|byte| byte ^ 0x55),
        ..*record
    };
    let Record { id: MessageId { sequence, .. }, ordinal, checksum, .. } = stamped;
    let archive = &mut written[LENGTH_BYTES..];
    assert_eq!(stamp(archive, Stamp { sequence, ordinal, checksum }), Ok(()));
    assert_eq!(Record::read(archive), Ok(stamped));
}

/// Several at once are what they are one by one.
fn checksums(records: &[Record<'_>]) {
    let name = "greet";
    let contents = records.iter().map(|Record { payload, timestamp_ns, .. }| Content {
        name,
        payload,
        timestamp_ns: *timestamp_ns,
    });
    let mut sums = Vec::new();
    native_each(contents, &mut sums);
    let each = records.iter().map(|record| native(name, record.payload, record.timestamp_ns));
    assert!(sums.into_iter().eq(each));
}

/// The first record of these bytes, as the document has it: whole, and read.
fn expected(bytes: &[u8]) -> Option<(&[u8], Record<'_>)> {
    const { assert!(ROOT_BYTES == 58 && LENGTH_BYTES == 4) };
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let archive = bytes.get(4..4 + length)?;
    let payload_bytes = length.checked_sub(58)?;
    let (payload, fields) = archive.split_at(payload_bytes);
    let u64_at = |at: usize| fields[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let i32_at = |at: usize| fields[at..].first_chunk().map(|bytes| i32::from_le_bytes(*bytes));
    // From the field, which is the 50th byte behind the payload, to the payload's first byte.
    let is_canonical = i32_at(50).map(i64::from) == Some(-(payload_bytes as i64 + 50))
        && i32_at(54).map(|bytes| bytes as u32 as usize) == Some(payload_bytes);
    let flags = fields[48];
    let has_properties = flags & 2 != 0;
    if flags > 3 {
        return None;
    }
    if has_properties {
        let (before, length) = payload.split_last_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (_, properties) = before.split_at(before.len().checked_sub(length)?);
        // Any bytes are properties, or are not.
        let _ = Properties::read(properties);
    }
    let record = Record {
        id: MessageId { publisher: u64_at(0)?, sequence: u64_at(8)? },
        ordinal: u64_at(16)?,
        timestamp_ns: u64_at(24)?,
        checksum: *fields[32..].first_chunk()?,
        ack: flags & 1 != 0,
        has_properties,
        encoding: match fields[49] {
            0 => Encoding::Bytes,
            1 => Encoding::Text,
            2 => Encoding::Archive,
            3 => Encoding::Pickle,
            _ => return None,
        },
        payload,
    };
    is_canonical.then_some((&bytes[..4 + length], record))
}
