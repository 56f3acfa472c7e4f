//! Unacknowledged messages of names that nobody subscribes to: no timer runs for them, and the first
//! subscriber gets them at once, in the order they came.
//!
//! Each name has a doubly linked list through one slab, so that a message costs 32 bytes here and
//! leaves in constant time.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;

use arcstr::ArcStr;

use crate::wire::filter::Filter;
use crate::wire::id::MessageId;

/// Names, and lists that are empty by now, that one look for a message passes over.
const HELD_UP_MAX: usize = 64;

/// Prefixes and patterns whose names are becoming due. Each is looked at for every message of a group;
/// instead of more of them, all names become due, of which those that nobody wants go back.
const SWEEPS_MAX: usize = 64;

/// No slot, or no list.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Slot {
    id: MessageId,
    prev: u32,
    /// The next free slot when this one is free.
    next: u32,
    /// [`NONE`] when the slot is free.
    list: u32,
}

#[derive(Debug)]
struct List {
    name: ArcStr,
    first: u32,
    last: u32,
    /// Whether it is due. It then belongs to no name any more, so that what is added to the name
    /// meanwhile begins another list, and is given up when the end of [`Waiting::ready`] reaches it.
    is_due: bool,
}

/// Names that begin with a prefix, becoming due: all of them, or those that fit a pattern.
#[derive(Debug)]
struct Sweep {
    prefix: Box<str>,
    pattern: Option<Box<str>>,
    /// The last name that was looked at.
    reached: Option<ArcStr>,
}

/// The waiting messages, by name.
#[derive(Debug)]
pub(super) struct Waiting {
    slots: Vec<Slot>,
    free: u32,
    used: usize,
    lists: Vec<Option<List>>,
    /// Where lists were that are empty now; the next names fill them.
    gaps: Vec<u32>,
    /// Those that are not due.
    by_name: BTreeMap<ArcStr, u32>,
    /// Prefixes whose names become due, each with the name that it has come to.
    sweeps: VecDeque<Sweep>,
    /// The names with due lists.
    ready: VecDeque<ArcStr>,
    /// Their due lists, in the order in which they became due, each with the journal group up to which all must be stored
    /// before its messages are sent.
    due: HashMap<ArcStr, VecDeque<(u32, u64)>>,
    /// Names in a row that were passed over. Once that is all of them, nothing is due before one is
    /// added, or may be sent.
    passed_over: usize,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            used: 0,
            lists: Vec::new(),
            gaps: Vec::new(),
            by_name: BTreeMap::new(),
            sweeps: VecDeque::new(),
            ready: VecDeque::new(),
            due: HashMap::new(),
            passed_over: 0,
        }
    }
}

impl Waiting {
    /// Makes room for this many messages more.
    pub(super) fn reserve(&mut self, messages: usize) {
        self.slots.reserve_exact(messages);
    }

    /// Adds a message behind those of its name and returns its place, below 2^31 - 3.
    pub(super) fn add(&mut self, name: &ArcStr, id: MessageId) -> u32 {
        let list_at = self.list(name);
        let at = match self.free {
            NONE => {
                assert!(self.slots.len() < (1 << 31) - 3, "two billion messages wait");
                self.slots.push(Slot { id, prev: NONE, next: NONE, list: list_at });
                self.slots.len() as u32 - 1
            }
            at => {
                self.free = self.slots[at as usize].next;
                at
            }
        };
        self.used += 1;
        let Some(list) = &mut self.lists[list_at as usize] else { unreachable!("just looked up") };
        self.slots[at as usize] = Slot { id, prev: list.last, next: NONE, list: list_at };
        match std::mem::replace(&mut list.last, at) {
            NONE => list.first = at,
            last => self.slots[last as usize].next = at,
        }
        at
    }

    fn list(&mut self, name: &ArcStr) -> u32 {
        if let Some(&at) = self.by_name.get(name) {
            return at;
        }
        let list = Some(List { name: name.clone(), first: NONE, last: NONE, is_due: false });
        let at = match self.gaps.pop() {
            Some(gap) => {
                self.lists[gap as usize] = list;
                gap
            }
            None => {
                self.lists.push(list);
                self.lists.len() as u32 - 1
            }
        };
        self.by_name.insert(name.clone(), at);
        at
    }

    /// Takes out the message that [`Self::add`] gave this place, if it is still there.
    pub(super) fn remove(&mut self, place: u32, id: MessageId) {
        match self.slots.get(place as usize) {
            Some(slot) if slot.list != NONE && slot.id == id => self.unlink(place),
            _ => {}
        }
    }

    fn unlink(&mut self, at: u32) {
        let Slot { prev, next, list: list_at, .. } = self.slots[at as usize];
        let Some(list) = &mut self.lists[list_at as usize] else { return };
        match prev {
            NONE => list.first = next,
            prev => self.slots[prev as usize].next = next,
        }
        match next {
            NONE => list.last = prev,
            next => self.slots[next as usize].prev = prev,
        }
        if list.first == NONE && !list.is_due {
            self.by_name.remove(&list.name);
            self.give_up(list_at);
        }
        let slot = &mut self.slots[at as usize];
        (slot.list, slot.next) = (NONE, self.free);
        self.free = at;
        self.used -= 1;
        if self.used == 0 {
            // Gives the memory of a burst back.
            *self = Self::default();
        }
    }

    fn give_up(&mut self, list_at: u32) {
        self.lists[list_at as usize] = None;
        self.gaps.push(list_at);
    }

