//! MD5 of several messages at once, one in each lane of a vector register.
//!
//! MD5 is one long chain: each step waits for the one before, and most of a processor idles meanwhile.
//! Lanes run as many chains as a register has words. The algorithm is RFC 1321's; only its words are
//! vectors. A message that ends makes room for the next, so that lengths may differ.
#![expect(
    clippy::needless_range_loop,
    reason = "loops that count lanes become vector instructions"
)]

#[cfg(target_arch = "x86_64")]
mod x86;

use super::{Checksum, Content, Seconds};

/// What MD5 takes at a time.
type Block = [u8; 64];

/// Blocks that a lane puts together at once when its text does not lie in one piece: a message of up to
/// some 160 bytes of payload as a whole.
const PIECED_BLOCKS: usize = 4;

/// Fewer lanes than this are slower together than one after the other.
pub(super) const LIVE_MIN: usize = 3;

/// MD5's state before the first block, RFC 1321 section 3.3.
const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// How far each step of a round rotates, in turns of four.
const ROTATIONS: [[u32; 4]; 4] =
    [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// Integer parts of `2^32 * abs(sin(step))`, steps counted from 1.
#[rustfmt::skip]
const SINES: [[u32; 16]; 4] = [
    [
        0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
        0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    ],
    [
        0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
        0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    ],
    [
        0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
        0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    ],
    [
        0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
        0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
    ],
];

/// Advances the states of all lanes by the first blocks of their chunks, this many of each.
type Compress<const LANES: usize> =
    fn(states: &mut [[u32; LANES]; 4], chunks: &[&[Block]; LANES], blocks: usize);

/// Takes messages and appends the checksum of each, in their order. Leaves all of them where the
/// processor has no lanes.
pub(super) fn checksums<'a>(
    contents: &mut impl Iterator<Item = Content<'a>>,
    sums: &mut Vec<Checksum>,
) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        run(contents, sums, x86::compress_avx512);
    } else if is_x86_feature_detected!("avx2") {
        run(contents, sums, x86::compress_avx2);
    }
}

/// How many messages are done side by side.
pub(super) fn count() -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") || is_x86_feature_detected!("avx2") {
        return x86::LANES;
    }
    1
}

/// A lane and the message in it: the text name, payload, time, as MD5 pads it.
struct Lane<'a> {
    content: Content<'a>,
    time: Seconds,
    text_bytes: usize,
    /// With a set bit and the length behind it, in whole blocks. 0 when the lane is empty.
    padded_bytes: usize,
    /// Bytes of text that have been through.
    done: usize,
    /// Which checksum it becomes.
    at: usize,
    /// Blocks put together, of which `pieced_from..pieced_to` are ahead.
    pieced: [Block; PIECED_BLOCKS],
    pieced_from: usize,
    pieced_to: usize,
}

impl<'a> Lane<'a> {
    const EMPTY: Self = Self {
        content: Content { name: "", payload: &[], timestamp_ns: 0 },
        time: Seconds::EMPTY,
        text_bytes: 0,
        padded_bytes: 0,
        done: 0,
        at: 0,
        pieced: [[0; 64]; PIECED_BLOCKS],
        pieced_from: 0,
        pieced_to: 0,
    };

    fn take(&mut self, content: Content<'a>, at: usize) {
        self.content = content;
        self.time = Seconds::new(content.timestamp_ns);
        self.text_bytes = content.name.len() + content.payload.len() + self.time.as_bytes().len();
        self.padded_bytes = (self.text_bytes + 9).next_multiple_of(64);
        self.done = 0;
        self.at = at;
        self.piece_together();
    }

    fn is_live(&self) -> bool {
        self.done < self.padded_bytes
    }

