//! Messages converted between the two formats.

use bytes::Bytes;

use super::refusal::Refusal;
use crate::config::Verify;
use crate::wire::checksum::Checksum;
use crate::wire::frame::{v1_prefix, v2_prefix};
use crate::wire::name;
use crate::wire::pickle::{self, V1Fields};
use crate::wire::record::{Encoding, Record};

/// What counts of the dict of a v1 message once it was checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Original {
    pub(super) ack: bool,
    pub(super) timestamp_ns: u64,
    pub(super) checksum: Checksum,
}

impl From<&V1Fields<'_>> for Original {
    fn from(fields: &V1Fields<'_>) -> Self {
        let &V1Fields { ack, timestamp_ns, checksum, .. } = fields;
        Self { ack, timestamp_ns, checksum }
    }
}

impl Original {
    /// Reads a dict, and checks it.
    ///
    /// # Errors
    /// When it is no message of this name, or its checksum is wrong.
    pub(super) fn read(name: &str, dict: &[u8], verify: Verify) -> Result<Self, Refusal> {
        let fields = pickle::scan(dict)?;
        if fields.name != name {
            return Err(Refusal::Rule("the name before the '|' is not the one in the dict"));
        }
        name::check_publishable(name)?;
        if verify.includes(fields.ack) && pickle::checksum_matches(&fields) == Some(false) {
            return Err(Refusal::Checksum);
        }
        Ok((&fields).into())
    }
}

/// A message in the other format.
#[derive(Debug)]
pub(super) struct Transcoded {
    pub(super) frame: Bytes,
    /// Its checksum in the original format.
    pub(super) checksum: Checksum,
}

/// The v1 frame of a native record, and the v1 checksum by which it will be acknowledged.
pub(super) fn to_v1(name: &str, record: &Record<'_>) -> (Vec<u8>, Checksum) {
    let (payload, _) = record.parts();
    let payload = match (record.encoding, std::str::from_utf8(payload)) {
        (Encoding::Text, Ok(text)) => pickle::Plain::Text(text),
        _ => pickle::Plain::Bytes(payload),
    };
    let (dict, checksum) = pickle::write(name, payload, record.ack, record.timestamp_ns);
    let mut frame = v1_prefix(name);
    frame.extend_from_slice(&dict);
    (frame, checksum)
}

/// Appends a v1 message, dict and all, as a native record.
pub(super) fn append_v2(name: &str, dict: &[u8], original: &Original, out: &mut Vec<u8>) {
    let &Original { ack, timestamp_ns, checksum } = original;
    let record = Record::of_v1(name, dict, ack, timestamp_ns, checksum);
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
