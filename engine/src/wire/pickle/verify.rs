//! The checksums that an original publisher may have sent with a message.
//!
//! The formula is MD5 of the text `name + str(payload) + str(timestamp)`, and `str` is where Pythons
//! differ: of a float, Python 2 shows twelve significant digits and Python 3 as many as it takes; of
//! bytes, Python 3 shows a literal.

use md5::{Digest, Md5};

use super::number;
use super::scan::{Payload, V1Fields};
use crate::wire::checksum::Checksum;

/// Whether the checksum of a message is one that its content has in Python 2 or 3; `None` when the
/// payload's `str` cannot be told from its data, as with containers and objects.
pub fn checksum_matches(fields: &V1Fields<'_>) -> Option<bool> {
    let candidate = Candidate {
        name: &fields.name,
        timestamps: [
            number::python3_text(fields.timestamp),
            number::python2_text(fields.timestamp),
        ],
        expected: fields.checksum,
    };
    let text = |text: &str| candidate.matches(|md5| md5.update(text));
    Some(match &fields.payload {
        Payload::Text(payload) => text(payload),
        Payload::Bytes(bytes) => {
            candidate.matches(|md5| md5.update(bytes))
                || candidate.matches(|md5| literal(bytes, md5))
                || candidate.matches(|md5| {
                    md5.update("bytearray(");
                    literal(bytes, md5);
                    md5.update(")");
                })
        }
        Payload::Int(payload) => text(&payload.to_string()),
        Payload::BigInt(digits) => text(digits),
        Payload::Float(payload) => {
            text(&number::python3_text(*payload)) || text(&number::python2_text(*payload))
        }
        Payload::Bool(payload) => text(if *payload { "True" } else { "False" }),
        Payload::None => text("None"),
        Payload::Other => return None,
    })
}

struct Candidate<'a> {
    name: &'a str,
    timestamps: [String; 2],
    expected: Checksum,
}

impl Candidate<'_> {
    /// Whether the checksum is that of the payload's text with any of the timestamps.
    fn matches(&self, payload: impl FnOnce(&mut Md5)) -> bool {
        let mut start = Md5::new_with_prefix(self.name);
        payload(&mut start);
        let [python3, python2] = &self.timestamps;
        let with = |timestamp: &String| {
            Checksum::from(start.clone().chain_update(timestamp).finalize()) == self.expected
        };
        with(python3) || (python2 != python3 && with(python2))
    }
}

/// Hashes Python 3's literal for bytes.
fn literal(bytes: &[u8], md5: &mut Md5) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { b'"' } else { b'\'' };
    let mut text = Vec::with_capacity(1024 + 8);
    text.extend([b'b', quote]);
    for &byte in bytes {
        match byte {
            b'\\' => text.extend(b"\\\\"),
            b'\n' => text.extend(b"\\n"),
            b'\r' => text.extend(b"\\r"),
            b'\t' => text.extend(b"\\t"),
            _ if byte == quote => text.extend([b'\\', byte]),
            b' '..=b'~' => text.push(byte),
            _ => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                text.extend([b'\\', b'x', high, low]);
            }
        }
        if text.len() >= 1024 {
            md5.update(&text);
            text.clear();
        }
    }
    text.push(quote);
    md5.update(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(payload: Payload<'static>, spelled: &[u8], timestamp: (f64, &str)) {
        let checksum = |text: &[u8]| {
            let md5 = Md5::new_with_prefix("greet").chain_update(text);
            md5.chain_update(timestamp.1).finalize().into()
        };
        let mut fields = V1Fields {
            name: "greet".into(),
            payload,
            ack: false,
            timestamp: timestamp.0,
            timestamp_ns: 0,
            checksum: checksum(spelled),
        };
        assert_eq!(checksum_matches(&fields), Some(true));
        fields.checksum[7] ^= 1;
        assert_eq!(checksum_matches(&fields), Some(false));
    }

    #[test]
    fn the_formula_holds_as_either_python_spells_it() {
        let time = (1_763_866_000.123_456, "1763866000.123456");
        let time2 = (1_763_866_000.123_456, "1763866000.12");
        check(Payload::Text("grüße".into()), "grüße".as_bytes(), time);
        check(Payload::Text("hello".into()), b"hello", time2);
        check(Payload::Bytes(b"\0\xff".as_slice().into()), b"\0\xff", time2);
        check(Payload::Bytes(b"\0'\xff\n".as_slice().into()), br#"b"\x00'\xff\n""#, time);
        check(Payload::Bytes(b"'\"\\".as_slice().into()), br#"b'\'"\\'"#, time);
        check(Payload::Bytes(b"ab".as_slice().into()), b"bytearray(b'ab')", time);
        check(Payload::Int(-17), b"-17", time);
        check(Payload::BigInt("18446744073709551616".into()), b"18446744073709551616", time);
        check(Payload::Float(0.1 + 0.2), b"0.30000000000000004", time);
        check(Payload::Float(0.1 + 0.2), b"0.3", time2);
        check(Payload::Bool(true), b"True", time);
        check(Payload::None, b"None", time);
    }

    #[test]
    fn a_container_has_no_known_text() {
        let fields = V1Fields {
            name: "greet".into(),
            payload: Payload::Other,
            ack: false,
            timestamp: 0.0,
            timestamp_ns: 0,
            checksum: [0; 16],
        };
        assert_eq!(checksum_matches(&fields), None);
    }
}
