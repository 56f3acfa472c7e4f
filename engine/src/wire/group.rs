//! The terms of a group in a subscription, behind its filter.

use super::name::{self, NameError};
use crate::limits::BACKOFF_DELAYS_MAX;

/// How long a group waits after each failed attempt before it delivers a message again; the last delay counts for all
/// further attempts. Without any it delivers again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    delays_ms: [u32; BACKOFF_DELAYS_MAX],
    count: u8,
}

impl Backoff {
    /// No delays.
    pub const NONE: Self = Self { delays_ms: [0; BACKOFF_DELAYS_MAX], count: 0 };

    /// These delays, in milliseconds; `None` when they are too many.
    pub fn new(delays_ms: &[u32]) -> Option<Self> {
        let mut backoff = Self { count: u8::try_from(delays_ms.len()).ok()?, ..Self::NONE };
        backoff.delays_ms.get_mut(..delays_ms.len())?.copy_from_slice(delays_ms);
        Some(backoff)
    }

    /// The delays, in milliseconds.
    pub fn delays_ms(&self) -> &[u32] {
        &self.delays_ms[..self.count.into()]
    }

    /// Milliseconds after this many failed attempts; `None` without any delays.
    pub fn after(&self, attempts: u16) -> Option<u32> {
        let at = usize::from(attempts.saturating_sub(1));
        let delays = self.delays_ms();
        delays.get(at).or(delays.last()).copied()
    }
}

/// A group, and what its members agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group<'a> {
    /// Its name: a name like those of messages.
    pub name: &'a str,
    /// Milliseconds that a member may take to acknowledge a message before it goes to another one; 0 for the server's
    /// retry interval.
    pub ack_wait_ms: u32,
    /// Messages that one member may have without having acknowledged them; 0 for as many as the server allows.
    pub in_flight_max: u32,
    /// Attempts after which a message becomes a dead letter; 0 for no end.
    pub attempts_max: u16,
    /// What comes before further attempts.
    pub backoff: Backoff,
    /// Whether messages that expire become dead letters, instead of being no more.
    pub keeps_expired: bool,
}

impl<'a> Group<'a> {
    /// A group of this name, and in everything else as the server has it where nothing is said.
    pub fn named(name: &'a str) -> Self {
        let backoff = Backoff::NONE;
        let (ack_wait_ms, in_flight_max, attempts_max, keeps_expired) = Default::default();
        Self { name, ack_wait_ms, in_flight_max, attempts_max, backoff, keeps_expired }
    }
}

/// Why bytes are no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupReadError {
    /// There are fewer than these.
    Short(usize),
    /// Its name breaks a rule.
    Name(NameError),
    /// This many delays are too many.
    Backoff(u8),
}

/// Bytes of a group behind its name that have always been there.
const POLICY_BYTES: usize = 8;
/// Bytes of the attempts and of the number of delays, which older clients do not send.
const RETRY_BYTES: usize = 3;
/// The flag of a group whose messages become dead letters when they expire. The flags stand behind the delays; without
/// them none is set.
const KEEPS_EXPIRED: u8 = 1;

fn checked(name: &[u8]) -> Result<&str, NameError> {
    let name = name::check(name)?;
    name::check_group(name)?;
    Ok(name)
}

/// Reads a group; what follows it is ignored.
pub(super) fn read(bytes: &[u8]) -> Result<Group<'_>, GroupReadError> {
    let (&length, rest) = bytes.split_first().ok_or(GroupReadError::Short(1))?;
    let before = 1 + usize::from(length) + POLICY_BYTES;
    let short = GroupReadError::Short(before);
    let (name, rest) = rest.split_at_checked(length.into()).ok_or(short)?;
    let (&[a0, a1, a2, a3, f0, f1, f2, f3], rest) =
        rest.split_first_chunk::<POLICY_BYTES>().ok_or(short)?;
    let mut group = Group {
        ack_wait_ms: u32::from_le_bytes([a0, a1, a2, a3]),
        in_flight_max: u32::from_le_bytes([f0, f1, f2, f3]),
        ..Group::named(checked(name).map_err(GroupReadError::Name)?)
    };
    if rest.is_empty() {
        return Ok(group);
    }
    let short = |bytes| GroupReadError::Short(before + bytes);
    let (&[m0, m1, count], rest) =
        rest.split_first_chunk::<RETRY_BYTES>().ok_or(short(RETRY_BYTES))?;
    let delays = usize::from(count);
    if delays > BACKOFF_DELAYS_MAX {
        return Err(GroupReadError::Backoff(count));
    }
    let read = rest.as_chunks().0.get(..delays).ok_or(short(RETRY_BYTES + 4 * delays))?;
    group.attempts_max = u16::from_le_bytes([m0, m1]);
    group.backoff.count = count;
    for (delay, bytes) in group.backoff.delays_ms.iter_mut().zip(read) {
        *delay = u32::from_le_bytes(*bytes);
    }
    let flags = rest.get(4 * delays).copied().unwrap_or(0);
    group.keeps_expired = flags & KEEPS_EXPIRED != 0;
    Ok(group)
}

