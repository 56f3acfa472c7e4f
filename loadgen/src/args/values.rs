//! Values that flags take, checked.

use std::fmt;
use std::str::FromStr;

use mezzenger::config::MAX_MESSAGE_BYTES;
use serde::{Serialize, Serializer};

use crate::header::Header;

/// Room that name and record fields need in a message besides its payload, generously.
const RECORD_BYTES_MAX: usize = 1024;

/// Largest payload: what clients and servers take by default.
const SIZE_MAX: usize = MAX_MESSAGE_BYTES - RECORD_BYTES_MAX;

/// Bytes of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

/// Why a text is no [`Size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SizeError {
    /// It is no number.
    #[error("must be a number of bytes")]
    NotANumber,
    /// A message would have no room for its header.
    #[error("must be at least {}: what each message carries for its verification", Header::BYTES)]
    TooSmall,
    /// A message would be larger than clients and servers take.
    #[error("must be at most {SIZE_MAX}: what clients and servers take by default")]
    TooLarge,
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        match text.parse().map_err(|_| SizeError::NotANumber)? {
            size if size < Header::BYTES => Err(SizeError::TooSmall),
            size if size > SIZE_MAX => Err(SizeError::TooLarge),
            size => Ok(Self(size)),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Reads messages a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("must be a number of messages above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_room_for_its_header() {
        let size = |text: &str| text.parse::<Size>();
        assert_eq!(size("32"), Ok(Size(32)));
        assert_eq!(size("31"), Err(SizeError::TooSmall));
        assert_eq!(size("67108864"), Err(SizeError::TooLarge));
        assert_eq!(size("much"), Err(SizeError::NotANumber));
        assert!(SizeError::TooSmall.to_string().contains("at least 32"));
    }

    #[test]
    fn a_rate_is_positive() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for text in ["0", "-1", "inf", "NaN", "fast"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