    /// The blocks of the payload that lie ahead in one piece.
    fn straight(&self) -> &'a [Block] {
        let payload = self.content.payload;
        let from = self.done.checked_sub(self.content.name.len());
        from.and_then(|from| payload.get(from..)).map_or(&[], |rest| rest.as_chunks().0)
    }

    /// The blocks that can go through next; a live lane has some.
    fn chunk(&self) -> &[Block] {
        if self.pieced_from < self.pieced_to {
            &self.pieced[self.pieced_from..self.pieced_to]
        } else {
            self.straight()
        }
    }

    /// Books that this many blocks of the chunk have been through.
    fn advance(&mut self, blocks: usize) {
        self.done += blocks * 64;
        if self.pieced_from < self.pieced_to {
            self.pieced_from += blocks;
        }
        if self.is_live() && self.pieced_from == self.pieced_to && self.straight().is_empty() {
            self.piece_together();
        }
    }

    /// Puts the next blocks together: all that are left, or those up to where the payload lies straight.
    fn piece_together(&mut self) {
        let name = self.content.name.as_bytes();
        let left = (self.padded_bytes - self.done) / 64;
        let before_payload = name.len().saturating_sub(self.done).div_ceil(64);
        let blocks = if left <= PIECED_BLOCKS { left } else { before_payload.min(PIECED_BLOCKS) };
        (self.pieced_from, self.pieced_to) = (0, blocks);
        let out = self.pieced[..blocks].as_flattened_mut();
        if self.text_bytes < self.done + out.len() {
            let padding_from = self.text_bytes.saturating_sub(self.done);
            out[padding_from..].fill(0);
        }
        let length = (self.text_bytes as u64).wrapping_mul(8).to_le_bytes();
        let payload_end = name.len() + self.content.payload.len();
        for (piece, at) in [
            (name, 0),
            (self.content.payload, name.len()),
            (self.time.as_bytes(), payload_end),
            (&[0x80], self.text_bytes),
            (&length, self.padded_bytes - length.len()),
        ] {
            let from = at.max(self.done);
            let to = (at + piece.len()).min(self.done + out.len());
            if from < to {
                out[from - self.done..to - self.done].copy_from_slice(&piece[from - at..to - at]);
            }
        }
    }
}

fn run<'a, const LANES: usize>(
    contents: &mut impl Iterator<Item = Content<'a>>,
    sums: &mut Vec<Checksum>,
    compress: Compress<LANES>,
) {
    let mut states = INITIAL.map(|word| [word; LANES]);
    let mut lanes = [const { Lane::EMPTY }; LANES];
    let mut live = 0;
    loop {
        for (at, lane) in lanes.iter_mut().enumerate() {
            if !lane.is_live()
                && let Some(content) = contents.next()
            {
                lane.take(content, sums.len());
                live += 1;
                sums.push(Checksum::default());
                states.iter_mut().zip(INITIAL).for_each(|(words, initial)| words[at] = initial);
            }
        }
        if live < LIVE_MIN {
            break;
        }
        let ahead = |lane: &&Lane<'_>| lane.chunk().len();
        let Some(shortest) = lanes.iter().filter(|lane| lane.is_live()).min_by_key(ahead) else {
            break;
        };
        let (shortest, blocks) = (shortest.chunk(), shortest.chunk().len());
        // An empty lane repeats another's work.
        let chunk = |lane| if Lane::is_live(lane) { Lane::chunk(lane) } else { shortest };
        compress(&mut states, &lanes.each_ref().map(chunk), blocks);
        for (at, lane) in lanes.iter_mut().enumerate().filter(|(_, lane)| lane.is_live()) {
            lane.advance(blocks);
            if !lane.is_live() {
                sums[lane.at] = digest(states.map(|words| words[at]));
                live -= 1;
            }
        }
    }
    for (at, lane) in lanes.iter_mut().enumerate().filter(|(_, lane)| lane.is_live()) {
        let mut state = states.map(|words| [words[at]]);
        while lane.is_live() {
            let blocks = lane.chunk().len();
            compress_each(&mut state, &[lane.chunk()], blocks);
            lane.advance(blocks);
        }
        sums[lane.at] = digest(state.map(|[word]| word));
    }
}

fn digest(state: [u32; 4]) -> Checksum {
    let mut sum = Checksum::default();
    sum.as_chunks_mut().0.iter_mut().zip(state).for_each(|(four, word)| *four = word.to_le_bytes());
    sum
}

/// A word of each lane. Loops over lanes become vector instructions where the caller has them.
#[derive(Clone, Copy)]
struct Words<const LANES: usize>([u32; LANES]);

impl<const LANES: usize> Words<LANES> {
    #[inline(always)]
    fn from_each(word: impl Fn(usize) -> u32) -> Self {
        let mut words = [0; LANES];
        for lane in 0..LANES {
            words[lane] = word(lane);
        }
        Self(words)
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self::from_each(|lane| self.0[lane].wrapping_add(other.0[lane]))
    }
}

