//! A reader of journals made from `docs/journal-format.md` alone: the whole file in memory, no
//! windows, no care for speed.

use std::collections::BTreeMap;

use bytes::Bytes;
use mezzenger::MessageId;
use mezzenger::journal::{Damage, SeenRun, Torn};
use mezzenger::message::{DeadLetter, Format, Message, MessageKey};
use mezzenger::wire::letter::Cause;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub(crate) const MAGIC: &[u8; 8] = b"\x8dMEZJRNL";
pub(crate) const HEADER_BYTES: usize = 32;
pub(crate) const SECOND_HEADER: usize = 4096;
pub(crate) const RECORDS: usize = SECOND_HEADER + HEADER_BYTES;

/// What the document says of a file.
#[derive(Debug)]
pub(super) enum Model {
    Fresh,
    Newer(u32),
    HeaderDamaged,
    NotAJournal,
    Journal(Box<Recovery>),
}

/// What is in a journal.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Of the file's format.
    pub(super) version: u32,
    /// In the order in which they were appended.
    pub(super) live: Vec<Message>,
    /// In the order in which they died. Each says whether its message is done.
    pub(super) letters: Vec<DeadLetter>,
    groups: Vec<Group>,
    /// What is said of messages and groups: the message, the group's number, and the state.
    marks: BTreeMap<(MessageId, u64), u8>,
    /// The highest number of a group that any record has.
    pub(super) last_group: u64,
    /// The last message of each name that was retained, and not cleared.
    retained: BTreeMap<String, Message>,
    /// From when and until when each key counts, by the name and the key; and when the latest one was written.
    keys: BTreeMap<(String, String), (u64, u64)>,
    latest_key_ms: u64,
    /// Which of all messages that were appended each was.
    serials: BTreeMap<MessageId, u64>,
    /// One for each native message and each run, in no order.
    pub(super) seen: Vec<SeenRun>,
    pub(super) append_records: u64,
    pub(super) appended: u64,
    pub(super) settled: u64,
    pub(super) settled_elsewhere: u64,
    /// Where the torn tail begins, or the file ends.
    pub(super) end: usize,
    pub(super) damage: Vec<Damage>,
    /// Start and end of each torn stretch.
    pub(super) torn: Vec<(usize, usize)>,
    /// Whether the last server that wrote to the file had the policy `never`.
    pub(super) under_never: bool,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// A record's header whose checksum is right.
#[derive(Clone, Copy)]
struct Header {
    at: usize,
    end: usize,
    kind: u8,
    format: u8,
    name_bytes: usize,
    unsynced_bytes: usize,
    ordinal: u32,
    body_checksum: u64,
}

/// A file, and the salt in its header.
struct Journal<'a> {
    file: &'a [u8],
    salt: u64,
}

impl Journal<'_> {
    fn header(&self, at: usize) -> Option<Header> {
        let bytes = self.file.get(at..)?.first_chunk::<HEADER_BYTES>()?;
        if !(1..=12).contains(&bytes[4]) || bytes[7] != 0 {
            return None;
        }
        let sum = xxh3_64_with_seed(&bytes[..24], self.salt.wrapping_add(at as u64));
        if u64_at(bytes, 24)? != sum {
            return None;
        }
        Some(Header {
            at,
            end: at + HEADER_BYTES + u32_at(bytes, 0)? as usize,
            kind: bytes[4],
            format: bytes[5],
            name_bytes: bytes[6].into(),
            unsynced_bytes: u32_at(bytes, 8)? as usize,
            ordinal: u32_at(bytes, 12)?,
            body_checksum: u64_at(bytes, 16)?,
        })
    }

    /// The next good header behind `at`.
    fn find_header(&self, at: usize) -> Option<Header> {
        (at + 1..self.file.len()).find_map(|at| self.header(at))
    }

    /// All good headers: behind one by its length, behind a bad one by trying each offset.
    fn headers(&self) -> Vec<Header> {
        let (mut headers, mut at) = (Vec::new(), RECORDS);
        while at < self.file.len() {
            let Some(header) = self.header(at).or_else(|| self.find_header(at)) else { break };
            headers.push(header);
            at = header.end;
        }
        headers
    }

    /// The body of a record that is whole, well formed, and has the right checksum.
    fn body(&self, header: &Header) -> Option<&[u8]> {
        let body = self.file.get(header.at + HEADER_BYTES..header.end)?;
        let is_well_formed = match header.kind {
            1 => {
                let name = body.get(16..16 + header.name_bytes)?;
                matches!(header.format, 1 | 2) && std::str::from_utf8(name).is_ok()
            }
            2 => body.len().is_multiple_of(16),
            3 => body.len().is_multiple_of(24),
            4 => body.is_empty(),
            5 => letter(body).is_some(),
            7 => group(body).is_some(),
            8 => body.len() == 8,
            9 => {
                let is_known = body.get(8).is_some_and(|state| (1..=2).contains(state));
                is_known && (body.len() - 9).is_multiple_of(16)
            }
            10 => retained(body).is_some(),
            11 => std::str::from_utf8(body).is_ok(),
            12 => key(body).is_some(),
            _ => {
                let is_known = body.get(16).is_some_and(|end| (1..=3).contains(end));
                is_known && std::str::from_utf8(&body[17..]).is_ok()
            }
        };
        (is_well_formed && xxh3_64(body) == header.body_checksum).then_some(body)
    }
}

