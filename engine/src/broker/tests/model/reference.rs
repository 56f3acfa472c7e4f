//! A broker that is a list of messages with states, and as slow as that.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::catalog::Catalog;
use super::*;
use crate::message::Format;
use crate::metrics::Metrics;
use crate::pending::Limits;

/// What a reply says; a refusal by its code alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ok,
    Refused(ErrorCode),
}

/// One change to the journal, of the message with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Append(usize),
    Settle(usize),
}

/// Why and when a message that waits for its acknowledgement is sent next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held {
    /// Again, from this time on.
    Due(Duration),
    /// When somebody wants it.
    Waiting,
    /// As soon as all up to this group is stored.
    Called { after: u64 },
}

/// A message that was published, in this format, to these connections in ascending order.
pub(super) type Sent = (Format, usize, Vec<ConnectionId>);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// It came before, as far as the broker remembers.
    taken: bool,
    pub(super) held: Option<Held>,
    /// A v1 subscriber's acknowledgement finds it.
    pub(super) shown_v1: bool,
}

/// A request that is answered when all up to a group is stored.
pub(super) struct Parked {
    group: u64,
    from: u32,
    /// Whether one of its messages is kept, so that a failed journal refuses it.
    kept: bool,
    /// Those that are being stored for it.
    pub(super) storing: Vec<usize>,
    /// Messages, frame by frame, in the format in which each is published.
    frames: Vec<Vec<(Format, usize)>>,
}

#[derive(Default)]
pub(super) struct Reference {
    durable: bool,
    limits: Option<Limits>,
    pub(super) states: Vec<State>,
    /// Who asked for which prefix, and since when.
    pub(super) subscriptions: BTreeMap<(ConnectionId, Vec<u8>), Duration>,
    /// Connections that ever asked for something, and those that do not keep up.
    pub(super) known: BTreeSet<ConnectionId>,
    pub(super) behind: BTreeSet<ConnectionId>,
    /// Whether a subscriber has left since the last turn.
    pub(super) has_left: bool,
    /// Beginnings of names that somebody wants since the last turn.
    pub(super) sweeps: Vec<String>,
    failed: bool,
    draining: bool,
    /// The group that each publisher's later requests wait for, too.
    barriers: HashMap<u64, u64>,
    pub(super) parked: Vec<Parked>,
    /// The group that is being filled, and what is in it.
    group: u64,
    filling: Vec<Entry>,
    /// Groups on their way to the disk.
    submitted: Vec<(u64, Vec<Entry>)>,
    pub(super) stored: u64,
    /// What the disk holds for certain.
    log: Vec<Entry>,
    pub(super) counts: Metrics,
    pub(super) frames: Vec<Sent>,
    pub(super) answers: Vec<(u32, Answer)>,
}

impl Reference {
    pub(super) fn new(durable: bool, limits: Limits) -> Self {
        Self { durable, limits: Some(limits), group: 1, ..Self::default() }
    }

    pub(super) fn stores(&self) -> bool {
        self.durable && !self.failed
    }

    pub(super) fn latest_group(&self) -> u64 {
        match self.stores() {
            false => 0,
            true => self.group - u64::from(self.filling.is_empty()),
        }
    }

    pub(super) fn state(&mut self, number: usize) -> &mut State {
        if self.states.len() <= number {
            self.states.resize(number + 1, State::default());
        }
        &mut self.states[number]
    }

    pub(super) fn is_held(&self, number: usize) -> bool {
        self.states.get(number).is_some_and(|state| state.held.is_some())
    }

    /// The messages that wait for an acknowledgement.
    pub(super) fn held(&self) -> Vec<usize> {
        (0..self.states.len()).filter(|&number| self.is_held(number)).collect()
    }

    fn refuse(&mut self, from: u32, code: ErrorCode) {
        self.counts.refused += 1;
        self.answers.push((from, Answer::Refused(code)));
    }

