//! Control requests of native clients: subscriptions, credit and verdicts; and the head of a delivery.
//!
//! Each is a request whose body begins with [`CONTROL`] and a kind. Numbers are little-endian; readers ignore what
//! follows. The byte diagrams are in `docs/wire-format.md`.

pub use super::delivery::{DELIVERY, DELIVERY_BYTES, Delivery, delivery, read_delivery};
use super::durable;
use super::filter::{Filter, FilterError};
use super::frame::V2;
use super::group::{self, GroupReadError, append_text};
pub use super::group::{Backoff, Group};
use super::hello::{self, CONTROL, ClientNameError, Hello};
use super::letter;
use super::name::{self, NameError};
use super::retained;
use crate::limits::BACKOFF_DELAYS_MAX;

#[cfg(test)]
mod tests;

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
/// Beside these: with the last values.
const WITH_LAST: u8 = 0x80;

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

/// Whether a request may take long, however short it is: those about dead letters, groups and retained messages look at
/// many of them.
pub fn may_take_long(request: &[u8]) -> bool {
    matches!(request, [CONTROL, kind, ..] if *kind > SETTLE)
}

/// The number of the subscription that a request begins.
pub fn begins(request: &[u8]) -> Option<u32> {
    match request {
        [CONTROL, SUBSCRIBE, rest @ ..] => rest.first_chunk().copied().map(u32::from_le_bytes),
        _ => None,
    }
}

/// The number of the subscription that a request needs to be there.
pub fn needs(request: &[u8]) -> Option<u32> {
    match request {
        [CONTROL, UNSUBSCRIBE | CREDIT | SETTLE, rest @ ..] => {
            rest.first_chunk().copied().map(u32::from_le_bytes)
        }
        _ => None,
    }
}

/// What a subscriber is to the messages that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind<'a> {
    /// An observer: it gets messages when they are published, and none of them waits for it.
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
    /// They are to be delivered again, in this many milliseconds.
    Nak {
        /// Milliseconds until then.
        delay_ms: u32,
    },
    /// They take longer: their time begins again.
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
    /// Whether it gets the retained messages of its names first.
    pub with_last: bool,
}

/// A control request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// Who the client is.
    Hello(Hello<'a>),
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
    /// Something about retained messages.
    Retained(retained::Request<'a>),
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
         dead letters: list (6), show (7), replay (8) or purge (9), about groups: create (10), list (11) or delete (12), \
         or about retained messages: clear (14) or list (15), and not {0}"
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
        "a member of a group acknowledges (0), asks for a later attempt (1), extends (2) or rejects (3), and does not {0}"
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
    /// The name of the client breaks a rule.
    #[error(transparent)]
    ClientName(ClientNameError),
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
        Some(HELLO) => match hello::read_request(rest) {
            Ok(hello) => Ok(Control::Hello(hello)),
            Err(hello::ReadError::Short(expected)) => Err(short("a hello", 2 + expected)),
            Err(hello::ReadError::Name(error)) => Err(ControlError::ClientName(error)),
        },
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
            let with_last = overflow & WITH_LAST != 0;
            let overflow = match overflow & !WITH_LAST {
                DROP => Overflow::Drop,
                HOLD => Overflow::Hold,
                overflow => return Err(ControlError::Overflow(overflow)),
            };
            let filter = Filter::read(filter_kind, text)?;
            let number = u32::from_le_bytes([n0, n1, n2, n3]);
            let credit = u64::from_le_bytes(credit);
            Ok(Control::Subscribe(Subscribe { number, kind, overflow, filter, credit, with_last }))
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
            Ok(None) => match retained::read(kind, rest) {
                Ok(Some(request)) => Ok(Control::Retained(request)),
                Ok(None) => read_groups(kind, rest, bytes),
                Err(retained::ReadError::Short(expected)) => {
                    Err(short("a request about retained messages", 2 + expected))
                }
                Err(retained::ReadError::Name(error)) => Err(FilterError::Name(error).into()),
                Err(retained::ReadError::Filter(error)) => Err(error.into()),
            },
            Err(letter::ReadError::Short(expected)) => {
                Err(short("a request about dead letters", 2 + expected))
            }
            Err(letter::ReadError::Group(error)) => Err(ControlError::GroupName(error)),
            Err(letter::ReadError::Name(error)) => Err(FilterError::Name(error).into()),
            Err(letter::ReadError::Choice(choice)) => Err(ControlError::Letters(choice)),
        },
    }
}

/// Reads what stands behind the kind of a request of this many bytes that may be about groups.
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
        Control::Hello(hello) => hello::named_request(&hello.secret, hello.name),
        Control::Subscribe(Subscribe { number, kind, overflow, filter, credit, with_last }) => {
            let overflow = match overflow {
                Overflow::Drop => DROP,
                Overflow::Hold => HOLD,
            } | if *with_last { WITH_LAST } else { 0 };
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
        Control::Retained(request) => retained::request(request),
    }
}
