//! The bodies of the records of dead letters.

use arcstr::ArcStr;

use crate::message::DeadLetter;
use crate::wire::id::MessageId;
use crate::wire::letter::Cause;

/// Bytes of a letter's body before its texts.
const HEAD_BYTES: usize = 32;
/// The message is done but for its letters.
const IS_DONE: u8 = 1;
/// A member rejected the message.
const IS_REJECTED: u8 = 2;
/// The message expired.
const IS_EXPIRED: u8 = 4;

/// The body of a letter record, borrowed from the buffer it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterBody<'a> {
    /// The message's id.
    pub id: MessageId,
    /// See [`DeadLetter::died_ns`].
    pub died_ns: u64,
    /// See [`DeadLetter::attempts`].
    pub attempts: u16,
    /// See [`DeadLetter::is_done`].
    pub is_done: bool,
    /// The kind of the group's filter.
    pub filter_kind: u8,
    /// The group's name.
    pub group: &'a str,
    /// The text of its filter.
    pub filter: &'a str,
    /// See [`DeadLetter::cause`].
    pub cause: Cause<&'a str>,
}

/// How a dead letter ends. The number is the journal format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LetterEnd {
    /// It was purged. Its message is still needed.
    Purged = 1,
    /// Its group gets the message again.
    Replayed = 2,
    /// It was purged, and with it the last that needed its message.
    Done = 3,
}

/// The body of the record that ends a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndBody<'a> {
    /// The message's id.
    pub id: MessageId,
    /// How the letter ended.
    pub end: LetterEnd,
    /// The group's name.
    pub group: &'a str,
}

/// A text of a letter, of which no more than 255 bytes are kept: none is longer where they come from.
fn text(text: &str) -> &str {
    &text[..text.floor_char_boundary(u8::MAX.into())]
}

/// The body of a letter record.
pub(super) fn encode(letter: &DeadLetter) -> Vec<u8> {
    let DeadLetter { id, group, filter_kind, filter, cause, attempts, died_ns, is_done } = letter;
    let cause_flag = match cause {
        Cause::UsedUp => 0,
        Cause::Rejected(_) => IS_REJECTED,
        Cause::Expired => IS_EXPIRED,
    };
    let reason = cause.reason().map(|reason| &**reason).unwrap_or_default();
    let [group, filter, reason] = [&**group, filter, reason].map(text);
    let flags = (u8::from(*is_done) * IS_DONE) | cause_flag;
    let lengths = [group, filter, reason].map(|text| text.len() as u8);
    let mut out = Vec::with_capacity(HEAD_BYTES + group.len() + filter.len() + reason.len());
    out.extend(id.to_bytes());
    out.extend(died_ns.to_le_bytes());
    out.extend(attempts.to_le_bytes());
    out.extend([flags, *filter_kind]);
    out.extend(lengths);
    out.push(0);
    for text in [group, filter, reason] {
        out.extend(text.as_bytes());
    }
    out
}

/// Reads the body of a letter record; `None` unless it is well formed.
pub(super) fn read(bytes: &[u8]) -> Option<LetterBody<'_>> {
    let (id, rest) = bytes.split_first_chunk()?;
    let (died, rest) = rest.split_first_chunk()?;
    let (attempts, rest) = rest.split_first_chunk()?;
    let (&[flags, filter_kind, group, filter, reason, 0], rest) = rest.split_first_chunk()? else {
        return None;
    };
    let (group, rest) = rest.split_at_checked(group.into())?;
    let (filter, rest) = rest.split_at_checked(filter.into())?;
    if rest.len() != usize::from(reason) {
        return None;
    }
    let [group, filter, reason] = [group, filter, rest].map(std::str::from_utf8);
    let reason = reason.ok()?;
    let cause = match flags & !IS_DONE {
        0 => Cause::UsedUp,
        IS_REJECTED => Cause::Rejected(reason),
        IS_EXPIRED => Cause::Expired,
        _ => return None,
    };
    if cause.reason().is_none() && !reason.is_empty() {
        return None;
    }
    Some(LetterBody {
        id: MessageId::from_bytes(*id),
        died_ns: u64::from_le_bytes(*died),
        attempts: u16::from_le_bytes(*attempts),
        is_done: flags & IS_DONE != 0,
        filter_kind,
        group: group.ok()?,
        filter: filter.ok()?,
        cause,
    })
}