/// Sixteen steps. `mix` is the round's function of three words, `word` says which word of the block each
/// step takes.
#[inline(always)]
fn round<const LANES: usize>(
    [mut a, mut b, mut c, mut d]: [Words<LANES>; 4],
    block: &[Words<LANES>; 16],
    number: usize,
    mix: impl Fn(u32, u32, u32) -> u32,
    word: impl Fn(usize) -> usize,
) -> [Words<LANES>; 4] {
    // Written out: whether the compiler does so with a loop depends on code elsewhere.
    macro_rules! steps {
        ($($step:literal)*) => { $(
            let (sine, rotation) = (SINES[number][$step], ROTATIONS[number][$step % 4]);
            // Only what follows waits for the step before.
            let known = a.add(block[word($step) % 16]).add(Words([sine; LANES]));
            let mixed = Words::from_each(|lane| mix(b.0[lane], c.0[lane], d.0[lane]));
            let sum = known.add(mixed);
            let turned = Words::from_each(|lane| sum.0[lane].rotate_left(rotation));
            (a, b, c, d) = (d, b.add(turned), b, c);
        )* };
    }
    steps!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    [a, b, c, d]
}

/// [`Compress`] in whatever instructions the caller is compiled for.
#[inline(always)]
fn compress_each<const LANES: usize>(
    states: &mut [[u32; LANES]; 4],
    chunks: &[&[Block]; LANES],
    blocks: usize,
) {
    let mut state = states.map(Words);
    for at in 0..blocks {
        let mut block = [Words([0; LANES]); 16];
        for lane in 0..LANES {
            let words = chunks[lane][at].as_chunks().0;
            for word in 0..16 {
                block[word].0[lane] = u32::from_le_bytes(words[word]);
            }
        }
        let before = state;
        state = round(state, &block, 0, |b, c, d| (b & c) | (!b & d), |step| step);
        state = round(state, &block, 1, |b, c, d| (b & d) | (c & !d), |step| 5 * step + 1);
        state = round(state, &block, 2, |b, c, d| b ^ c ^ d, |step| 3 * step + 5);
        state = round(state, &block, 3, |b, c, d| c ^ (b | !d), |step| 7 * step);
        for (words, before) in state.iter_mut().zip(before) {
            *words = words.add(before);
        }
    }
    *states = state.map(|words| words.0);
}

#[cfg(test)]
mod tests {
    use md5::{Digest, Md5};
    use proptest::prelude::*;

    use super::*;

    fn check<const LANES: usize>(messages: &[(String, Vec<u8>, u64)], compress: Compress<LANES>) {
        let mut sums = vec![[7; 16]];
        let mut contents = messages.iter().map(|(name, payload, timestamp_ns)| Content {
            name,
            payload,
            timestamp_ns: *timestamp_ns,
        });
        run(&mut contents, &mut sums, compress);
        let expected = messages.iter().map(|(name, payload, timestamp_ns)| {
            let time = Seconds::new(*timestamp_ns);
            let text = [name.as_bytes(), payload, time.as_bytes()];
            Checksum::from(Md5::digest(text.concat()))
        });
        let expected: Vec<_> = [[7; 16]].into_iter().chain(expected).collect();
        assert_eq!(sums, expected);
    }

    fn check_all(messages: &[(String, Vec<u8>, u64)]) {
        check(messages, compress_each::<4>);
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                check(messages, x86::compress_avx512);
            }
            if is_x86_feature_detected!("avx2") {
                check(messages, x86::compress_avx2);
            }
        }
    }

    #[test]
    fn every_length_around_the_seams_matches_the_reference() {
        for name_bytes in [1, 55, 63, 64, 65, 128, 255] {
            let messages: Vec<_> = (0..=320)
                .map(|bytes| ("n".repeat(name_bytes), vec![bytes as u8; bytes], bytes as u64))
                .collect();
            check_all(&messages);
        }
    }

    proptest! {
        #[test]
        fn any_mix_of_messages_matches_the_reference(
            messages in prop::collection::vec(
                ("[a-z.]{1,255}", prop::collection::vec(any::<u8>(), 0..2000), any::<u64>()),
                0..40,
            )
        ) {
            check_all(&messages);
        }
    }
}
