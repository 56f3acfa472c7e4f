//! Requests about dead letters, and their answers: the messages that groups gave up.
//!
//! Requests are control requests of the kinds 6 to 9; each answer begins as its request does. The byte diagrams are in
//! `docs/wire-format.md`.

use super::fields::{Fields, Short, name_or_none};
use super::group::append_text;
use super::hello::CONTROL;
use super::id::MessageId;
use super::name::NameError;

const LIST: u8 = 0x06;
const SHOW: u8 = 0x07;
const REPLAY: u8 = 0x08;
const PURGE: u8 = 0x09;

const IDS: u8 = 0;
const RANGE: u8 = 1;

/// Something about dead letters. An empty group stands for all groups in a list, and for none elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Which there are.
    List {
        /// Of which group.
        group: &'a str,
        /// From which number on.
        from: u64,
        /// How many at most.
        limit: u16,
    },
    /// One of them, with its message.
    Show {
        /// The group.
        group: &'a str,
        /// The message's id.
        id: MessageId,
    },
    /// The group gets their messages again.
    Replay {
        /// The group.
        group: &'a str,
        /// Which.
        which: LetterSelection<'a>,
    },
    /// They are needed no longer.
    Purge {
        /// The group.
        group: &'a str,
        /// Which.
        which: LetterSelection<'a>,
    },
}

/// Some dead letters of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterSelection<'a> {
    /// Those of these messages, 16 bytes each.
    Ids(&'a [u8]),
    /// One after the other.
    Range {
        /// From which number on.
        from: u64,
        /// Up to which number, which is not among them; 0: to the end.
        to: u64,
        /// Those of messages of this name alone, if it is not empty.
        name: &'a str,
    },
}

/// Why the body of a request is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// It has fewer bytes than these.
    Short(usize),
    /// The name of the group breaks a rule.
    Group(NameError),
    /// The name of the messages breaks a rule.
    Name(NameError),
    /// Neither ids nor a range.
    Choice(u8),
}

impl From<Short> for ReadError {
    fn from(Short(bytes): Short) -> Self {
        Self::Short(bytes)
    }
}

/// Reads what stands behind the kind of a request; `None` for a kind that is not about dead letters.
pub(super) fn read(kind: u8, bytes: &[u8]) -> Result<Option<Request<'_>>, ReadError> {
    if !(LIST..=PURGE).contains(&kind) {
        return Ok(None);
    }
    let mut fields = Fields::new(bytes);
    let group = name_or_none(fields.text()?).map_err(ReadError::Group)?;
    Ok(Some(match kind {
        LIST => {
            let (from, limit) = (fields.u64()?, fields.u16()?);
            Request::List { group, from, limit }
        }
        SHOW => Request::Show { group, id: MessageId::from_bytes(fields.take()?) },
        _ => {
            let which = match fields.take()? {
                [IDS] => LetterSelection::Ids(fields.rest()),
                [RANGE] => {
                    let (from, to) = (fields.u64()?, fields.u64()?);
                    let name = name_or_none(fields.text()?).map_err(ReadError::Name)?;
                    LetterSelection::Range { from, to, name }
                }
                [choice] => return Err(ReadError::Choice(choice)),
            };
            match kind {
                REPLAY => Request::Replay { group, which },
                _ => Request::Purge { group, which },
            }
        }
    }))
}

/// The body of a request.
pub fn request(request: &Request<'_>) -> Vec<u8> {
    let (kind, group) = match request {
        Request::List { group, .. } => (LIST, group),
        Request::Show { group, .. } => (SHOW, group),
        Request::Replay { group, .. } => (REPLAY, group),
        Request::Purge { group, .. } => (PURGE, group),
    };
    let mut body = vec![CONTROL, kind];
    append_text(group, &mut body);
    match request {
        Request::List { from, limit, .. } => {
            body.extend(from.to_le_bytes());
            body.extend(limit.to_le_bytes());
        }
        Request::Show { id, .. } => body.extend(id.to_bytes()),
        Request::Replay { which, .. } | Request::Purge { which, .. } => match which {
            LetterSelection::Ids(ids) => {
                body.push(IDS);
                body.extend(*ids);
            }
            LetterSelection::Range { from, to, name } => {
                body.push(RANGE);
                body.extend(from.to_le_bytes());
                body.extend(to.to_le_bytes());
                append_text(name, &mut body);
            }
        },
    }
    body
}

