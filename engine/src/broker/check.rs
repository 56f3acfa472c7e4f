//! Checks what a request holds.

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::contents::Fingerprint;
use super::refusal::{Dialect, Refusal};
use super::transcode::{self, Original, Transcoded};
use crate::config::Verify;
use crate::limits::ACK_BYTES_MAX;
use crate::wire::ack;
use crate::wire::checksum::{self, Content};
use crate::wire::frame::Frame;
use crate::wire::id::MessageId;
use crate::wire::record::{LENGTH_BYTES, Record, Records};

/// What a native request holds.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) first: MessageId,
    pub(super) records: u64,
    pub(super) kept: usize,
    /// How many of them take room: those that are kept, and those that are delivered later.
    pub(super) held: usize,
    /// Bytes of the last of them that is to be retained.
    pub(super) retained_bytes: Option<usize>,
    /// How many have a publisher's own key, and the bytes of these and of their names.
    pub(super) keyed: usize,
    pub(super) key_bytes: usize,
    /// How many of them were published before, under their keys.
    pub(super) repeats: u64,
    pub(super) held_bytes: usize,
    /// See [`Outgoing::whole_until_ms`](super::outgoing::Outgoing::whole_until_ms).
    pub(super) whole_until_ms: u64,
    /// Of each record: what tells one that is sent again from another one.
    pub(super) fingerprints: Vec<Fingerprint>,
}

impl Summary {
    /// Whether a journal stores any of them.
    pub(super) fn is_stored(&self) -> bool {
        self.kept > 0 || self.retained_bytes.is_some()
    }

    pub(super) fn sequences(&self) -> RangeInclusive<u64> {
        self.first.sequence..=self.first.sequence + (self.records - 1)
    }
}

/// The records of a frame that was checked before.
pub(super) fn frame_records(body: &[u8]) -> impl Iterator<Item = (&[u8], Record<'_>)> {
    Records::new(body).flatten()
}

/// The messages that one request acknowledges, or settles otherwise.
pub(super) fn bounded_ids(
    body: &[u8],
) -> Result<impl ExactSizeIterator<Item = MessageId> + DoubleEndedIterator, Refusal> {
    let ids = ack::ids(body)?;
    if body.len() > ACK_BYTES_MAX {
        return Err(Refusal::BatchTooLarge { bytes: body.len(), max: ACK_BYTES_MAX });
    }
    Ok(ids)
}

/// Checks the checksums of records, all at once, which is several times as fast as one by one.
///
/// # Errors
/// When one is wrong.
pub(super) fn check_checksums(name: &str, records: &[u8], verify: Verify) -> Result<(), Refusal> {
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    let checked = frame_records(records).filter(|(_, record)| verify.includes(record.ack));
    let contents = checked.map(|(_, Record { payload, timestamp_ns, checksum, .. })| {
        expected.push(checksum);
        Content { name, payload, timestamp_ns }
    });
    checksum::native_each(contents, &mut found);
    if found != expected {
        return Err(Refusal::Checksum);
    }
    Ok(())
}

/// A request that nothing spoke against so far.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) number: u64,
    pub(super) request: Bytes,
    pub(super) verify: Verify,
    pub(super) what: CheckWork,
}

/// What is left to do for a request.
#[derive(Debug)]
pub(super) struct CheckWork {
    /// What was found in a native one.
    pub(super) summary: Option<Summary>,
    /// Whether somebody wants its one message in the other format, which takes as long as a check.
    pub(super) carry: bool,
    /// Whether it may take longer than a turn.
    pub(super) is_long: bool,
}

/// What a check found.
pub(super) type Verdict = Result<Checked, Refusal>;

/// A request whose content is in order.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) request: Bytes,
    pub(super) summary: Option<Summary>,
    /// What counts of its dict, if it has one.
    pub(super) original: Option<Original>,
    pub(super) carried: Option<Transcoded>,
}

/// Who waits for a verdict.
#[derive(Debug)]
pub(super) struct Waiting<E> {
    pub(super) from: E,
    pub(super) dialect: Dialect,
}

impl Check {
    /// Whether it may take longer than a turn.
    pub(super) fn is_long(&self) -> bool {
        self.what.is_long
    }

    /// Does what takes long. It needs nothing else, and can be done on any thread.
    pub(super) fn run(self) -> Verdict {
        let CheckWork { summary, carry, .. } = self.what;
        let (original, carried) = match Frame::parse(&self.request)? {
            Frame::V1 { name, pickle } => {
                let original = Original::read(name, pickle, self.verify)?;
                let carried = carry.then(|| Transcoded {
                    frame: transcode::to_v2(name, pickle, &original).into(),
                    checksum: original.checksum,
                });
                (Some(original), carried)
            }
            Frame::V2 { name, body } => {
                check_checksums(name, body, self.verify)?;
                let carried = frame_records(body).next().filter(|_| carry).map(|(_, record)| {
                    let (frame, checksum) = transcode::to_v1(name, &record);
                    Transcoded { frame: frame.into(), checksum }
                });
                (None, carried)
            }
        };
        Ok(Checked { request: self.request, summary, original, carried })
    }
}

/// Whether the first record is all that there is.
pub(super) fn is_one_record(body: &[u8]) -> bool {
    let length = body.first_chunk().map(|&bytes| u32::from_le_bytes(bytes) as usize);
    length.is_some_and(|length| LENGTH_BYTES + length == body.len())
}
