//! The forms in which pickles write text and bytes, checked when met and decoded when wanted.

use std::borrow::Cow;

/// A Python text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text<'a> {
    Plain(&'a str),
    /// The line of a UNICODE opcode: Latin-1 with `\uXXXX` and `\UXXXXXXXX`, checked.
    Escaped(&'a [u8]),
    /// A text that Unicode cannot express: it has lone surrogates.
    Surrogates,
}

/// Python bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Octets<'a> {
    Raw(&'a [u8]),
    /// The line of a STRING opcode without its quotes: bytes with escapes, checked.
    Quoted(&'a [u8]),
    /// A text that Latin-1 can encode, checked: its characters are the bytes.
    Latin1(&'a str),
    /// The same of an escaped text.
    Latin1Escaped(&'a [u8]),
}

impl<'a> Text<'a> {
    /// Checks UTF-8 as Python's `surrogatepass` has it: a surrogate is a character like others.
    #[inline]
    pub(super) fn from_utf8(raw: &'a [u8]) -> Option<Self> {
        match std::str::from_utf8(raw) {
            Ok(text) => Some(Self::Plain(text)),
            Err(_) => Self::from_utf8_with_surrogates(raw),
        }
    }

    #[cold]
    fn from_utf8_with_surrogates(mut raw: &'a [u8]) -> Option<Self> {
        while let Err(error) = std::str::from_utf8(raw) {
            let [0xed, 0xa0..=0xbf, 0x80..=0xbf, rest @ ..] = &raw[error.valid_up_to()..] else {
                return None;
            };
            raw = rest;
        }
        Some(Self::Surrogates)
    }

    /// Checks the line of a UNICODE opcode.
    pub(super) fn from_escaped(line: &'a [u8]) -> Option<Self> {
        if line.is_ascii() && !line.contains(&b'\\') {
            return std::str::from_utf8(line).ok().map(Self::Plain);
        }
        let mut surrogates = false;
        for code in CodePoints::new(line) {
            let code = code?;
            if char::from_u32(code).is_none() {
                // Out of range, unless it is a surrogate.
                if !(0xd800..0xe000).contains(&code) {
                    return None;
                }
                surrogates = true;
            }
        }
        Some(if surrogates { Self::Surrogates } else { Self::Escaped(line) })
    }

    /// The text, unless Unicode cannot express it.
    pub(super) fn to_str(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Plain(text) => Some(Cow::Borrowed(text)),
            Self::Escaped(line) => {
                let chars = CodePoints::new(line).map(|code| code.and_then(char::from_u32));
                chars.collect::<Option<String>>().map(Cow::Owned)
            }
            Self::Surrogates => None,
        }
    }

    /// Bytes of the pickle that it takes; 0 if it is no Unicode.
    pub(super) fn raw_bytes(self) -> usize {
        match self {
            Self::Plain(text) => text.len(),
            Self::Escaped(line) => line.len(),
            Self::Surrogates => 0,
        }
    }

    /// What `.encode('latin1')` returns, unless a character is beyond it.
    pub(super) fn to_latin1(self) -> Option<Octets<'a>> {
        match self {
            Self::Plain(text) if text.is_ascii() => Some(Octets::Raw(text.as_bytes())),
            Self::Plain(text) => {
                text.chars().all(|c| u32::from(c) <= 0xff).then_some(Octets::Latin1(text))
            }
            Self::Escaped(line) => CodePoints::new(line)
                .all(|code| code.is_some_and(|code| code <= 0xff))
                .then_some(Octets::Latin1Escaped(line)),
            Self::Surrogates => None,
        }
    }
}

impl<'a> Octets<'a> {
    /// Checks the line of a STRING opcode: quotes, and within them bytes with escapes.
    pub(super) fn from_quoted(line: &'a [u8]) -> Option<Self> {
        let (first, rest) = line.split_first()?;
        let (last, inner) = rest.split_last()?;
        if first != last || !matches!(first, b'\'' | b'"') {
            return None;
        }
        if !inner.contains(&b'\\') {
            return Some(Self::Raw(inner));
        }
        Unquoted { rest: inner }.all(|byte| byte.is_some()).then_some(Self::Quoted(inner))
    }

    /// The bytes.
    pub(super) fn to_bytes(self) -> Cow<'a, [u8]> {
        match self {
            Self::Raw(raw) => Cow::Borrowed(raw),
            // What was checked has no bad escapes and no characters beyond a byte.
            Self::Quoted(inner) => Cow::Owned(Unquoted { rest: inner }.flatten().collect()),
            Self::Latin1(text) => Cow::Owned(text.chars().map(|c| c as u8).collect()),
            Self::Latin1Escaped(line) => {
                Cow::Owned(CodePoints::new(line).flatten().map(|code| code as u8).collect())
            }
        }
    }

    /// Bytes of the pickle that it takes: at least as many as it stands for.
    pub(super) fn raw_bytes(self) -> usize {
        match self {
            Self::Raw(raw) | Self::Quoted(raw) | Self::Latin1Escaped(raw) => raw.len(),
            Self::Latin1(text) => text.len(),
        }
    }
}

/// The code points of a UNICODE opcode's line; `None` for a broken escape.
struct CodePoints<'a> {
    rest: &'a [u8],
    /// The last byte was a backslash that began no escape: the next begins none either.
    literal: bool,
}

