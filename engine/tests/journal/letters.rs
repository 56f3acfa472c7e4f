//! Dead letters are kept like messages: through restarts, compactions, damage, and losses of power.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use mezzenger::journal::record::{Body, FileHeader, RECORDS_OFFSET, RecordHeader};
use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::storage::power_cut::{PowerCut, Tear};
use mezzenger::journal::storage::trace::{Event, Trace};
use mezzenger::journal::{
    FsyncPolicy, JournalOptions, LetterEnd, Op, OpenError, Recovered, inspect, open,
};
use mezzenger::message::DeadLetter;
use mezzenger::wire::id::MessageId;
use mezzenger::wire::letter::Cause;

use crate::choices;
use crate::harness::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Append,
    Settle,
    /// A letter of a group, and whether its message is done.
    Letter(&'static str, bool),
    End(&'static str, LetterEnd),
}

use What::{Append, End, Letter, Settle};

/// A change that concerns a message.
type Change = (u64, What);

pub(crate) fn letter(n: u64, group: &str, is_done: bool) -> DeadLetter {
    DeadLetter {
        id: id(n),
        group: group.into(),
        filter_kind: 1,
        filter: "name/".into(),
        cause: match n % 3 {
            0 => Cause::Rejected(format!("message {n} is bad").into()),
            1 => Cause::UsedUp,
            _ => Cause::Expired,
        },
        attempts: n as u16,
        died_ns: n << 40,
        is_done,
    }
}

fn op((n, what): Change) -> Op {
    match what {
        Append => Op::Append(message(n)),
        Settle => Op::Settle(id(n)),
        Letter(group, is_done) => Op::Letter(letter(n, group, is_done)),
        End(group, end) => Op::EndLetter { id: id(n), group: group.into(), end },
    }
}

/// What is known of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    is_there: bool,
    is_done: bool,
    letters: BTreeSet<String>,
}

impl State {
    fn apply(&mut self, what: What) {
        match what {
            Append if !self.is_there => *self = Self { is_there: true, ..Self::default() },
            Letter(group, is_done) if self.is_there => {
                self.letters.insert(group.into());
                self.is_done |= is_done;
            }
            Append | Letter(..) => {}
            End(group, LetterEnd::Purged) => {
                let was_there = self.letters.remove(group);
                if self.letters.is_empty() {
                    self.is_there &= !(was_there && self.is_done);
                    self.is_done = false;
                }
            }
            End(group, LetterEnd::Replayed) => {
                self.letters.remove(group);
                self.is_done = false;
            }
            Settle | End(_, LetterEnd::Done) => *self = Self::default(),
        }
    }
}

type States = BTreeMap<u64, State>;

fn apply(changes: impl IntoIterator<Item = Change>) -> States {
    let mut states = States::new();
    for (n, what) in changes {
        states.entry(n).or_default().apply(what);
    }
    states.retain(|_, state| *state != State::default());
    states
}

fn number(id_: MessageId) -> u64 {
    (0..200).find(|n| id(*n) == id_).unwrap()
}

/// What was recovered, none of which is forged.
fn states(kept: &Kept, recovered: &Recovered) -> States {
    let mut states = States::new();
    for message_ in kept.values() {
        let n = number(message_.id);
        assert_eq!(*message_, message(n));
        states.insert(n, State { is_there: true, ..State::default() });
    }
    for found in &recovered.letters {
        let n = number(found.id);
        assert_eq!(*found, letter(n, &found.group, found.is_done));
        let state = states.get_mut(&n).expect("a letter has its message");
        assert!(state.letters.is_empty() || state.is_done == found.is_done);
        state.is_done = found.is_done;
        assert!(state.letters.insert(found.group.to_string()));
    }
    states
}

fn recover_states(disk: &MemoryStorage, options: JournalOptions) -> Result<States, OpenError> {
    let (kept, recovered) = recover(disk, options)?;
    Ok(states(&kept, &recovered))
}

/// What happens to each of eight messages, one after the other.
const LIVES: [&[What]; 8] = [
    &[Append, Settle],
    &[Append],
    &[Append, Letter("a", true)],
    &[Append, Letter("a", true), End("a", LetterEnd::Done)],
    &[Append, Letter("a", true), End("a", LetterEnd::Replayed), Settle],
    &[Append, Letter("a", false), Letter("b", true), End("a", LetterEnd::Purged)],
    &[Append, Letter("a", false), Letter("a", true)],
    &[
        Append,
        Letter("a", false),
        Letter("b", true),
        End("a", LetterEnd::Replayed),
        Letter("a", true),
        End("a", LetterEnd::Purged),
    ],
];

