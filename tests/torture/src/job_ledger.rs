//! The account of every job: for each group that has to work at it, how it ended.
//!
//! What different processes tell arrives in any order, so each of them says when it was, by the one clock that all see.

mod account;

use std::collections::BTreeMap;

pub use account::{JobAccount, Judged};

use crate::content::Key;
use crate::jobs::{self, ALL, GROUPS};

/// Most faults of a kind that are named.
const NAMED_MAX: usize = 5;

/// Milliseconds that the time at which a job expires may lie behind the one that its publisher told: that is taken first,
/// and the client takes its own.
const STAMP_MS: u64 = 250;

/// A job that is being published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// When.
    pub at_ms: u64,
    /// When it is to be delivered, unless at once.
    pub due_ms: Option<u64>,
    /// When it expires, if it does.
    pub expires_ms: Option<u64>,
}

/// An acknowledgement that the server answered OK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    /// When the worker gave it, and when it had the answer.
    given_ms: u64,
    answered_ms: u64,
}

/// What is known of a job in one group.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    deliveries: u32,
    /// When it was delivered first and last.
    first_ms: u64,
    last_ms: u64,
    /// When the last of the workers began that it was delivered to.
    worker_began_ms: u64,
    /// When a worker last said that it is done.
    done_ms: Option<u64>,
    taken: Option<Taken>,
    /// It was delivered again after it was taken: as may be, and as must not be.
    again_after_kill: u32,
    again: u32,
}

/// What is known of one job.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    posted: Option<Posted>,
    is_answered: bool,
    is_refused: bool,
    groups: [Place; GROUPS],
}

/// A kill of the server.
#[derive(Clone, Copy, Debug)]
struct Kill {
    /// When it was dead.
    at_ms: u64,
    /// What was posted last of all that was known to be answered OK before: what the server did before that is stored.
    stored_ms: u64,
}

/// A dead letter that the server has at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The job.
    pub key: Key,
    /// The group, as a place in [`ALL`].
    pub group: usize,
    /// How often the group got it.
    pub attempts: u16,
    /// Whether a worker rejected it; otherwise its attempts were used up.
    pub is_rejected: bool,
}

/// The account of all jobs of a torture.
#[derive(Debug, Default)]
pub struct JobLedger {
    /// The jobs of each publisher, by their numbers.
    publishers: BTreeMap<u32, Vec<Entry>>,
    kills: Vec<Kill>,
    stored_ms: u64,
    /// When the last of those that are near is delivered.
    last_due_ms: u64,
    answered: u64,
    damaged: u64,
    /// Deliveries with a number that no attempt may have.
    attempts_beyond: u64,
}

impl JobLedger {
    fn entry(&mut self, key: Key) -> &mut Entry {
        let jobs = self.publishers.entry(key.publisher).or_default();
        let at = key.number as usize;
        if jobs.len() <= at {
            jobs.resize(at + 1, Entry::default());
        }
        &mut jobs[at]
    }

    /// A job is being published.
    pub fn posted(&mut self, key: Key, posted: Posted) {
        self.entry(key).posted = Some(posted);
    }

    /// It was answered OK.
    pub fn ok(&mut self, key: Key) {
        let entry = self.entry(key);
        entry.is_answered = true;
        let Some(posted) = entry.posted else { return };
        self.answered += 1;
        self.stored_ms = self.stored_ms.max(posted.at_ms);
        // Those far ahead are not waited for.
        if let Some(due_ms) = posted.due_ms.filter(|due| *due < posted.at_ms + FAR_MS) {
            self.last_due_ms = self.last_due_ms.max(due_ms);
        }
    }

    /// It was refused, or its fate is not known to the client.
    pub fn refused(&mut self, key: Key) {
        self.entry(key).is_refused = true;
    }

    /// The server is dead, of whose answers those were known that were told before.
    pub fn killed(&mut self, at_ms: u64) {
        self.kills.push(Kill { at_ms, stored_ms: self.stored_ms });
    }