/// Why a group gave a message up. Who rejected it says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause<T> {
    /// Its last attempt failed.
    UsedUp,
    /// A member rejected it.
    Rejected(T),
    /// Its time was over.
    Expired,
}

impl<T> Cause<T> {
    /// Why a member rejected it, if one did.
    pub fn reason(&self) -> Option<&T> {
        match self {
            Self::Rejected(reason) => Some(reason),
            Self::UsedUp | Self::Expired => None,
        }
    }

    /// The same for a reason in another form.
    pub fn map<'a, U>(&'a self, to: impl FnOnce(&'a T) -> U) -> Cause<U> {
        match self {
            Self::UsedUp => Cause::UsedUp,
            Self::Rejected(reason) => Cause::Rejected(to(reason)),
            Self::Expired => Cause::Expired,
        }
    }

    fn number(&self) -> u8 {
        match self {
            Self::UsedUp => 0,
            Self::Rejected(_) => 1,
            Self::Expired => 2,
        }
    }
}

/// A dead letter, as an answer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number: letters are counted in the order in which they died, from 1 at each start of the server.
    pub number: u64,
    /// The message's id.
    pub id: MessageId,
    /// When the message was made, in nanoseconds since the Unix epoch; 0 for one in the original format, whose dict says
    /// it.
    pub published_ns: u64,
    /// When the group gave it up, likewise.
    pub died_ns: u64,
    /// How often the group got it.
    pub attempts: u16,
    /// Why the group gave it up.
    pub cause: Cause<&'a str>,
    /// The group.
    pub group: &'a str,
    /// The kind of the group's filter.
    pub filter_kind: u8,
    /// Its text.
    pub filter: &'a str,
    /// The message's name.
    pub name: &'a str,
    /// Bytes of the message without its name.
    pub bytes: u32,
}

/// Bytes of an entry before its texts.
const ENTRY_BYTES: usize = 48;

impl Entry<'_> {
    /// Appends it to an answer.
    pub fn append_to(&self, answer: &mut Vec<u8>) {
        answer.extend(self.number.to_le_bytes());
        answer.extend(self.id.to_bytes());
        answer.extend(self.published_ns.to_le_bytes());
        answer.extend(self.died_ns.to_le_bytes());
        answer.extend(self.bytes.to_le_bytes());
        answer.extend(self.attempts.to_le_bytes());
        answer.extend([self.cause.number(), self.filter_kind]);
        let reason = self.cause.reason().copied().unwrap_or_default();
        for text in [self.group, self.filter, self.name, reason] {
            append_text(text, answer);
        }
    }
}

/// Reads an entry, and returns what follows it; `None` for bytes that are none.
pub fn read_entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let mut fields = Fields::new(bytes);
    let head = fields.take::<ENTRY_BYTES>().ok()?;
    let u64_at = |at: usize| {
        head[at..].first_chunk().map_or(0, |bytes: &[u8; 8]| u64::from_le_bytes(*bytes))
    };
    let (group, filter) = (fields.utf8()?, fields.utf8()?);
    let (name, reason) = (fields.utf8()?, fields.utf8()?);
    let entry = Entry {
        number: u64_at(0),
        id: MessageId { publisher: u64_at(8), sequence: u64_at(16) },
        published_ns: u64_at(24),
        died_ns: u64_at(32),
        bytes: u32::from_le_bytes([head[40], head[41], head[42], head[43]]),
        attempts: u16::from_le_bytes([head[44], head[45]]),
        cause: match head[46] {
            0 => Cause::UsedUp,
            1 => Cause::Rejected(reason),
            2 => Cause::Expired,
            _ => return None,
        },
        group,
        filter_kind: head[47],
        filter,
        name,
    };
    Some((entry, fields.rest()))
}