/// The body of the record that ends a letter.
pub(super) fn encode_end(id: MessageId, group: &str, end: LetterEnd) -> Vec<u8> {
    [&id.to_bytes()[..], &[end as u8], text(group).as_bytes()].concat()
}

/// Reads the body of a record that ends a letter; `None` unless it is well formed.
pub(super) fn read_end(bytes: &[u8]) -> Option<EndBody<'_>> {
    let (id, rest) = bytes.split_first_chunk()?;
    let (&end, group) = rest.split_first()?;
    let end = match end {
        1 => LetterEnd::Purged,
        2 => LetterEnd::Replayed,
        3 => LetterEnd::Done,
        _ => return None,
    };
    let group = std::str::from_utf8(group).ok()?;
    Some(EndBody { id: MessageId::from_bytes(*id), end, group })
}

/// Bytes of the body of a letter record.
pub(super) fn body_bytes(letter: &DeadLetter) -> usize {
    let DeadLetter { group, filter, cause, .. } = letter;
    let reason_bytes = cause.reason().map_or(0, ArcStr::len);
    HEAD_BYTES + group.len() + filter.len() + reason_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(sequence: u64, group: &str, is_done: bool) -> DeadLetter {
        DeadLetter {
            id: MessageId { publisher: 1, sequence },
            group: group.into(),
            filter_kind: 2,
            filter: "orders.>".into(),
            cause: Cause::Rejected("no such customer".into()),
            attempts: 3,
            died_ns: 0x0102_0304,
            is_done,
        }
    }

    #[test]
    fn a_letter_lies_as_documented_and_reads_back() {
        let body = encode(&letter(2, "g", true));
        assert_eq!(body[..16], MessageId { publisher: 1, sequence: 2 }.to_bytes());
        assert_eq!(body[16..32], [4, 3, 2, 1, 0, 0, 0, 0, 3, 0, 3, 2, 1, 8, 16, 0]);
        assert_eq!(&body[32..], b"gorders.>no such customer");
        assert_eq!(body.len(), body_bytes(&letter(2, "g", true)));
        let expected = LetterBody {
            id: MessageId { publisher: 1, sequence: 2 },
            died_ns: 0x0102_0304,
            attempts: 3,
            is_done: true,
            filter_kind: 2,
            group: "g",
            filter: "orders.>",
            cause: Cause::Rejected("no such customer"),
        };
        assert_eq!(read(&body), Some(expected));
        for end in 0..body.len() {
            assert_eq!(read(&body[..end]), None, "{end}");
        }
        assert_eq!(read(&[&body[..], b"x"].concat()), None);
        for (at, byte) in [(26, 4), (26, 1), (26, 6), (26, 8), (31, 1), (32, 0xff)] {
            let mut body = body.clone();
            body[at] = byte;
            assert_eq!(read(&body), None, "{at}");
        }
        for cause in [Cause::UsedUp, Cause::Expired] {
            let other = DeadLetter { cause, ..letter(2, "g", false) };
            let expected = other.cause.map(|reason| &**reason);
            assert_eq!(read(&encode(&other)).unwrap().cause, expected);
        }
        // A text that is too long is cut where a character ends.
        let cause = Cause::Rejected("ä".repeat(200).into());
        let long = DeadLetter { cause, ..letter(2, "g", false) };
        assert_eq!(read(&encode(&long)).unwrap().cause, Cause::Rejected(&*"ä".repeat(127)));
    }

    #[test]
    fn the_end_of_a_letter_lies_as_documented_and_reads_back() {
        let id = MessageId { publisher: 1, sequence: 2 };
        for (end, number) in
            [(LetterEnd::Purged, 1), (LetterEnd::Replayed, 2), (LetterEnd::Done, 3)]
        {
            let body = encode_end(id, "g", end);
            assert_eq!(body, [&id.to_bytes()[..], &[number, b'g']].concat());
            assert_eq!(read_end(&body), Some(EndBody { id, end, group: "g" }));
            assert_eq!(read_end(&body[..16]), None);
        }
        assert_eq!(read_end(&[&id.to_bytes()[..], &[4, b'g']].concat()), None);
        assert_eq!(read_end(&[&id.to_bytes()[..], &[1, 0xff]].concat()), None);
    }
}
