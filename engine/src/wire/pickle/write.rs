//! Writes the dict that a v1 subscriber receives for a native message.

use md5::{Digest, Md5};

use super::error::Key;
use super::{number, opcode as op};
use crate::wire::checksum::{self, Checksum};

/// A payload that Python has a plain type for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain<'a> {
    /// Text: `str` in Python 3; in Python 2 `str` if it is ASCII and `unicode` if not.
    Text(&'a str),
    /// Bytes: `bytes` in Python 3, `str` in Python 2.
    Bytes(&'a [u8]),
}

/// Writes a message as a protocol 2 pickle, which Python 2 and 3 both load, and returns it (without
/// the `name|` before it) with its checksum.
///
/// The timestamp, in nanoseconds since the Unix epoch, is cut to hundredths of a second (from the
/// year 2286 on, to tenths): these digits are the same in both Pythons' `str`, so that both agree on
/// the checksum, which is MD5 of `name + str(payload) + str(timestamp)` with bytes as they are. The
/// same message always has the same checksum.
pub fn write(name: &str, payload: Plain<'_>, ack: bool, timestamp_ns: u64) -> (Vec<u8>, Checksum) {
    let payload_bytes = match payload {
        Plain::Text(text) => text.as_bytes(),
        Plain::Bytes(bytes) => bytes,
    };
    let timestamp = seconds(timestamp_ns);
    let checksum: Checksum = Md5::new()
        .chain_update(name)
        .chain_update(payload_bytes)
        .chain_update(number::python3_text(timestamp))
        .finalize()
        .into();

    let mut out = Vec::with_capacity(payload_bytes.len() + name.len() + 160);
    out.extend([op::PROTO, 2, op::EMPTY_DICT, op::MARK]);
    for key in Key::ALL {
        push_text(&mut out, key.as_str());
        match key {
            Key::Name => push_text(&mut out, name),
            Key::Payload => match payload {
                Plain::Text(text) => push_text(&mut out, text),
                Plain::Bytes(bytes) => push_bytes(&mut out, bytes),
            },
            Key::Ack => out.extend([op::BININT1, u8::from(ack)]),
            Key::Timestamp => {
                out.push(op::BINFLOAT);
                out.extend(timestamp.to_be_bytes());
            }
            Key::Checksum => push_text(&mut out, &checksum::to_hex(checksum)),
        }
    }
    out.extend([op::SETITEMS, op::STOP]);
    (out, checksum)
}

/// Seconds with at most twelve significant digits, which is what Python 2 shows of a float.
fn seconds(timestamp_ns: u64) -> f64 {
    const TENTHS_FROM_NS: u64 = 10_000_000_000 * 1_000_000_000;
    // Both quotients are the double nearest to the decimal, so that its shortest text is that decimal.
    if timestamp_ns < TENTHS_FROM_NS {
        (timestamp_ns / 10_000_000) as f64 / 100.0
    } else {
        (timestamp_ns / 100_000_000) as f64 / 10.0
    }
}

/// Writes ASCII as a byte string, which Python 3 reads as text, and other text as Unicode.
fn push_text(out: &mut Vec<u8>, text: &str) {
    if !text.is_ascii() {
        push_unicode(out, text.len(), text.chars());
    } else if let Ok(length) = u8::try_from(text.len()) {
        out.extend([op::SHORT_BINSTRING, length]);
        out.extend_from_slice(text.as_bytes());
    } else if let Ok(length) = i32::try_from(text.len()) {
        out.push(op::BINSTRING);
        out.extend(length.to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    } else {
        push_unicode(out, text.len(), text.chars());
    }
}

/// Writes `_codecs.encode(u'…', 'latin1')`, each byte a character: both Pythons load their byte string.
fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let above_ascii = bytes.iter().filter(|byte| !byte.is_ascii()).count();
    out.extend(b"c_codecs\nencode\n");
    push_unicode(out, bytes.len() + above_ascii, bytes.iter().map(|&byte| char::from(byte)));
    push_text(out, "latin1");
    out.extend([op::TUPLE2, op::REDUCE]);
}

/// Writes characters that take this many bytes of UTF-8.
fn push_unicode(out: &mut Vec<u8>, utf8_bytes: usize, chars: impl Iterator<Item = char>) {
    out.reserve(utf8_bytes + 16);
    if let Ok(length) = u32::try_from(utf8_bytes) {
        out.push(op::BINUNICODE);
        out.extend(length.to_le_bytes());
    } else {
        // Only Python 3 loads this one. A native record holds less than 2 GiB, so none gets here.
        out.push(op::BINUNICODE8);
        out.extend((utf8_bytes as u64).to_le_bytes());
    }
    for c in chars {
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Payload, checksum_matches, scan};
    use super::*;
    use proptest::prelude::*;

    const AT_NS: u64 = 1_763_866_000_129_999_999;

    #[test]
    fn text_is_written_byte_for_byte() {
        let (pickle, checksum) = write("greet", Plain::Text("hello"), true, AT_NS);
        // printf 'greethello1763866000.12' | md5sum
        assert_eq!(checksum::to_hex(checksum), "38ea9d0e3a39ccd415f1cbe3e3a4f4fa");
        let mut expected = b"\x80\x02}(U\x04nameU\x05greetU\x07payloadU\x05helloU\x03ackK\x01\
            U\ttimestampG"
            .to_vec();
        expected.extend(1_763_866_000.12_f64.to_be_bytes());
        expected.extend(b"U\x08checksumU 38ea9d0e3a39ccd415f1cbe3e3a4f4fau.");
        assert_eq!(pickle, expected);
    }

    #[test]
    fn timestamps_look_alike_in_both_pythons() {
        for (timestamp_ns, text) in [
            (0, "0.0"),
            (19_999_999, "0.01"),
            (1_763_866_000_000_000_000, "1763866000.0"),
            (1_763_866_000_100_000_000, "1763866000.1"),
            (9_999_999_999_999_999_999, "9999999999.99"),
            (10_000_000_000_990_000_000, "10000000000.9"),
            (u64::MAX, "18446744073.7"),
        ] {
            assert_eq!(number::python3_text(seconds(timestamp_ns)), text);
            assert_eq!(number::python2_text(seconds(timestamp_ns)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in "[^|]{1,40}",
            text in ".{0,300}",
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            ack: bool,
            timestamp_ns: u64,
        ) {
            let seconds = seconds(timestamp_ns);
            prop_assert_eq!(number::python3_text(seconds), number::python2_text(seconds));
            for (plain, payload) in [
                (Plain::Text(&text), Payload::Text(text.as_str().into())),
                (Plain::Bytes(&bytes), Payload::Bytes(bytes.as_slice().into())),
            ] {
                let (pickle, checksum) = write(&name, plain, ack, timestamp_ns);
                let fields = scan(&pickle).unwrap();
                prop_assert_eq!(&fields.name, &name);
                prop_assert_eq!(&fields.payload, &payload);
                prop_assert_eq!((fields.ack, fields.checksum), (ack, checksum));
                prop_assert_eq!(fields.timestamp, seconds);
                prop_assert_eq!(checksum_matches(&fields), Some(true));
            }
        }
    }
}
