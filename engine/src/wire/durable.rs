//! Requests about groups, and their answers: durable ones are created and deleted, and all are listed.
//!
//! Requests are control requests of the kinds 10 to 12; the answer to a list begins as its request does, and the others
//! are answered like a message. The byte diagrams are in `docs/wire-format.md`.

use super::fields::{Fields, Short, name_or_none};
use super::filter::{Filter, FilterError};
use super::group::{self, Group, GroupReadError, append_text};
use super::hello::CONTROL;
use super::name::{self, NameError};

const CREATE: u8 = 0x0a;
const LIST: u8 = 0x0b;
const DELETE: u8 = 0x0c;

const IS_DURABLE: u8 = 1;
/// The flag of a deletion that discards what the group did not settle.
const DISCARDS: u8 = 1;

/// What becomes of messages that a group has not settled when it is to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsettled {
    /// They stay, and so does the group: its deletion is rejected.
    Kept,
    /// They go with the group.
    Discarded,
}

/// Something about groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// A durable group is to be there from now on.
    Create {
        /// Whose messages are its jobs.
        filter: Filter<'a>,
        /// Its name, and what its members agree on.
        group: Group<'a>,
    },
    /// Which groups there are, in the order of their names.
    List {
        /// From which name on; the empty one stands for all.
        from: &'a str,
        /// How many at most.
        limit: u16,
    },
    /// A durable group is no more, nor are its jobs.
    Delete {
        /// Its name.
        name: &'a str,
        /// What becomes of jobs that are left.
        unsettled: Unsettled,
    },
}

/// Why the body of a request is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// It has fewer bytes than these.
    Short(usize),
    /// The name of the group breaks a rule.
    Name(NameError),
    /// The filter breaks a rule.
    Filter(FilterError),
    /// This many delays are too many.
    Backoff(u8),
}

impl From<Short> for ReadError {
    fn from(Short(bytes): Short) -> Self {
        Self::Short(bytes)
    }
}

/// Reads what stands behind the kind of a request; `None` for a kind that is not about groups.
pub(super) fn read(kind: u8, bytes: &[u8]) -> Result<Option<Request<'_>>, ReadError> {
    let mut fields = Fields::new(bytes);
    Ok(Some(match kind {
        CREATE => {
            let [kind, length] = fields.take()?;
            let text = fields.bytes(length)?;
            let group = group::read(fields.rest()).map_err(|error| match error {
                GroupReadError::Short(bytes) => ReadError::Short(fields.taken() + bytes),
                GroupReadError::Name(error) => ReadError::Name(error),
                GroupReadError::Backoff(delays) => ReadError::Backoff(delays),
            })?;
            let filter = Filter::read(kind, text).map_err(ReadError::Filter)?;
            Request::Create { filter, group }
        }
        LIST => {
            let from = name_or_none(fields.text()?).map_err(ReadError::Name)?;
            Request::List { from, limit: fields.u16()? }
        }
        DELETE => {
            let name = name::check(fields.text()?).map_err(ReadError::Name)?;
            let flags = fields.rest().first().copied().unwrap_or(0);
            let unsettled =
                if flags & DISCARDS == 0 { Unsettled::Kept } else { Unsettled::Discarded };
            Request::Delete { name, unsettled }
        }
        _ => return Ok(None),
    }))
}

/// The body of a request.
pub fn request(request: &Request<'_>) -> Vec<u8> {
    let mut body = vec![CONTROL];
    match request {
        Request::Create { filter, group } => {
            body.push(CREATE);
            append(filter, group, &mut body);
        }
        Request::List { from, limit } => {
            body.push(LIST);
            append_text(from, &mut body);
            body.extend(limit.to_le_bytes());
        }
        Request::Delete { name, unsettled } => {
            body.push(DELETE);
            append_text(name, &mut body);
            body.push(if *unsettled == Unsettled::Discarded { DISCARDS } else { 0 });
        }
    }
    body
}

fn append(filter: &Filter<'_>, group: &Group<'_>, body: &mut Vec<u8>) {
    body.push(filter.kind());
    append_text(filter.text(), body);
    group::append(group, body);
}

/// A group, as an answer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Whether it is there without members.
    pub is_durable: bool,
    /// How many members it has.
    pub members: u32,
    /// Messages that wait for a member, or for their next attempt.
    pub waiting: u64,
    /// Messages that members have and did not settle.
    pub in_flight: u64,
    /// Its dead letters.
    pub letters: u64,
    /// Whose messages are its jobs.
    pub filter: Filter<'a>,
    /// Its name, and what its members agree on: as it is, without a 0 that stands for something else.
    pub group: Group<'a>,
}

/// Bytes of an entry before its filter.
const ENTRY_BYTES: usize = 31;

impl Entry<'_> {
    /// Appends it to an answer.
    pub fn append_to(&self, answer: &mut Vec<u8>) {
        answer.push(if self.is_durable { IS_DURABLE } else { 0 });
        answer.extend(self.members.to_le_bytes());
        for number in [self.waiting, self.in_flight, self.letters] {
            answer.extend(number.to_le_bytes());
        }
        append(&self.filter, &self.group, answer);
    }
}