    /// A job was delivered to a worker of a group that began then.
    pub fn delivered(&mut self, key: Key, group: usize, attempt: u16, at_ms: u64, began_ms: u64) {
        let max = ALL[group].attempts_max;
        self.attempts_beyond += u64::from(attempt == 0 || (max > 0 && attempt > max));
        let place = &mut self.entry(key).groups[group];
        if place.deliveries == 0 || at_ms < place.first_ms {
            place.first_ms = at_ms;
        }
        place.deliveries += 1;
        place.last_ms = place.last_ms.max(at_ms);
        place.worker_began_ms = place.worker_began_ms.max(began_ms);
        if let Some(taken) = place.taken {
            self.came_again(key, group, taken, at_ms);
        }
    }

    /// A worker is about to acknowledge it.
    pub fn done(&mut self, key: Key, group: usize, at_ms: u64) {
        self.entry(key).groups[group].done_ms = Some(at_ms);
    }

    /// The server answered OK to what [`Self::done`] announced.
    pub fn taken(&mut self, key: Key, group: usize, answered_ms: u64) {
        let place = &mut self.entry(key).groups[group];
        let given_ms = place.done_ms.unwrap_or(answered_ms);
        let taken = Taken { given_ms, answered_ms };
        place.taken = Some(taken);
        let last_ms = place.last_ms;
        self.came_again(key, group, taken, last_ms);
    }

    /// Counts a delivery, if it came after the acknowledgement.
    fn came_again(&mut self, key: Key, group: usize, taken: Taken, at_ms: u64) {
        if at_ms <= taken.answered_ms {
            return;
        }
        let may_be = self.may_be_forgotten(taken);
        let place = &mut self.entry(key).groups[group];
        *if may_be { &mut place.again_after_kill } else { &mut place.again } += 1;
    }

    /// Whether an acknowledgement may be forgotten: what a server takes is written behind what it took before, and its
    /// messages with it. So it is lost only with a server that was killed before it answered OK to any message that was
    /// posted after that acknowledgement.
    fn may_be_forgotten(&self, taken: Taken) -> bool {
        let is_lost =
            |kill: &Kill| kill.at_ms >= taken.given_ms && kill.stored_ms <= taken.answered_ms;
        self.kills.iter().any(is_lost)
    }

    /// Something was delivered that nobody posted in this form.
    pub fn damaged(&mut self) {
        self.damaged += 1;
    }

    /// Jobs answered OK.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Jobs that groups have to work at: answered OK, neither done nor expired by now, nor held for long.
    pub fn unsettled(&self, now_ms: u64) -> u64 {
        let pairs = self.entries().flat_map(|(key, entry)| {
            let groups = jobs::groups(key);
            (0..GROUPS).filter(move |group| groups[*group]).map(move |group| (entry, group))
        });
        let is_open = |(entry, group): &(Entry, usize)| {
            entry.is_answered
                && entry.groups[*group].done_ms.is_none()
                && !entry.is_expired(now_ms)
                && !entry.is_held(self.last_due_ms.max(now_ms))
        };
        pairs.filter(is_open).count() as u64
    }

    /// When the last one is delivered that is held, but for those that are held for long.
    pub fn last_due_ms(&self) -> u64 {
        self.last_due_ms
    }

    fn entries(&self) -> impl Iterator<Item = (Key, Entry)> + '_ {
        self.publishers.iter().flat_map(|(&publisher, jobs)| {
            let key = move |number| Key { publisher, number };
            (0..).map(key).zip(jobs.iter().copied())
        })
    }
}

/// What is due or expires so long after it was posted is not waited for.
const FAR_MS: u64 = 60 * 60 * 1000;

impl Entry {
    fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms().is_some_and(|at| at <= now_ms)
    }

    /// When it has expired for all.
    fn expires_ms(&self) -> Option<u64> {
        self.posted.and_then(|posted| posted.expires_ms).map(|at| at + STAMP_MS)
    }

    fn due_ms(&self) -> Option<u64> {
        self.posted.and_then(|posted| posted.due_ms)
    }

    fn is_held(&self, now_ms: u64) -> bool {
        self.due_ms().is_some_and(|at| at > now_ms)
    }
}

#[cfg(test)]
mod tests;
