//! Records before they are written: encoded into one buffer, large bodies beside it.

use std::io::{self, IoSlice};

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::group::{self, JobState};
use super::keys;
use super::letter::{self, LetterEnd};
use super::options::FsyncPolicy;
use super::record::{Kind, RECORD_HEADER_BYTES, RecordHeader, SeenRun, UNDER_NEVER};
use super::retained;
use super::storage::{StorageFile, append_all};
use crate::limits::{JOURNAL_SETTLES_PER_RECORD_MAX, JOURNAL_VECTORED_BYTES_MIN};
use crate::message::{DeadLetter, DurableGroup, Message, MessageKey};
use crate::wire::id::MessageId;

/// What the buffer keeps of its capacity between two writes, in bytes.
const BUFFER_KEPT_BYTES: usize = 16 * 1024 * 1024;
/// Bits of the filter that tells whether an id may wait to be settled.
const FILTER_BITS: usize = 8192;

/// How far records may say that the file is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Synced {
    /// Up to this offset.
    To(u64),
    /// Up to each record itself: right for a file that gets its name only after it was synced whole.
    Throughout,
}

/// Encodes records and writes them to the end of a file.
///
/// After an error from [`Self::write_to`] it does not know what the file holds: drop it.
pub(super) struct Encoder {
    salt: u64,
    /// Where the next record will lie.
    offset: u64,
    ordinal: u32,
    synced: Synced,
    /// What records that are no messages have in place of a format.
    policy_byte: u8,
    buffer: Vec<u8>,
    /// Bodies that were not copied, and where in `buffer` they belong.
    large: Vec<(usize, Bytes)>,
    large_bytes: usize,
    /// Ids of the next settle record.
    settles: Vec<u8>,
    filter: Box<[u64; FILTER_BITS / 64]>,
}

impl Encoder {
    /// An encoder for a file with this salt, whose next record will be number `ordinal` and lie at `offset`.
    pub(super) fn new(
        salt: u64,
        (offset, ordinal): (u64, u32),
        synced: Synced,
        policy: FsyncPolicy,
    ) -> Self {
        Self {
            salt,
            offset,
            ordinal,
            synced,
            policy_byte: if policy == FsyncPolicy::Never { UNDER_NEVER } else { 0 },
            buffer: Vec::new(),
            large: Vec::new(),
            large_bytes: 0,
            settles: Vec::new(),
            filter: Box::new([0; FILTER_BITS / 64]),
        }
    }

    /// Where the next record will lie; the file's length in bytes once all is written.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the next record will lie, and its number.
    pub(super) fn position(&self) -> (u64, u32) {
        (self.offset, self.ordinal)
    }

    /// Lets the following records say that the file is synced so far.
    pub(super) fn set_synced(&mut self, synced: u64) {
        self.synced = Synced::To(synced);
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.buffer.len() + self.large_bytes + self.settles.len()
    }

    fn header(&mut self, kind: Kind, body_bytes: usize, body_checksum: u64) -> RecordHeader {
        let unsynced = match self.synced {
            Synced::To(synced) => self.offset.saturating_sub(synced),
            Synced::Throughout => 0,
        };
        RecordHeader {
            kind,
            format: self.policy_byte,
            name_bytes: 0,
            body_bytes: body_bytes as u32,
            unsynced_bytes: u32::try_from(unsynced).unwrap_or(u32::MAX),
            ordinal: self.ordinal,
            body_checksum,
        }
    }

    /// Fills in the header of the record that starts at `start` of the buffer.
    fn seal(&mut self, start: usize, header: &RecordHeader) {
        let bytes = header.encode(self.salt, self.offset);
        self.buffer[start..start + RECORD_HEADER_BYTES].copy_from_slice(&bytes);
        self.offset += header.record_bytes();
        self.ordinal = self.ordinal.wrapping_add(1);
    }

    fn start(&mut self) -> usize {
        let start = self.buffer.len();
        self.buffer.resize(start + RECORD_HEADER_BYTES, 0);
        start
    }

    /// Adds a message, which [`super::ops::fits`] must have let pass.
    pub(super) fn append(&mut self, message: Message) {
        if self.may_be_settled(message.id) {
            // Settled and published anew: the order of the two must stay.
            self.end_settles();
        }
        let start = self.start();
        self.buffer.extend_from_slice(&message.id.to_bytes());
        self.buffer.extend_from_slice(message.name.as_bytes());
        let shared = message.body.len() >= JOURNAL_VECTORED_BYTES_MIN;
        if !shared {
            self.buffer.extend_from_slice(&message.body);
        }
        let copied = &self.buffer[start + RECORD_HEADER_BYTES..];
        let mut body_bytes = copied.len();
        let checksum = if shared {
            let mut hasher = Xxh3::new();
            hasher.update(copied);
            hasher.update(&message.body);
            body_bytes += message.body.len();
            hasher.digest()
        } else {
            xxh3_64(copied)
        };
        let header = RecordHeader {
            format: message.format as u8,
            name_bytes: message.name.len() as u8,
            ..self.header(Kind::Append, body_bytes, checksum)
        };
        self.seal(start, &header);
        if shared {
            self.large_bytes += message.body.len();
            self.large.push((self.buffer.len(), message.body));
        }
    }

