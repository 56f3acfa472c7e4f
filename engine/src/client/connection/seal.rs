//! Stamps what leaves: sequences, ordinals, and the checksums of all its messages at once.

use crate::client::publish::batches::SequencedBatch;
use crate::client::publish::detached::DetachedFrame;
use crate::wire::checksum::{self, Checksum, Content};
use crate::wire::record::{LENGTH_BYTES, Records, Stamp, stamp};

/// Stamps frames. Keeps its room from one turn to the next.
#[derive(Debug, Default)]
pub(super) struct Sealer {
    checksums: Vec<Checksum>,
}

impl Sealer {
    /// Stamps every record of these frames, and notes the checksums of those that are lent. What was not stamped, because it is no record,
    /// the server rejects.
    pub(super) fn seal(&mut self, cuts: &mut [SequencedBatch], lent: &mut [DetachedFrame]) {
        self.checksums.clear();
        let unsummed = cuts.iter().filter(|cut| cut.batch.checksum.is_none());
        let leaving = unsummed.flat_map(|cut| contents(&cut.batch.name, &cut.batch.frame));
        // Mostly nothing is lent, and small messages have no time for what a chain asks of each.
        if lent.is_empty() {
            checksum::native_each(leaving, &mut self.checksums);
        } else {
            let detached = lent.iter().flat_map(|lent| contents(&lent.name, &lent.frame));
            checksum::native_each(leaving.chain(detached), &mut self.checksums);
        }
        // Each of these frames holds one record.
        let leaves = self.checksums.len().saturating_sub(lent.len());
        let (leaving, detached) = self.checksums.split_at(leaves);
        lent.iter_mut().zip(detached).for_each(|(lent, sum)| lent.checksum = Some(*sum));
        let mut checksums = leaving.iter();
        for cut in cuts {
            let (counted, summed) = (cut.first_ordinal != 0, cut.batch.checksum);
            let mut rest = &mut cut.batch.frame[cut.batch.name.len() + 2..];
            for n in 0..cut.batch.messages as u64 {
                let Some(checksum) = summed.or_else(|| checksums.next().copied()) else { break };
                let Some((length, behind)) = rest.split_first_chunk_mut::<LENGTH_BYTES>() else {
                    break;
                };
                let length = u32::from_le_bytes(*length) as usize;
                let Some((record, behind)) = behind.split_at_mut_checked(length) else { break };
                let stamped = stamp(
                    record,
                    Stamp {
                        sequence: cut.first_sequence + n,
                        ordinal: if counted { cut.first_ordinal + n } else { 0 },
                        checksum,
                    },
                );
                debug_assert!(stamped.is_ok(), "this process wrote the record");
                rest = behind;
            }
        }
    }
}

/// What the checksums of a frame's records are over.
fn contents<'a>(name: &'a str, frame: &'a [u8]) -> impl Iterator<Item = Content<'a>> {
    Records::new(&frame[name.len() + 2..]).flatten().map(move |(_, record)| Content {
        name,
        payload: record.payload,
        timestamp_ns: record.timestamp_ns,
    })
}
