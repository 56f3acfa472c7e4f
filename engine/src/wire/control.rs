//! What a native client asks for on a connection for requests, beside publishing: subscriptions, and credit for
//! what they deliver; and what stands before a delivery.
//!
//! Each is a request whose body begins with [`CONTROL`] and a kind. Numbers are little-endian; readers ignore what
//! follows. The byte diagrams are in `engine/docs/wire-format.md`.

pub use super::delivery::{DELIVERY, DELIVERY_BYTES, Delivery, delivery, read_delivery};
use super::durable;
use super::filter::{Filter, FilterError};
use super::frame::V2;
use super::group::{self, GroupReadError, append_text};
pub use super::group::{Backoff, Group};
use super::hello::{self, CONTROL, Secret};
use super::letter;
use super::name::{self, NameError};
use crate::limits::BACKOFF_DELAYS_MAX;

const HELLO: u8 = 0x01;
const SUBSCRIBE: u8 = 0x02;
const UNSUBSCRIBE: u8 = 0x03;
const CREDIT: u8 = 0x04;
const SETTLE: u8 = 0x05;

const OBSERVER: u8 = 0;
const BROADCAST: u8 = 1;
const GROUP: u8 = 2;

const DROP: u8 = 0;
const HOLD: u8 = 1;

const ACK: u8 = 0;
const NAK: u8 = 1;
const EXTEND: u8 = 2;
const REJECT: u8 = 3;

/// Whether a request only gives up what its client has: credit, what becomes of messages, a subscription. It may go ahead
/// of others that the client sent before.
pub fn frees(request: &[u8]) -> bool {
    match request {
        [CONTROL, kind, ..] => matches!(*kind, UNSUBSCRIBE | CREDIT | SETTLE),
        [first, rest @ ..] => {
            let end = name::ACK.len();
            *first == V2
                && rest.starts_with(name::ACK.as_bytes())
                && rest.get(end) == Some(&name::SEPARATOR)
        }
        [] => false,
    }
}

/// What a subscriber is to the messages that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind<'a> {
    /// It looks on: it gets messages when they are published, and none of them waits for it.
    Observer,
    /// It takes part: what asks for acknowledgement is delivered to it until somebody acknowledged.
    Broadcast,
    /// It works: of each message one member of the group gets it, and says what became of it.
    Group(Group<'a>),
}

impl Kind<'_> {
    fn number(&self) -> u8 {
        match self {
            Self::Observer => OBSERVER,
            Self::Broadcast => BROADCAST,
            Self::Group(_) => GROUP,
        }
    }
}

/// What becomes of messages that are published while a subscription has no credit, and of which nobody keeps a copy for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// They are lost to the subscription.
    #[default]
    Drop,
    /// They are delivered all the same, a bounded number of bytes, and their publishers wait until credit is granted.
    Hold,
}

/// What a member of a group says of messages that it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// They are done.
    Ack,
    /// They are to be delivered again, in so many milliseconds.
    Nak {
        /// Milliseconds until then.
        delay_ms: u32,
    },
    /// They take longer: their time begins anew.
    Extend,
    /// They will never be done: they become dead letters.
    Reject {
        /// Why, in at most 255 bytes.
        reason: &'a str,
    },
}

/// A subscription that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// What deliveries name it by: the client's choice, one that no other subscription of the connection has.
    pub number: u32,
    /// What the subscriber is to its messages.
    pub kind: Kind<'a>,
    /// What becomes of messages for which it has no credit.
    pub overflow: Overflow,
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
    /// A member of a group says what became of messages.
    Settle {
        /// The subscription's number.
        number: u32,
        /// What it says.
        verdict: Verdict<'a>,
        /// Which messages, 16 bytes each: the body of an [acknowledgement](super::ack).
        ids: &'a [u8],
    },
    /// Something about dead letters.
    Letters(letter::Request<'a>),
    /// Something about groups.
    Groups(durable::Request<'a>),
}

/// Why a request that begins with [`CONTROL`] is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// It is cut short.
    #[error("{what} has {expected} bytes at least, and this one has {bytes}")]
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
        "a request that begins with 0x02 is a hello (1), subscribe (2), unsubscribe (3), credit (4), settle (5), about \
         dead letters: list (6), show (7), replay (8) or purge (9), or about groups: create (10), list (11) or delete (12), \
         and not {0}"
    )]
    Kind(u8),
    /// The subscription's kind is none that this version knows.
    #[error(
        "a subscription is an observer (0), a broadcast (1) or a member of a group (2), and not {0}"
    )]
    SubscriptionKind(u8),
    /// What becomes of messages without credit is none that this version knows.
    #[error(
        "messages for which a subscription has no credit are dropped (0) or hold their publishers up (1), and not {0}"
    )]
    Overflow(u8),
    /// The verdict is none that this version knows.
    #[error(
        "a member of a group acknowledges (0), refuses for now (1), extends (2) or rejects (3), and does not {0}"
    )]
    Verdict(u8),
    /// The reason of a rejection is no text.
    #[error("the reason of a rejection must be UTF-8 text")]
    Reason,
    /// The group waits too often.
    #[error(
        "a group has at most {BACKOFF_DELAYS_MAX} delays before further attempts, and this one {0}"
    )]
    Backoff(u8),
    /// Which dead letters are meant is said in no way that this version knows.
    #[error("dead letters are chosen by their ids (0) or one after the other (1), and not by {0}")]
    Letters(u8),
    /// The name of the group breaks a rule.
    #[error("the name of the group: {0}")]
    GroupName(NameError),
    /// The filter breaks a rule.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// Bytes of a subscribe before its filter.
