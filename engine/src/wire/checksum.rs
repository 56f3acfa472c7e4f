//! The MD5 checksums of the native format, and hexadecimal text for both.

mod lanes;

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
    Md5::new()
        .chain_update(name)
        .chain_update(payload)
        .chain_update(Seconds::new(timestamp_ns).as_bytes())
        .finalize()
        .into()
}

/// What the checksum of a native message is over.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its payload's bytes.
    pub payload: &'a [u8],
    /// When it was made, in nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
}

/// Appends the checksum of each message to `sums`, in their order: what [`native`] gives for each, and
/// several times as fast where the processor can do several at once (AVX2, AVX-512).
pub fn native_each<'a>(contents: impl IntoIterator<Item = Content<'a>>, sums: &mut Vec<Checksum>) {
    let mut contents = contents.into_iter();
    lanes::checksums(&mut contents, sums);
    // What is left where there are no lanes.
    sums.extend(
        contents.map(|Content { name, payload, timestamp_ns }| native(name, payload, timestamp_ns)),
    );
}

/// From how many messages on [`native_each`] is faster than one after the other, where the processor has lanes.
pub const LANES_WORTH: usize = lanes::LIVE_MIN;

/// How many messages [`native_each`] does side by side on this processor: 1 where it has no lanes.
pub fn lanes() -> usize {
    lanes::count()
}

/// A timestamp as decimal seconds with nine places.
#[derive(Clone, Copy)]
struct Seconds {
    text: [u8; Self::BYTES_MAX],
    bytes: usize,
}

impl Seconds {
    /// 11 digits of seconds, a point, nine places.
    const BYTES_MAX: usize = 21;

    const EMPTY: Self = Self { text: [0; Self::BYTES_MAX], bytes: 0 };

    fn new(timestamp_ns: u64) -> Self {
        let mut text = [0; Self::BYTES_MAX];
        let mut digits = itoa::Buffer::new();
        let seconds = digits.format(timestamp_ns / NANOS_PER_SECOND).as_bytes();
        let point = seconds.len();
        text[..point].copy_from_slice(seconds);
        // Its leading 1 keeps the zeros behind it, and becomes the point.
        let nanos = digits.format(NANOS_PER_SECOND + timestamp_ns % NANOS_PER_SECOND).as_bytes();
        let bytes = point + nanos.len();
        text[point..bytes].copy_from_slice(nanos);
        text[point] = b'.';
        Self { text, bytes }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..self.bytes]
    }
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
        assert_eq!(Seconds::new(0).as_bytes(), b"0.000000000");
        assert_eq!(Seconds::new(1).as_bytes(), b"0.000000001");
        assert_eq!(Seconds::new(u64::MAX).as_bytes(), b"18446744073.709551615");
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
