//! Which messages of a run a group received: what its members have in common, so that a message which two of them
//! got counts as received once, and as a copy the second time.
//!
//! Each delivered message is one bit. Members of a group get parts of what a publisher sends, so gaps say nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Messages of a chunk.
const CHUNK: u64 = 65_536;

type Chunk = [AtomicU64; (CHUNK / 64) as usize];

/// The index of a name, of a publisher, and of a chunk of their messages.
type Key = (usize, usize, u64);

/// What the members of a group received.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    chunks: Mutex<BTreeMap<Key, Arc<Chunk>>>,
}

impl Roll {
    fn chunk(&self, key: Key) -> Arc<Chunk> {
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = || Arc::new(std::array::from_fn(|_| AtomicU64::new(0)));
        Arc::clone(chunks.entry(key).or_insert_with(empty))
    }
}

/// One member's hand in it, for the messages of one publisher under one name.
#[derive(Debug)]
pub(crate) struct Marks {
    roll: Arc<Roll>,
    name: usize,
    publisher: usize,
    /// The last chunk, with its index: the next message is nearly always of it, too.
    current: Option<(u64, Arc<Chunk>)>,
}

impl Marks {
    pub(crate) fn new(roll: &Arc<Roll>, name: usize, publisher: usize) -> Self {
        Self { roll: Arc::clone(roll), name, publisher, current: None }
    }

    /// Marks a message as received; whether no member had received it.
    pub(crate) fn mark(&mut self, sequence: u64) -> bool {
        let index = sequence / CHUNK;
        let chunk = match &self.current {
            Some((current, chunk)) if *current == index => chunk,
            _ => {
                let chunk = self.roll.chunk((self.name, self.publisher, index));
                &self.current.insert((index, chunk)).1
            }
        };
        let bit = 1 << (sequence % 64);
        chunk[(sequence % CHUNK / 64) as usize].fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_new_to_one_member_alone() {
        let roll = Arc::default();
        let mut members = [0; 2].map(|_| Marks::new(&roll, 1, 2));
        for sequence in [1, 64, CHUNK - 1, CHUNK, 3, u64::MAX] {
            assert!(members[0].mark(sequence) && !members[1].mark(sequence), "{sequence}");
        }
        for mut other in [Marks::new(&roll, 0, 2), Marks::new(&roll, 1, 1)] {
            assert!(other.mark(1), "of another name or publisher");
        }
        assert!(members[1].mark(2) && !members[0].mark(2));
    }
}
