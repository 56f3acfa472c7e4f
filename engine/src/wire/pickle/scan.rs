//! Reads the five fields of a v1 message out of its pickle, and nothing else.

use std::borrow::Cow;

use super::error::{Key, PickleError};
use super::expansion::Expansion;
use super::item::{Container, Item, Kind};
use super::machine::{self, Role, Sink};
use super::text::Octets;
use crate::wire::checksum::{self, Checksum};
use crate::wire::name;

/// The fields of a v1 message. Texts are borrowed from the pickle unless they had to be unescaped.
#[derive(Clone, Debug, PartialEq)]
pub struct V1Fields<'a> {
    /// The name in the dict. That it equals the frame's prefix, and keeps the rules for names, is for
    /// the caller to check.
    pub name: Cow<'a, str>,
    /// The payload, as far as it is a scalar.
    pub payload: Payload<'a>,
    /// Whether the `ack` of the dict is above 0: resend until a subscriber acknowledged.
    pub ack: bool,
    /// Seconds since the Unix epoch: finite and not negative.
    pub timestamp: f64,
    /// The same in nanoseconds. A float of today's seconds is exact to some 240 of them.
    pub timestamp_ns: u64,
    /// The checksum that the publisher sent. [`super::checksum_matches`] checks it.
    pub checksum: Checksum,
}

/// A payload, read if it is a scalar.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Payload<'a> {
    /// A text, or a `str` of Python 2 that is UTF-8.
    Text(Cow<'a, str>),
    /// Bytes or a bytearray, or a `str` of Python 2 that is not UTF-8.
    Bytes(Cow<'a, [u8]>),
    /// An integer.
    Int(i64),
    /// The decimal digits of an integer outside of `i64`, with a `-` before them if it is negative.
    BigInt(String),
    /// A float.
    Float(f64),
    /// A bool.
    Bool(bool),
    /// None.
    None,
    /// A container, an object, a text with lone surrogates, or an integer of more than
    /// [`crate::limits::PICKLE_INT_DIGITS_MAX`] digits.
    Other,
}

impl V1Fields<'_> {
    /// The checksum of the message that this one acknowledges: its payload, if its name is `ack`.
    pub fn acknowledged(&self) -> Option<Checksum> {
        match &self.payload {
            Payload::Text(text) if self.name == name::ACK => checksum::from_hex(text.as_bytes()),
            Payload::Bytes(bytes) if self.name == name::ACK => checksum::from_hex(bytes),
            _ => None,
        }
    }
}

/// Reads the fields of the dict in a pickle of any protocol from 0 to 5, in one pass over its bytes.
///
/// Objects of classes may stand within the payload, where they are passed over; nothing is looked up,
/// called or made. If a key is set twice, the last counts, as in Python.
///
/// # Errors
/// A [`PickleError`] for bytes that CPython would not load, for a pickle beyond the bounds in
/// [`crate::limits`], and for anything else than a dict with the five keys in their types.
pub fn scan(pickle: &[u8]) -> Result<V1Fields<'_>, PickleError> {
    let log = FieldLog { set: Vec::with_capacity(8), expansion: Expansion::default() };
    let (root, log) = machine::run(pickle, log)?;
    let dict = root_dict(root)?;
    log.expansion.check(dict)?;
    let mut found: [Option<Item<'_>>; Key::ALL.len()] = [None; Key::ALL.len()];
    for (id, key, item) in log.set {
        match key {
            _ if id != dict.id => {}
            Some(key) => found[key as usize] = Some(item),
            None => return Err(PickleError::ObjectKey),
        }
    }
    let get = |key: Key| found[key as usize].ok_or(PickleError::MissingKey { key });
    let [name, payload, ack, timestamp, checksum] = Key::ALL.map(get);
    let (timestamp, timestamp_ns) = read_timestamp(timestamp?)?;
    Ok(V1Fields {
        name: read_text(Key::Name, name?)?,
        payload: read_payload(payload?),
        ack: read_ack(ack?)?,
        timestamp,
        timestamp_ns,
        checksum: checksum::from_hex(read_text(Key::Checksum, checksum?)?.as_bytes())
            .ok_or(PickleError::BadChecksum)?,
    })
}

/// The dict that a pickle must be.
pub(super) fn root_dict(root: Item<'_>) -> Result<Container, PickleError> {
    match root {
        Item::Container(dict) if dict.kind == Kind::Dict => Ok(dict),
        other => Err(PickleError::NotADict { found: other.describe() }),
    }
}

/// What a dict's key may be equal to.
pub(super) enum KeyMatch {
    One(Key),
    /// An instance of a class may hold itself equal to anything.
    Unknown,
    No,
}

