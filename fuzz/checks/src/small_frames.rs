//! The check of the small frames: acknowledgements, replies, confirmations.

use mezzenger::MessageId;
use mezzenger::wire::ack::{self, AckError};
use mezzenger::wire::confirm;
use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::reply::{self, ErrorCode, Reply};

/// Reads any bytes as the body of an acknowledgement, as a reply and as a confirmation's topic. What is
/// read is written back to the byte, where all of it can be.
///
/// # Panics
/// When a reader and `docs/wire-format.md` differ.
pub fn small_frames(data: &[u8]) {
    acknowledgement(data);
    answer(data);
    let is_topic = confirm::is_topic(data);
    assert_eq!(is_topic, data.len() == 17 && data[0] == 0x02);
    if let Some(token) = data.get(1..).and_then(|token| token.first_chunk()).filter(|_| is_topic) {
        assert_eq!(confirm::topic(u128::from_le_bytes(*token)), data);
    }
}

fn acknowledgement(data: &[u8]) {
    match ack::ids(data) {
        Ok(ids) => {
            let ids: Vec<MessageId> = ids.collect();
            assert!(!ids.is_empty());
            assert_eq!(ack::frame(&ids), [&v2_prefix("ack"), data].concat());
        }
        Err(error) => {
            assert!(data.is_empty() || !data.len().is_multiple_of(16));
            assert_eq!(error, AckError { bytes: data.len() });
        }
    }
}

fn answer(data: &[u8]) {
    let expected = match data {
        b"OK" => Some(Reply::Ok { connections: 0, takers: 0 }),
        [b'O', b'K', a, b, c, d] => {
            Some(Reply::Ok { connections: u32::from_le_bytes([*a, *b, *c, *d]), takers: 0 })
        }
        [b'O', b'K', a, b, c, d, e, f, g, h] => Some(Reply::Ok {
            connections: u32::from_le_bytes([*a, *b, *c, *d]),
            takers: u32::from_le_bytes([*e, *f, *g, *h]),
        }),
        [0x01, low, high, text @ ..] => Some(Reply::Refused {
            code: code(u16::from_le_bytes([*low, *high])),
            text: String::from_utf8_lossy(text),
        }),
        _ => None,
    };
    let reply = reply::read(data);
    assert_eq!(reply, expected);
    if let Some(Reply::Refused { code: Some(code), text }) = reply
        && std::str::from_utf8(&data[3..]).is_ok()
    {
        assert_eq!(reply::refusal(code, &text), data);
    }
}

/// The table of the document.
fn code(number: u16) -> Option<ErrorCode> {
    Some(match number {
        1 => ErrorCode::Malformed,
        2 => ErrorCode::TooLarge,
        3 => ErrorCode::UnsupportedVersion,
        4 => ErrorCode::PendingFull,
        5 => ErrorCode::JournalFailed,
        6 => ErrorCode::ShuttingDown,
        7 => ErrorCode::ChecksumMismatch,
        _ => return None,
    })
}
