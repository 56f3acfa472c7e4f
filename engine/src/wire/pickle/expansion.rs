//! How large a pickle's value would be if everything that it shares were written out.
//!
//! A few bytes can say "this list, twice", and again of that, so that the whole has more parts than any
//! machine can hold. Nothing here unfolds it; it is only counted.

use super::error::PickleError;
use super::item::{Container, Item};
use crate::limits::{PICKLE_DEPTH_MAX, PICKLE_NODES_MAX};

/// Which containers hold which.
#[derive(Default)]
pub(super) struct Expansion {
    /// Owner and part, both containers.
    edges: Vec<(u32, u32)>,
    /// The parts of each container, those that are containers included.
    parts: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    /// How many nodes it has, itself included.
    Done(usize),
}

impl Expansion {
    #[inline]
    pub(super) fn put(&mut self, owner: Container, items: &[Item<'_>]) {
        let at = owner.id as usize;
        if at >= self.parts.len() {
            self.parts.resize(at + 1, 0);
        }
        self.parts[at] += items.len();
        for item in items {
            if let Item::Container(part) = item {
                self.edges.push((owner.id, part.id));
            }
        }
    }

    /// Checks the value that `root` stands for. A container that holds itself counts once.
    ///
    /// # Errors
    /// [`PickleError::TooManyNodes`] and [`PickleError::TooDeep`].
    pub(super) fn check(mut self, root: Container) -> Result<(), PickleError> {
        let containers = self.edges.iter().map(|&(owner, part)| owner.max(part)).max();
        let count = containers.unwrap_or(0).max(root.id) as usize + 1;
        if self.edges.len() < count {
            // At most one owner each, as in a tree: it is no larger than its pickle.
            let mut owned = vec![false; count];
            let shared = self
                .edges
                .iter()
                .any(|&(_, part)| std::mem::replace(&mut owned[part as usize], true));
            if !shared {
                return Ok(());
            }
        }
        self.edges.sort_unstable();
        self.parts.resize(count, 0);
        let mut states = vec![State::New; count];
        // The containers that are being counted, each with the edge to look at next and its nodes so far.
        let mut path = vec![self.open(root.id, &mut states)];
        loop {
            let depth = path.len();
            let Some((container, edge, nodes)) = path.last_mut() else { return Ok(()) };
            match self.edges.get(*edge) {
                Some(&(owner, part)) if owner == *container => {
                    *edge += 1;
                    match states[part as usize] {
                        State::Done(more) => *nodes = nodes.saturating_add(more - 1),
                        State::Open => {}
                        State::New if depth >= PICKLE_DEPTH_MAX => {
                            return Err(PickleError::TooDeep);
                        }
                        State::New => {
                            *edge -= 1;
                            let opened = self.open(part, &mut states);
                            path.push(opened);
                        }
                    }
                }
                _ => {
                    if *nodes > PICKLE_NODES_MAX {
                        return Err(PickleError::TooManyNodes);
                    }
                    states[*container as usize] = State::Done(*nodes);
                    path.pop();
                }
            }
        }
    }

    fn open(&self, container: u32, states: &mut [State]) -> (u32, usize, usize) {
        states[container as usize] = State::Open;
        let first = self.edges.partition_point(|&(owner, _)| owner < container);
        (container, first, 1 + self.parts[container as usize])
    }
}
