//! Adds messages to the groups that they are jobs of: a bounded number of jobs in each turn.
//!
//! What many groups get at once may be more than a turn has time for. The rest is noted by name, so that each name's
//! messages keep their order, and names take turns.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use arcstr::ArcStr;

use super::{GroupId, Groups};
use crate::limits::JOBS_CHANGED_PER_TURN_MAX;
use crate::wire::id::MessageId;

/// Jobs of one name that are changed before another name has its turn.
const SHARE: usize = 512;

/// What is to be done with jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// They are added. Their messages wait for the journal.
    Add,
    /// Those that were added are ready.
    Ready,
    /// They are added and ready.
    AddReady,
}

impl Change {
    fn adds(self) -> bool {
        self != Self::Ready
    }

    fn makes_ready(self) -> bool {
        self != Self::Add
    }
}

/// The same change of each of these messages' jobs of each of these groups.
#[derive(Debug)]
struct Part {
    number: u64,
    change: Change,
    ids: Vec<MessageId>,
    groups: Arc<[GroupId]>,
    /// Jobs that are changed already: all of the first message come first.
    done: usize,
}

impl Part {
    fn work(&self) -> EnlistPass<'_> {
        let Self { change, ids, groups, done, .. } = self;
        EnlistPass { change: *change, ids, groups, done: *done }
    }
}

/// See [`Part`].
#[derive(Clone, Copy)]
struct EnlistPass<'a> {
    change: Change,
    ids: &'a [MessageId],
    groups: &'a [GroupId],
    done: usize,
}

impl EnlistPass<'_> {
    /// All of its jobs.
    fn all(self) -> usize {
        self.ids.len() * self.groups.len()
    }

    /// Its jobs of a group that are left.
    fn left_of(self, group: GroupId) -> usize {
        let each = self.groups.len();
        let Some(at) = self.groups.iter().position(|it| *it == group) else { return 0 };
        // Of each message whose jobs are done up to this group's, one is.
        self.ids.len() - (self.done + each - 1 - at) / each
    }
}

/// What is left to be done for later turns.
#[derive(Debug)]
pub(super) struct Enlisting {
    /// By the name of the messages.
    parts: HashMap<ArcStr, VecDeque<Part>>,
    /// The names in whose turn they are.
    turns: VecDeque<ArcStr>,
    /// The numbers of all parts.
    numbers: BTreeSet<u64>,
    next_number: u64,
    /// Jobs that are still to be added.
    to_add: usize,
    /// Jobs that may be changed in this turn.
    left: usize,
    /// Of the messages that were held up for want of room, the fewest jobs that one of them would be.
    held_up: Option<usize>,
}

impl Default for Enlisting {
    fn default() -> Self {
        Self {
            parts: HashMap::new(),
            turns: VecDeque::new(),
            numbers: BTreeSet::new(),
            next_number: 0,
            to_add: 0,
            left: JOBS_CHANGED_PER_TURN_MAX,
            held_up: None,
        }
    }
}

impl Enlisting {
    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn to_add(&self) -> usize {
        self.to_add
    }

    /// How many jobs of a group are still to be added.
    pub(super) fn to_add_to(&self, group: GroupId) -> usize {
        let parts = self.parts.values().flatten().filter(|part| part.change.adds());
        parts.map(|part| part.work().left_of(group)).sum()
    }

    /// A number that no part has which comes later.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Whether a part is left whose number is smaller than this one.
    pub(super) fn has_before(&self, number: u64) -> bool {
        self.numbers.first().is_some_and(|&first| first < number)
    }

    fn add(&mut self, name: &ArcStr, part: Part) {
        if part.change.adds() {
            self.to_add += part.ids.len() * part.groups.len() - part.done;
        }
        if let Some(parts) = self.parts.get_mut(name) {
            // The messages of one request are one part.
            if let Some(last) = parts.back_mut()
                && last.change == part.change
                && Arc::ptr_eq(&last.groups, &part.groups)
            {
                last.ids.extend(part.ids);
                return;
            }
            self.numbers.insert(part.number);
            parts.push_back(part);
        } else {
            self.numbers.insert(part.number);
            self.parts.insert(name.clone(), VecDeque::from([part]));
            self.turns.push_back(name.clone());
        }
        self.next_number += 1;
    }
}

impl Groups {
    /// A message is a job of these groups, from when it is stored.
    pub(in super::super) fn add_jobs(
        &mut self,
        name: &ArcStr,
        id: MessageId,
        groups: &Arc<[GroupId]>,
    ) {
        self.share(id, groups);
        self.change(name, Change::Add, &[id], groups);
    }

    /// A message that is stored is a job of these groups, and ready.
    pub(in super::super) fn add_ready_jobs(
        &mut self,
        name: &ArcStr,
        id: MessageId,
        groups: &Arc<[GroupId]>,
    ) {
        self.share(id, groups);
        self.change(name, Change::AddReady, &[id], groups);
    }

    /// Messages of a name are delivered now: their jobs for these groups, if there are some, are ready.
    pub(in super::super) fn deliver(
        &mut self,
        name: &ArcStr,
        ids: &[MessageId],
        groups: &Arc<[GroupId]>,
    ) {
        self.change(name, Change::Ready, ids, groups);
    }