fn id(bytes: &[u8]) -> Option<MessageId> {
    Some(MessageId { publisher: u64_at(bytes, 0)?, sequence: u64_at(bytes, 8)? })
}

/// A durable group.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    number: u64,
    name: String,
    /// How many messages were appended before it.
    appended: u64,
}

/// The number and the name in the body of a group record.
fn group(body: &[u8]) -> Option<(u64, &str)> {
    let (head, rest) = body.split_first_chunk::<24>()?;
    let &[delays, name, filter, 0 | 1, 0] = &head[19..] else { return None };
    let texts = rest.get(4 * usize::from(delays)..).filter(|_| delays <= 16)?;
    let (name, filter_text) = texts.split_at_checked(name.into())?;
    std::str::from_utf8(filter_text).ok().filter(|text| text.len() == usize::from(filter))?;
    Some((u64_at(head, 0)?, std::str::from_utf8(name).ok()?))
}

/// The body of a retained record.
fn retained(body: &[u8]) -> Option<Message> {
    let (head, rest) = body.split_first_chunk::<18>()?;
    let format = match head[16] {
        1 => Format::V1,
        2 => Format::V2,
        _ => return None,
    };
    let (name, body) = rest.split_at_checked(head[17].into())?;
    let (name, body) = (std::str::from_utf8(name).ok()?.into(), Bytes::copy_from_slice(body));
    Some(Message { id: id(head)?, name, format, body })
}

/// The body of a key record.
fn key(body: &[u8]) -> Option<MessageKey> {
    let (head, texts) = body.split_first_chunk::<18>()?;
    let (name, key) = texts.split_at_checked(head[16].into())?;
    let key = std::str::from_utf8(key).ok().filter(|key| key.len() == usize::from(head[17]))?;
    Some(MessageKey {
        name: std::str::from_utf8(name).ok()?.into(),
        key: key.into(),
        at_ms: u64_at(head, 0)?,
        until_ms: u64_at(head, 8)?,
    })
}

/// The body of a letter record.
fn letter(body: &[u8]) -> Option<DeadLetter> {
    let (head, texts) = body.split_first_chunk::<32>()?;
    let [flags, filter_kind] = [head[26], head[27]];
    let lengths = [head[28], head[29], head[30]].map(usize::from);
    if head[31] != 0 || texts.len() != lengths.iter().sum::<usize>() {
        return None;
    }
    let (group, rest) = texts.split_at(lengths[0]);
    let (filter, reason) = rest.split_at(lengths[1]);
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let reason = text(reason)?;
    let cause = match flags & !1 {
        0 => Cause::UsedUp,
        2 => Cause::Rejected(reason.into()),
        4 => Cause::Expired,
        _ => return None,
    };
    if cause.reason().is_none() && !reason.is_empty() {
        return None;
    }
    Some(DeadLetter {
        id: id(head)?,
        group: text(group)?.into(),
        filter_kind,
        filter: text(filter)?.into(),
        cause,
        attempts: u16::from_le_bytes([head[24], head[25]]),
        died_ns: u64_at(head, 16)?,
        is_done: flags & 1 != 0,
    })
}

impl Model {
    pub(super) fn read(file: &[u8]) -> Self {
        let copy = |at: usize| {
            let bytes = file.get(at..)?.first_chunk::<HEADER_BYTES>()?;
            let is_good = bytes.starts_with(MAGIC) && u64_at(bytes, 24)? == xxh3_64(&bytes[..24]);
            is_good.then_some((u32_at(bytes, 8)?, u64_at(bytes, 16)?))
        };
        let copies = [copy(0), copy(SECOND_HEADER)];
        let is_short = file.len() < RECORDS;
        match copies[0].or(copies[1]) {
            Some((version @ 3.., _)) => Self::Newer(version),
            Some(_) if is_short => Self::Fresh,
            Some((version, salt)) => {
                let mut recovery = Recovery { version, end: RECORDS, ..Recovery::default() };
                for (copy, offset) in copies.iter().zip([0, SECOND_HEADER as u64]) {
                    if copy.is_none() {
                        recovery.damage.push(Damage { offset, bytes: 32, records: 0 });
                    }
                }
                recovery.replay(&Journal { file, salt });
                Self::Journal(Box::new(recovery))
            }
            None => {
                let second = file.get(SECOND_HEADER..).unwrap_or_default();
                let has_magic = file.starts_with(MAGIC) || second.starts_with(MAGIC);
                let is_blank = file.iter().all(|byte| *byte == 0) || MAGIC.starts_with(file);
                match (is_short, has_magic) {
                    (true, true) => Self::Fresh,
                    (true, false) if is_blank => Self::Fresh,
                    (false, true) => Self::HeaderDamaged,
                    (_, false) => Self::NotAJournal,
                }
            }
        }
    }
}