pub(super) fn match_key(key: &Item<'_>) -> KeyMatch {
    // Each character takes at most ten bytes of a pickle.
    const RAW_BYTES_MAX: usize = "timestamp".len() * 10;
    let key = match *key {
        Item::Text(text) if text.raw_bytes() <= RAW_BYTES_MAX => {
            text.to_str().and_then(|text| Key::from_bytes(text.as_bytes()))
        }
        Item::Str(octets) if octets.raw_bytes() <= RAW_BYTES_MAX => {
            Key::from_bytes(&octets.to_bytes())
        }
        Item::Container(container) if container.kind.is_callable() => return KeyMatch::Unknown,
        _ => None,
    };
    key.map_or(KeyMatch::No, KeyMatch::One)
}

/// Each time that one of the five keys, or an unknown one (`None`), was set in some dict.
struct FieldLog<'a> {
    set: Vec<(u32, Option<Key>, Item<'a>)>,
    expansion: Expansion,
}

impl<'a> Sink<'a> for FieldLog<'a> {
    #[inline]
    fn put(&mut self, owner: Container, role: Role, items: &[Item<'a>]) {
        self.expansion.put(owner, items);
        if role != Role::Pairs || owner.kind != Kind::Dict {
            return;
        }
        for [key, value] in items.as_chunks().0 {
            match match_key(key) {
                KeyMatch::One(key) => self.set.push((owner.id, Some(key), *value)),
                KeyMatch::Unknown => self.set.push((owner.id, None, *value)),
                KeyMatch::No => {}
            }
        }
    }
}

fn wrong_type(key: Key, expected: &'static str, found: Item<'_>) -> PickleError {
    PickleError::WrongType { key, expected, found: found.describe() }
}

fn read_text(key: Key, item: Item<'_>) -> Result<Cow<'_, str>, PickleError> {
    let text = match item {
        Item::Text(text) => text.to_str(),
        Item::Str(octets) => utf8(octets).ok(),
        _ => None,
    };
    text.ok_or_else(|| wrong_type(key, "a text", item))
}

/// A `str` of Python 2: text if it can be.
pub(super) fn utf8(octets: Octets<'_>) -> Result<Cow<'_, str>, Cow<'_, [u8]>> {
    match octets.to_bytes() {
        Cow::Borrowed(bytes) => {
            std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| Cow::Borrowed(bytes))
        }
        Cow::Owned(bytes) => {
            String::from_utf8(bytes).map(Cow::Owned).map_err(|error| Cow::Owned(error.into_bytes()))
        }
    }
}

fn read_ack(item: Item<'_>) -> Result<bool, PickleError> {
    match item {
        Item::Int(ack) => Ok(ack > 0),
        Item::Bool(ack) => Ok(ack),
        Item::Long(ack) => Ok(!ack.is_negative()),
        _ => Err(wrong_type(Key::Ack, "an integer", item)),
    }
}

fn read_timestamp(item: Item<'_>) -> Result<(f64, u64), PickleError> {
    const NANOS_PER_SECOND: u64 = 1_000_000_000;
    let Item::Float(timestamp) = item else {
        return Err(wrong_type(Key::Timestamp, "a float", item));
    };
    let seconds_end = (u64::MAX / NANOS_PER_SECOND + 1) as f64;
    // NaN is in no range.
    if !(0.0..seconds_end).contains(&timestamp) {
        return Err(PickleError::BadTimestamp);
    }
    let nanos = (timestamp.fract() * NANOS_PER_SECOND as f64).round() as u64;
    let seconds = timestamp.trunc() as u64;
    let timestamp_ns = (seconds * NANOS_PER_SECOND).checked_add(nanos);
    Ok((timestamp, timestamp_ns.ok_or(PickleError::BadTimestamp)?))
}

fn read_payload(item: Item<'_>) -> Payload<'_> {
    match item {
        Item::None => Payload::None,
        Item::Bool(value) => Payload::Bool(value),
        Item::Int(value) => Payload::Int(value),
        Item::Long(value) => value.to_decimal().map_or(Payload::Other, Payload::BigInt),
        Item::Float(value) => Payload::Float(value),
        Item::Text(text) => text.to_str().map_or(Payload::Other, Payload::Text),
        Item::Str(octets) => utf8(octets).map_or_else(Payload::Bytes, Payload::Text),
        Item::Bytes(octets) | Item::ByteArray(octets) => Payload::Bytes(octets.to_bytes()),
        Item::Container(_) => Payload::Other,
    }
}

#[cfg(test)]
mod tests;