/// The changes of a round, in which a few messages live on by one step each.
fn round(r: u64) -> Vec<Change> {
    let step = |n: u64| {
        let life = LIVES[(n % 8) as usize];
        (r - n).is_multiple_of(2).then(|| life.get(((r - n) / 2) as usize)).flatten()
    };
    (0..=r).filter_map(|n| step(n).map(|what| (n, *what))).collect()
}

/// A journal at work, and what it was told.
struct Log {
    storage: MemoryStorage,
    run: Run,
    changes: Vec<Change>,
    /// For each ticket the changes up to it.
    ends: Vec<usize>,
}

impl Log {
    fn start(options: JournalOptions) -> Self {
        let storage = MemoryStorage::new();
        let run = Run::start(&storage, options).unwrap();
        Self { storage, run, changes: Vec::new(), ends: Vec::new() }
    }

    /// Submits changes as the broker would: into and out of the map first.
    fn submit(&mut self, changes: Vec<Change>) -> Option<u64> {
        for (n, what) in &changes {
            let mut ids = self.run.live.ids.write().unwrap();
            match what {
                Append => _ = ids.insert(id(*n)),
                Settle | End(_, LetterEnd::Done) => _ = ids.remove(&id(*n)),
                Letter(..) | End(..) => {}
            }
        }
        self.changes.extend(&changes);
        self.ends.push(self.changes.len());
        self.run.journal.submit(changes.into_iter().map(op).collect()).ok()
    }

    fn load(&mut self, rounds: std::ops::Range<u64>) {
        for r in rounds {
            let ticket = self.submit(round(r));
            if r % 3 == 0 {
                assert!(self.run.settled(ticket));
            }
        }
    }

    /// Closes the journal.
    fn finish(self) -> (Vec<u8>, Trace, Vec<Change>, Vec<usize>) {
        self.run.journal.close().unwrap();
        let bytes = self.storage.read(Path::new(PATH)).unwrap();
        (bytes, self.storage.trace(), self.changes, self.ends)
    }
}

fn plain(fsync: FsyncPolicy) -> Log {
    let mut log = Log::start(JournalOptions { fsync, ..options() });
    log.load(0..24);
    log
}

/// One whose last commit holds letters and nothing else.
fn letters_alone() -> Log {
    let mut log = Log::start(options());
    for what in [Append, Letter("a", true)] {
        let ticket = log.submit((0..4).map(|n| (n, what)).collect());
        assert!(log.run.settled(ticket));
    }
    log
}

/// One that was compacted once while letters came and ended.
fn compacting() -> Log {
    let mut log = Log::start(JournalOptions { compact_min_bytes: 6000, ..options() });
    let live = Arc::clone(&log.run.live);
    // It cannot ask what is live, and so not end.
    let held = live.held.write().unwrap();
    log.load(0..18);
    drop(held);
    log.run.wait(|journal| journal.stats().compactions > 0);
    log.load(18..24);
    log
}

#[test]
fn letters_come_back_as_they_were() {
    for log in [plain(FsyncPolicy::Always), plain(FsyncPolicy::Never), compacting()] {
        let (bytes, _, changes, _) = log.finish();
        let expected = apply(changes);
        assert!(expected.values().any(|state| state.letters.len() == 2));
        assert_eq!(recover_states(&disk(&bytes), options()).unwrap(), expected);
        let found = inspect(Path::new(PATH), &disk(&bytes)).unwrap();
        let letters: usize = expected.values().map(|state| state.letters.len()).sum();
        assert_eq!((found.letters, found.live), (letters as u64, expected.len() as u64));
        assert_eq!(found.appended, found.settled + found.live);
        assert!(found.to_string().contains(&format!("dead letters: {letters}\n")), "{found}");
    }
}

#[test]
fn a_compaction_leaves_out_letters_of_a_message_that_was_settled_and_came_again() {
    let mut log = Log::start(JournalOptions { compact_min_bytes: 6000, ..options() });
    // Their end is missing, as if there had been no room for it.
    let what = [Append, Letter("a", true), Settle, Append];
    log.submit(what.map(|what| (3, what)).to_vec());
    for n in 8..40 {
        log.submit(vec![(n, Append), (n, Settle)]);
    }
    log.run.wait(|journal| journal.stats().compactions > 0);
    let (bytes, _, changes, _) = log.finish();
    assert!(bytes.len() < 8000, "{} bytes", bytes.len());
    assert_eq!(recover_states(&disk(&bytes), options()).unwrap(), apply(changes));
}