    /// Notes how many jobs a message has, from its first one on.
    pub(super) fn share(&mut self, id: MessageId, groups: &[GroupId]) {
        if let Ok(count) = u32::try_from(groups.len())
            && count > 1
        {
            self.shared.insert(id, count);
        }
    }

    /// Changes jobs, as many as this turn has time for, unless earlier ones of the name wait for their turn.
    fn change(
        &mut self,
        name: &ArcStr,
        change: Change,
        ids: &[MessageId],
        groups: &Arc<[GroupId]>,
    ) {
        if ids.is_empty() || groups.is_empty() {
            return;
        }
        let mut done = 0;
        if self.enlisting.is_empty() || !self.enlisting.parts.contains_key(name) {
            let work = EnlistPass { change, ids, groups, done };
            // The one job of a message takes no longer than the message itself.
            if groups.len() == 1 {
                self.go_on(work, usize::MAX, |_| true);
                return;
            }
            done = self.go_on(work, self.enlisting.left, |_| true);
            self.enlisting.left -= done;
            if done == work.all() {
                return;
            }
        }
        let number = self.enlisting.next_number;
        let part = Part { number, change, ids: ids.into(), groups: Arc::clone(groups), done };
        self.enlisting.add(name, part);
    }

    /// Goes on with a change, of this many jobs at most, and returns how many are done then. `is_kept`: whether groups
    /// still have a message.
    fn go_on(
        &mut self,
        work: EnlistPass<'_>,
        mut left: usize,
        is_kept: impl Fn(MessageId) -> bool,
    ) -> usize {
        let EnlistPass { change, ids, groups, mut done } = work;
        while left > 0
            && let Some(&id) = ids.get(done / groups.len())
        {
            let rest = &groups[done % groups.len()..];
            if change.adds() && !is_kept(id) {
                done += rest.len();
                left -= 1;
                continue;
            }
            let now = rest.len().min(left);
            for &group in &rest[..now] {
                if change.adds() {
                    self.add_job(group, id);
                }
                if change.makes_ready() {
                    self.set_ready(group, id);
                }
            }
            done += now;
            left -= now;
        }
        done
    }

    /// A turn: goes on with what was left, as far as the turn has time; whether more is left. `is_kept`: whether groups
    /// still have a message.
    pub(in super::super) fn enlist_some(&mut self, is_kept: impl Fn(MessageId) -> bool) -> bool {
        let mut left = JOBS_CHANGED_PER_TURN_MAX;
        while left > 0
            && let Some(name) = self.enlisting.turns.pop_front()
        {
            let Some(mut parts) = self.enlisting.parts.remove(&name) else { continue };
            let mut share = SHARE.min(left);
            left -= share;
            while share > 0
                && let Some(part) = parts.front_mut()
            {
                let before = part.done;
                part.done = self.go_on(part.work(), share, &is_kept);
                let done = part.done - before;
                if part.change.adds() {
                    self.enlisting.to_add -= done;
                }
                // Those of messages that are kept no longer take no time.
                share = share.saturating_sub(done);
                if part.done == part.work().all() {
                    self.enlisting.numbers.remove(&part.number);
                    parts.pop_front();
                }
            }
            left += share;
            if !parts.is_empty() {
                self.enlisting.parts.insert(name.clone(), parts);
                self.enlisting.turns.push_back(name);
            }
        }
        self.enlisting.left = left;
        !self.enlisting.is_empty()
    }

    /// Whether a message of a name that waits has to go on waiting, although its groups want it: this turn has no
    /// time for more jobs, or there are too many already. [`Self::take_room`] says when to ask again.
    pub(in super::super) fn holds_up(
        &mut self,
        name: &str,
        groups: usize,
        jobs_max: usize,
    ) -> bool {
        let jobs = self.jobs();
        let holds_up = self.enlisting.left == 0
            || self.enlisting.parts.contains_key(name)
            || (jobs > 0 && jobs.saturating_add(groups) > jobs_max);
        if holds_up {
            let fewest = self.enlisting.held_up.get_or_insert(groups);
            *fewest = groups.min(*fewest);
        }
        holds_up
    }

    /// Whether messages were held up of which one may be let through now: then it is time to ask for all of them.
    pub(in super::super) fn take_room(&mut self, jobs_max: usize) -> bool {
        let jobs = self.jobs();
        let has_room = self.enlisting.held_up.is_some_and(|groups| {
            self.enlisting.left > 0 && (jobs == 0 || jobs.saturating_add(groups) <= jobs_max)
        });
        if has_room {
            self.enlisting.held_up = None;
        }
        has_room
    }

    /// Whether jobs of a name are left to be changed.
    pub(in super::super) fn is_enlisting(&self, name: &str) -> bool {
        self.enlisting.parts.contains_key(name)
    }

    /// Whether there is something to do at once: jobs that are left to be changed, or may be handed over.
    pub(in super::super) fn has_work(&self) -> bool {
        !self.enlisting.is_empty() || self.next_serving().is_some()
    }

    /// How many jobs there are that were added and are not done.
    #[cfg(test)]
    pub(in super::super) fn added(&self) -> usize {
        self.jobs.len()
    }
}
