//! What a native client asks for on a connection for requests, beside publishing: subscriptions, and credit for
//! what they deliver; and what stands before a delivery.
//!
//! Each is a request whose body begins with [`CONTROL`] and a kind. Numbers are little-endian; readers ignore what
//! follows. The byte diagrams are in `engine/docs/wire-format.md`.

use super::filter::{Filter, FilterError};
use super::hello::{self, CONTROL, Secret};

/// The first byte of the frame that stands before a delivery.
pub const DELIVERY: u8 = 0x03;

const HELLO: u8 = 0x01;
const SUBSCRIBE: u8 = 0x02;
const UNSUBSCRIBE: u8 = 0x03;
const CREDIT: u8 = 0x04;

/// What a subscriber is to the messages that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// It looks on: it gets messages when they are published, and none of them waits for it.
    Observer = 0,
    /// It takes part: what asks for acknowledgement is delivered to it until somebody acknowledged.
    Broadcast = 1,
}

/// A subscription that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// What deliveries name it by: the client's choice, one that no other subscription of the connection has.
    pub number: u32,
    /// What the subscriber is to its messages.
    pub kind: Kind,
    /// What it wants.
    pub filter: Filter<'a>,
    /// Bytes of native frames that may be delivered before more is granted.
    pub credit: u64,
}

/// A control request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// Who the client is.
    Hello(Secret),
    /// A subscription begins.
    Subscribe(Subscribe<'a>),
    /// The subscription with this number ends.
    Unsubscribe(u32),
    /// More bytes may be delivered.
    Credit {
        /// The subscription's number.
        number: u32,
        /// How many.
        bytes: u64,
    },
}

/// Why a request that begins with [`CONTROL`] is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// It is cut short.
    #[error("a {what} has {expected} bytes at least, and this one has {bytes}")]
    Short {
        /// What it begins as.
        what: &'static str,
        /// Bytes that it lacks some of.
        expected: usize,
        /// Bytes that it has.
        bytes: usize,
    },
    /// Its kind is none that this version knows.
    #[error(
        "a request that begins with 0x02 is a hello (1), subscribe (2), unsubscribe (3) or credit (4), and not {0}"
    )]
    Kind(u8),
    /// The subscription's kind is none that this version knows.
    #[error("a subscription is an observer (0) or a broadcast (1), and not {0}")]
    SubscriptionKind(u8),
    /// The filter breaks a rule.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// Bytes of a subscribe before its filter.
const SUBSCRIBE_BYTES: usize = 17;

/// Reads the body of a control request.
///
/// # Errors
/// The rule that it breaks.
pub fn read(body: &[u8]) -> Result<Control<'_>, ControlError> {
    let bytes = body.len();
    let short = |what, expected| ControlError::Short { what, expected, bytes };
    let rest = body.get(2..).unwrap_or_default();
    match body.get(1).copied() {
        None => Err(short("request that begins with 0x02", 2)),
        Some(HELLO) => {
            let expected = 2 + hello::SECRET_BYTES;
            Ok(Control::Hello(hello::read_request(body).ok_or(short("hello", expected))?))
        }
        Some(SUBSCRIBE) => {
            let short = |expected| short("subscribe", expected);
            let (head, rest) = rest
                .split_first_chunk::<{ SUBSCRIBE_BYTES - 2 }>()
                .ok_or(short(SUBSCRIBE_BYTES))?;
            let [n0, n1, n2, n3, kind, filter_kind, credit @ .., filter_bytes] = *head;
            let filter_bytes = usize::from(filter_bytes);
            let text = rest.get(..filter_bytes).ok_or(short(SUBSCRIBE_BYTES + filter_bytes))?;
            let kind = match kind {
                0 => Kind::Observer,
                1 => Kind::Broadcast,
                kind => return Err(ControlError::SubscriptionKind(kind)),
            };
            let filter = Filter::read(filter_kind, text)?;
            let number = u32::from_le_bytes([n0, n1, n2, n3]);
            let credit = u64::from_le_bytes(credit);
            Ok(Control::Subscribe(Subscribe { number, kind, filter, credit }))
        }
        Some(UNSUBSCRIBE) => {
            let number = rest.first_chunk().ok_or(short("unsubscribe", 6))?;
            Ok(Control::Unsubscribe(u32::from_le_bytes(*number)))
        }
        Some(CREDIT) => {
            let short = short("credit", 14);
            let (number, rest) = rest.split_first_chunk().ok_or(short)?;
            let bytes = rest.first_chunk().ok_or(short)?;
            let (number, bytes) = (u32::from_le_bytes(*number), u64::from_le_bytes(*bytes));
            Ok(Control::Credit { number, bytes })
        }
        Some(kind) => Err(ControlError::Kind(kind)),
    }
}

