//! The hash of the pending map's keys, which strangers choose.
//!
//! A client can send any id, and ids that share a hash would make the map probe far and grow. So the
//! hash is keyed, and the key comes from the operating system's random source, through the only door
//! that std has to it: [`std::hash::RandomState`]. foldhash's own default seeds itself from addresses
//! and the time, which is less than that. SipHash costs 15 to 20 ns more for each operation.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

static SHARED: LazyLock<SharedSeed> = LazyLock::new(|| SharedSeed::from_u64(secret()));

/// A number that nobody outside can know.
fn secret() -> u64 {
    RandomState::new().hash_one(0)
}

/// A hasher state with a key of its own.
pub(super) fn keyed() -> SeedableRandomState {
    SeedableRandomState::with_seed(secret(), &SHARED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_own_key() {
        assert_ne!(keyed().hash_one([1_u64, 1]), keyed().hash_one([1_u64, 1]));
    }
}
