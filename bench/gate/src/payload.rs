//! Payloads that can be checked: who published it, a number, both in hexadecimal, and filling.

/// The name that everything is published under.
pub const NAME: &str = "gate";

const PUBLISHER_DIGITS: usize = 4;
const DIGITS: usize = 16;

/// Whose message it is, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The publisher, counted from 0.
    pub publisher: usize,
    /// Its message, counted from 0.
    pub number: u64,
}

/// Makes `text` the payload with this mark and length.
///
/// # Panics
/// When the mark does not fit in so few bytes.
pub fn write(text: &mut String, mark: Mark, bytes: usize) {
    assert!(bytes >= DIGITS, "a payload has at least {DIGITS} bytes");
    text.clear();
    let Mark { publisher, number } = mark;
    text.push_str(&format!("{publisher:04x}{number:012x}"));
    text.extend(std::iter::repeat_n('x', bytes - DIGITS));
}

/// The mark of a payload.
pub fn mark(payload: &[u8]) -> Option<Mark> {
    let digits = std::str::from_utf8(payload.get(..DIGITS)?).ok()?;
    let (publisher, number) = digits.split_at_checked(PUBLISHER_DIGITS)?;
    Some(Mark {
        publisher: usize::from_str_radix(publisher, 16).ok()?,
        number: u64::from_str_radix(number, 16).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back() {
        let mut text = String::new();
        let written = Mark { publisher: 3, number: 0xfeed };
        write(&mut text, written, 128);
        assert_eq!((text.len(), mark(text.as_bytes())), (128, Some(written)));
        assert_eq!(mark(b"short"), None);
    }
}