/// The body of a control request.
pub fn request(control: &Control<'_>) -> Vec<u8> {
    match control {
        Control::Hello(secret) => hello::request(secret),
        Control::Subscribe(Subscribe { number, kind, filter, credit }) => {
            let mut body = vec![CONTROL, SUBSCRIBE];
            body.extend(number.to_le_bytes());
            body.extend([*kind as u8, filter.kind()]);
            body.extend(credit.to_le_bytes());
            // A filter that was read has no more; a longer one is cut, and refused for its text.
            let text = filter.text().as_bytes();
            let bytes = text.len().min(u8::MAX.into());
            body.push(bytes as u8);
            body.extend(&text[..bytes]);
            body
        }
        Control::Unsubscribe(number) => {
            [&[CONTROL, UNSUBSCRIBE][..], &number.to_le_bytes()].concat()
        }
        Control::Credit { number, bytes } => {
            [&[CONTROL, CREDIT][..], &number.to_le_bytes(), &bytes.to_le_bytes()].concat()
        }
    }
}

/// Bytes of the frame that stands before a delivery.
pub const DELIVERY_BYTES: usize = 6;

/// The frame that stands before a delivery to the subscription with this number. `again`: whether its messages
/// were sent before, to this subscriber or to others.
pub fn delivery(number: u32, again: bool) -> [u8; DELIVERY_BYTES] {
    let [a, b, c, d] = number.to_le_bytes();
    [DELIVERY, a, b, c, d, again.into()]
}

/// Reads the frame that stands before a delivery: the subscription's number, and whether its messages were sent
/// before. `None` for a frame that is none.
pub fn read_delivery(bytes: &[u8]) -> Option<(u32, bool)> {
    let (&[first, a, b, c, d, again], _) = bytes.split_first_chunk::<DELIVERY_BYTES>()?;
    (first == DELIVERY).then_some((u32::from_le_bytes([a, b, c, d]), again != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIPTION: Subscribe<'_> = Subscribe {
        number: 0x0102,
        kind: Kind::Broadcast,
        filter: Filter::Pattern("a.>"),
        credit: 0x0304,
    };

    #[track_caller]
    fn check(control: Control<'_>, bytes: &[u8]) {
        assert_eq!(request(&control), bytes);
        assert_eq!(read(bytes), Ok(control));
        assert_eq!(read(&[bytes, b"more"].concat()), Ok(control));
        for end in 0..bytes.len() {
            assert!(matches!(read(&bytes[..end]), Err(ControlError::Short { .. })), "{end}");
        }
    }

    #[test]
    fn requests_are_as_the_format_says_and_come_back() {
        check(Control::Hello(*b"0123456789abcdef"), b"\x02\x010123456789abcdef");
        check(
            Control::Subscribe(SUBSCRIPTION),
            b"\x02\x02\x02\x01\0\0\x01\x02\x04\x03\0\0\0\0\0\0\x03a.>",
        );
        check(Control::Unsubscribe(0x0102), b"\x02\x03\x02\x01\0\0");
        check(
            Control::Credit { number: 0x0102, bytes: 0x0304 },
            b"\x02\x04\x02\x01\0\0\x04\x03\0\0\0\0\0\0",
        );
    }

    #[test]
    fn each_rule_has_its_error() {
        assert_eq!(read(b"\x02\x05"), Err(ControlError::Kind(5)));
        let mut bytes = request(&Control::Subscribe(SUBSCRIPTION));
        bytes[6] = 9;
        assert_eq!(read(&bytes), Err(ControlError::SubscriptionKind(9)));
        bytes[6..8].copy_from_slice(&[1, 7]);
        assert_eq!(read(&bytes), Err(FilterError::Kind(7).into()));
    }

    #[test]
    fn what_stands_before_a_delivery_comes_back() {
        for again in [false, true] {
            let bytes = delivery(0x0102, again);
            assert_eq!(bytes, [3, 2, 1, 0, 0, again.into()]);
            assert_eq!(read_delivery(&bytes), Some((0x0102, again)));
            assert_eq!(read_delivery(&[&bytes[..], b"more"].concat()), Some((0x0102, again)));
            assert_eq!(read_delivery(&bytes[..5]), None);
        }
        assert_eq!(read_delivery(b"OK\0\0\0\0"), None);
    }
}
