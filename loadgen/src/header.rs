//! The header of each message of a run, by which every subscriber checks it.

/// The fields at the start of each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Which run the message belongs to.
    pub(crate) run: u32,
    /// Which of the run's publishers sent it, from 0.
    pub(crate) publisher: u16,
    /// Which of the run's names it was sent under, from 0.
    pub(crate) name: u16,
    /// The publisher's count of its messages under this name, from 1.
    pub(crate) sequence: u64,
    /// When it ought to have been handed to the client, in nanoseconds since the start of the run; 0
    /// when its latency is not to be measured.
    pub(crate) due_ns: u64,
    /// When it was handed over; as above.
    pub(crate) sent_ns: u64,
}

impl Header {
    /// Bytes of a header, and so the smallest message of a run.
    pub(crate) const BYTES: usize = 32;

    /// Writes the header over the start of `payload`, which has at least [`Self::BYTES`] bytes.
    pub(crate) fn write(self, payload: &mut [u8]) {
        payload[0..4].copy_from_slice(&self.run.to_le_bytes());
        payload[4..6].copy_from_slice(&self.publisher.to_le_bytes());
        payload[6..8].copy_from_slice(&self.name.to_le_bytes());
        payload[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        payload[16..24].copy_from_slice(&self.due_ns.to_le_bytes());
        payload[24..32].copy_from_slice(&self.sent_ns.to_le_bytes());
    }

    /// Reads what [`Self::write`] wrote; `None` when the payload is too short.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let bytes = payload.first_chunk::<{ Self::BYTES }>()?;
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let first = word(0);
        Some(Self {
            run: first as u32,
            publisher: (first >> 32) as u16,
            name: (first >> 48) as u16,
            sequence: word(8),
            due_ns: word(16),
            sent_ns: word(24),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let header = Header {
            run: 0x0102_0304,
            publisher: 0x0506,
            name: 0x0708,
            sequence: u64::MAX - 1,
            due_ns: 0x1112_1314_1516_1718,
            sent_ns: 0x2122_2324_2526_2728,
        };
        let mut payload = [0xaa; 40];
        header.write(&mut payload);
        assert_eq!(Header::read(&payload), Some(header));
        assert_eq!(payload[Header::BYTES..], [0xaa; 8]);
        assert_eq!(Header::read(&payload[..Header::BYTES - 1]), None);
    }
}