/// What an answer to a list says before the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Letters that the group has, or all groups.
    pub total: u64,
    /// The number from which to go on; 0 when no more are left.
    pub next: u64,
    /// The number that the next letter gets which dies: what is replayed and dies again comes from there on.
    pub end: u64,
}

/// Bytes of an answer to a list before the entries.
const LISTED_BYTES: usize = 26;

/// The beginning of an answer to a list, behind which the entries stand to its end.
pub fn listed(listed: Listed) -> Vec<u8> {
    let Listed { total, next, end } = listed;
    let mut answer = vec![CONTROL, LIST];
    for number in [total, next, end] {
        answer.extend(number.to_le_bytes());
    }
    answer
}

/// Reads an answer to a list; `None` for bytes that are none.
pub fn read_listed(bytes: &[u8]) -> Option<(Listed, &[u8])> {
    let (head, entries) = bytes.split_first_chunk::<LISTED_BYTES>()?;
    let ([CONTROL, LIST], numbers) = head.split_first_chunk()? else { return None };
    let [total, next, end] = numbers.as_chunks().0 else { return None };
    let [total, next, end] = [total, next, end].map(|bytes| u64::from_le_bytes(*bytes));
    Some((Listed { total, next, end }, entries))
}

/// The answer that shows a letter: its entry, and the frame that its message was published in alone.
pub fn shown(entry: &Entry<'_>, frame: &[u8]) -> Vec<u8> {
    let mut answer = vec![CONTROL, SHOW];
    entry.append_to(&mut answer);
    answer.extend(frame);
    answer
}

/// Reads the answer that shows a letter; `None` for bytes that are none.
pub fn read_shown(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    read_entry(bytes.strip_prefix(&[CONTROL, SHOW])?)
}

/// How far a replay or a purge went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Letters that were replayed or purged.
    pub done: u32,
    /// The number from which to go on; 0 when no more are left.
    pub next: u64,
}

/// Bytes of the answer to a replay or a purge.
const CHANGED_BYTES: usize = 14;

/// The answer to a replay.
pub fn replayed(changed: Changed) -> Vec<u8> {
    answer_changed(REPLAY, changed)
}

/// The answer to a purge.
pub fn purged(changed: Changed) -> Vec<u8> {
    answer_changed(PURGE, changed)
}

fn answer_changed(kind: u8, changed: Changed) -> Vec<u8> {
    let Changed { done, next } = changed;
    [&[CONTROL, kind][..], &done.to_le_bytes(), &next.to_le_bytes()].concat()
}

