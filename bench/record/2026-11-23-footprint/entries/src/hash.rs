//! The hashes to choose from: foldhash, or one that keeps neighbours together.

#[cfg(not(any(feature = "near3", feature = "near4", feature = "near6")))]
pub use foldhash::quality::RandomState;
#[cfg(any(feature = "near3", feature = "near4", feature = "near6"))]
pub use near::RandomState;

#[cfg(any(feature = "near3", feature = "near4", feature = "near6"))]
mod near {
    use std::hash::{BuildHasher, Hasher};

    const NEAR_BITS: u32 = if cfg!(feature = "near3") {
        3
    } else if cfg!(feature = "near4") {
        4
    } else {
        6
    };
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

    #[derive(Clone, Copy)]
    pub struct RandomState(u64);

    impl Default for RandomState {
        fn default() -> Self {
            Self(fastrand::u64(..) | 1)
        }
    }

    impl BuildHasher for RandomState {
        type Hasher = IdHasher;

        fn build_hasher(&self) -> IdHasher {
            IdHasher { key: self.0, state: self.0.rotate_left(32), near: 0 }
        }
    }

    pub struct IdHasher {
        key: u64,
        state: u64,
        near: u64,
    }

    impl Hasher for IdHasher {
        fn finish(&self) -> u64 {
            let spread = (self.state ^ (self.state >> 32)).wrapping_mul(GOLDEN);
            let spread = spread ^ (spread >> 32);
            ((spread << NEAR_BITS) | self.near) ^ (self.near << (u64::BITS - NEAR_BITS))
        }

        fn write(&mut self, _: &[u8]) {
            unreachable!("ids are two words")
        }

        fn write_u64(&mut self, word: u64) {
            let mixed = self.state ^ self.near.rotate_right(NEAR_BITS) ^ (word >> NEAR_BITS);
            let product = u128::from(mixed) * u128::from(self.key);
            self.state = (product as u64) ^ (product >> 64) as u64;
            self.near = word & ((1 << NEAR_BITS) - 1);
        }
    }
}
