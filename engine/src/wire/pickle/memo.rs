//! The memo: the numbered objects that later opcodes refer back to.

use std::collections::HashMap;

use super::error::PickleError;
use super::item::Item;

/// Picklers number their objects from 0 or 1 upward, so nearly all lie in `dense`. What is numbered
/// otherwise lies in `sparse`, so that no number costs more memory than one entry or two.
pub(super) struct Memo<'a> {
    dense: Vec<Option<Item<'a>>>,
    dense_filled: usize,
    sparse: HashMap<usize, Item<'a>>,
}

impl<'a> Memo<'a> {
    pub(super) fn new() -> Self {
        Self { dense: Vec::with_capacity(16), dense_filled: 0, sparse: HashMap::new() }
    }

    /// How many objects it holds.
    pub(super) fn len(&self) -> usize {
        self.dense_filled + self.sparse.len()
    }

    #[inline]
    pub(super) fn put(&mut self, index: usize, item: Item<'a>) {
        if index == self.dense.len() && self.sparse.is_empty() {
            self.dense.push(Some(item));
            self.dense_filled += 1;
        } else {
            self.put_elsewhere(index, item);
        }
    }

    #[cold]
    fn put_elsewhere(&mut self, index: usize, item: Item<'a>) {
        if index > self.dense.len() + 1 {
            self.sparse.insert(index, item);
            return;
        }
        while self.dense.len() <= index {
            self.dense.push(None);
        }
        if self.dense[index].replace(item).is_none() {
            self.dense_filled += 1;
            if !self.sparse.is_empty() {
                self.sparse.remove(&index);
            }
        }
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Result<Item<'a>, PickleError> {
        let found = match self.dense.get(index) {
            Some(Some(item)) => Some(item),
            _ => self.sparse.get(&index),
        };
        found.copied().ok_or(PickleError::Memo { index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_whichever_way_they_are_numbered() {
        let mut memo = Memo::new();
        for (count, index) in [5, 1, 0, 900_000, 2, 4, 6, 5, 5].into_iter().enumerate() {
            assert_eq!(memo.get(index).is_ok(), count > 6);
            memo.put(index, Item::Int(count as i64));
        }
        assert_eq!(memo.len(), 7);
        assert!(matches!(memo.get(5), Ok(Item::Int(8))));
        assert!(matches!(memo.get(900_000), Ok(Item::Int(3))));
        assert_eq!(memo.get(3).err(), Some(PickleError::Memo { index: 3 }));
    }
}
