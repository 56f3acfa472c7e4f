//! The lanes compiled for vector instructions that only some processors have.
#![expect(unsafe_code, reason = "calls of what is compiled for instructions found at run time")]

use super::{Block, compress_each};

/// Of both kinds of vectors.
pub(super) const LANES: usize = 16;

type States = [[u32; LANES]; 4];
type Chunks<'a> = [&'a [Block]; LANES];

/// 16 lanes. The caller has found AVX-512.
pub(super) fn compress_avx512(states: &mut States, chunks: &Chunks<'_>, blocks: usize) {
    #[target_feature(enable = "avx512f")]
    fn vectors(states: &mut States, chunks: &Chunks<'_>, blocks: usize) {
        compress_each(states, chunks, blocks);
    }
    assert!(is_x86_feature_detected!("avx512f"));
    // SAFETY: this processor has AVX-512: the line above makes sure.
    unsafe { vectors(states, chunks, blocks) }
}

/// 16 lanes, in two registers: two chains keep a processor busier than one. The caller has found AVX2.
pub(super) fn compress_avx2(states: &mut States, chunks: &Chunks<'_>, blocks: usize) {
    #[target_feature(enable = "avx2")]
    fn vectors(states: &mut States, chunks: &Chunks<'_>, blocks: usize) {
        compress_each(states, chunks, blocks);
    }
    assert!(is_x86_feature_detected!("avx2"));
    // SAFETY: this processor has AVX2: the line above makes sure.
    unsafe { vectors(states, chunks, blocks) }
}
