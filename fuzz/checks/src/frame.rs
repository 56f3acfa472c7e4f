//! The check of `wire::frame`.

use mezzenger::NameError;
use mezzenger::wire::frame::{Frame, FrameError, split_v2, v1_prefix, v2_prefix};

/// Cuts any bytes as a frame: what is accepted is exactly a prefix and a body, what is refused breaks the
/// rule that is named.
///
/// # Panics
/// When `Frame::parse` and `docs/wire-format.md` differ.
pub fn frame(data: &[u8]) {
    match (Frame::parse(data), expected(data)) {
        (Ok(Frame::V1 { name, pickle }), Ok(())) => {
            assert_eq!([&v1_prefix(name), pickle].concat(), data);
            assert!(split_v2(data).is_none());
        }
        (Ok(Frame::V2 { name, body }), Ok(())) => {
            assert_eq!([&v2_prefix(name), body].concat(), data);
            assert_eq!(split_v2(data).map(|(name, _)| name), Some(name));
        }
        (Err(error), Err(expected)) => {
            assert_eq!(error, expected);
            // What it tells people is text without a surprise in it.
            assert!(!error.to_string().is_empty());
        }
        (found, expected) => panic!("{found:?}, and the document says {expected:?}"),
    }
}

/// Whether the document allows the frame, and if not, by which rule.
fn expected(data: &[u8]) -> Result<(), FrameError> {
    let named = match data {
        [] => return Err(FrameError::Empty),
        [0x01, rest @ ..] => rest,
        [version @ 0..0x20, ..] => return Err(FrameError::Version { version: *version }),
        v1 => v1,
    };
    let name = named.split(|&byte| byte == b'|').next().unwrap_or_default();
    if name.len() == named.len() || name.len() > 255 {
        return Err(FrameError::NoSeparator);
    }
    if name.is_empty() {
        return Err(NameError::Empty.into());
    }
    let Ok(text) = std::str::from_utf8(name) else { return Err(NameError::NotUtf8.into()) };
    let is_control = |c: char| matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}');
    if text.contains(is_control) { Err(NameError::Control.into()) } else { Ok(()) }
}