/// Reads a group that says all there is to say, and returns what follows it.
pub(super) fn read_whole(bytes: &[u8]) -> Option<(Group<'_>, &[u8])> {
    let group = read(bytes).ok()?;
    let delays = 4 * usize::from(group.backoff.count);
    let rest = bytes.get(1 + group.name.len() + POLICY_BYTES + RETRY_BYTES + delays + 1..)?;
    Some((group, rest))
}

/// Appends a group.
pub(super) fn append(group: &Group<'_>, body: &mut Vec<u8>) {
    let Group { name, ack_wait_ms, in_flight_max, attempts_max, backoff, keeps_expired } = group;
    append_text(name, body);
    body.extend(ack_wait_ms.to_le_bytes());
    body.extend(in_flight_max.to_le_bytes());
    body.extend(attempts_max.to_le_bytes());
    body.push(backoff.count);
    for delay in backoff.delays_ms() {
        body.extend(delay.to_le_bytes());
    }
    body.push(if *keeps_expired { KEEPS_EXPIRED } else { 0 });
}

/// Appends a text that is at most 255 bytes long behind its length.
pub(super) fn append_text(text: &str, body: &mut Vec<u8>) {
    // What was read has no more; of a longer one whole characters are left, and a name is refused for its text.
    let text = &text[..text.floor_char_boundary(u8::MAX.into())];
    body.push(text.len() as u8);
    body.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &[u8] = b"\x01g\x06\x05\0\0\x08\x07\0\0\x03\0\x02\x01\0\0\0\x02\x01\0\0\x01";

    #[test]
    fn a_group_is_as_the_format_says_and_comes_back() {
        let backoff = Backoff::new(&[1, 0x0102]).unwrap();
        let group = Group {
            name: "g",
            ack_wait_ms: 0x0506,
            in_flight_max: 0x0708,
            attempts_max: 3,
            backoff,
            keeps_expired: true,
        };
        let mut bytes = Vec::new();
        append(&group, &mut bytes);
        assert_eq!(bytes, BYTES);
        assert_eq!(read(BYTES), Ok(group));
        assert_eq!(read(&[BYTES, b"more"].concat()), Ok(group));
        assert_eq!(read_whole(&[BYTES, b"more"].concat()), Some((group, &b"more"[..])));
        // An older client says nothing of attempts, or of what expires.
        let (backoff, keeps_expired) = (Backoff::NONE, false);
        let short = Group { attempts_max: 0, backoff, keeps_expired, ..group };
        assert_eq!(read(&BYTES[..10]), Ok(short));
        assert_eq!(read(&BYTES[..21]), Ok(Group { keeps_expired, ..group }));
        for end in (0..BYTES.len()).filter(|end| ![10, 21].contains(end)) {
            assert!(matches!(read(&BYTES[..end]), Err(GroupReadError::Short(_))), "{end}");
        }
        for end in 0..BYTES.len() {
            assert_eq!(read_whole(&BYTES[..end]), None, "{end}");
        }
        let mut bytes = BYTES.to_vec();
        bytes[12] = 17;
        assert_eq!(read(&bytes), Err(GroupReadError::Backoff(17)));
        assert_eq!(Backoff::new(&[0; 17]), None);
    }

    #[test]
    fn the_last_delay_counts_for_all_further_attempts() {
        let backoff = Backoff::new(&[5, 7]).unwrap();
        assert_eq!([1, 2, 3, u16::MAX].map(|n| backoff.after(n)), [5, 7, 7, 7].map(Some));
        assert_eq!(Backoff::NONE.after(1), None);
    }
}
