//! A recorded run of the journal, and what every disk must hold that it may leave.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::storage::trace::{Event, Trace};
use mezzenger::journal::{FsyncPolicy, JournalOptions, OpenError};
use mezzenger::message::Message;
use mezzenger::wire::id::MessageId;

use crate::harness::*;

/// One change of the journal, as submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Append(u64),
    Settle(u64),
}

/// How a disk breaks a promise.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("message {0} is lost")]
    Lost(u64),
    #[error("message {0} was settled for good and is back")]
    Back(u64),
    #[error("{0:?} was never written")]
    Forged(Box<Message>),
    #[error("no beginning of the history from change {promised} on leaves {found:?}")]
    Unexplained { promised: usize, found: BTreeSet<u64> },
    #[error("what was recovered is not there the next time")]
    Forgotten,
    #[error(transparent)]
    Refused(#[from] OpenError),
}

/// What stops the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// `kill -9`: what was written stays.
    Kill,
    /// A loss of power: what was synced stays.
    PowerCut,
}

/// Runs a journal and remembers what was submitted.
pub(crate) struct Recorder {
    storage: MemoryStorage,
    options: JournalOptions,
    run: Run,
    changes: Vec<Change>,
    /// For each ticket, tickets of later starts going on: the changes up to it.
    ends: Vec<usize>,
}

impl Recorder {
    pub(crate) fn start(options: JournalOptions) -> Self {
        let storage = MemoryStorage::new();
        let run = start(&storage, &options, 0);
        Self { storage, options, run, changes: Vec::new(), ends: Vec::new() }
    }

    fn submitted(&mut self, changes: impl IntoIterator<Item = Change>) {
        self.changes.extend(changes);
        self.ends.push(self.changes.len());
    }

    pub(crate) fn append(&mut self, numbers: impl IntoIterator<Item = u64> + Clone) -> Option<u64> {
        self.submitted(numbers.clone().into_iter().map(Change::Append));
        self.run.append(numbers)
    }

    pub(crate) fn settle(&mut self, numbers: impl IntoIterator<Item = u64> + Clone) -> Option<u64> {
        self.submitted(numbers.clone().into_iter().map(Change::Settle));
        self.run.settle(numbers)
    }

    /// Groups of appended and of settled messages, some of which are waited for.
    /// Returns the first number that is free.
    pub(crate) fn load(&mut self, groups: u64, first: u64) -> u64 {
        let mut n = first;
        for round in 0..groups {
            let numbers = n..n + 1 + round % 4;
            n = numbers.end;
            let ticket = self.append(numbers);
            self.settle(first.max(n.saturating_sub(12))..first.max(n.saturating_sub(6)));
            if round % 3 == 0 {
                assert!(self.run.settled(ticket));
            }
        }
        n
    }

    /// Appends and settles while a compaction is under way, and waits for its end.
    pub(crate) fn load_while_compacting(&mut self, first: u64) -> u64 {
        let live = Arc::clone(&self.run.live);
        let compactions = self.run.journal.stats().compactions;
        // It cannot ask what is live, and so not end.
        let held = live.held.write().unwrap();
        let n = self.load(12, first);
        drop(held);
        self.run.wait(|journal| journal.stats().compactions > compactions);
        n
    }

    /// Closes the journal and opens it again.
    pub(crate) fn restart(self) -> Self {
        let Self { storage, options, run, changes, ends } = self;
        run.journal.close().unwrap();
        let run = start(&storage, &options, ends.len() as u64);
        Self { storage, options, run, changes, ends }
    }

    /// Closes the journal.
    pub(crate) fn finish(self) -> History {
        self.run.journal.close().unwrap();
        let (changes, fsync) = (self.changes, self.options.fsync);
        History::new(self.storage.trace(), fsync, changes, self.ends)
    }
}

/// Starts a journal that notes durable tickets behind those of earlier starts.
fn start(storage: &MemoryStorage, options: &JournalOptions, earlier: u64) -> Run {
    let noted = storage.clone();
    let note = move |durable| noted.note(earlier + durable);
    Run::on(Arc::new(storage.clone()), options.clone(), note).unwrap()
}

/// What was done to a disk, and what for.
pub(crate) struct History {
    pub(crate) trace: Trace,
    fsync: FsyncPolicy,
    changes: Vec<Change>,
    ends: Vec<usize>,
    /// The messages that are live behind so many changes.
    live: Vec<BTreeSet<u64>>,
    numbers: HashMap<MessageId, u64>,
}

impl History {
    fn new(trace: Trace, fsync: FsyncPolicy, changes: Vec<Change>, ends: Vec<usize>) -> Self {
        let (mut live, mut numbers) = (vec![BTreeSet::new()], HashMap::new());
        let mut now = BTreeSet::new();
        for change in &changes {
            match *change {
                Change::Append(n) => {
                    numbers.insert(id(n), n);
                    now.insert(n)
                }
                Change::Settle(n) => now.remove(&n),
            };
            live.push(now.clone());
        }
        Self { trace, fsync, changes, ends, live, numbers }
    }

    /// The same submitted, and another trace of it.
    pub(crate) fn with_trace(self, trace: Trace) -> Self {
        Self { trace, ..self }
    }

