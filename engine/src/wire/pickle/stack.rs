//! The machine's stack, which never yields what lies below the last mark.

use super::item::Item;

pub(super) struct Stack<'a> {
    items: Vec<Item<'a>>,
    /// The length of the stack at each MARK.
    marks: Vec<usize>,
    /// The last of `marks`, or 0: nothing below is reachable until the mark is taken.
    fence: usize,
}

impl<'a> Stack<'a> {
    pub(super) fn new() -> Self {
        Self { items: Vec::with_capacity(16), marks: Vec::with_capacity(4), fence: 0 }
    }

    #[inline]
    pub(super) fn push(&mut self, item: Item<'a>) {
        self.items.push(item);
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Item<'a>> {
        if self.items.len() > self.fence { self.items.pop() } else { None }
    }

    #[inline]
    pub(super) fn top(&self) -> Option<Item<'a>> {
        if self.items.len() > self.fence { self.items.last().copied() } else { None }
    }

    /// How many marks are set.
    pub(super) fn marks(&self) -> usize {
        self.marks.len()
    }

    /// How many items lie on the stack, reachable or not.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    #[inline]
    pub(super) fn mark(&mut self) {
        self.fence = self.items.len();
        self.marks.push(self.fence);
    }

    /// Whether the mark is on top.
    pub(super) fn is_at_mark(&self) -> bool {
        !self.marks.is_empty() && self.items.len() == self.fence
    }

    /// Takes the last mark away and says where the items above it start.
    #[inline]
    pub(super) fn pop_mark(&mut self) -> Option<usize> {
        let start = self.marks.pop()?;
        self.fence = self.marks.last().copied().unwrap_or(0);
        Some(start)
    }

    /// Where the last `count` items start, if this many are reachable.
    #[inline]
    pub(super) fn last(&self, count: usize) -> Option<usize> {
        self.items.len().checked_sub(count).filter(|&start| start >= self.fence)
    }

    /// The items from `start` on.
    #[inline]
    pub(super) fn from(&self, start: usize) -> &[Item<'a>] {
        &self.items[start..]
    }

    /// The item below `start`, if it is reachable.
    #[inline]
    pub(super) fn below(&self, start: usize) -> Option<Item<'a>> {
        if start > self.fence { self.items.get(start - 1).copied() } else { None }
    }

    /// Replaces the items from `start` on by one.
    #[inline]
    pub(super) fn replace(&mut self, start: usize, item: Item<'a>) {
        self.items.truncate(start);
        self.items.push(item);
    }

    /// Removes the items from `start` on.
    pub(super) fn truncate(&mut self, start: usize) {
        self.items.truncate(start);
    }
}
