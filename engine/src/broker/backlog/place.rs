//! Where an unacknowledged message is, besides the pending map: 32 bits, which the map keeps for us.

use crate::retry::Token;

/// A message is on the retry wheel or among the waiting, never in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Wheel(Token),
    Waiting(u32),
}

const WAITING_BIT: u32 = 1 << 31;

impl Place {
    /// Tokens of the wheel and places among the waiting both lie below 2^31.
    pub(super) fn to_bits(self) -> u32 {
        match self {
            Self::Wheel(token) => {
                debug_assert!(token.to_bits() < WAITING_BIT);
                token.to_bits()
            }
            Self::Waiting(place) => place | WAITING_BIT,
        }
    }

    pub(super) fn from_bits(bits: u32) -> Self {
        if bits & WAITING_BIT == 0 {
            Self::Wheel(Token::from_bits(bits))
        } else {
            Self::Waiting(bits & !WAITING_BIT)
        }
    }
}
