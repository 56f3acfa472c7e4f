//! The rules for names, the same for both formats.

use crate::limits::NAME_BYTES_MAX;

/// The byte that ends a name in every frame.
pub const SEPARATOR: u8 = b'|';
/// The request that is answered and goes no further.
pub const PING: &str = "ping";
/// The request that acknowledges messages and goes no further.
pub const ACK: &str = "ack";
/// What the names begin with under which publishers get answers: their ids stand behind it, in hexadecimal.
pub const REPLY_PREFIX: &str = "_reply.";

/// Which rule a name breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no bytes.
    #[error("a name must not be empty")]
    Empty,
    /// The name is longer than 255 bytes.
    #[error("a name has at most {NAME_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// How many bytes it has.
        bytes: usize,
    },
    /// The name is not UTF-8.
    #[error("a name must be UTF-8 text")]
    NotUtf8,
    /// The name holds the separator.
    #[error("a name must not hold '|', which ends it on the wire")]
    Separator,
    /// The name holds a control character.
    #[error("a name must not hold control characters")]
    Control,
    /// The name is `ping` or `ack`.
    #[error("the names 'ping' and 'ack' are the broker's own: use another")]
    Reserved,
    /// A group's name holds what patterns are made of.
    #[error(
        "a group's name must not hold '{0}', of which patterns are made: the filter says which messages the group gets"
    )]
    Wildcard(char),
}

/// Checks the bytes of a name, reserved ones allowed, and returns it as text.
///
/// # Errors
/// The first rule that the name breaks.
pub fn check(bytes: &[u8]) -> Result<&str, NameError> {
    if bytes.is_empty() {
        return Err(NameError::Empty);
    }
    if bytes.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { bytes: bytes.len() });
    }
    let name = std::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8)?;
    for c in name.chars() {
        if c == '|' {
            return Err(NameError::Separator);
        }
        if c.is_control() {
            return Err(NameError::Control);
        }
    }
    Ok(name)
}

/// Checks a name that a message is to be published or subscribed under: no rule broken, and not reserved.
///
/// # Errors
/// The first rule that the name breaks.
pub fn check_publishable(name: &str) -> Result<(), NameError> {
    check(name.as_bytes())?;
    if is_reserved(name) { Err(NameError::Reserved) } else { Ok(()) }
}

/// Checks the name of a group that is to be made or joined: a publishable one without `*` and `>`, as it was meant for a filter
/// otherwise.
///
/// # Errors
/// The first rule that the name breaks.
pub fn check_group(name: &str) -> Result<(), NameError> {
    check_publishable(name)?;
    name.chars()
        .find(|char| ['*', '>'].contains(char))
        .map_or(Ok(()), |at| Err(NameError::Wildcard(at)))
}

/// Whether the broker keeps this name for itself.
pub fn is_reserved(name: &str) -> bool {
    name == PING || name == ACK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_error(bytes: &[u8], expected: NameError) {
        assert_eq!(check(bytes), Err(expected));
    }

    #[test]
    fn each_rule_has_its_error() {
        check_error(b"", NameError::Empty);
        check_error(&[b'a'; 256], NameError::TooLong { bytes: 256 });
        check_error(b"a\xff", NameError::NotUtf8);
        check_error(b"a|b", NameError::Separator);
        check_error(b"a\nb", NameError::Control);
        check_error("a\u{85}b".as_bytes(), NameError::Control);
        assert_eq!(check_publishable("ping"), Err(NameError::Reserved));
        assert_eq!(check_publishable("ack"), Err(NameError::Reserved));
        assert_eq!(check_group("ack"), Err(NameError::Reserved));
        assert_eq!(check_group("jobs.*"), Err(NameError::Wildcard('*')));
        assert_eq!(check_group("jobs>"), Err(NameError::Wildcard('>')));
    }

    #[test]
    fn anything_else_is_a_name() {
        assert_eq!(check(&[b'a'; 255]).map(str::len), Ok(255));
        assert_eq!(check("grüße/ 1.*".as_bytes()), Ok("grüße/ 1.*"));
        assert_eq!(check_publishable("pings"), Ok(()));
        assert_eq!(check_group("pack/ers.2"), Ok(()));
    }
}