    /// Adds a dead letter. Its message is gone whether a settlement of it stands before or behind the letter.
    pub(super) fn letter(&mut self, letter: &DeadLetter) {
        self.whole(Kind::Letter, &letter::encode(letter));
    }

    /// Adds the end of a dead letter, likewise.
    pub(super) fn end_letter(&mut self, id: MessageId, group: &str, end: LetterEnd) {
        self.whole(Kind::LetterEnd, &letter::encode_end(id, group, end));
    }

    /// Adds a durable group. What was appended before it is none of its jobs.
    pub(super) fn group(&mut self, group: &DurableGroup) {
        self.whole(Kind::Group, &group::encode(group));
    }

    /// Adds the end of a durable group.
    pub(super) fn end_group(&mut self, number: u64) {
        self.whole(Kind::GroupEnd, &number.to_le_bytes());
    }

    /// Adds what a durable group has to do with some messages, none of which waits to be settled.
    pub(super) fn jobs(&mut self, group: u64, state: JobState, ids: &[MessageId]) {
        self.whole(Kind::Jobs, &group::encode_jobs(group, state, ids));
    }

    /// Adds a retained message.
    pub(super) fn retained(&mut self, message: &Message) {
        self.whole(Kind::Retained, &retained::encode(message));
    }

    /// Adds that the last message of a name is no more.
    pub(super) fn cleared(&mut self, name: &str) {
        self.whole(Kind::Cleared, name.as_bytes());
    }

    /// Adds a key.
    pub(super) fn key(&mut self, key: &MessageKey) {
        self.whole(Kind::Key, &keys::encode(key));
    }

    /// Adds an id to those that the next settle record will hold.
    pub(super) fn settle(&mut self, id: MessageId) {
        self.settles.extend_from_slice(&id.to_bytes());
        let bit = filter_bit(id);
        self.filter[bit / 64] |= 1 << (bit % 64);
        if self.settles.len() == JOURNAL_SETTLES_PER_RECORD_MAX * MessageId::BYTES {
            self.end_settles();
        }
    }

    fn may_be_settled(&self, id: MessageId) -> bool {
        let bit = filter_bit(id);
        !self.settles.is_empty() && self.filter[bit / 64] & 1 << (bit % 64) != 0
    }

    fn end_settles(&mut self) {
        if !self.settles.is_empty() {
            let settles = std::mem::take(&mut self.settles);
            self.whole(Kind::Settle, &settles);
            self.settles = settles;
            self.settles.clear();
            self.filter.fill(0);
        }
    }

    fn whole(&mut self, kind: Kind, body: &[u8]) {
        let start = self.start();
        self.buffer.extend_from_slice(body);
        let header = self.header(kind, body.len(), xxh3_64(body));
        self.seal(start, &header);
    }

    /// Adds a record of runs.
    pub(super) fn seen(&mut self, runs: &[SeenRun]) {
        let body: Vec<u8> = runs.iter().flat_map(|run| run.encode()).collect();
        self.whole(Kind::Seen, &body);
    }

    /// Adds a mark.
    pub(super) fn mark(&mut self) {
        self.whole(Kind::Mark, &[]);
    }

    /// Adds a record of another file as it is; only place, number and sync are this file's.
    pub(super) fn copy(&mut self, source: &RecordHeader, body: &[u8]) {
        let start = self.start();
        self.buffer.extend_from_slice(body);
        let mut header = self.header(source.kind, body.len(), source.body_checksum);
        if source.kind == Kind::Append {
            (header.format, header.name_bytes) = (source.format, source.name_bytes);
        }
        self.seal(start, &header);
    }

    /// Writes all that waits to the end of `file`.
    ///
    /// # Errors
    /// What the file says; some of the bytes may then be in it.
    pub(super) fn write_to(&mut self, file: &mut dyn StorageFile) -> io::Result<()> {
        self.end_settles();
        if self.large.is_empty() {
            append_all(file, &mut [IoSlice::new(&self.buffer)])?;
        } else {
            let mut parts = Vec::with_capacity(2 * self.large.len() + 1);
            let mut start = 0;
            for (end, body) in &self.large {
                parts.push(IoSlice::new(&self.buffer[start..*end]));
                parts.push(IoSlice::new(body));
                start = *end;
            }
            parts.push(IoSlice::new(&self.buffer[start..]));
            append_all(file, &mut parts)?;
        }
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        self.large.clear();
        self.large_bytes = 0;
        Ok(())
    }
}

fn filter_bit(id: MessageId) -> usize {
    let mixed = (id.publisher ^ id.sequence).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize % FILTER_BITS
}
