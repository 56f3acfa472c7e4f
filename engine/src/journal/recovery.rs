//! Reads a whole file: which messages are live, what is damaged, what a crash tore.
//!
//! Every record says how far the file was synced when it was written. A fault before that is damage. What no
//! record says was synced may be torn by a power cut, and nobody was promised it, unless the policy was
//! `never`: then a fault with sound records behind it is damage too.

use std::io;
use std::path::Path;

use super::damage::{Damage, DamageReport, Torn};
use super::error::{OpenError, io_error};
use super::groups::Groups;
use super::keys::Keys;
use super::letters::Letters;
use super::live::Live;
use super::read::{HeaderScan, Next, Reader};
use super::record::{
    self, Body, FILE_HEADER_BYTES, FileHeader, MAGIC, RECORDS_OFFSET, RecordHeader,
    SECOND_HEADER_OFFSET, VERSION,
};
use super::seen::SeenRuns;
use super::storage::StorageFile;
use super::values::Retained;
use crate::wire::id::MessageId;

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
    /// Messages, settled and repeated ones among them.
    pub append: u64,
    /// Each settles some messages.
    pub settle: u64,
    /// Each holds runs of sequence numbers.
    pub seen: u64,
    /// Each tells that all before it is synced.
    pub mark: u64,
    /// Dead letters, ended and repeated ones among them.
    pub letter: u64,
    /// Ends of dead letters.
    pub letter_end: u64,
    /// Durable groups, deleted ones among them.
    pub group: u64,
    /// Deletions of durable groups.
    pub group_end: u64,
    /// Each says what a durable group has to do with some messages.
    pub jobs: u64,
    /// Retained messages, replaced and cleared ones among them.
    pub retained: u64,
    /// Each says that the retained message of a name is no more.
    pub cleared: u64,
    /// Keys that messages were published under.
    pub key: u64,
}

impl Records {
    /// Those of all kinds.
    pub fn all(&self) -> u64 {
        let messages = self.append + self.settle + self.seen + self.mark;
        let letters = self.letter + self.letter_end;
        let values = self.retained + self.cleared + self.key;
        messages + letters + self.group + self.group_end + self.jobs + values
    }
}

/// All that a file's records tell.
#[derive(Default)]
pub(super) struct Scan {
    /// Messages that are not settled.
    pub(super) live: Live,
    /// Their dead letters.
    pub(super) letters: Letters,
    /// Durable groups that are not deleted.
    pub(super) groups: Groups,
    /// The last messages of names.
    pub(super) retained: Retained,
    /// Keys that may count still.
    pub(super) keys: Keys,
    /// Runs of all messages ever appended.
    pub(super) seen: SeenRuns,
    /// Good records.
    pub(super) records: Records,
    /// Messages appended, each as often as it was not live then.
    pub(super) appended: u64,
    /// Messages of these that were settled.
    pub(super) settled: u64,
    /// Ids in settle records whose messages the file does not hold: it was compacted, or they are damaged.
    pub(super) settled_elsewhere: u64,
    /// Where the last good record ends, or the damage behind it; a torn tail may follow.
    pub(super) end: u64,
    /// Where the last good record ends that is not a mark.
    pub(super) content_end: u64,
    /// How far the records say that the file was synced.
    pub(super) synced: u64,
    /// Whether the last server that wrote to the file had the policy `never`.
    pub(super) under_never: bool,
    /// The number that the next record gets.
    pub(super) ordinal: u32,
    /// Damage.
    pub(super) damage: DamageReport,
    /// What is torn: stretches between good records, and the file from `end` on.
    pub(super) torn: Torn,
}

/// Reads the records of a file of `bytes` bytes.
pub(super) fn scan(
    file: &dyn StorageFile,
    bytes: u64,
    salt: u64,
    damaged_headers: [bool; 2],
) -> io::Result<Scan> {
    let mut scan = Scan { end: RECORDS_OFFSET, content_end: RECORDS_OFFSET, ..Scan::default() };
    for (damaged, offset) in damaged_headers.into_iter().zip([0, SECOND_HEADER_OFFSET]) {
        if damaged {
            scan.damage.add(Damage { offset, bytes: FILE_HEADER_BYTES as u64, records: 0 });
        }
    }
    let mut reader = Reader::whole(file, salt, bytes);
    // Known once the first fault made it necessary to look ahead.
    let mut known_ahead: Option<HeaderScan> = None;
    // A stretch that was not known to be synced, and behind which nothing sound was found yet.
    let mut unproven: Option<Damage> = None;
    loop {
        let fault = match reader.next()? {
            Next::End => break,
            Next::Record { offset, header, body, .. } => {
                if let Some(stretch) = unproven.take() {
                    match scan.last_policy_was_never(known_ahead) {
                        true => scan.damage.add(stretch),
                        false => scan.torn.add(stretch),
                    }
                }
                scan.take(offset, &header, body);
                continue;
            }
            Next::BadBody { record_bytes } => Fault::Body { record_bytes },
            Next::Bad => Fault::Header,
            Next::CutOff => Fault::CutOff,
        };
        let at = reader.offset();
        let ahead = match known_ahead {
            Some(ahead) => ahead,
            None => *known_ahead.insert(reader.look_ahead()?),
        };
        let records = match fault {
            Fault::Body { record_bytes } => {
                reader.seek(at + record_bytes);
                1
            }
            Fault::Header => match reader.find_header()? {
                Some(next) => next.ordinal.wrapping_sub(scan.ordinal),
                None => 1,
            },
            Fault::CutOff => {
                reader.seek(bytes);
                1
            }
        };
        scan.ordinal = scan.ordinal.wrapping_add(records);
        let stretch = Damage { offset: at, bytes: reader.offset() - at, records };
        if at < ahead.synced {
            scan.end = reader.offset();
            scan.damage.add(stretch);
        } else {
            match &mut unproven {
                Some(earlier) => earlier.extend(stretch),
                None => unproven = Some(stretch),
            }
        }
    }
    if let Some(tail) = unproven {
        scan.torn.add(tail);
    }
    scan.under_never = scan.last_policy_was_never(known_ahead);
    Ok(scan)
}

