//! Stamps what leaves: sequences, ordinals, and the checksums of all its messages at once.

use crate::client::publish::batches::Cut;
use crate::wire::checksum::{self, Checksum, Content};
use crate::wire::record::{LENGTH_BYTES, Records, Stamp, stamp};

/// Stamps frames. Keeps its room from one turn to the next.
#[derive(Debug, Default)]
pub(super) struct Sealer {
    checksums: Vec<Checksum>,
}

impl Sealer {
    /// Stamps every record of these frames. What was not stamped, because it is no record, the server
    /// refuses.
    pub(super) fn seal(&mut self, cuts: &mut [Cut]) {
        self.checksums.clear();
        let contents = cuts.iter().flat_map(|cut| {
            let (name, frame) = (&*cut.batch.name, &cut.batch.frame);
            Records::new(&frame[name.len() + 2..]).flatten().map(move |(_, record)| Content {
                name,
                payload: record.payload,
                timestamp_ns: record.timestamp_ns,
            })
        });
        checksum::native_each(contents, &mut self.checksums);
        let mut checksums = self.checksums.iter();
        for cut in cuts {
            let counted = cut.first_ordinal != 0;
            let mut rest = &mut cut.batch.frame[cut.batch.name.len() + 2..];
            for (n, checksum) in (0..cut.batch.messages as u64).zip(&mut checksums) {
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
                        checksum: *checksum,
                    },
                );
                debug_assert!(stamped.is_ok(), "this process wrote the record");
                rest = behind;
            }
        }
    }
}