    fn is_full(&self, catalog: &Catalog, more: &[usize]) -> bool {
        let bytes =
            |numbers: &[usize]| numbers.iter().map(|&n| catalog.get(n).body.len()).sum::<usize>();
        let held = self.held();
        let limits = self.limits.unwrap();
        held.len() + more.len() > limits.messages || bytes(&held) + bytes(more) > limits.bytes
    }

    fn keep(&mut self, catalog: &Catalog, number: usize, now: Duration) {
        let name = catalog.get(number).name;
        let wanted = self.is_wanted(name);
        let held = if wanted { Held::Due(now + INTERVAL) } else { Held::Waiting };
        self.state(number).held = Some(held);
        if self.stores() {
            self.filling.push(Entry::Append(number));
        }
    }

    fn answer(&mut self, catalog: &Catalog, parked: Parked) {
        if parked.group > self.stored && self.stores() {
            self.parked.push(parked);
        } else {
            self.release(catalog, parked);
        }
    }

    /// Publishes to whoever wants it now.
    fn release(&mut self, catalog: &Catalog, parked: Parked) {
        for run in parked.frames {
            for (format, number) in run {
                self.publish(catalog, format, number);
            }
        }
        self.answers.push((parked.from, Answer::Ok));
    }

    pub(super) fn acknowledge(&mut self, from: u32, numbers: &[usize]) {
        self.counts.requests += 1;
        for &number in numbers {
            if self.state(number).held.take().is_some() {
                self.state(number).shown_v1 = false;
                self.counts.settled += 1;
                if self.stores() {
                    self.filling.push(Entry::Settle(number));
                }
            }
        }
        if self.failed {
            // They count until the next start, and are not stored.
            return self.refuse(from, ErrorCode::JournalFailed);
        }
        self.answers.push((from, Answer::Ok));
    }

    /// An acknowledgement by the checksum that v1 subscribers see.
    pub(super) fn acknowledge_v1(&mut self, catalog: &Catalog, from: u32, number: usize) {
        let known = self.state(number).shown_v1 || catalog.get(number).format == Format::V1;
        self.acknowledge(from, if known { std::slice::from_ref(&number) } else { &[] });
    }

    pub(super) fn original(&mut self, catalog: &Catalog, from: u32, number: usize, now: Duration) {
        self.counts.requests += 1;
        let made = catalog.get(number);
        if self.draining {
            return self.refuse(from, ErrorCode::ShuttingDown);
        }
        let group = self.latest_group();
        let mut parked = Parked { group, from, kept: made.ack, storing: vec![], frames: vec![] };
        if made.ack {
            if self.failed {
                return self.refuse(from, ErrorCode::JournalFailed);
            }
            if self.is_held(number) {
                self.counts.duplicates += 1;
                return self.answer(catalog, parked);
            }
            if self.is_full(catalog, &[number]) {
                return self.refuse(from, ErrorCode::PendingFull);
            }
            self.keep(catalog, number, now);
            parked.storing = vec![number];
        }
        parked.group = if made.ack { self.latest_group() } else { 0 };
        self.counts.accepted += 1;
        parked.frames.push(vec![(Format::V1, number)]);
        if !self.wanting(Format::V2, made.name).is_empty() {
            parked.frames.push(vec![(Format::V2, number)]);
        }
        self.answer(catalog, parked);
    }

