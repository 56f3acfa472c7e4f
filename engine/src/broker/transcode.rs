//! Messages on their way between the two formats.

use super::check::Original;
use crate::wire::checksum::{self, Checksum};
use crate::wire::frame::{v1_prefix, v2_prefix};
use crate::wire::id::MessageId;
use crate::wire::pickle;
use crate::wire::record::{Encoding, Record};

/// The v1 frame of a native record, and the v1 checksum by which it will be acknowledged.
pub(super) fn to_v1(name: &str, record: &Record<'_>) -> (Vec<u8>, Checksum) {
    let payload = match (record.encoding, std::str::from_utf8(record.payload)) {
        (Encoding::Text, Ok(text)) => pickle::Plain::Text(text),
        _ => pickle::Plain::Bytes(record.payload),
    };
    let (dict, checksum) = pickle::write(name, payload, record.ack, record.timestamp_ns);
    let mut frame = v1_prefix(name);
    frame.extend_from_slice(&dict);
    (frame, checksum)
}

/// Appends a v1 message, dict and all, as a native record.
pub(super) fn append_v2(name: &str, dict: &[u8], original: &Original, out: &mut Vec<u8>) {
    let record = Record {
        id: MessageId::from_v1_checksum(original.checksum),
        ordinal: 0,
        timestamp_ns: original.timestamp_ns,
        checksum: checksum::native(name, dict, original.timestamp_ns),
        ack: original.ack,
        encoding: Encoding::Pickle,
        payload: dict,
    };
    // A request is far smaller than the 2 GiB at which this fails.
    let appended = record.append_to(out);
    debug_assert!(appended.is_ok());
}

/// The native frame of a v1 message.
pub(super) fn to_v2(name: &str, dict: &[u8], original: &Original) -> Vec<u8> {
    let mut frame = v2_prefix(name);
    append_v2(name, dict, original, &mut frame);
    frame
}
