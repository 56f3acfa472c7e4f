//! The bytes of a message's payload, as settings name them.

use std::fmt;
use std::str::FromStr;

use mezzenger::config::MAX_MESSAGE_BYTES;
use serde::{Serialize, Serializer};

use crate::header::Header;

/// Room that name and record fields need in a message besides its payload, generously.
const RECORD_BYTES_MAX: usize = 1024;

/// Largest payload: what clients and servers take by default.
const SIZE_MAX: usize = MAX_MESSAGE_BYTES - RECORD_BYTES_MAX;

/// Bytes of a payload: `128`, or `64..4096`, both included and all between equally likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) min: usize,
    pub(crate) max: usize,
}

/// Why a text is no [`Size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SizeError {
    /// It is neither a number nor two.
    #[error("must be a number of bytes, or two like 64..4096")]
    NotANumber,
    /// The first of two is larger.
    #[error("must begin with the smaller number")]
    Backwards,
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
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let bytes = |text: &str| text.parse::<usize>().map_err(|_| SizeError::NotANumber);
        match (bytes(min)?, bytes(max)?) {
            (min, _) if min < Header::BYTES => Err(SizeError::TooSmall),
            (_, max) if max > SIZE_MAX => Err(SizeError::TooLarge),
            (min, max) if min > max => Err(SizeError::Backwards),
            (min, max) => Ok(Self { min, max }),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.min == self.max {
            true => write!(f, "{}", self.min),
            false => write!(f, "{}..{}", self.min, self.max),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.min == self.max {
            true => self.min.serialize(serializer),
            false => serializer.collect_str(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_room_for_its_header() {
        let size = |text: &str| text.parse::<Size>();
        assert_eq!(size("32"), Ok(Size { min: 32, max: 32 }));
        assert_eq!(size("64..4096"), Ok(Size { min: 64, max: 4096 }));
        assert_eq!(size("31..4096"), Err(SizeError::TooSmall));
        assert_eq!(size("64..67108864"), Err(SizeError::TooLarge));
        assert_eq!(size("65..64"), Err(SizeError::Backwards));
        assert_eq!(size("64.."), Err(SizeError::NotANumber));
        assert_eq!(size("31"), Err(SizeError::TooSmall));
        assert_eq!(size("67108864"), Err(SizeError::TooLarge));
        assert_eq!(size("much"), Err(SizeError::NotANumber));
        assert!(SizeError::TooSmall.to_string().contains("at least 32"));
    }
}
