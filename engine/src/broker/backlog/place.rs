//! Where an unacknowledged message is queued, in 32 bits of its entry in the pending map.

use crate::retry::Token;

/// A message is on the retry wheel, among the waiting, with groups, or dead, and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Wheel(Token),
    Waiting(u32),
    /// Groups know when it is sent.
    Groups,
    /// It is a dead letter and nothing else: nobody gets it.
    Dead,
    /// Nobody gets it before its time.
    Later,
}

const WAITING_BIT: u32 = 1 << 31;
const GROUPS: u32 = u32::MAX;
const DEAD: u32 = u32::MAX - 1;
const LATER: u32 = u32::MAX - 2;

impl Place {
    /// Tokens of the wheel lie below 2^31, and places among the waiting below 2^31 - 3.
    pub(super) fn to_bits(self) -> u32 {
        match self {
            Self::Wheel(token) => {
                debug_assert!(token.to_bits() < WAITING_BIT);
                token.to_bits()
            }
            Self::Waiting(place) => place | WAITING_BIT,
            Self::Groups => GROUPS,
            Self::Dead => DEAD,
            Self::Later => LATER,
        }
    }

    pub(super) fn from_bits(bits: u32) -> Self {
        if bits == GROUPS {
            Self::Groups
        } else if bits == DEAD {
            Self::Dead
        } else if bits == LATER {
            Self::Later
        } else if bits & WAITING_BIT == 0 {
            Self::Wheel(Token::from_bits(bits))
        } else {
            Self::Waiting(bits & !WAITING_BIT)
        }
    }
}
