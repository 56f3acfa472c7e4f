//! The MD5 checksums of the native format, and hexadecimal text for both.

use md5::{Digest, Md5};

/// An MD5 digest.
pub type Checksum = [u8; 16];

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The checksum of a native message: MD5 over its name, its payload's bytes, and its timestamp as
/// decimal seconds with nine places (`1763866000.123456789`).
///
/// This is the original's formula, MD5 of `name + str(payload) + str(timestamp)`, with a clock whose
/// text is unambiguous.
pub fn native(name: &str, payload: &[u8], timestamp_ns: u64) -> Checksum {
    let mut text = [0; DECIMAL_BYTES_MAX];
    Md5::new()
        .chain_update(name)
        .chain_update(payload)
        .chain_update(decimal_seconds(timestamp_ns, &mut text))
        .finalize()
        .into()
}

/// Bytes of the longest timestamp: 11 digits of seconds, a point, nine places.
const DECIMAL_BYTES_MAX: usize = 21;

/// Writes nanoseconds as decimal seconds with nine places into the end of `buffer`.
fn decimal_seconds(timestamp_ns: u64, buffer: &mut [u8; DECIMAL_BYTES_MAX]) -> &[u8] {
    let mut at = buffer.len();
    let mut put = |byte: u8| {
        at -= 1;
        buffer[at] = byte;
    };
    let mut nanos = timestamp_ns % NANOS_PER_SECOND;
    for _ in 0..9 {
        put(b'0' + (nanos % 10) as u8);
        nanos /= 10;
    }
    put(b'.');
    let mut seconds = timestamp_ns / NANOS_PER_SECOND;
    loop {
        put(b'0' + (seconds % 10) as u8);
        seconds /= 10;
        if seconds == 0 {
            break;
        }
    }
    &buffer[at..]
}

/// A checksum as 32 lower-case hexadecimal digits.
pub fn to_hex(checksum: Checksum) -> String {
    format!("{:032x}", u128::from_be_bytes(checksum))
}

/// Reads 32 hexadecimal digits of either case; anything else is `None`.
pub fn from_hex(text: &[u8]) -> Option<Checksum> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    };
    let text: &[u8; 32] = text.try_into().ok()?;
    let mut checksum = Checksum::default();
    for (byte, &[high, low]) in checksum.iter_mut().zip(text.as_chunks().0) {
        *byte = nibble(high)? << 4 | nibble(low)?;
    }
    Some(checksum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_md5_of_name_payload_and_decimal_timestamp() {
        // printf 'greethello1763866000.123456789' | md5sum
        let expected = "5296f1d8341ddb7391d6005d78fac33f";
        let sum = native("greet", b"hello", 1_763_866_000_123_456_789);
        let whole: Checksum = Md5::digest(b"greethello1763866000.123456789").into();
        assert_eq!(sum, whole);
        assert_eq!(to_hex(sum), expected);
    }

    #[test]
    fn decimal_seconds_keep_nine_places() {
        let mut buffer = [0; DECIMAL_BYTES_MAX];
        assert_eq!(decimal_seconds(0, &mut buffer), b"0.000000000");
        assert_eq!(decimal_seconds(1, &mut buffer), b"0.000000001");
        assert_eq!(decimal_seconds(u64::MAX, &mut buffer), b"18446744073.709551615");
    }

    #[test]
    fn hex_reads_what_it_wrote_and_nothing_else() {
        let sum = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];
        assert_eq!(to_hex(sum), "000102030405060708090a0b0c0d0eff");
        assert_eq!(from_hex(to_hex(sum).as_bytes()), Some(sum));
        assert_eq!(from_hex(b"000102030405060708090A0B0C0D0EFF"), Some(sum));
        assert_eq!(from_hex(b"+00102030405060708090a0b0c0d0eff"), None);
        assert_eq!(from_hex(b"00"), None);
    }
}
