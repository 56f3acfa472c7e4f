//! What happened to one message, and what groups have to do with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a group has to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A member gets it, from then on.
    Ready(Duration),
    /// A member on this connection has it, until then.
    UnderWay(u32, Duration),
    /// Its last attempt failed, or a member rejected it.
    Spent {
        rejected: bool,
    },
    Acknowledged,
    /// It is a dead letter.
    Letter,
    /// It was one.
    Purged,
    Expired,
    /// The group was deleted.
    Deleted,
    /// The group's last member left.
    Left,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) state: State,
    pub(super) attempts: u16,
    /// It was a dead letter once, so that a crash may make it one again.
    pub(super) was_letter: bool,
}

impl Job {
    pub(super) fn new() -> Self {
        Self { state: State::Ready(Duration::ZERO), attempts: 0, was_letter: false }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Ready(_) | State::UnderWay(..) | State::Spent { .. })
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    /// It came in this life of the server.
    pub(super) taken: bool,
    /// The core keeps it.
    pub(super) held: bool,
    /// The journal holds it.
    pub(super) stored: bool,
    /// It was answered OK, and kept.
    pub(super) promised: bool,
    /// It was kept, and is no longer.
    pub(super) ended: bool,
    /// Kept for dead letters alone.
    pub(super) dead: bool,
    /// Somebody acknowledged it who may.
    pub(super) acknowledged: bool,
    /// Somebody acknowledged it before its time.
    pub(super) taken_back: bool,
    /// A group got it again that gave it up: from then on it does not expire, unless a restart forgets that.
    pub(super) replayed: bool,
    /// It may be anybody's: after a restart those that are known are done with it, and others were not that are gone.
    pub(super) left: bool,
    /// By the number of the group.
    pub(super) jobs: BTreeMap<usize, Job>,
    /// The groups, by their place in `GROUPS`, that have a dead letter of it, and of which that is stored.
    pub(super) letters: BTreeSet<usize>,
    pub(super) stored_letters: BTreeSet<usize>,
    /// Which connections of listeners got it, and how often.
    pub(super) heard: BTreeMap<u32, u32>,
    /// Which groups got it that asks for no acknowledgement.
    pub(super) given: BTreeSet<usize>,
}

impl Story {
    pub(super) fn has_open(&self) -> bool {
        self.jobs.values().any(Job::is_open)
    }

    fn has(&self, state: State) -> bool {
        self.jobs.values().any(|job| job.state == state)
    }

    fn has_left(&self) -> bool {
        self.left || self.has(State::Left)
    }

    /// Whether nobody needs it any more, but for its dead letters.
    pub(super) fn may_end(&self) -> bool {
        let is_for_groups = !self.jobs.is_empty() && !self.has_left();
        // Whoever deletes the last group that needs it gives it up, also for those that left.
        let is_given_up = self.has(State::Deleted);
        !self.has_open() && (self.acknowledged || is_for_groups || is_given_up)
    }

    /// Whether it has to end: each group is done with it that it fitted, and none of them left it to others.
    pub(super) fn must_end(&self) -> bool {
        !self.jobs.is_empty() && !self.has_open() && !self.has_left()
    }

    pub(super) fn expire(&mut self) {
        for job in self.jobs.values_mut().filter(|job| job.is_open()) {
            job.state = State::Expired;
        }
    }
}