const SUBSCRIBE_BYTES: usize = 18;

/// Reads the body of a control request.
///
/// # Errors
/// The rule that it breaks.
pub fn read(body: &[u8]) -> Result<Control<'_>, ControlError> {
    let bytes = body.len();
    let short = |what, expected| ControlError::Short { what, expected, bytes };
    let rest = body.get(2..).unwrap_or_default();
    match body.get(1).copied() {
        None => Err(short("a request that begins with 0x02", 2)),
        Some(HELLO) => {
            let expected = 2 + hello::SECRET_BYTES;
            Ok(Control::Hello(hello::read_request(body).ok_or(short("a hello", expected))?))
        }
        Some(SUBSCRIBE) => {
            let short = |expected| short("a subscribe", expected);
            let (head, rest) = rest
                .split_first_chunk::<{ SUBSCRIBE_BYTES - 2 }>()
                .ok_or(short(SUBSCRIBE_BYTES))?;
            let [n0, n1, n2, n3, kind, overflow, filter_kind, credit @ .., filter_bytes] = *head;
            let filter_bytes = usize::from(filter_bytes);
            let (text, rest) =
                rest.split_at_checked(filter_bytes).ok_or(short(SUBSCRIBE_BYTES + filter_bytes))?;
            let kind = match kind {
                OBSERVER => Kind::Observer,
                BROADCAST => Kind::Broadcast,
                GROUP => {
                    let before = SUBSCRIBE_BYTES + filter_bytes;
                    Kind::Group(group::read(rest).map_err(|error| match error {
                        GroupReadError::Name(error) => ControlError::GroupName(error),
                        GroupReadError::Short(expected) => short(before + expected),
                        GroupReadError::Backoff(delays) => ControlError::Backoff(delays),
                    })?)
                }
                kind => return Err(ControlError::SubscriptionKind(kind)),
            };
            let overflow = match overflow {
                DROP => Overflow::Drop,
                HOLD => Overflow::Hold,
                overflow => return Err(ControlError::Overflow(overflow)),
            };
            let filter = Filter::read(filter_kind, text)?;
            let number = u32::from_le_bytes([n0, n1, n2, n3]);
            let credit = u64::from_le_bytes(credit);
            Ok(Control::Subscribe(Subscribe { number, kind, overflow, filter, credit }))
        }
        Some(UNSUBSCRIBE) => {
            let number = rest.first_chunk().ok_or(short("an unsubscribe", 6))?;
            Ok(Control::Unsubscribe(u32::from_le_bytes(*number)))
        }
        Some(CREDIT) => {
            let short = short("a credit", 14);
            let (number, rest) = rest.split_first_chunk().ok_or(short)?;
            let bytes = rest.first_chunk().ok_or(short)?;
            let (number, bytes) = (u32::from_le_bytes(*number), u64::from_le_bytes(*bytes));
            Ok(Control::Credit { number, bytes })
        }
        Some(SETTLE) => {
            let (head, mut ids) = rest.split_first_chunk().ok_or(short("a settle", 11))?;
            let [n0, n1, n2, n3, verdict, delay @ ..]: [u8; 9] = *head;
            let verdict = match verdict {
                ACK => Verdict::Ack,
                NAK => Verdict::Nak { delay_ms: u32::from_le_bytes(delay) },
                EXTEND => Verdict::Extend,
                REJECT => {
                    let (&length, rest) = ids.split_first().ok_or(short("a rejection", 12))?;
                    let expected = 12 + usize::from(length);
                    let (reason, rest) = rest
                        .split_at_checked(length.into())
                        .ok_or(short("a rejection", expected))?;
                    ids = rest;
                    let reason = std::str::from_utf8(reason).map_err(|_| ControlError::Reason)?;
                    Verdict::Reject { reason }
                }
                verdict => return Err(ControlError::Verdict(verdict)),
            };
            let number = u32::from_le_bytes([n0, n1, n2, n3]);
            Ok(Control::Settle { number, verdict, ids })
        }
        Some(kind) => match letter::read(kind, rest) {
            Ok(Some(request)) => Ok(Control::Letters(request)),
            Ok(None) => read_groups(kind, rest, bytes),
            Err(letter::ReadError::Short(expected)) => {
                Err(short("a request about dead letters", 2 + expected))
            }
            Err(letter::ReadError::Group(error)) => Err(ControlError::GroupName(error)),
            Err(letter::ReadError::Name(error)) => Err(FilterError::Name(error).into()),
            Err(letter::ReadError::Choice(choice)) => Err(ControlError::Letters(choice)),
        },
    }
}