    pub(super) fn native(
        &mut self,
        catalog: &Catalog,
        from: u32,
        numbers: &[usize],
        now: Duration,
    ) {
        self.counts.requests += 1;
        let ack = |number: &usize| catalog.get(*number).ack;
        let kept = numbers.iter().any(ack);
        if kept && self.failed {
            return self.refuse(from, ErrorCode::JournalFailed);
        }
        let publisher = catalog.get(numbers[0]).id.publisher;
        let new: Vec<usize> =
            numbers.iter().copied().filter(|&number| !self.state(number).taken).collect();
        if !new.is_empty() && self.draining {
            return self.refuse(from, ErrorCode::ShuttingDown);
        }
        self.counts.duplicates += (numbers.len() - new.len()) as u64;
        let new_kept: Vec<usize> = new.iter().copied().filter(ack).collect();
        if !new_kept.is_empty() && self.is_full(catalog, &new_kept) {
            return self.refuse(from, ErrorCode::PendingFull);
        }
        self.counts.accepted += new.len() as u64;
        let (mut frames, mut storing) = (Vec::new(), Vec::new());
        let sequence = |number: usize| catalog.get(number).id.sequence;
        for run in new.chunk_by(|&a, &b| sequence(a) + 1 == sequence(b)) {
            for format in [Format::V2, Format::V1] {
                frames.push(run.iter().map(|&number| (format, number)).collect());
            }
            let run_kept: Vec<usize> = run.iter().copied().filter(ack).collect();
            for &number in &run_kept {
                if !self.is_held(number) {
                    self.keep(catalog, number, now);
                    storing.extend(self.stores().then_some(number));
                }
            }
            for &number in run {
                self.state(number).taken = true;
            }
            if !run_kept.is_empty() && self.stores() {
                self.barriers.insert(publisher, self.latest_group());
            }
        }
        let group = self.barriers.get(&publisher).copied().unwrap_or(0);
        self.answer(catalog, Parked { group, from, kept, storing, frames });
    }

    /// What the core is to hand to the journal, if anything.
    pub(super) fn submit(&mut self) -> Option<(u64, Vec<Entry>)> {
        if self.filling.is_empty() {
            return None;
        }
        let group = (self.group, std::mem::take(&mut self.filling));
        self.group += 1;
        self.submitted.push(group.clone());
        Some(group)
    }

    /// Stores so many of the submitted groups, and returns the last group that is stored.
    pub(super) fn store(&mut self, catalog: &Catalog, groups: usize) -> u64 {
        for (group, entries) in self.submitted.drain(..groups.min(self.submitted.len())) {
            self.log.extend(entries);
            self.stored = group;
        }
        let (mut released, parked): (Vec<_>, _) =
            self.parked.drain(..).partition(|parked| parked.group <= self.stored);
        self.parked = parked;
        released.sort_by_key(|parked| parked.group);
        released.into_iter().for_each(|parked| self.release(catalog, parked));
        self.stored
    }

    pub(super) fn fail_journal(&mut self, catalog: &Catalog) {
        self.parked.sort_by_key(|parked| parked.group);
        for parked in std::mem::take(&mut self.parked) {
            if !parked.kept {
                self.release(catalog, parked);
                continue;
            }
            for number in parked.storing {
                let state = self.state(number);
                (state.held, state.shown_v1) = (None, false);
            }
            self.refuse(parked.from, ErrorCode::JournalFailed);
        }
        self.filling.clear();
        self.failed = true;
    }

    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    /// Forgets which publishers it heard, as it does when too many others came.
    pub(super) fn forget_publishers(&mut self) {
        self.barriers.clear();
        for state in &mut self.states {
            state.taken = false;
        }
    }

    /// Begins a new life with what the disk holds: all that is stored, and so many entries of what is
    /// on its way there. Returns them all.
    pub(super) fn restart(&mut self, entries: usize) -> Vec<Entry> {
        let unstored = self.submitted.drain(..).flat_map(|(_, entries)| entries);
        let mut log = std::mem::take(&mut self.log);
        log.extend(unstored.take(entries));
        *self = Self::new(self.durable, self.limits.unwrap());
        for &entry in &log {
            match entry {
                Entry::Append(number) => {
                    let state = self.state(number);
                    (state.taken, state.held) = (true, Some(Held::Waiting));
                }
                Entry::Settle(number) => self.state(number).held = None,
            }
        }
        self.counts.recovered = self.held().len() as u64;
        self.log.clone_from(&log);
        log
    }
}
