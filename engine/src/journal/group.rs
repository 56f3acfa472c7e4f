//! The bodies of the records of durable groups.

use crate::limits::BACKOFF_DELAYS_MAX;
use crate::message::DurableGroup;
use crate::wire::control::Backoff;
use crate::wire::id::MessageId;

/// Bytes of a group's body before its delays and texts.
const HEAD_BYTES: usize = 24;
/// The flag of a group whose messages become dead letters when they expire.
const KEEPS_EXPIRED: u8 = 1;
/// Bytes of the body of a jobs record before its ids.
const JOBS_HEAD_BYTES: usize = 9;

/// The body of a group record, borrowed from the buffer it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupBody<'a> {
    /// See [`DurableGroup::number`].
    pub number: u64,
    /// See [`DurableGroup::ack_wait_ms`].
    pub ack_wait_ms: u32,
    /// See [`DurableGroup::in_flight_max`].
    pub in_flight_max: u32,
    /// See [`DurableGroup::attempts_max`].
    pub attempts_max: u16,
    /// The kind of its filter.
    pub filter_kind: u8,
    /// See [`DurableGroup::backoff`].
    pub backoff: Backoff,
    /// See [`DurableGroup::keeps_expired`].
    pub keeps_expired: bool,
    /// Its name.
    pub name: &'a str,
    /// The text of its filter.
    pub filter: &'a str,
}

/// What a durable group has to do with messages. The number is the journal format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum JobState {
    /// It is done with them, and others need them.
    Done = 1,
    /// They are its jobs, whether they were published before it was created or it was done with them.
    Open = 2,
}

/// The body of a jobs record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobsBody<'a> {
    /// The group's number.
    pub group: u64,
    /// What it has to do with the messages.
    pub state: JobState,
    /// Whole ids of the messages: read them with [`ids`](super::record::ids).
    pub ids: &'a [u8],
}

/// A text, of which no more than 255 bytes are kept: none is longer where they come from.
fn text(text: &str) -> &str {
    &text[..text.floor_char_boundary(u8::MAX.into())]
}

/// The body of a group record.
pub(super) fn encode(group: &DurableGroup) -> Vec<u8> {
    let [name, filter] = [&*group.name, &*group.filter].map(text);
    let delays = group.backoff.delays_ms();
    let mut out = Vec::with_capacity(HEAD_BYTES + 4 * delays.len() + name.len() + filter.len());
    out.extend(group.number.to_le_bytes());
    out.extend(group.ack_wait_ms.to_le_bytes());
    out.extend(group.in_flight_max.to_le_bytes());
    out.extend(group.attempts_max.to_le_bytes());
    out.extend([group.filter_kind, delays.len() as u8, name.len() as u8, filter.len() as u8]);
    out.extend([if group.keeps_expired { KEEPS_EXPIRED } else { 0 }, 0]);
    for delay in delays {
        out.extend(delay.to_le_bytes());
    }
    out.extend(name.as_bytes());
    out.extend(filter.as_bytes());
    out
}

/// Reads the body of a group record; `None` unless it is well formed.
pub(super) fn read(bytes: &[u8]) -> Option<GroupBody<'_>> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let (number, head) = head.split_first_chunk()?;
    let (ack_wait, head) = head.split_first_chunk()?;
    let (in_flight, head) = head.split_first_chunk()?;
    let &[a0, a1, filter_kind, delays, name_bytes, filter_bytes, flags, 0] = head else {
        return None;
    };
    if flags & !KEEPS_EXPIRED != 0 {
        return None;
    }
    let delays = usize::from(delays);
    if delays > BACKOFF_DELAYS_MAX {
        return None;
    }
    let (delay_bytes, rest) = rest.split_at_checked(4 * delays)?;
    let delays: Vec<u32> =
        delay_bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    let (name, filter) = rest.split_at_checked(name_bytes.into())?;
    if filter.len() != usize::from(filter_bytes) {
        return None;
    }
    Some(GroupBody {
        number: u64::from_le_bytes(*number),
        ack_wait_ms: u32::from_le_bytes(*ack_wait),
        in_flight_max: u32::from_le_bytes(*in_flight),
        attempts_max: u16::from_le_bytes([a0, a1]),
        filter_kind,
        backoff: Backoff::new(&delays)?,
        keeps_expired: flags & KEEPS_EXPIRED != 0,
        name: std::str::from_utf8(name).ok()?,
        filter: std::str::from_utf8(filter).ok()?,
    })
}