/// Reads what stands behind the kind of a request of so many bytes that may be about groups.
fn read_groups(kind: u8, rest: &[u8], bytes: usize) -> Result<Control<'_>, ControlError> {
    match durable::read(kind, rest) {
        Ok(Some(request)) => Ok(Control::Groups(request)),
        Ok(None) => Err(ControlError::Kind(kind)),
        Err(durable::ReadError::Short(expected)) => Err(ControlError::Short {
            what: "a request about groups",
            expected: 2 + expected,
            bytes,
        }),
        Err(durable::ReadError::Name(error)) => Err(ControlError::GroupName(error)),
        Err(durable::ReadError::Filter(error)) => Err(error.into()),
        Err(durable::ReadError::Backoff(delays)) => Err(ControlError::Backoff(delays)),
    }
}

/// The body of a control request.
pub fn request(control: &Control<'_>) -> Vec<u8> {
    match control {
        Control::Hello(secret) => hello::request(secret),
        Control::Subscribe(Subscribe { number, kind, overflow, filter, credit }) => {
            let overflow = match overflow {
                Overflow::Drop => DROP,
                Overflow::Hold => HOLD,
            };
            let mut body = vec![CONTROL, SUBSCRIBE];
            body.extend(number.to_le_bytes());
            body.extend([kind.number(), overflow, filter.kind()]);
            body.extend(credit.to_le_bytes());
            append_text(filter.text(), &mut body);
            if let Kind::Group(group) = kind {
                group::append(group, &mut body);
            }
            body
        }
        Control::Unsubscribe(number) => {
            [&[CONTROL, UNSUBSCRIBE][..], &number.to_le_bytes()].concat()
        }
        Control::Credit { number, bytes } => {
            [&[CONTROL, CREDIT][..], &number.to_le_bytes(), &bytes.to_le_bytes()].concat()
        }
        Control::Settle { number, verdict, ids } => {
            let (verdict_byte, delay_ms) = match *verdict {
                Verdict::Ack => (ACK, 0),
                Verdict::Nak { delay_ms } => (NAK, delay_ms),
                Verdict::Extend => (EXTEND, 0_u32),
                Verdict::Reject { .. } => (REJECT, 0),
            };
            let (number, delay) = (number.to_le_bytes(), delay_ms.to_le_bytes());
            let mut body = [&[CONTROL, SETTLE][..], &number, &[verdict_byte], &delay].concat();
            if let Verdict::Reject { reason } = verdict {
                append_text(reason, &mut body);
            }
            body.extend(*ids);
            body
        }
        Control::Letters(request) => letter::request(request),
        Control::Groups(request) => durable::request(request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIPTION: Subscribe<'_> = Subscribe {
        number: 0x0102,
        kind: Kind::Broadcast,
        overflow: Overflow::Hold,
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
            b"\x02\x02\x02\x01\0\0\x01\x01\x02\x04\x03\0\0\0\0\0\0\x03a.>",
        );
        check(Control::Unsubscribe(0x0102), b"\x02\x03\x02\x01\0\0");
        check(
            Control::Credit { number: 0x0102, bytes: 0x0304 },
            b"\x02\x04\x02\x01\0\0\x04\x03\0\0\0\0\0\0",
        );
    }

    #[test]
    fn one_for_a_group_is_as_the_format_says_and_comes_back() {
        let backoff = Backoff::new(&[9]).unwrap();
        let group = Group { ack_wait_ms: 0x0506, attempts_max: 3, backoff, ..Group::named("g") };
        let control = Control::Subscribe(Subscribe { kind: Kind::Group(group), ..SUBSCRIPTION });
        let bytes = request(&control);
        let head = b"\x02\x02\x02\x01\0\0\x02\x01\x02\x04\x03\0\0\0\0\0\0\x03a.>";
        let of_group = b"\x01g\x06\x05\0\0\0\0\0\0\x03\0\x01\x09\0\0\0";
        assert_eq!(bytes, [&head[..], of_group].concat());
        assert_eq!(read(&bytes), Ok(control));
        let expected = bytes.len();
        let short = ControlError::Short { what: "a subscribe", expected, bytes: expected - 1 };
        assert_eq!(read(&bytes[..expected - 1]), Err(short));
    }

    #[test]
    fn a_verdict_is_as_the_format_says_and_comes_back() {
        let ids = &[7; 32];
        for (verdict, bytes) in [
            (Verdict::Ack, b"\x02\x05\x02\x01\0\0\0\0\0\0\0"),
            (Verdict::Nak { delay_ms: 0x0304 }, b"\x02\x05\x02\x01\0\0\x01\x04\x03\0\0"),
            (Verdict::Extend, b"\x02\x05\x02\x01\0\0\x02\0\0\0\0"),
        ] {
            let control = Control::Settle { number: 0x0102, verdict, ids };
            let bytes = [&bytes[..], ids].concat();
            assert_eq!(request(&control), bytes);
            assert_eq!(read(&bytes), Ok(control));
            for end in 0..11 {
                assert!(matches!(read(&bytes[..end]), Err(ControlError::Short { .. })), "{end}");
            }
        }
        assert_eq!(read(b"\x02\x05\x02\x01\0\0\x04\0\0\0\0"), Err(ControlError::Verdict(4)));
        let verdict = Verdict::Reject { reason: "no" };
        let control = Control::Settle { number: 0x0102, verdict, ids };
        let bytes = [&b"\x02\x05\x02\x01\0\0\x03\0\0\0\0\x02no"[..], ids].concat();
        assert_eq!(request(&control), bytes);
        assert_eq!(read(&bytes), Ok(control));
        for end in 0..14 {
            assert!(matches!(read(&bytes[..end]), Err(ControlError::Short { .. })), "{end}");
        }
        let no_text = b"\x02\x05\x02\x01\0\0\x03\0\0\0\0\x01\xff";
        assert_eq!(read(no_text), Err(ControlError::Reason));
    }

    #[test]
    fn each_rule_has_its_error() {
        assert_eq!(read(b"\x02\xff"), Err(ControlError::Kind(255)));
        assert_eq!(read(b"\x02\x0c\x01|"), Err(ControlError::GroupName(NameError::Separator)));
        assert!(matches!(read(b"\x02\x0b"), Err(ControlError::Short { expected: 3, .. })));
        let mut bytes = request(&Control::Subscribe(SUBSCRIPTION));
        bytes[6] = 9;
        assert_eq!(read(&bytes), Err(ControlError::SubscriptionKind(9)));
        bytes[6..8].copy_from_slice(&[1, 7]);
        assert_eq!(read(&bytes), Err(ControlError::Overflow(7)));
        bytes[7..9].copy_from_slice(&[0, 7]);
        assert_eq!(read(&bytes), Err(FilterError::Kind(7).into()));
        let group = |name| {
            let kind = Kind::Group(Group::named(name));
            request(&Control::Subscribe(Subscribe { kind, ..SUBSCRIPTION }))
        };
        assert_eq!(read(&group("a|b")), Err(ControlError::GroupName(NameError::Separator)));
        let mut bytes = group("g");
        *bytes.last_mut().unwrap() = 17;
        assert_eq!(read(&bytes), Err(ControlError::Backoff(17)));
        // Those about dead letters, by their kind: all other rules are tested where they are read.
        assert_eq!(read(b"\x02\x08\x01g\x09"), Err(ControlError::Letters(9)));
        assert_eq!(read(b"\x02\x06\x01|"), Err(ControlError::GroupName(NameError::Separator)));
        assert!(matches!(read(b"\x02\x06"), Err(ControlError::Short { expected: 3, .. })));
    }
}