impl Recovery {
    fn replay(&mut self, journal: &Journal<'_>) {
        let headers = journal.headers();
        let synced = headers.iter().map(|header| header.at.saturating_sub(header.unsynced_bytes));
        let synced = synced.max().unwrap_or(0);
        let telling = headers.iter().rev().find(|header| header.kind != 1);
        self.under_never = telling.is_some_and(|header| header.format == 1);
        let (mut at, mut ordinal) = (RECORDS, 0_u32);
        // Faults behind `synced` with nothing sound behind them yet: where they start, and their records.
        let mut unproven = None;
        while at < journal.file.len() {
            let header = journal.header(at);
            if let Some((header, body)) = header.and_then(|h| Some((h, journal.body(&h)?))) {
                if let Some((from, records)) = unproven.take() {
                    self.sound_behind(from, at, records);
                }
                self.apply(&header, body);
                (at, ordinal) = (header.end, header.ordinal.wrapping_add(1));
                self.end = at;
                continue;
            }
            let (end, records) = match header {
                Some(header) => (header.end.min(journal.file.len()), 1),
                None => match journal.find_header(at) {
                    Some(next) => (next.at, next.ordinal.wrapping_sub(ordinal)),
                    None => (journal.file.len(), 1),
                },
            };
            if at < synced {
                self.damage.push(Damage { offset: at as u64, bytes: (end - at) as u64, records });
                self.end = end;
            } else {
                let (from, earlier) = unproven.unwrap_or((at, 0_u32));
                unproven = Some((from, earlier.saturating_add(records)));
            }
            (at, ordinal) = (end, ordinal.wrapping_add(records));
        }
        self.torn.extend(unproven.map(|(from, _)| (from, journal.file.len())));
    }

    /// A fault that was not known to be synced has a sound record behind it.
    fn sound_behind(&mut self, from: usize, to: usize, records: u32) {
        if self.under_never {
            self.damage.push(Damage { offset: from as u64, bytes: (to - from) as u64, records });
        } else {
            self.torn.push((from, to));
        }
    }

    pub(super) fn has_only_a_torn_tail(&self, file_bytes: usize) -> bool {
        self.damage.is_empty() && self.torn.iter().all(|(_, to)| *to == file_bytes)
    }

    pub(super) fn torn(&self) -> Torn {
        Torn {
            offset: self.torn.first().map_or(0, |torn| torn.0 as u64),
            bytes: self.torn.iter().map(|(from, to)| (to - from) as u64).sum(),
            stretches: self.torn.len() as u64,
        }
    }

    fn apply(&mut self, header: &Header, body: &[u8]) {
        match header.kind {
            1 => {
                let (name, payload) = body[16..].split_at(header.name_bytes);
                let (Some(id), Ok(name)) = (id(body), std::str::from_utf8(name)) else { return };
                self.append_records += 1;
                if id.publisher != 0 && id.publisher >> 63 == 0 && id.sequence != 0 {
                    let (publisher, first) = (id.publisher, id.sequence);
                    self.seen.push(SeenRun { publisher, first, last: first });
                }
                if self.live.iter().all(|message| message.id != id) {
                    let format = if header.format == 1 { Format::V1 } else { Format::V2 };
                    let body = Bytes::copy_from_slice(payload);
                    self.appended += 1;
                    self.serials.insert(id, self.appended);
                    self.live.push(Message { id, name: name.into(), format, body });
                }
            }
            2 => {
                for id in body.chunks(16).filter_map(id) {
                    self.settle(id);
                }
            }
            3 => {
                for run in body.chunks(24) {
                    let numbers = [0, 8, 16].map(|at| u64_at(run, at).unwrap_or(0));
                    let [publisher, first, last] = numbers;
                    if first <= last {
                        self.seen.push(SeenRun { publisher, first, last });
                    }
                }
            }
            5 => self.die(body),
            6 => self.end_letter(body),
            7 => self.create(body),
            8 => self.delete(u64_at(body, 0).unwrap_or(0)),
            9 => self.mark(body),
            10 => {
                let message = retained(body);
                self.retained.extend(message.map(|it| (it.name.to_string(), it)));
            }
            11 => _ = std::str::from_utf8(body).map(|name| self.retained.remove(name)),
            12 => self.note_key(body),
            _ => {}
        }
    }

