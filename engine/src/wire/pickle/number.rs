//! The numbers of pickles: what they hold beyond `i64`, and the text that Python makes of floats.

use crate::limits::PICKLE_INT_DIGITS_MAX;

/// An integer outside of `i64`.
#[derive(Clone, Copy, Debug)]
pub(super) enum BigInteger<'a> {
    /// Two's complement, least byte first, more than eight bytes.
    LittleEndian(&'a [u8]),
    /// At most [`PICKLE_INT_DIGITS_MAX`] digits without leading zeros, perhaps after a `-`.
    Decimal(&'a str),
}

/// An integer of any size.
#[derive(Clone, Copy, Debug)]
pub(super) enum Integer<'a> {
    Int(i64),
    Long(BigInteger<'a>),
}

/// Two's complement of any length, least byte first.
pub(super) fn from_little_endian(mut bytes: &[u8]) -> Integer<'_> {
    // Cut off what only repeats the sign.
    while let [.., below, last] = *bytes
        && last == (if below >= 0x80 { 0xff } else { 0 })
    {
        bytes = &bytes[..bytes.len() - 1];
    }
    if bytes.len() > 8 {
        return Integer::Long(BigInteger::LittleEndian(bytes));
    }
    let negative = bytes.last().is_some_and(|&last| last >= 0x80);
    let mut whole = if negative { [0xff; 8] } else { [0; 8] };
    whole[..bytes.len()].copy_from_slice(bytes);
    Integer::Int(i64::from_le_bytes(whole))
}

/// The line of an INT or LONG opcode, as picklers write it: no spaces, signs before zero or leading
/// zeros, over which readers differ.
pub(super) fn from_decimal(line: &[u8]) -> Option<Integer<'_>> {
    let text = std::str::from_utf8(line).ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let well_formed = match digits.as_bytes() {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !well_formed || digits.len() > PICKLE_INT_DIGITS_MAX {
        return None;
    }
    Some(text.parse().map_or(Integer::Long(BigInteger::Decimal(text)), Integer::Int))
}

/// The line of a FLOAT opcode.
pub(super) fn float_from_text(line: &[u8]) -> Option<f64> {
    match line {
        b"inf" => Some(f64::INFINITY),
        b"-inf" => Some(f64::NEG_INFINITY),
        b"nan" => Some(f64::NAN),
        _ => {
            let plain = line.iter().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e'));
            let text = std::str::from_utf8(line).ok().filter(|_| plain)?;
            text.parse().ok().filter(|number: &f64| number.is_finite())
        }
    }
}

impl BigInteger<'_> {
    pub(super) fn is_negative(self) -> bool {
        match self {
            Self::LittleEndian(bytes) => bytes.last().is_some_and(|&last| last >= 0x80),
            Self::Decimal(text) => text.starts_with('-'),
        }
    }

    /// Its decimal digits; `None` when they are more than [`PICKLE_INT_DIGITS_MAX`].
    pub(super) fn to_decimal(self) -> Option<String> {
        const CHUNK: u64 = 1_000_000_000;
        // log10(256) is more than 2.4.
        const BYTES_MAX: usize = PICKLE_INT_DIGITS_MAX * 10 / 24 + 1;
        let bytes = match self {
            Self::Decimal(text) => return Some(text.to_owned()),
            Self::LittleEndian(bytes) if bytes.len() > BYTES_MAX => return None,
            Self::LittleEndian(bytes) => bytes,
        };
        let negative = self.is_negative();
        // Nine digits each, least first. Taking in 32 bits at a time keeps each product below 2^63.
        let mut chunks: Vec<u64> = Vec::with_capacity(bytes.len() * 3 / 11 + 2);
        let mut borrow = negative;
        let words: Vec<u32> = bytes
            .chunks(4)
            .map(|chunk| {
                let mut word = if negative { [0xff; 4] } else { [0; 4] };
                word[..chunk.len()].copy_from_slice(chunk);
                let word = u32::from_le_bytes(word);
                if !negative {
                    return word;
                }
                // The magnitude is the complement plus one.
                let (magnitude, carried) = (!word).overflowing_add(u32::from(borrow));
                borrow = carried;
                magnitude
            })
            .collect();
        for &word in words.iter().rev() {
            let mut carry = u64::from(word);
            for chunk in &mut chunks {
                let product = (*chunk << 32) + carry;
                *chunk = product % CHUNK;
                carry = product / CHUNK;
            }
            while carry != 0 {
                chunks.push(carry % CHUNK);
                carry /= CHUNK;
            }
        }
        let mut text = String::with_capacity(chunks.len() * 9 + 1);
        if negative {
            text.push('-');
        }
        for (index, chunk) in chunks.iter().rev().enumerate() {
            text += &if index == 0 { chunk.to_string() } else { format!("{chunk:09}") };
        }
        (text.len() - usize::from(negative) <= PICKLE_INT_DIGITS_MAX).then_some(text)
    }
}