    /// Makes the messages of one name due once the journal has stored all up to the group `after`.
    pub(super) fn wake_name(&mut self, name: &str, after: u64) {
        if let Some(at) = self.by_name.remove(name) {
            self.wake(at, after);
        }
    }

    /// The same for all names that begin with a prefix, and fit a pattern if there is one; [`Self::sweep`] does it.
    pub(super) fn wake_prefix(&mut self, prefix: &str, pattern: Option<&str>) {
        if self.by_name.is_empty() {
            return;
        }
        // One that is begun has passed names which may have come since.
        let is_same = |sweep: &Sweep| {
            sweep.reached.is_none()
                && *sweep.prefix == *prefix
                && sweep.pattern.as_deref() == pattern
        };
        if self.sweeps.iter().any(is_same) {
            return;
        }
        let mut sweep =
            Sweep { prefix: prefix.into(), pattern: pattern.map(Into::into), reached: None };
        if self.sweeps.len() >= SWEEPS_MAX {
            self.sweeps.retain(|sweep| sweep.reached.is_some());
            sweep = Sweep { prefix: "".into(), pattern: None, reached: None };
        }
        self.sweeps.push_back(sweep);
    }

    /// Goes on with prefixes, this many names at most; whether some are left. `after`: the latest journal
    /// group, since a message may have come later than the prefix.
    pub(super) fn sweep(&mut self, names_max: usize, after: u64) -> bool {
        let (mut names, mut looks) = (Vec::new(), 0);
        while looks < names_max
            && let Some(Sweep { prefix, pattern, reached }) = self.sweeps.front_mut()
        {
            let from = match reached {
                Some(reached) => Bound::Excluded(reached.as_str()),
                None => Bound::Included(&**prefix),
            };
            let found = self
                .by_name
                .range::<str, _>((from, Bound::Unbounded))
                .take_while(|(name, _)| name.starts_with(&**prefix))
                .take(names_max - looks);
            let mut last = None;
            for (name, _) in found {
                looks += 1;
                last = Some(name);
                if pattern.as_ref().is_none_or(|pattern| Filter::Pattern(pattern).fits(name)) {
                    names.push(name.clone());
                }
            }
            if looks < names_max {
                self.sweeps.pop_front();
            } else if let Some(last) = last {
                *reached = Some(last.clone());
            }
        }
        for name in names {
            self.wake_name(&name, after);
        }
        !self.sweeps.is_empty()
    }

    fn wake(&mut self, at: u32, after: u64) {
        if let Some(list) = &mut self.lists[at as usize] {
            list.is_due = true;
            let lists = self.due.entry(list.name.clone()).or_insert_with(|| {
                self.ready.push_back(list.name.clone());
                VecDeque::new()
            });
            lists.push_back((at, after));
            self.try_again();
        }
    }

    /// Whether messages of a name are due, or were until they were taken out, or are about to be.
    pub(super) fn is_name_due(&self, name: &str) -> bool {
        let is_swept = || self.sweeps.iter().any(|sweep| name.starts_with(&*sweep.prefix));
        self.due.contains_key(name) || (is_swept() && self.by_name.contains_key(name))
    }

    /// Takes out the next due message, all up to the journal group `stored` being stored, of a name that
    /// is not held up, which the first of its messages decides. Looks at a bounded number of lists.
    pub(super) fn next_due(
        &mut self,
        stored: u64,
        mut is_held_up: impl FnMut(&str, MessageId) -> bool,
    ) -> Option<MessageId> {
        if self.passed_over >= self.ready.len() {
            self.passed_over = 0;
        }
        let mut names = self.ready.len();
        for _ in 0..HELD_UP_MAX {
            let name = self.ready.front().filter(|_| names > 0)?.clone();
            let lists = self.due.entry(name.clone()).or_default();
            let Some(&(at, after)) = lists.front() else {
                self.due.remove(&name);
                self.ready.pop_front();
                names -= 1;
                continue;
            };
            let first = self.lists[at as usize].as_ref().map_or(NONE, |list| list.first);
            if first == NONE {
                lists.pop_front();
                self.give_up(at);
                continue;
            }
            let id = self.slots[first as usize].id;
            if after <= stored && !is_held_up(&name, id) {
                self.unlink(first);
                self.passed_over = 0;
                return Some(id);
            } else {
                self.ready.rotate_left(1);
                self.passed_over += 1;
                names -= 1;
            }
        }
        None
    }

    /// The messages that wait in places from this one on, of which this many are looked at, each with the place behind it.
    pub(super) fn from(
        &self,
        at: usize,
        looks_max: usize,
    ) -> impl Iterator<Item = (u32, MessageId)> {
        let slots = self.slots.iter().enumerate().skip(at).take(looks_max);
        slots.filter(|(_, slot)| slot.list != NONE).map(|(at, slot)| (at as u32 + 1, slot.id))
    }

    /// Places for messages that wait.
    pub(super) fn places(&self) -> usize {
        self.slots.len()
    }

    /// What was held up, or not stored, may be sent now.
    pub(super) fn try_again(&mut self) {
        self.passed_over = 0;
    }

    /// Whether [`Self::next_due`] or [`Self::sweep`] may have something to do. What stood in the way of all
    /// that is due may have gone since: [`Self::try_again`] says so.
    pub(super) fn is_due(&self) -> bool {
        !self.sweeps.is_empty() || self.passed_over < self.ready.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }
}
