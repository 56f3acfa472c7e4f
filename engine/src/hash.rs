//! A quick hash for ids that keeps neighbours together.
//!
//! It has a random key, because ids come from strangers: with a hash that anyone can compute, a client could fill one
//! stretch of a table.

use std::hash::{BuildHasher, Hasher};

use crate::random::random;

/// Makes hashers with one random key.
#[derive(Clone, Debug)]
pub(crate) struct IdHashes(u64);

impl Default for IdHashes {
    fn default() -> Self {
        Self(random() | 1)
    }
}

impl BuildHasher for IdHashes {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher { key: self.0, state: self.0.rotate_left(32), near: 0 }
    }
}

/// Bits of the last word that choose among neighbouring places of a table. More of them save few cache
/// misses more, and fill tables unevenly.
const NEAR_BITS: u32 = 4;

/// 2^64 divided by the golden ratio, odd: Fibonacci hashing, Knuth, The Art of Computer Programming 6.4.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Folds each word into the state by a multiplication with the key, except the lowest bits of the last.
///
/// Those stay as they are, so that messages with consecutive numbers lie side by side in a large map, in the
/// same cache lines and pages. Ids chosen to agree in these bits make searches longer by a small factor only,
/// because all other bits are hashed with the key.
pub(crate) struct IdHasher {
    key: u64,
    state: u64,
    near: u64,
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        // A multiplication leaves little of some words in its low bits, depending on the key. This one
        // brings the high bits down to them.
        let spread = (self.state ^ (self.state >> 32)).wrapping_mul(GOLDEN);
        let spread = spread ^ (spread >> 32);
        // A table takes the place from the low bits and a tag from the high ones: both must vary.
        ((spread << NEAR_BITS) | self.near) ^ (self.near << (u64::BITS - NEAR_BITS))
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = self.state ^ self.near.rotate_right(NEAR_BITS) ^ (word >> NEAR_BITS);
        let product = u128::from(mixed) * u128::from(self.key);
        self.state = (product as u64) ^ (product >> 64) as u64;
        self.near = word & ((1 << NEAR_BITS) - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Places of a table of 4096 that these numbers of one publisher are first looked for at.
    fn places(numbers: impl Iterator<Item = u64>) -> usize {
        let hashes = IdHashes::default();
        numbers.map(|n| hashes.hash_one((7_u64, n)) % 4096).collect::<HashSet<_>>().len()
    }

    #[test]
    fn consecutive_and_far_numbers_spread() {
        // Each time with another key.
        for _ in 0..1000 {
            check_spread();
        }
    }

    fn check_spread() {
        assert!(places(0..2048) > 1024);
        assert!(places((0..2048).map(|n| n << 4)) > 160, "of 256 that agree in their last bits");
        assert!(places((0..2048).map(|n| (n << 50) | (n % 64))) > 1024);
    }

    #[test]
    fn the_near_bits_of_every_word_count() {
        let hashes = IdHashes::default();
        let all: HashSet<u64> = (0..64_u64)
            .flat_map(|a| (0..64_u64).map(move |b| (a, b)))
            .map(|id| hashes.hash_one(id))
            .collect();
        assert_eq!(all.len(), 64 * 64);
    }
}