/// Reads the body of a record that ends a group: its number.
pub(super) fn read_end(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

/// The body of a jobs record.
pub(super) fn encode_jobs(group: u64, state: JobState, ids: &[MessageId]) -> Vec<u8> {
    let mut out = Vec::with_capacity(JOBS_HEAD_BYTES + ids.len() * MessageId::BYTES);
    out.extend(group.to_le_bytes());
    out.push(state as u8);
    for id in ids {
        out.extend(id.to_bytes());
    }
    out
}

/// Reads the body of a jobs record; `None` unless it is well formed.
pub(super) fn read_jobs(bytes: &[u8]) -> Option<JobsBody<'_>> {
    let (head, ids) = bytes.split_first_chunk::<JOBS_HEAD_BYTES>()?;
    let (group, state) = head.split_first_chunk()?;
    let state = match state {
        [1] => JobState::Done,
        [2] => JobState::Open,
        _ => return None,
    };
    let group = u64::from_le_bytes(*group);
    ids.len().is_multiple_of(MessageId::BYTES).then_some(JobsBody { group, state, ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lies_as_documented_and_reads_back() {
        let group = DurableGroup {
            number: 0x0102,
            name: "packers".into(),
            filter_kind: 2,
            filter: "orders.>".into(),
            ack_wait_ms: 0x0304,
            in_flight_max: 5,
            attempts_max: 6,
            backoff: Backoff::new(&[7, 0x0809]).unwrap(),
            keeps_expired: true,
        };
        let body = encode(&group);
        assert_eq!(body[..16], [2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 5, 0, 0, 0]);
        assert_eq!(body[16..32], [6, 0, 2, 2, 7, 8, 1, 0, 7, 0, 0, 0, 9, 8, 0, 0]);
        assert_eq!(&body[32..], b"packersorders.>");
        let expected = GroupBody {
            number: 0x0102,
            ack_wait_ms: 0x0304,
            in_flight_max: 5,
            attempts_max: 6,
            filter_kind: 2,
            backoff: group.backoff,
            keeps_expired: true,
            name: "packers",
            filter: "orders.>",
        };
        assert_eq!(read(&body), Some(expected));
        for end in 0..body.len() {
            assert_eq!(read(&body[..end]), None, "{end}");
        }
        assert_eq!(read(&[&body[..], b"x"].concat()), None);
        for (at, byte) in [(19, 17), (19, 1), (22, 2), (23, 1), (32, 0xff)] {
            let mut body = body.clone();
            body[at] = byte;
            assert_eq!(read(&body), None, "{at}");
        }
    }

    #[test]
    fn the_end_of_a_group_and_its_jobs_lie_as_documented_and_read_back() {
        assert_eq!(read_end(&[2, 1, 0, 0, 0, 0, 0, 0]), Some(0x0102));
        assert_eq!((read_end(&[0; 7]), read_end(&[0; 9])), (None, None));
        let ids = [1, 2].map(|sequence| MessageId { publisher: 3, sequence });
        for (state, number) in [(JobState::Done, 1), (JobState::Open, 2)] {
            let body = encode_jobs(0x0102, state, &ids);
            assert_eq!(body[..9], [2, 1, 0, 0, 0, 0, 0, 0, number]);
            assert_eq!(body[9..], ids.map(MessageId::to_bytes).concat());
            let read = read_jobs(&body).unwrap();
            assert_eq!((read.group, read.state), (0x0102, state));
            assert!(crate::journal::record::ids(read.ids).eq(ids));
            assert_eq!(read_jobs(&body[..body.len() - 1]), None);
            assert_eq!(read_jobs(&body[..8]), None);
        }
        assert_eq!(read_jobs(&[0; 9]), None);
        assert_eq!(read_jobs(&[3; 9]), None);
    }
}
