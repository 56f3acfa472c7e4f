//! Requests about retained messages, and their answers: the last one of each name that was published so.
//!
//! Requests are control requests of the kinds 14 and 15. The byte diagrams are in `docs/wire-format.md`.

use super::fields::{Fields, Short, name_or_none};
use super::filter::{Filter, FilterError};
use super::group::append_text;
use super::hello::CONTROL;
use super::id::MessageId;
use super::name::{self, NameError};

const CLEAR: u8 = 0x0e;
const LIST: u8 = 0x0f;

/// Something about retained messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// The one of this name is needed no longer.
    Clear(&'a str),
    /// Which there are, in the order of their names.
    List {
        /// Of the names that this fits.
        filter: Filter<'a>,
        /// Behind which name; the empty one for all.
        after: &'a str,
        /// How many at most; 0 for as many as the server tells at once.
        limit: u16,
    },
}

/// Why the body of a request is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// It has fewer bytes than these.
    Short(usize),
    /// A name breaks a rule.
    Name(NameError),
    /// The filter does.
    Filter(FilterError),
}

impl From<Short> for ReadError {
    fn from(Short(bytes): Short) -> Self {
        Self::Short(bytes)
    }
}

/// Reads what stands behind the kind of a request; `None` for a kind that is not about retained messages.
pub(super) fn read(kind: u8, bytes: &[u8]) -> Result<Option<Request<'_>>, ReadError> {
    let mut fields = Fields::new(bytes);
    match kind {
        CLEAR => {
            let name = name::check(fields.text()?).map_err(ReadError::Name)?;
            Ok(Some(Request::Clear(name)))
        }
        LIST => {
            let [filter_kind] = fields.take()?;
            let filter = Filter::read(filter_kind, fields.text()?).map_err(ReadError::Filter)?;
            let (after, limit) = (fields.text()?, fields.u16()?);
            let after = name_or_none(after).map_err(ReadError::Name)?;
            Ok(Some(Request::List { filter, after, limit }))
        }
        _ => Ok(None),
    }
}

/// The body of a request.
pub fn request(request: &Request<'_>) -> Vec<u8> {
    match request {
        Request::Clear(name) => {
            let mut body = vec![CONTROL, CLEAR];
            append_text(name, &mut body);
            body
        }
        Request::List { filter, after, limit } => {
            let mut body = vec![CONTROL, LIST, filter.kind()];
            append_text(filter.text(), &mut body);
            append_text(after, &mut body);
            body.extend(limit.to_le_bytes());
            body
        }
    }
}

/// A retained message, as an answer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its id.
    pub id: MessageId,
    /// When it was made, in nanoseconds since the Unix epoch.
    pub published_ns: u64,
    /// Its bytes without its name.
    pub bytes: u32,
    /// Its name.
    pub name: &'a str,
}

/// What stands before the entries of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// How many retained messages there are, of all names.
    pub total: u64,
    /// Their bytes, as the server counts them.
    pub bytes: u64,
    /// Behind which name to go on; empty at the end.
    pub next: &'a str,
}

/// The beginning of an answer to a list; entries follow.
pub fn listed(listed: Listed<'_>) -> Vec<u8> {
    let mut out = vec![CONTROL, LIST];
    out.extend(listed.total.to_le_bytes());
    out.extend(listed.bytes.to_le_bytes());
    append_text(listed.next, &mut out);
    out
}

impl Entry<'_> {
    /// Appends it to an answer.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.extend(self.id.to_bytes());
        out.extend(self.published_ns.to_le_bytes());
        out.extend(self.bytes.to_le_bytes());
        append_text(self.name, out);
    }
}

/// Reads an answer to a list up to its entries; `None` for one that is none.
pub fn read_listed(bytes: &[u8]) -> Option<(Listed<'_>, &[u8])> {
    let rest = bytes.strip_prefix(&[CONTROL, LIST])?;
    let mut fields = Fields::new(rest);
    let (total, bytes) = (fields.u64().ok()?, fields.u64().ok()?);
    Some((Listed { total, bytes, next: fields.utf8()? }, fields.rest()))
}

/// Reads the next entry of a list, and what follows it.
pub fn read_entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let mut fields = Fields::new(bytes);
    let entry = Entry {
        id: MessageId::from_bytes(fields.take().ok()?),
        published_ns: fields.u64().ok()?,
        bytes: fields.u32().ok()?,
        name: fields.utf8()?,
    };
    Some((entry, fields.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: Request<'_>, bytes: &[u8]) {
        assert_eq!(request(&wanted), bytes);
        assert_eq!(read(bytes[1], &bytes[2..]), Ok(Some(wanted)));
        for end in 2..bytes.len() {
            let short = read(bytes[1], &bytes[2..end]);
            assert!(matches!(short, Err(ReadError::Short(all)) if all > end - 2), "{short:?}");
        }
    }

    #[test]
    fn requests_are_as_the_format_says_and_come_back() {
        check(Request::Clear("a.b"), b"\x02\x0e\x03a.b");
        let filter = Filter::Pattern("a.>");
        let list = Request::List { filter, after: "a.b", limit: 0x0102 };
        check(list, b"\x02\x0f\x02\x03a.>\x03a.b\x02\x01");
        let all = Request::List { filter: Filter::Prefix(""), after: "", limit: 0 };
        check(all, b"\x02\x0f\x01\0\0\0\0");
        assert_eq!(read(0x0e, b"\x01|"), Err(ReadError::Name(NameError::Separator)));
        assert_eq!(read(0x0f, b"\x07\0\0\0\0"), Err(ReadError::Filter(FilterError::Kind(7))));
        assert_eq!(read(0x10, b""), Ok(None));
    }

    #[test]
    fn answers_are_as_the_format_says_and_come_back() {
        let head = Listed { total: 3, bytes: 0x0405, next: "b" };
        let id = MessageId { publisher: 1, sequence: 2 };
        let entry = Entry { id, published_ns: 6, bytes: 7, name: "a" };
        let mut bytes = listed(head);
        entry.append_to(&mut bytes);
        let before = b"\x02\x0f\x03\0\0\0\0\0\0\0\x05\x04\0\0\0\0\0\0\x01b";
        let behind = b"\x06\0\0\0\0\0\0\0\x07\0\0\0\x01a";
        assert_eq!(bytes, [&before[..], &id.to_bytes(), behind].concat());
        let (found, rest) = read_listed(&bytes).unwrap();
        assert_eq!((found, read_entry(rest)), (head, Some((entry, &b""[..]))));
        for end in 0..bytes.len() {
            let read = read_listed(&bytes[..end]).and_then(|(_, rest)| read_entry(rest));
            assert_eq!(read, None);
        }
    }
}