    /// The changes, counted from the first, that must be on the disk after these events.
    pub(crate) fn promised(&self, events: &[Event], stop: Stop) -> usize {
        let (mut noted, mut synced, mut journal) = (0, 0, None);
        for event in events {
            match event {
                Event::Note(ticket) => {
                    noted = ticket.checked_sub(1).map_or(0, |last| self.ends[last as usize]);
                }
                Event::Rename { to, file, .. } if to == Path::new(PATH) => journal = Some(*file),
                Event::Sync { file } if Some(*file) == journal => synced = noted,
                _ => {}
            }
        }
        let is_append = |change: &Change| matches!(change, Change::Append(_));
        match (stop, self.fsync) {
            (Stop::Kill, _) => noted,
            // Settlements may be synced later than they are reported.
            (Stop::PowerCut, FsyncPolicy::Always) => {
                let appended = self.changes[..noted].iter().rposition(is_append);
                synced.max(appended.map_or(0, |last| last + 1))
            }
            (Stop::PowerCut, _) => synced,
        }
    }

    /// Recovers a disk as these events may have left it, and says what it holds.
    pub(crate) fn check(
        &self,
        disk: &MemoryStorage,
        events: &[Event],
        stop: Stop,
    ) -> Result<Kept, Wrong> {
        let (kept, recovered) = match recover(disk, options()) {
            // Nothing tells a hole in what was never synced from damage.
            Err(OpenError::Damaged { .. })
                if (stop, self.fsync) == (Stop::PowerCut, FsyncPolicy::Never) =>
            {
                let repaired = recover(disk, JournalOptions { repair: true, ..options() })?;
                return self.check_found(repaired.0, events, stop);
            }
            recovered => recovered?,
        };
        assert!(recovered.damage.is_empty());
        self.check_found(kept, events, stop)
    }

    /// Says whether a disk may hold this.
    fn check_found(&self, kept: Kept, events: &[Event], stop: Stop) -> Result<Kept, Wrong> {
        let mut found = BTreeSet::new();
        for message in kept.values() {
            match self.numbers.get(&message.id) {
                Some(n) if self::message(*n) == *message => found.insert(*n),
                _ => return Err(Wrong::Forged(Box::new(message.clone()))),
            };
        }
        let promised = self.promised(events, stop);
        if stop == Stop::PowerCut {
            return self.check_each(&found, promised).map(|()| kept);
        }
        let compacted = events.iter().filter(|event| is_replacement(event)).count() > 1;
        let explains = |end: usize| {
            let settled = |changes: &[Change], n| changes.contains(&Change::Settle(n));
            // Settlements stand behind the messages that are written with them.
            let lingers = |n| settled(&self.changes[promised..end], n);
            // A compaction leaves out what is settled before the settlement is written.
            let gone_early = |n| compacted && settled(&self.changes[end..], n);
            let live = &self.live[end];
            found.difference(live).all(|n| lingers(*n))
                && live.difference(&found).all(|n| gone_early(*n))
        };
        if (promised..=self.changes.len()).any(explains) {
            return Ok(kept);
        }
        self.check_each(&found, promised)?;
        Err(Wrong::Unexplained { promised, found })
    }

    /// Behind the promised changes, a loss of power leaves any of the others, each record by itself.
    fn check_each(&self, found: &BTreeSet<u64>, promised: usize) -> Result<(), Wrong> {
        let (earlier, later) = self.changes.split_at(promised);
        let live = &self.live[promised];
        if let Some(n) = live.difference(found).find(|n| !later.contains(&Change::Settle(**n))) {
            return Err(Wrong::Lost(*n));
        }
        match found.difference(live).find(|n| earlier.contains(&Change::Settle(**n))) {
            Some(n) => Err(Wrong::Back(*n)),
            None => Ok(()),
        }
    }
}

/// Whether a file takes the journal's place.
fn is_replacement(event: &Event) -> bool {
    matches!(event, Event::Rename { to, .. } if to == Path::new(PATH))
}

/// Some groups, a restart, and some more.
pub(crate) fn plain(fsync: FsyncPolicy) -> History {
    let mut recorder = Recorder::start(JournalOptions { fsync, ..options() });
    let n = recorder.load(12, 0);
    let mut recorder = recorder.restart();
    recorder.load(6, n);
    recorder.finish()
}

/// Compactions with load before, behind and during them, and a restart.
pub(crate) fn compacting(fsync: FsyncPolicy) -> History {
    // Larger than what a compacted file of these holds, or one would follow the other.
    let compact_min_bytes = 12_000;
    let options = JournalOptions { fsync, compact_min_bytes, ..options() };
    let mut recorder = Recorder::start(options);
    let n = recorder.load_while_compacting(0);
    let n = recorder.load(3, n);
    let mut recorder = recorder.restart();
    let n = recorder.load_while_compacting(n);
    recorder.load(3, n);
    let history = recorder.finish();
    let replacements = history.trace.events.iter().filter(|event| is_replacement(event)).count();
    assert!(replacements >= 3, "no compactions: {replacements}");
    history
}