#[test]
fn letters_come_back_in_the_order_in_which_they_died() {
    let mut log = Log::start(options());
    log.submit((0..20).map(|n| (n, Append)).collect());
    log.submit((0..20).map(|n| (n * 7 % 20, Letter("a", n % 2 == 0))).collect());
    // Whose message is done meanwhile keeps its place.
    log.submit(vec![(7, Letter("a", true))]);
    let (bytes, ..) = log.finish();
    let (_, recovered) = recover(&disk(&bytes), options()).unwrap();
    let order: Vec<u64> = recovered.letters.iter().map(|letter| number(letter.id)).collect();
    assert_eq!(order, (0..20).map(|n| n * 7 % 20).collect::<Vec<_>>());
}

#[test]
fn changes_count_in_their_order_however_many_are_written_at_once() {
    let groups = ["a", "b"];
    for seed in 0..if FEW { 100 } else { 1000 } {
        let mut random = Random(seed);
        let mut log = Log::start(options());
        for _ in 0..1 + random.below(3) {
            let change = |_| {
                let (n, group) = (random.below(3) as u64, groups[random.below(2)]);
                let end = [LetterEnd::Purged, LetterEnd::Replayed, LetterEnd::Done];
                let what = match random.below(9) {
                    0..4 => Append,
                    4 => Settle,
                    5..7 => Letter(group, random.below(2) == 0),
                    _ => End(group, end[random.below(3)]),
                };
                (n, what)
            };
            let changes = (0..20).map(change).collect();
            log.submit(changes);
        }
        let (bytes, _, changes, _) = log.finish();
        let found = recover_states(&disk(&bytes), options()).unwrap();
        assert_eq!(found, apply(changes), "seed {seed}");
    }
}

/// The records of a file: where each ends, and the changes that it holds.
fn records(bytes: &[u8]) -> Vec<(usize, usize, Vec<Change>)> {
    let salt = FileHeader::decode(bytes).unwrap().salt;
    let (mut start, mut records) = (RECORDS_OFFSET as usize, Vec::new());
    let group = |group: &str| if group == "a" { "a" } else { "b" };
    while start < bytes.len() {
        let header = RecordHeader::decode(&bytes[start..], salt, start as u64).unwrap();
        let end = start + header.record_bytes() as usize;
        let changes = match Body::decode(&header, &bytes[start + 32..end]).unwrap() {
            Body::Append { id, .. } => vec![(number(id), Append)],
            Body::Settle(ids) => {
                mezzenger::journal::record::ids(ids).map(|id| (number(id), Settle)).collect()
            }
            Body::Letter(it) => vec![(number(it.id), Letter(group(it.group), it.is_done))],
            Body::LetterEnd(it) => vec![(number(it.id), End(group(it.group), it.end))],
            _ => Vec::new(),
        };
        records.push((start, end, changes));
        start = end;
    }
    records
}

fn fold_but(records: &[(usize, usize, Vec<Change>)], without: Option<usize>) -> States {
    let kept = records.iter().enumerate().filter(|(at, _)| Some(*at) != without);
    apply(kept.flat_map(|(_, (_, _, changes))| changes.iter().copied()))
}

#[test]
fn a_file_that_is_cut_anywhere_recovers_to_what_its_whole_records_say() {
    for log in [plain(FsyncPolicy::Always), compacting()] {
        let (bytes, ..) = log.finish();
        let records = records(&bytes);
        for length in RECORDS_OFFSET as usize..=bytes.len() {
            let whole = records.iter().filter(|(_, end, _)| *end <= length);
            let expected = apply(whole.flat_map(|(_, _, changes)| changes.iter().copied()));
            let found = recover_states(&disk(&bytes[..length]), options()).unwrap();
            assert_eq!(found, expected, "cut to {length} bytes");
        }
    }
}

#[test]
fn a_flipped_bit_is_reported_and_costs_the_record_that_it_hits() {
    let (bytes, ..) = plain(FsyncPolicy::Always).finish();
    let records = records(&bytes);
    for (hit, (start, end, changes)) in records.iter().enumerate() {
        if !changes.iter().any(|(_, what)| matches!(what, Letter(..) | End(..))) {
            continue;
        }
        for bit in start * 8..end * 8 {
            if FEW && bit % 7 != 0 {
                continue;
            }
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let disk = disk(&flipped);
            assert!(matches!(recover(&disk, options()), Err(OpenError::Damaged { .. })));
            let repair = JournalOptions { repair: true, ..options() };
            let expected = fold_but(&records, Some(hit));
            assert_eq!(recover_states(&disk, repair).unwrap(), expected, "bit {bit}");
            assert_eq!(recover_states(&disk, options()).unwrap(), expected, "repaired");
        }
    }
}