impl<'a> CodePoints<'a> {
    fn new(line: &'a [u8]) -> Self {
        Self { rest: line, literal: false }
    }
}

impl Iterator for CodePoints<'_> {
    type Item = Option<u32>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&first, rest) = self.rest.split_first()?;
        let digits = match rest.first() {
            Some(b'u') if first == b'\\' && !self.literal => 4,
            Some(b'U') if first == b'\\' && !self.literal => 8,
            _ => {
                self.rest = rest;
                self.literal = first == b'\\' && !self.literal;
                return Some(Some(u32::from(first)));
            }
        };
        let Some((hex, rest)) = rest[1..].split_at_checked(digits) else {
            self.rest = &[];
            return Some(None);
        };
        self.rest = rest;
        Some(from_hex(hex))
    }
}

/// The bytes of a STRING opcode's text; `None` for a broken or unusual escape.
struct Unquoted<'a> {
    rest: &'a [u8],
}

impl Iterator for Unquoted<'_> {
    type Item = Option<u8>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        if first != b'\\' {
            return Some(Some(first));
        }
        let (&escape, rest) = rest.split_first().unwrap_or((&0, &[]));
        self.rest = rest;
        Some(match escape {
            b'\\' | b'\'' | b'"' => Some(escape),
            b'a' => Some(0x07),
            b'b' => Some(0x08),
            b't' => Some(b'\t'),
            b'n' => Some(b'\n'),
            b'v' => Some(0x0b),
            b'f' => Some(0x0c),
            b'r' => Some(b'\r'),
            b'x' => rest.split_at_checked(2).and_then(|(hex, rest)| {
                self.rest = rest;
                from_hex(hex).map(|byte| byte as u8)
            }),
            _ => None,
        })
    }
}

fn from_hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, &digit| {
        char::from(digit).to_digit(16).map(|digit| number << 4 | digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_escaped(line: &[u8], expected: Option<&str>) {
        let text = Text::from_escaped(line).and_then(Text::to_str);
        assert_eq!(text.as_deref(), expected);
    }

    #[test]
    fn unicode_lines_decode_as_python_decodes_them() {
        check_escaped(b"plain", Some("plain"));
        check_escaped(b"gr\xfc\xdfe \\u20ac \\U0001f600", Some("grüße € 😀"));
        check_escaped(b"a\\u005cb\\u000ac", Some("a\\b\nc"));
        check_escaped(b"\\\\u0041 \\\\\\u0041 \\n \\", Some("\\\\u0041 \\\\A \\n \\"));
        check_escaped(b"\\u00", None);
        check_escaped(b"\\u00zz", None);
        check_escaped(b"\\U00110000", None);
        assert!(matches!(Text::from_escaped(b"\\ud83d"), Some(Text::Surrogates)));
    }

    #[test]
    fn utf8_may_hold_surrogates_but_nothing_else_amiss() {
        assert!(matches!(Text::from_utf8("grüße".as_bytes()), Some(Text::Plain("grüße"))));
        assert!(matches!(Text::from_utf8(b"a\xed\xa0\xbdb"), Some(Text::Surrogates)));
        assert!(Text::from_utf8(b"a\xed\xa0").is_none());
        assert!(Text::from_utf8(b"\xed\xa0\xbd\xff").is_none());
        assert!(Text::from_utf8(b"\xff").is_none());
    }

    #[track_caller]
    fn check_quoted(line: &[u8], expected: Option<&[u8]>) {
        let bytes = Octets::from_quoted(line).map(Octets::to_bytes);
        assert_eq!(bytes.as_deref(), expected);
    }

    #[test]
    fn string_lines_decode_as_python_decodes_them() {
        check_quoted(b"''", Some(b""));
        check_quoted(b"'abc'", Some(b"abc"));
        check_quoted(br#""it's""#, Some(b"it's"));
        check_quoted(br"'\x00\xff\n\t\r\\\''", Some(b"\0\xff\n\t\r\\'"));
        for broken in [&b""[..], b"'", b"abc", b"'abc\"", br"'\x0'", br"'\q'", br"'\'"] {
            check_quoted(broken, None);
        }
    }

    #[test]
    fn latin1_takes_256_characters() {
        let bytes = |text: Text<'static>| text.to_latin1().map(Octets::to_bytes);
        assert_eq!(bytes(Text::Plain("aÿ\u{80}")).as_deref(), Some(&b"a\xff\x80"[..]));
        assert_eq!(bytes(Text::Plain("€")), None);
        assert_eq!(bytes(Text::Escaped(b"\\u0041\xff")).as_deref(), Some(&b"A\xff"[..]));
        assert_eq!(bytes(Text::Escaped(b"\\u20ac")), None);
    }
}
