//! Memory for many small values of one kind: nodes in chunks, each found by a `u32`.
//!
//! A chunk is given back when its last node is freed, so a burst's memory does not outlive the
//! burst. Nodes are placed in the lowest chunk with room, which lets the high ones run empty. Growing
//! never moves a node and never holds two copies of the slab, as a growing vector would.

/// What a slab keeps. A node that was freed holds the index of the next such one of its chunk.
pub(crate) trait Node {
    /// Whether it was not freed.
    fn is_live(&self) -> bool;
    /// Frees it, and keeps `next`.
    fn free(&mut self, next: u32);
    /// What a freed one keeps.
    fn next_free(&self) -> u32;
}

/// Nodes in a chunk. With 32-byte nodes a chunk is 32 KiB.
const CHUNK_NODES: usize = 1024;
const CHUNK_BITS: u32 = CHUNK_NODES.trailing_zeros();
/// Chunks up to which an empty slab keeps its directory.
const DIRECTORY_KEPT: usize = 64;
/// Ends a chunk's list of free nodes.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Chunk<N> {
    /// Grows up to [`CHUNK_NODES`]; without capacity while the chunk's memory is given back.
    nodes: Vec<N>,
    /// First of the freed nodes, which are linked by `next`.
    free: u32,
    live: u32,
}

#[derive(Debug)]
pub(crate) struct Slab<N> {
    chunks: Vec<Chunk<N>>,
    /// A bit for each chunk that has memory and room.
    roomy: Vec<u64>,
    /// No word of `roomy` before this one has a bit set.
    roomy_from: usize,
    /// Chunks whose memory was given back.
    vacant: Vec<u32>,
    /// The memory of one empty chunk, kept so that what grows and shrinks around a chunk's edge does not allocate
    /// again and again.
    spare: Option<Vec<N>>,
    len: usize,
}

impl<N> Default for Slab<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<N> Slab<N> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            roomy: Vec::new(),
            roomy_from: 0,
            vacant: Vec::new(),
            spare: None,
            len: 0,
        }
    }
}

impl<N: Node> Slab<N> {
    /// Nodes that fit in a slab: the indices above are the wheel's own.
    pub(crate) const NODES_MAX: usize = 1 << 31;

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes allocated for nodes.
    pub(crate) fn bytes(&self) -> usize {
        let used: usize = self.chunks.iter().map(|chunk| chunk.nodes.capacity()).sum();
        let spare = self.spare.as_ref().map_or(0, Vec::capacity);
        (used + spare) * size_of::<N>()
    }

    fn find_roomy(&mut self) -> Option<usize> {
        let found = self.roomy[self.roomy_from..].iter().position(|&word| word != 0);
        self.roomy_from = found.map_or(self.roomy.len(), |skipped| self.roomy_from + skipped);
        let word = self.roomy.get(self.roomy_from)?;
        Some(self.roomy_from * 64 + word.trailing_zeros() as usize)
    }

    fn set_roomy(&mut self, chunk: usize) {
        self.roomy[chunk / 64] |= 1 << (chunk % 64);
        self.roomy_from = self.roomy_from.min(chunk / 64);
    }

    fn clear_roomy(&mut self, chunk: usize) {
        self.roomy[chunk / 64] &= !(1 << (chunk % 64));
    }

    /// Gives memory to a vacant chunk, or adds one.
    fn add_chunk(&mut self) -> usize {
        let nodes = self.spare.take().unwrap_or_else(|| Vec::with_capacity(CHUNK_NODES));
        let chunk = Chunk { nodes, free: NONE, live: 0 };
        let at = if let Some(at) = self.vacant.pop() {
            self.chunks[at as usize] = chunk;
            at as usize
        } else {
            assert!((self.chunks.len() + 1) * CHUNK_NODES <= Self::NODES_MAX, "too many timers");
            self.chunks.push(chunk);
            self.roomy.resize(self.chunks.len().div_ceil(64), 0);
            self.chunks.len() - 1
        };
        self.set_roomy(at);
        at
    }

    /// Stores a node and returns where.
    pub(crate) fn insert(&mut self, node: N) -> u32 {
        let at = match self.find_roomy() {
            Some(at) => at,
            None => self.add_chunk(),
        };
        let chunk = &mut self.chunks[at];
        let slot = if chunk.free == NONE {
            chunk.nodes.push(node);
            chunk.nodes.len() - 1
        } else {
            let slot = chunk.free as usize;
            chunk.free = chunk.nodes[slot].next_free();
            chunk.nodes[slot] = node;
            slot
        };
        chunk.live += 1;
        if chunk.live as usize == CHUNK_NODES {
            self.clear_roomy(at);
        }
        self.len += 1;
        (at << CHUNK_BITS | slot) as u32
    }

    /// Frees a node that is live.
    pub(crate) fn free(&mut self, index: u32) {
        let (at, slot) = split(index);
        let chunk = &mut self.chunks[at];
        chunk.nodes[slot].free(chunk.free);
        chunk.free = slot as u32;
        chunk.live -= 1;
        self.len -= 1;
        if chunk.live == 0 {
            let mut nodes = std::mem::take(&mut chunk.nodes);
            nodes.clear();
            self.spare.get_or_insert(nodes);
            self.clear_roomy(at);
            self.vacant.push(at as u32);
            if self.len == 0 && self.chunks.len() > DIRECTORY_KEPT {
                *self = Self { spare: self.spare.take(), ..Self::new() };
            }
        } else if chunk.live as usize == CHUNK_NODES - 1 {
            self.set_roomy(at);
        }
    }

    /// The live nodes of a chunk; `None` behind the last chunk.
    pub(crate) fn chunk(&self, at: usize) -> Option<impl Iterator<Item = &N>> {
        Some(self.chunks.get(at)?.nodes.iter().filter(|node| node.is_live()))
    }

    /// The node at an index that may be anything.
    pub(crate) fn get(&self, index: u32) -> Option<&N> {
        let (at, slot) = split(index);
        self.chunks.get(at)?.nodes.get(slot).filter(|node| node.is_live())
    }

    /// The node at an index that [`Self::insert`] returned.
    pub(crate) fn at(&mut self, index: u32) -> &mut N {
        let (at, slot) = split(index);
        &mut self.chunks[at].nodes[slot]
    }
}

fn split(index: u32) -> (usize, usize) {
    ((index >> CHUNK_BITS) as usize, index as usize % CHUNK_NODES)
}