/// Reads an entry, and returns what follows it; `None` for bytes that are none.
pub fn read_entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<ENTRY_BYTES>()?;
    let &[flags, m0, m1, m2, m3, ref numbers @ .., kind, length] = head;
    let (numbers, _) = numbers.as_chunks::<8>();
    let [waiting, in_flight, letters] = numbers else { return None };
    let [waiting, in_flight, letters] =
        [waiting, in_flight, letters].map(|bytes| u64::from_le_bytes(*bytes));
    let (text, rest) = rest.split_at_checked(length.into())?;
    let (group, rest) = group::read_whole(rest)?;
    let entry = Entry {
        is_durable: flags & IS_DURABLE != 0,
        members: u32::from_le_bytes([m0, m1, m2, m3]),
        waiting,
        in_flight,
        letters,
        filter: Filter::read(kind, text).ok()?,
        group,
    };
    Some((entry, rest))
}

/// What an answer to a list says before the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// How many groups there are.
    pub total: u32,
    /// The name from which to go on; empty when no more are left.
    pub next: &'a str,
}

/// The beginning of an answer to a list, behind which the entries stand to its end.
pub fn listed(listed: Listed<'_>) -> Vec<u8> {
    let mut answer = vec![CONTROL, LIST];
    answer.extend(listed.total.to_le_bytes());
    append_text(listed.next, &mut answer);
    answer
}

/// Reads an answer to a list; `None` for bytes that are none.
pub fn read_listed(bytes: &[u8]) -> Option<(Listed<'_>, &[u8])> {
    let mut fields = Fields::new(bytes.strip_prefix(&[CONTROL, LIST])?);
    let listed = Listed { total: fields.u32().ok()?, next: fields.utf8()? };
    Some((listed, fields.rest()))
}

#[cfg(test)]
mod tests {
    use super::super::group::Backoff;
    use super::*;

    #[track_caller]
    fn check(expected: Request<'_>, bytes: &[u8], is_short_at: impl Fn(usize) -> bool) {
        assert_eq!(request(&expected), bytes);
        assert_eq!(read(bytes[1], &bytes[2..]), Ok(Some(expected)));
        assert_eq!(read(bytes[1], &[&bytes[2..], b"more"].concat()), Ok(Some(expected)));
        for end in (2..bytes.len()).filter(|end| is_short_at(*end)) {
            assert!(matches!(read(bytes[1], &bytes[2..end]), Err(ReadError::Short(_))), "{end}");
        }
    }

    fn group() -> Group<'static> {
        let backoff = Backoff::new(&[9]).unwrap();
        let (attempts_max, keeps_expired) = (3, true);
        Group { ack_wait_ms: 0x0506, attempts_max, backoff, keeps_expired, ..Group::named("g") }
    }

    const GROUP: &[u8] = b"\x01g\x06\x05\0\0\0\0\0\0\x03\0\x01\x09\0\0\0\x01";

    #[test]
    fn requests_are_as_the_format_says_and_come_back() {
        let create = Request::Create { filter: Filter::Pattern("a.>"), group: group() };
        // A group may end before its attempts, and before its flags.
        let bytes = [b"\x02\x0a\x02\x03a.>", GROUP].concat();
        check(create, &bytes, |end| ![17, 24].contains(&end));
        let list = Request::List { from: "g", limit: 0x0102 };
        check(list, b"\x02\x0b\x01g\x02\x01", |_| true);
        check(Request::List { from: "", limit: 3 }, b"\x02\x0b\0\x03\0", |_| true);
        // A deletion may end before its flags.
        let delete = |unsettled| Request::Delete { name: "g", unsettled };
        check(delete(Unsettled::Kept), b"\x02\x0c\x01g\0", |end| end != 4);
        check(delete(Unsettled::Discarded), b"\x02\x0c\x01g\x01", |end| end != 4);
    }

    #[test]
    fn each_rule_has_its_error() {
        assert_eq!(read(9, b""), Ok(None));
        assert_eq!(read(13, b""), Ok(None));
        assert_eq!(read(12, b"\x01|"), Err(ReadError::Name(NameError::Separator)));
        assert!(matches!(read(12, b"\0"), Err(ReadError::Name(_))));
        assert!(matches!(read(11, b"\x01|\0\0"), Err(ReadError::Name(_))));
        let bytes = [b"\x09\x01a", GROUP].concat();
        assert_eq!(read(10, &bytes), Err(ReadError::Filter(FilterError::Kind(9))));
        let mut bytes = [b"\0\x01a", GROUP].concat();
        bytes[15] = 17;
        assert_eq!(read(10, &bytes), Err(ReadError::Backoff(17)));
    }

    #[test]
    fn answers_are_as_the_format_says_and_come_back() {
        let entry = Entry {
            is_durable: true,
            members: 1,
            waiting: 2,
            in_flight: 3,
            letters: 4,
            filter: Filter::Prefix("a"),
            group: group(),
        };
        let mut bytes = Vec::new();
        entry.append_to(&mut bytes);
        let numbers = [2, 3, 4_u64].map(u64::to_le_bytes).concat();
        assert_eq!(bytes, [&b"\x01\x01\0\0\0"[..], &numbers, b"\x01\x01a", GROUP].concat());
        assert_eq!(read_entry(&[&bytes[..], b"more"].concat()), Some((entry, &b"more"[..])));
        for end in 0..bytes.len() {
            assert_eq!(read_entry(&bytes[..end]), None, "{end}");
        }
        for next in ["", "g"] {
            let said = Listed { total: 0x0102, next };
            let bytes = listed(said);
            assert_eq!(bytes[..6], *b"\x02\x0b\x02\x01\0\0");
            assert_eq!(read_listed(&[&bytes[..], b"entry"].concat()), Some((said, &b"entry"[..])));
            assert_eq!(read_listed(&bytes[..bytes.len() - 1]), None);
        }
    }
}
