//! A hierarchical timer wheel that never reads a clock: ticks go in, expired keys come out.
//!
//! Eleven levels of 64 slots cover every `u64` tick. A timer lies in the level of the highest six-bit
//! digit in which its deadline differs from the wheel's position, in the slot of that digit. It moves
//! down when the position reaches its slot, which most timers here never see: they are cancelled
//! first. One hashed ring was the alternative; it visits every far timer once a turn, and cannot say
//! when the next one is due without looking at them.
//!
//! Each level has one word that tells its occupied slots, so an idle stretch costs the same however
//! long it was. Slots are circular doubly linked lists whose heads are list members too: a timer is
//! unlinked without knowing its slot.

use std::fmt;

#[cfg(test)]
mod tests;

use crate::slab::{self, Slab};

const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;
/// Indices from here on are the heads of slots; below lie the slab's.
const HEADS_FROM: u32 = u32::MAX - (LEVELS * SLOTS) as u32;
/// The deadline of a freed node.
const FREED: u64 = u64::MAX;

/// Where a timer is kept, until it expires or is cancelled.
///
/// It is a place and no more: [`Wheel::cancel`] takes the key too, and does nothing when the place
/// has gone to another timer meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(u32);

impl Token {
    /// A token that no timer has.
    pub const NONE: Self = Self(u32::MAX);

    /// The token as a number, for storing it in an atomic.
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The token that [`Self::to_bits`] gave.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

#[derive(Clone, Copy, Debug)]
struct Links {
    next: u32,
    prev: u32,
}

#[derive(Debug)]
struct Node<K> {
    deadline: u64,
    links: Links,
    key: K,
}

impl<K> slab::Node for Node<K> {
    fn is_live(&self) -> bool {
        self.deadline != FREED
    }

    fn free(&mut self, next: u32) {
        self.deadline = FREED;
        self.links.next = next;
    }

    fn next_free(&self) -> u32 {
        self.links.next
    }
}

/// Timers that each hold a key.
pub struct Wheel<K> {
    slab: Slab<Node<K>>,
    heads: Box<[Links]>,
    /// For each level, a bit for each slot that is not empty.
    occupied: [u64; LEVELS],
    /// The tick up to which timers have been handed out. Never goes back.
    position: u64,
    /// A slot whose timers are moving to lower levels, when the budget ended the move midway.
    moving: Option<usize>,
}

impl<K: Copy + Eq> Wheel<K> {
    /// An empty wheel that stands at `now_tick`.
    pub fn new(now_tick: u64) -> Self {
        let head = |slot| Links { next: HEADS_FROM + slot, prev: HEADS_FROM + slot };
        Self {
            slab: Slab::new(),
            heads: (0..(LEVELS * SLOTS) as u32).map(head).collect(),
            occupied: [0; LEVELS],
            position: now_tick.min(FREED - 1),
            moving: None,
        }
    }

    /// Timers that are neither expired nor cancelled.
    pub const fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is no timer.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the timers take, free room included. Walks the chunks: not for the hot path.
    pub fn bytes(&self) -> usize {
        self.slab.bytes()
    }

    /// Starts a timer. A deadline that has passed expires at the next [`Self::advance`].
    ///
    /// # Panics
    /// When there are already two billion timers.
    pub fn schedule(&mut self, key: K, deadline_tick: u64) -> Token {
        let deadline = deadline_tick.max(self.position).min(FREED - 1);
        let links = Links { next: 0, prev: 0 };
        let index = self.slab.insert(Node { deadline, links, key });
        self.file(index, deadline);
        Token(index)
    }

    /// Ends a timer and frees its memory. `false` when `token` is not this key's timer any more.
    pub fn cancel(&mut self, token: Token, key: &K) -> bool {
        match self.slab.get(token.0) {
            Some(node) if node.key == *key => {
                let links = node.links;
                self.unlink(links);
                self.slab.free(token.0);
                true
            }
            _ => false,
        }
    }