/// The changes that must be on the disk after these events.
fn promised(events: &[Event], changes: &[Change], ends: &[usize]) -> usize {
    let (mut noted, mut synced, mut journal) = (0, 0, None);
    for event in events {
        match event {
            Event::Note(ticket) => {
                noted = ticket.checked_sub(1).map_or(0, |last| ends[last as usize]);
            }
            Event::Rename { to, file, .. } if to == Path::new(PATH) => journal = Some(*file),
            Event::Sync { file } if Some(*file) == journal => synced = noted,
            _ => {}
        }
    }
    // Settlements and ends may be synced later than they are reported.
    let is_promised = |change: &Change| matches!(change.1, Append | Letter(..));
    let last = changes[..noted].iter().rposition(is_promised);
    synced.max(last.map_or(0, |last| last + 1))
}

/// Whether a message may be found so: all that is promised has happened to it, and of the rest any part.
fn is_explained(n: u64, found: &State, promised: &[Change], rest: &[Change]) -> bool {
    let of = |changes: &[Change]| -> Vec<What> {
        changes.iter().filter(|(of, _)| *of == n).map(|(_, what)| *what).collect()
    };
    let (promised, rest) = (of(promised), of(rest));
    (0..1_u32 << rest.len()).any(|part| {
        let mut state = State::default();
        promised.iter().for_each(|what| state.apply(*what));
        for (at, what) in rest.iter().enumerate() {
            if part & 1 << at != 0 {
                state.apply(*what);
            }
        }
        state == *found
    })
}

/// Cuts the power behind each event; the first message that is not as promised.
fn cut_power(log: Log, altered: impl FnOnce(Trace) -> Trace) -> Result<usize, (usize, u64, State)> {
    let (_, trace, changes, ends) = log.finish();
    let trace = altered(trace);
    let mut cut = PowerCut::behind(&trace, 0);
    let mut disks = 0;
    for n in 0..=trace.events.len() {
        let (before, rest) = changes.split_at(promised(&trace.events[..n], &changes, &ends));
        for tear in [Tear::Sectors, Tear::Bytes] {
            disks += choices::each(n as u64, |choose| {
                let found = recover_states(&cut.disk(tear, choose), options()).unwrap();
                for message in 0..24 {
                    let found = found.get(&message).cloned().unwrap_or_default();
                    if !is_explained(message, &found, before, rest) {
                        return Err((n, message, found));
                    }
                }
                Ok(())
            })?;
        }
        trace.events.get(n).inspect(|event| cut.take(event));
    }
    Ok(disks)
}

#[test]
fn what_was_reported_durable_survives_a_loss_of_power_at_any_moment() {
    for log in [plain(FsyncPolicy::Always), letters_alone(), compacting()] {
        let disks = cut_power(log, |trace| trace).unwrap();
        println!("{disks} disks");
    }
}

#[test]
fn without_the_sync_of_a_commit_a_loss_of_power_loses_letters() {
    // The commit of the letters is the one behind the first that is reported.
    let altered = |mut trace: Trace| {
        let first = trace.events.iter().position(|event| *event == Event::Note(1)).unwrap();
        let behind = trace.events.split_off(first);
        let is_sync = |event: &Event| matches!(event, Event::Sync { .. });
        trace.events.extend(behind.into_iter().filter(|event| !is_sync(event)));
        trace
    };
    let (_, _, found) = cut_power(letters_alone(), altered).unwrap_err();
    assert_eq!(found, State { is_there: true, ..State::default() });
}

#[test]
fn after_a_compaction_a_message_that_came_again_stands_where_it_came_last() {
    for end in [LetterEnd::Done, LetterEnd::Purged] {
        let mut log = Log::start(JournalOptions { compact_min_bytes: 6000, ..options() });
        let live = Arc::clone(&log.run.live);
        // It cannot ask what is live before all is written.
        let held = live.held.write().unwrap();
        log.submit([Append, Letter("a", true), End("a", end)].map(|what| (3, what)).to_vec());
        // Message 1 stands between the two, as the record of a group may.
        log.submit(vec![(1, Append)]);
        log.submit(vec![(3, Append)]);
        for n in 8..40 {
            log.submit(vec![(n, Append), (n, Settle)]);
        }
        drop(held);
        log.run.wait(|journal| journal.stats().compactions > 0);
        let (bytes, _, changes, _) = log.finish();
        assert_eq!(recover_states(&disk(&bytes), options()).unwrap(), apply(changes));
        let (recovered, _) = open(options(), Arc::new(disk(&bytes))).unwrap();
        let order: Vec<u64> =
            recovered.messages.map(|message| number(message.unwrap().id)).collect();
        assert_eq!(order, [1, 3], "{end:?}");
    }
}

#[test]
fn the_last_letter_of_a_message_that_is_done_frees_both() {
    let mut log = Log::start(options());
    let ticket =
        log.submit([Append, Letter("a", true), End("a", LetterEnd::Done)].map(|it| (1, it)).into());
    assert!(log.run.settled(ticket));
    assert_eq!(log.run.journal.stats().live_bytes, 0);
}