/// Reads the answer to a replay or a purge; `None` for bytes that are none.
pub fn read_changed(bytes: &[u8]) -> Option<Changed> {
    let &[CONTROL, REPLAY | PURGE, d0, d1, d2, d3, ref next @ ..] =
        bytes.first_chunk::<CHANGED_BYTES>()?
    else {
        return None;
    };
    Some(Changed { done: u32::from_le_bytes([d0, d1, d2, d3]), next: u64::from_le_bytes(*next) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MessageId = MessageId { publisher: 5, sequence: 0x0607 };

    #[track_caller]
    fn check(expected: Request<'_>, bytes: &[u8], is_open: bool) {
        assert_eq!(request(&expected), bytes);
        assert_eq!(read(bytes[1], &bytes[2..]), Ok(Some(expected)));
        // What ends with ids has no other end than the request's.
        let end = if is_open { 5 } else { bytes.len() };
        for end in 2..end {
            assert!(matches!(read(bytes[1], &bytes[2..end]), Err(ReadError::Short(_))), "{end}");
        }
        if !is_open {
            let more = [&bytes[2..], b"more"].concat();
            assert_eq!(read(bytes[1], &more), Ok(Some(expected)));
        }
    }

    #[test]
    fn requests_are_as_the_format_says_and_come_back() {
        let group = "g";
        let list = Request::List { group, from: 0x0102, limit: 0x0304 };
        check(list, b"\x02\x06\x01g\x02\x01\0\0\0\0\0\0\x04\x03", false);
        let show = Request::Show { group, id: ID };
        check(show, b"\x02\x07\x01g\x05\0\0\0\0\0\0\0\x07\x06\0\0\0\0\0\0", false);
        let ids = LetterSelection::Ids(&[7; 32]);
        let bytes = [&b"\x02\x08\x01g\0"[..], &[7; 32]].concat();
        check(Request::Replay { group, which: ids }, &bytes, true);
        let bytes = [&b"\x02\x09\x01g\0"[..], &[7; 32]].concat();
        check(Request::Purge { group, which: ids }, &bytes, true);
        let range = |name| LetterSelection::Range { from: 3, to: 0x0405, name };
        let replay = Request::Replay { group, which: range("ab") };
        check(replay, b"\x02\x08\x01g\x01\x03\0\0\0\0\0\0\0\x05\x04\0\0\0\0\0\0\x02ab", false);
        let purge = Request::Purge { group, which: range("") };
        check(purge, b"\x02\x09\x01g\x01\x03\0\0\0\0\0\0\0\x05\x04\0\0\0\0\0\0\0", false);
    }

    #[test]
    fn each_rule_has_its_error() {
        assert_eq!(read(5, b""), Ok(None));
        assert_eq!(read(10, b""), Ok(None));
        assert_eq!(read(6, b"\x01|"), Err(ReadError::Group(NameError::Separator)));
        assert_eq!(read(8, b"\x01g\x02"), Err(ReadError::Choice(2)));
        let bytes = b"\x01g\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\n";
        assert_eq!(read(9, bytes), Err(ReadError::Name(NameError::Control)));
    }

    #[test]
    fn answers_are_as_the_format_says_and_come_back() {
        let entry = Entry {
            number: 1,
            id: ID,
            published_ns: 2,
            died_ns: 3,
            attempts: 4,
            cause: Cause::Rejected("no"),
            group: "g",
            filter_kind: 2,
            filter: ">",
            name: "orders",
            bytes: 9,
        };
        let mut bytes = Vec::new();
        entry.append_to(&mut bytes);
        let numbers = [1, 5, 0x0607, 2, 3_u64].map(u64::to_le_bytes).concat();
        let rest = b"\x09\0\0\0\x04\0\x01\x02\x01g\x01>\x06orders\x02no";
        assert_eq!(bytes, [&numbers[..], rest].concat());
        assert_eq!(read_entry(&[&bytes[..], b"more"].concat()), Some((entry, &b"more"[..])));
        for end in 0..bytes.len() {
            assert_eq!(read_entry(&bytes[..end]), None);
        }
        for cause in [Cause::UsedUp, Cause::Expired] {
            let other = Entry { cause, ..entry };
            assert_eq!(read_shown(&shown(&other, b"frame")), Some((other, &b"frame"[..])));
        }
        bytes[46] = 3;
        assert_eq!(read_entry(&bytes), None);

        let said = Listed { total: 1, next: 2, end: 3 };
        let bytes = listed(said);
        assert_eq!(
            bytes,
            [&b"\x02\x06"[..], &[1, 2, 3_u64].map(u64::to_le_bytes).concat()].concat()
        );
        assert_eq!(read_listed(&[&bytes[..], b"entry"].concat()), Some((said, &b"entry"[..])));
        assert_eq!(read_listed(&bytes[..25]), None);

        let said = Changed { done: 1, next: 2 };
        assert_eq!(replayed(said), b"\x02\x08\x01\0\0\0\x02\0\0\0\0\0\0\0");
        assert_eq!(purged(said)[..2], *b"\x02\x09");
        assert_eq!(read_changed(&replayed(said)), Some(said));
        assert_eq!(read_changed(&purged(said)[..13]), None);
        assert_eq!(read_changed(b"OK\0\0\0\0\0\0\0\0\0\0\0\0"), None);
    }
}