/// `repr(number)`, and `str(number)` of Python 3.
pub(super) fn python3_text(number: f64) -> String {
    python_text(number, &format!("{number:e}"), 16)
}

/// `str(number)` of Python 2: twelve significant digits.
pub(super) fn python2_text(number: f64) -> String {
    python_text(number, &format!("{number:.11e}"), 11)
}

/// Lays out the digits of Rust's scientific notation as Python does. `point_max` is the most digits
/// before the point without an exponent.
fn python_text(number: f64, scientific: &str, point_max: i32) -> String {
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return if number.is_nan() { "nan".to_owned() } else { scientific.to_owned() };
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    let digits = digits.replace('.', "");
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    let point = exponent + 1;
    if point <= -4 || point > point_max {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{dot}{rest}e{exponent_sign}{:02}", exponent.abs());
    }
    match usize::try_from(point) {
        Ok(point) if point >= digits.len() => format!("{sign}{digits:0<point$}.0"),
        Ok(point) if point > 0 => format!("{sign}{}.{}", &digits[..point], &digits[point..]),
        _ => format!("{sign}0.{}{digits}", "0".repeat(point.unsigned_abs() as usize)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_float(number: f64, python3: &str, python2: &str) {
        assert_eq!(python3_text(number), python3);
        assert_eq!(python2_text(number), python2);
    }

    // The expected texts are what Python 3.11 and 2.7 print.
    #[test]
    fn floats_print_as_in_python() {
        check_float(0.0, "0.0", "0.0");
        check_float(-0.0, "-0.0", "-0.0");
        check_float(1_763_866_000.0, "1763866000.0", "1763866000.0");
        check_float(1_763_866_000.25, "1763866000.25", "1763866000.25");
        check_float(1_763_866_000.123_456_7, "1763866000.1234567", "1763866000.12");
        check_float(0.1 + 0.2, "0.30000000000000004", "0.3");
        check_float(99_999_999_999.0, "99999999999.0", "99999999999.0");
        check_float(100_000_000_000.0, "100000000000.0", "1e+11");
        check_float(1e15, "1000000000000000.0", "1e+15");
        check_float(1e16, "1e+16", "1e+16");
        check_float(-1.5e300, "-1.5e+300", "-1.5e+300");
        check_float(0.0001, "0.0001", "0.0001");
        check_float(0.00012345, "0.00012345", "0.00012345");
        check_float(0.00001, "1e-05", "1e-05");
        check_float(5e-324, "5e-324", "4.94065645841e-324");
        check_float(f64::INFINITY, "inf", "inf");
        check_float(f64::NEG_INFINITY, "-inf", "-inf");
        check_float(f64::NAN, "nan", "nan");
    }

    #[track_caller]
    fn check_long(item: Option<Integer<'_>>, expected: Option<&str>) {
        let text = match item {
            Some(Integer::Int(int)) => Some(int.to_string()),
            Some(Integer::Long(long)) => long.to_decimal(),
            _ => None,
        };
        assert_eq!(text.as_deref(), expected);
    }

    #[test]
    fn integers_of_any_size_become_decimal() {
        check_long(Some(from_little_endian(b"")), Some("0"));
        check_long(Some(from_little_endian(b"\xff\0")), Some("255"));
        check_long(Some(from_little_endian(b"\xff\xff\xff")), Some("-1"));
        check_long(Some(from_little_endian(&[0xff; 100])), Some("-1"));
        check_long(Some(from_little_endian(b"\0\0\0\0\0\0\0\x80")), Some("-9223372036854775808"));
        check_long(Some(from_little_endian(b"\0\0\0\0\0\0\0\x80\0")), Some("9223372036854775808"));
        check_long(
            Some(from_little_endian(b"\0\0\0\0\0\0\0\0\0\0\0\x80")),
            Some("-39614081257132168796771975168"),
        );
        check_long(
            Some(from_little_endian(&[0xff; 16].map(|b: u8| b >> 1))),
            Some("169473963133173273960190490760135540607"),
        );
        check_long(Some(from_little_endian(&[1; 2000])), None);
    }

    #[test]
    fn decimal_lines_are_strict() {
        for good in
            ["0", "-1", "17", "9223372036854775808", "-170141183460469231731687303715884105728"]
        {
            check_long(from_decimal(good.as_bytes()), Some(good));
        }
        for bad in ["", "-", "-0", "007", "+1", " 1", "1_0", "1L", "0x10", &"1".repeat(4301)] {
            check_long(from_decimal(bad.as_bytes()), None);
        }
    }

    #[test]
    fn float_lines_are_strict() {
        assert_eq!(float_from_text(b"-1.5e-3"), Some(-0.0015));
        assert_eq!(float_from_text(b"inf"), Some(f64::INFINITY));
        assert!(float_from_text(b"nan").is_some_and(f64::is_nan));
        for bad in [&b""[..], b"1e999", b"infinity", b" 1", b"1_0", b"0x1", b"1.5.5"] {
            assert_eq!(float_from_text(bad), None);
        }
    }
}