/// Reads a file: its header and all its records; `None` if nothing was ever written behind its header.
pub(super) fn read_all(
    path: &Path,
    file: &dyn StorageFile,
    bytes: u64,
) -> Result<Option<(FileHeader, Scan)>, OpenError> {
    let start = read_start(file, bytes).map_err(io_error("read", path))?;
    let path = path.to_owned();
    let (header, damaged) = match start {
        Start::Journal { header, damaged } => (header, damaged),
        Start::Fresh => return Ok(None),
        Start::Newer(version) => return Err(OpenError::Newer { path, version }),
        Start::Unreadable => return Err(OpenError::HeaderDamaged { path }),
        Start::NotAJournal => return Err(OpenError::NotAJournal { path }),
    };
    let found = scan(file, bytes, header.salt, damaged).map_err(io_error("read", &path))?;
    Ok(Some((header, found)))
}

/// What is wrong with a record.
enum Fault {
    /// Its header is good, its body is not.
    Body { record_bytes: u64 },
    /// There is no good header.
    Header,
    /// The end of the file cuts it off.
    CutOff,
}

impl Scan {
    /// Whether there are faults between sound records of a file of `bytes` bytes.
    pub(super) fn has_holes(&self, bytes: u64) -> bool {
        let tail = bytes - self.end;
        !self.damage.is_empty() || self.torn.bytes > tail
    }

    fn last_policy_was_never(&self, ahead: Option<HeaderScan>) -> bool {
        ahead.and_then(|ahead| ahead.under_never).unwrap_or(self.under_never)
    }

    fn take(&mut self, offset: u64, header: &RecordHeader, body: Body<'_>) {
        self.ordinal = header.ordinal.wrapping_add(1);
        self.synced = self.synced.max(header.synced_to(offset));
        self.under_never = header.under_never().unwrap_or(self.under_never);
        self.end = offset + header.record_bytes();
        if body != Body::Mark {
            self.content_end = self.end;
        }
        match body {
            Body::Append { id, .. } => {
                self.records.append += 1;
                self.seen.add(id);
                self.appended += u64::from(self.live.append(id, offset, header.record_bytes()));
            }
            Body::Settle(bytes) => {
                self.records.settle += 1;
                record::ids(bytes).for_each(|id| self.settle(id));
            }
            Body::Seen(bytes) => {
                self.records.seen += 1;
                record::runs(bytes).for_each(|run| self.seen.add_run(run));
            }
            Body::Mark => self.records.mark += 1,
            Body::Letter(letter) => {
                self.records.letter += 1;
                // Without its message, which may be damaged, it is nothing.
                if self.live.contains(letter.id) {
                    self.letters.add(&letter);
                }
            }
            Body::Retained(message) => {
                self.records.retained += 1;
                self.retained.put(&message);
            }
            Body::Key(key) => {
                self.records.key += 1;
                self.keys.add(&key);
            }
            Body::Cleared(name) => {
                self.records.cleared += 1;
                self.retained.clear(name);
            }
            Body::LetterEnd(end) => {
                self.records.letter_end += 1;
                if self.letters.end(&end) {
                    self.settle(end.id);
                }
            }
            Body::Group(group) => {
                self.records.group += 1;
                self.groups.add(offset, &group);
            }
            Body::GroupEnd(number) => {
                self.records.group_end += 1;
                self.groups.end(number);
            }
            Body::Jobs(jobs) => {
                self.records.jobs += 1;
                self.groups.mark(&jobs, |id| self.live.contains(id));
            }
        }
    }

    fn settle(&mut self, id: MessageId) {
        self.letters.remove(id);
        self.groups.remove(id);
        match self.live.settle(id) {
            true => self.settled += 1,
            false => self.settled_elsewhere += 1,
        }
    }
}
