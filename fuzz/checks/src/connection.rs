//! The check of the client's end of a connection.

use std::io::Write;
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use mezzenger::internals::DrivenConnection;

const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Of a longer message, the further parts are dropped.
const PARTS_MAX: usize = 4;
/// Turns in which a connection whose peer is gone must come to its end.
const TURNS_MAX: usize = 1000;

/// Plays a server that says any bytes, in pieces of any size: the messages in them come out whole and in
/// order, however they are cut; what is no ZMTP ends the connection.
///
/// Of the first byte, bit 0 chooses the client's socket (DEALER or SUB), and bit 1 whether the bytes
/// follow a good greeting or are the greeting, too. The second byte says how they are cut into pieces.
///
/// # Panics
/// When a message is lost or made up, or the connection does not end with its peer.
pub fn connection(data: &[u8]) {
    let Some((&[choice, pieces], stream)) = data.split_first_chunk() else { return };
    let (near, mut far) = UnixStream::pair().expect("a pair of sockets");
    let subscribes = choice & 1 == 1;
    let mut connection =
        DrivenConnection::over(near, subscribes, FRAME_BYTES_MAX).expect("a socket like any");
    let mut received = Vec::new();
    let greeted = choice & 2 == 2;
    if greeted {
        far.write_all(&greeting(if subscribes { b"XPUB" } else { b"ROUTER" })).expect("room");
        received.extend(connection.receive());
        assert!(!connection.is_lost());
    }
    for piece in cut(stream, pieces) {
        if connection.is_lost() {
            break;
        }
        far.write_all(piece).expect("what was sent before is read");
        received.extend(connection.receive());
    }
    drop(far);
    let mut turns = (0..TURNS_MAX).take_while(|_| {
        received.extend(connection.receive());
        !connection.is_lost()
    });
    assert!(turns.by_ref().count() < TURNS_MAX, "it does not end");
    if greeted {
        let (expected, is_sound) = messages(stream);
        assert!(expected.starts_with(&received), "a message that was not sent");
        assert!(!is_sound || received == expected, "a message is missing");
    }
}

/// What a socket of this kind says first.
pub(crate) fn greeting(socket: &[u8]) -> Vec<u8> {
    let mut greeting = [0; 64];
    greeting[..16].copy_from_slice(b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL");
    let property = [b"\x0bSocket-Type\0\0\0", &[socket.len() as u8][..], socket].concat();
    let ready = [b"\x05READY", &property[..]].concat();
    [&greeting[..], &[4, ready.len() as u8], &ready].concat()
}

/// Cuts the bytes into pieces: at 0 into few, otherwise into random ones that may be longer the larger
/// `pieces` is.
pub(crate) fn cut(mut stream: &[u8], pieces: u8) -> impl Iterator<Item = &[u8]> {
    let mut random = u64::from(pieces);
    std::iter::from_fn(move || {
        if stream.is_empty() {
            return None;
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let bytes_max = if pieces == 0 { 16 * 1024 } else { u64::from(pieces) * 4 };
        let bytes = if pieces == 0 { bytes_max } else { 1 + (random >> 33) % bytes_max };
        let (piece, rest) = stream.split_at(stream.len().min(bytes as usize));
        stream = rest;
        Some(piece)
    })
}

/// The messages in a stream of frames, read as RFC 23 has it; whether all of it is sound, if perhaps cut
/// off.
fn messages(mut stream: &[u8]) -> (Vec<Vec<Bytes>>, bool) {
    let (mut messages, mut parts) = (Vec::new(), Vec::new());
    loop {
        let (flags, length, rest) = match *stream {
            [flags @ (0 | 1 | 4), length, ref rest @ ..] => (flags, u64::from(length), rest),
            [flags @ (2 | 3 | 6), a, b, c, d, e, f, g, h, ref rest @ ..] => {
                (flags, u64::from_be_bytes([a, b, c, d, e, f, g, h]), rest)
            }
            [] | [0..=4 | 6, ..] => return (messages, true),
            _ => return (messages, false),
        };
        if length > FRAME_BYTES_MAX as u64 {
            return (messages, false);
        }
        let Some((body, rest)) = rest.split_at_checked(length as usize) else {
            return (messages, true);
        };
        stream = rest;
        if flags & 4 != 0 {
            continue;
        }
        if parts.len() < PARTS_MAX {
            parts.push(Bytes::copy_from_slice(body));
        }
        if flags & 1 == 0 {
            messages.push(std::mem::take(&mut parts));
        }
    }
}