    fn settle(&mut self, id: MessageId) {
        let before = self.live.len();
        self.live.retain(|message| message.id != id);
        self.letters.retain(|letter| letter.id != id);
        self.marks.retain(|(of, _), _| *of != id);
        match self.live.len() < before {
            true => self.settled += 1,
            false => self.settled_elsewhere += 1,
        }
    }

    fn create(&mut self, body: &[u8]) {
        let Some((number, name)) = group(body) else { return };
        self.delete(number);
        self.groups.retain(|group| group.name != name);
        self.groups.push(Group { number, name: name.to_owned(), appended: self.appended });
    }

    fn delete(&mut self, number: u64) {
        self.last_group = self.last_group.max(number);
        self.groups.retain(|group| group.number != number);
    }

    fn mark(&mut self, body: &[u8]) {
        let (number, state) = (u64_at(body, 0).unwrap_or(0), body[8]);
        self.last_group = self.last_group.max(number);
        for id in body[9..].chunks(16).filter_map(id) {
            if self.live.iter().any(|message| message.id == id) {
                self.marks.insert((id, number), state);
            }
        }
    }

    fn note_key(&mut self, body: &[u8]) {
        let Some(MessageKey { name, key, at_ms, until_ms }) = key(body) else { return };
        self.latest_key_ms = self.latest_key_ms.max(at_ms);
        self.keys.insert((name.to_string(), key.to_string()), (at_ms, until_ms));
    }

    /// The retained messages, by their names.
    pub(super) fn retained(&self) -> Vec<Message> {
        self.retained.values().cloned().collect()
    }

    /// The keys that count for longer than to the time of the latest one, by names and keys.
    pub(super) fn keys(&self) -> Vec<MessageKey> {
        let counts = self.keys.iter().filter(|(_, (_, until_ms))| *until_ms > self.latest_key_ms);
        let key = |((name, key), &(at_ms, until_ms)): (&(String, String), &(u64, u64))| {
            MessageKey { name: name.as_str().into(), key: key.as_str().into(), at_ms, until_ms }
        };
        counts.map(key).collect()
    }

    /// The numbers of the groups, and how many live messages came before each.
    pub(super) fn groups(&self) -> Vec<(u64, usize)> {
        let before = |group: &Group| {
            let is_before = |message: &&Message| self.serials[&message.id] <= group.appended;
            (group.number, self.live.iter().filter(is_before).count())
        };
        let mut groups: Vec<_> = self.groups.iter().map(before).collect();
        groups.sort_by_key(|(number, before)| (*before, *number));
        groups
    }

    /// What is said of messages and of groups that are there.
    pub(super) fn marks(&self) -> BTreeMap<(MessageId, u64), u8> {
        let is_there = |number| self.groups.iter().any(|group| group.number == number);
        let marks = self.marks.iter().filter(|((_, number), _)| is_there(*number));
        marks.map(|(key, state)| (*key, *state)).collect()
    }

    fn die(&mut self, body: &[u8]) {
        let Some(letter) = letter(body) else { return };
        if self.live.iter().all(|message| message.id != letter.id) {
            return;
        }
        let (id, mut is_done) = (letter.id, letter.is_done);
        match self.letters.iter_mut().find(|it| it.id == id && it.group == letter.group) {
            Some(same) => {
                is_done |= same.is_done;
                *same = letter;
            }
            None => self.letters.push(letter),
        }
        let of_message = || self.letters.iter().filter(|letter| letter.id == id);
        is_done |= of_message().any(|letter| letter.is_done);
        self.set_done(id, is_done);
    }

    fn set_done(&mut self, id: MessageId, is_done: bool) {
        let of_message = self.letters.iter_mut().filter(|letter| letter.id == id);
        of_message.for_each(|letter| letter.is_done = is_done);
    }

    fn end_letter(&mut self, body: &[u8]) {
        let (Some(id), Ok(group)) = (id(body), std::str::from_utf8(&body[17..])) else { return };
        if body[16] == 3 {
            return self.settle(id);
        }
        let was_done = self.letters.iter().any(|letter| letter.id == id && letter.is_done);
        let has_letters = self.letters.iter().any(|letter| letter.id == id);
        self.letters.retain(|letter| letter.id != id || letter.group != group);
        if body[16] == 2 {
            self.set_done(id, false);
        } else if has_letters && was_done && self.letters.iter().all(|letter| letter.id != id) {
            self.settle(id);
        }
    }
}