    /// The keys of some of the timers, at most 1,024, with their deadlines: a part of a walk that begins
    /// with part 0. `None` behind the last part.
    pub fn part(&self, at: usize) -> Option<impl Iterator<Item = (K, u64)>> {
        Some(self.slab.chunk(at)?.map(|node| (node.key, node.deadline)))
    }

    /// Moves to `now_tick` and appends the keys of expired timers to `out`, those of earlier ticks
    /// first. `true` when more is due than `budget` allowed: call again.
    ///
    /// The budget bounds the timers handed out or moved between levels. A `now_tick` before the one
    /// of an earlier call counts as that one.
    pub fn advance(&mut self, now_tick: u64, budget: usize, out: &mut Vec<K>) -> bool {
        let target = now_tick.max(self.position).min(FREED - 1);
        let mut left = budget;
        while let Some((slot, start)) = self.first_slot() {
            if start > target {
                break;
            }
            self.position = self.position.max(start);
            self.moving = (slot >= SLOTS).then_some(slot);
            while let Some(index) = self.first_timer(slot) {
                if left == 0 {
                    return true;
                }
                left -= 1;
                let &mut Node { links, deadline, key } = self.slab.at(index);
                self.unlink(links);
                if self.moving.is_some() {
                    self.file(index, deadline);
                } else {
                    self.slab.free(index);
                    out.push(key);
                }
            }
        }
        self.moving = None;
        self.position = target;
        false
    }

    /// A tick before which nothing expires, and at which [`Self::advance`] is worth calling: the next
    /// deadline, or where a far timer moves down a level. `None` without timers.
    pub fn next_expiry(&self) -> Option<u64> {
        self.first_slot().map(|(_, start)| start.max(self.position))
    }

    /// The slot that the position reaches first, and its first tick.
    fn first_slot(&self) -> Option<(usize, u64)> {
        if let Some(slot) = self.moving
            && self.first_timer(slot).is_some()
        {
            return Some((slot, self.position));
        }
        // Slots before the position's digit are empty, and a lower level ends before the next slot
        // of a higher one begins.
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = self.occupied[level].trailing_zeros();
        let shift = level as u32 * DIGIT_BITS;
        let above = self.position.checked_shr(shift + DIGIT_BITS).unwrap_or(0);
        let start = above.checked_shl(shift + DIGIT_BITS).unwrap_or(0) | u64::from(slot) << shift;
        Some((level * SLOTS + slot as usize, start))
    }

    fn first_timer(&self, slot: usize) -> Option<u32> {
        let index = self.heads[slot].next;
        (index < HEADS_FROM).then_some(index)
    }

    /// Appends a node to the slot that its deadline belongs in.
    fn file(&mut self, index: u32, deadline: u64) {
        let differing = deadline ^ self.position;
        let level = (u64::BITS - 1 - (differing | 1).leading_zeros()) / DIGIT_BITS;
        let digit = (deadline >> (level * DIGIT_BITS)) as usize % SLOTS;
        let slot = level as usize * SLOTS + digit;
        self.occupied[level as usize] |= 1 << digit;
        let head = HEADS_FROM + slot as u32;
        let last = self.heads[slot].prev;
        self.slab.at(index).links = Links { next: head, prev: last };
        self.links(last).next = index;
        self.heads[slot].prev = index;
    }

    fn unlink(&mut self, Links { next, prev }: Links) {
        self.links(prev).next = next;
        self.links(next).prev = prev;
        if next == prev {
            // Only a slot's head is its own neighbour on both sides.
            if let Some(slot) = next.checked_sub(HEADS_FROM) {
                self.occupied[slot as usize / SLOTS] &= !(1 << (slot as usize % SLOTS));
            }
        }
    }

    fn links(&mut self, index: u32) -> &mut Links {
        match index.checked_sub(HEADS_FROM) {
            Some(slot) => &mut self.heads[slot as usize],
            None => &mut self.slab.at(index).links,
        }
    }
}

impl<K: Copy + Eq> fmt::Debug for Wheel<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("position", &self.position)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
