//! Reads a whole file: which messages are live, where a torn tail starts, what is damaged.
//!
//! Every record says how far the file was synced when it was written. What no record behind it says was
//! synced may be torn by a power cut, and nobody was promised it; a fault before that is damage.

use std::fmt;
use std::io;

use super::live::Live;
use super::read::{Next, Reader};
use super::record::{
    self, Body, FILE_HEADER_BYTES, FileHeader, MAGIC, RECORDS_OFFSET, RecordHeader,
    SECOND_HEADER_OFFSET, VERSION,
};
use super::seen::Seen;
use super::storage::StorageFile;
use crate::limits::JOURNAL_DAMAGES_LISTED_MAX;

/// A damaged stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it starts, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// How many records it held.
    pub records: u32,
}

/// All that is damaged in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DamageReport {
    /// The first [`JOURNAL_DAMAGES_LISTED_MAX`] damaged stretches.
    pub listed: Vec<Damage>,
    /// How many stretches there are.
    pub stretches: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// The records they held.
    pub records: u64,
}

impl DamageReport {
    /// Whether nothing is damaged.
    pub fn is_empty(&self) -> bool {
        self.stretches == 0
    }

    fn add(&mut self, damage: Damage) {
        self.stretches += 1;
        self.bytes += damage.bytes;
        self.records += u64::from(damage.records);
        if self.listed.len() < JOURNAL_DAMAGES_LISTED_MAX {
            self.listed.push(damage);
        }
    }
}

impl fmt::Display for DamageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let plural = if self.records == 1 { "" } else { "s" };
        write!(f, "{} damaged record{plural} in {} bytes, at ", self.records, self.bytes)?;
        for (n, damage) in self.listed.iter().take(SHOWN).enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}offset {} ({} bytes)", damage.offset, damage.bytes)?;
        }
        match self.stretches.saturating_sub(SHOWN as u64) {
            0 => Ok(()),
            more => write!(f, " and {more} more places"),
        }
    }
}

/// What the start of a file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing was ever written behind the header.
    Fresh,
    /// A journal. The flags tell which copies of the header are damaged.
    Journal { header: FileHeader, damaged: [bool; 2] },
    /// A journal of a newer format.
    Newer(u32),
    /// A journal whose header is damaged in both places.
    Unreadable,
    /// Something else.
    NotAJournal,
}

/// Reads the header of a file of `bytes` bytes.
pub(super) fn read_start(file: &dyn StorageFile, bytes: u64) -> io::Result<Start> {
    let mut head = vec![0; RECORDS_OFFSET.min(bytes) as usize];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let second = head.get(SECOND_HEADER_OFFSET as usize..).unwrap_or(&[]);
    let copies = [FileHeader::decode(&head), FileHeader::decode(second)];
    let Some(header) = copies[0].or(copies[1]) else {
        let ours = head.starts_with(&MAGIC) || second.starts_with(&MAGIC);
        let short = bytes < RECORDS_OFFSET;
        return Ok(match (ours, short) {
            (_, true) if ours || MAGIC.starts_with(&head) || head.iter().all(|b| *b == 0) => {
                Start::Fresh
            }
            (true, _) => Start::Unreadable,
            (false, _) => Start::NotAJournal,
        });
    };
    Ok(if header.version > VERSION {
        Start::Newer(header.version)
    } else if bytes < RECORDS_OFFSET {
        Start::Fresh
    } else {
        Start::Journal { header, damaged: copies.map(|copy| copy.is_none()) }
    })
}

/// How many records there are, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Messages, settled ones among them.
    pub append: u64,
    /// Each settles some messages.
    pub settle: u64,
    /// Each holds runs of sequence numbers.
    pub seen: u64,
    /// Each tells that all before it is synced.
    pub mark: u64,
}

impl Records {
    /// Those of all kinds.
    pub fn all(&self) -> u64 {
        self.append + self.settle + self.seen + self.mark
    }
}

/// All that a file's records tell.
pub(super) struct Scan {
    /// Messages that are not settled.
    pub(super) live: Live,
    /// Runs of all messages ever appended.
    pub(super) seen: Seen,
    /// Good records.
    pub(super) records: Records,
    /// Ids settled.
    pub(super) settled: u64,
    /// Where the good records end; a torn tail may follow.
    pub(super) end: u64,
    /// Where the last good record ends that is not a mark.
    pub(super) content_end: u64,
    /// How far the records say that the file was synced.
    pub(super) synced: u64,
    /// The number that the next record gets.
    pub(super) ordinal: u32,
    /// Damage in what was synced.
    pub(super) damage: DamageReport,
}

/// Reads the records of a file of `bytes` bytes.
pub(super) fn scan(
    file: &dyn StorageFile,
    bytes: u64,
    salt: u64,
    damaged_headers: [bool; 2],
) -> io::Result<Scan> {
    let mut scan = Scan {
        live: Live::default(),
        seen: Seen::default(),
        records: Records::default(),
        settled: 0,
        end: RECORDS_OFFSET,
        content_end: RECORDS_OFFSET,
        synced: 0,
        ordinal: 0,
        damage: DamageReport::default(),
    };
    for (damaged, offset) in damaged_headers.into_iter().zip([0, SECOND_HEADER_OFFSET]) {
        if damaged {
            scan.damage.add(Damage { offset, bytes: FILE_HEADER_BYTES as u64, records: 0 });
        }
    }
    let mut reader = Reader::whole(file, salt, bytes);
    // Known once the first fault made it necessary to look ahead.
    let mut synced_ahead = None;
    loop {
        let bad_record_bytes = match reader.next()? {
            Next::End => break,
            Next::Record { offset, header, body, .. } => {
                scan.ordinal = header.ordinal.wrapping_add(1);
                scan.synced = scan.synced.max(header.synced_to(offset));
                scan.take(offset, &header, body);
                scan.end = offset + header.record_bytes();
                if body != Body::Mark {
                    scan.content_end = scan.end;
                }
                continue;
            }
            Next::BadBody { record_bytes } => Some(record_bytes),
            Next::Bad => None,
        };
        let at = reader.offset();
        let synced = match synced_ahead {
            Some(synced) => synced,
            None => *synced_ahead.insert(reader.synced_to()?),
        };
        if at >= synced {
            break; // a torn tail
        }
        let records = match bad_record_bytes {
            Some(record_bytes) => {
                reader.seek(at + record_bytes);
                scan.ordinal = scan.ordinal.wrapping_add(1);
                1
            }
            None => match reader.find_header()? {
                Some(next) => {
                    let records = next.ordinal.wrapping_sub(scan.ordinal);
                    scan.ordinal = next.ordinal;
                    records
                }
                None => 1,
            },
        };
        scan.end = reader.offset();
        scan.damage.add(Damage { offset: at, bytes: scan.end - at, records });
    }
    Ok(scan)
}

impl Scan {
    fn take(&mut self, offset: u64, header: &RecordHeader, body: Body<'_>) {
        match body {
            Body::Append { id, .. } => {
                self.records.append += 1;
                self.seen.add(id);
                self.live.append(id, offset, header.record_bytes());
            }
            Body::Settle(bytes) => {
                self.records.settle += 1;
                for id in record::ids(bytes) {
                    self.settled += 1;
                    self.live.settle(id);
                }
            }
            Body::Seen(bytes) => {
                self.records.seen += 1;
                record::runs(bytes).for_each(|run| self.seen.add_run(run));
            }
            Body::Mark => self.records.mark += 1,
        }
    }
}
