//! Durable groups, and what they are done with, are kept like messages: through restarts, compactions, damage, and
//! losses of power.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use mezzenger::journal::record::{self, Body, FileHeader, Kind, RECORDS_OFFSET, RecordHeader};
use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::storage::power_cut::{PowerCut, Tear};
use mezzenger::journal::storage::trace::{Event, Trace};
use mezzenger::journal::{
    FsyncPolicy, JobState, JournalOptions, Op, OpenError, Recovered, inspect,
};
use mezzenger::message::DurableGroup;
use mezzenger::wire::control::Backoff;
use mezzenger::wire::id::MessageId;

use crate::choices;
use crate::harness::*;

/// A change to the journal. Groups have numbers, messages are numbered likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Append(u64),
    Settle(u64),
    Create(u64),
    Delete(u64),
    Job(u64, JobState, u64),
}

use Change::{Append, Create, Delete, Job, Settle};

/// Group `n`: the names come again.
fn group(n: u64) -> DurableGroup {
    DurableGroup {
        number: n,
        name: format!("group {}", n % 3).into(),
        filter_kind: 1,
        filter: "name/".into(),
        ack_wait_ms: n as u32,
        in_flight_max: 2,
        attempts_max: 3,
        backoff: Backoff::new(&[1, 2][..(n % 3) as usize]).unwrap(),
        keeps_expired: n.is_multiple_of(2),
    }
}

fn op(change: Change) -> Op {
    match change {
        Append(n) => Op::Append(message(n)),
        Settle(n) => Op::Settle(id(n)),
        Create(n) => Op::Group(group(n)),
        Delete(n) => Op::EndGroup(n),
        Job(group, state, n) => Op::Jobs { group, state, ids: vec![id(n)] },
    }
}

/// The groups that are there, and of which of them each message is a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    groups: BTreeSet<u64>,
    jobs: BTreeMap<u64, BTreeSet<u64>>,
}

impl State {
    fn apply(&mut self, change: Change) {
        match change {
            Append(n) => _ = self.jobs.entry(n).or_insert_with(|| self.groups.clone()),
            Settle(n) => _ = self.jobs.remove(&n),
            Create(n) => {
                // Where the record is lost that ended an earlier one of this name.
                let same = self.groups.iter().copied().find(|other| other % 3 == n % 3);
                same.into_iter().for_each(|other| self.apply(Delete(other)));
                self.groups.insert(n);
            }
            Delete(n) => {
                self.groups.remove(&n);
                self.jobs.values_mut().for_each(|jobs| _ = jobs.remove(&n));
            }
            Job(group, state, n) if self.groups.contains(&group) => {
                if let Some(jobs) = self.jobs.get_mut(&n) {
                    match state {
                        JobState::Done => _ = jobs.remove(&group),
                        JobState::Open => _ = jobs.insert(group),
                    }
                }
            }
            Job(..) => {}
        }
    }

    fn of(changes: impl IntoIterator<Item = Change>) -> Self {
        let mut state = Self::default();
        changes.into_iter().for_each(|change| state.apply(change));
        state
    }
}

fn number(id_: MessageId) -> u64 {
    (0..200).find(|n| id(*n) == id_).unwrap()
}

/// What was recovered, none of which is forged.
fn state(messages: &[u64], recovered: &Recovered) -> State {
    let groups = &recovered.groups;
    let mut state = State::default();
    for found in &groups.all {
        assert_eq!(found.group, group(found.group.number));
        assert!(found.group.number <= groups.last_number);
        assert!(state.groups.insert(found.group.number));
    }
    for (at, &n) in messages.iter().enumerate() {
        let marks = groups.marks.get(&id(n)).map_or(&[][..], Vec::as_slice);
        let is_job = |number: u64, before: usize| {
            let mark = marks.iter().find(|(group, _)| *group == number);
            mark.map_or(at >= before, |(_, state)| *state == JobState::Open)
        };
        let jobs = groups.all.iter().filter(|it| is_job(it.group.number, it.before));
        state.jobs.insert(n, jobs.map(|it| it.group.number).collect());
    }
    assert!(groups.marks.keys().all(|id| state.jobs.contains_key(&number(*id))));
    state
}

fn recover_state(disk: &MemoryStorage, options: JournalOptions) -> Result<State, OpenError> {
    let (mut recovered, _) = mezzenger::journal::open(options, Arc::new(disk.clone()))?;
    let messages: Vec<_> = recovered.messages.by_ref().collect::<Result<_, _>>()?;
    let numbers: Vec<u64> = messages.iter().map(|it| number(it.id)).collect();
    assert!(messages.iter().zip(&numbers).all(|(found, n)| *found == message(*n)));
    Ok(state(&numbers, &recovered))
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
    fn submit(&mut self, changes: &[Change]) -> Option<u64> {
        for change in changes {
            let mut ids = self.run.live.ids.write().unwrap();
            match change {
                Append(n) => _ = ids.insert(id(*n)),
                Settle(n) => _ = ids.remove(&id(*n)),
                Create(_) | Delete(_) | Job(..) => {}
            }
        }
        self.changes.extend(changes);
        self.ends.push(self.changes.len());
        self.run.journal.submit(changes.iter().copied().map(op).collect()).ok()
    }

    /// Closes the journal.
    fn finish(self) -> (Vec<u8>, Trace, Vec<Change>, Vec<usize>) {
        self.run.journal.close().unwrap();
        let bytes = self.storage.read(Path::new(PATH)).unwrap();
        (bytes, self.storage.trace(), self.changes, self.ends)
    }
}

/// Changes as a broker would make them: what is done is a job, and nothing is settled twice.
struct Story {
    random: Random,
    state: State,
    messages: u64,
    groups: u64,
}

impl Story {
    fn new(seed: u64) -> Self {
        let random = Random(seed);
        Self { random, state: State::default(), messages: 0, groups: 0 }
    }

    fn next(&mut self) -> Change {
        let below = |random: &mut Random, n: usize| random.below(n);
        loop {
            let kind = below(&mut self.random, 16);
            let groups: Vec<u64> = self.state.groups.iter().copied().collect();
            let messages: Vec<u64> = self.state.jobs.keys().copied().collect();
            let change = match kind {
                0..6 => {
                    self.messages += 1;
                    Append(self.messages)
                }
                6..9 if !messages.is_empty() => {
                    Settle(messages[below(&mut self.random, messages.len())])
                }
                // One that was settled comes again.
                9 if self.messages > 0 => {
                    let n = below(&mut self.random, self.messages as usize) as u64 + 1;
                    if messages.contains(&n) {
                        continue;
                    }
                    Append(n)
                }
                10 if groups.len() < 3 => {
                    self.groups += 1;
                    // Three names, each free.
                    if groups.iter().any(|n| n % 3 == self.groups % 3) {
                        continue;
                    }
                    Create(self.groups)
                }
                11 if !groups.is_empty() => Delete(groups[below(&mut self.random, groups.len())]),
                12..16 if !messages.is_empty() && !groups.is_empty() => {
                    let group = groups[below(&mut self.random, groups.len())];
                    let n = messages[below(&mut self.random, messages.len())];
                    let is_done = kind < 15;
                    if self.state.jobs[&n].contains(&group) != is_done {
                        continue;
                    }
                    Job(group, if is_done { JobState::Done } else { JobState::Open }, n)
                }
                _ => continue,
            };
            self.state.apply(change);
            return change;
        }
    }

    fn take(&mut self, count: usize) -> Vec<Change> {
        (0..count).map(|_| self.next()).collect()
    }
}

#[test]
fn each_message_comes_back_as_a_job_of_the_groups_that_are_not_done_with_it() {
    for seed in 0..if FEW { 60 } else { 600 } {
        let mut story = Story::new(seed);
        let mut log = Log::start(options());
        for _ in 0..4 {
            log.submit(&story.take(15));
        }
        let (bytes, ..) = log.finish();
        let found = recover_state(&disk(&bytes), options()).unwrap();
        assert_eq!(found, story.state, "seed {seed}");
        let report = inspect(Path::new(PATH), &disk(&bytes)).unwrap();
        assert_eq!(report.groups, story.state.groups.len() as u64);
        let counts = format!(
            "{} group, {} group end, {} jobs, ",
            report.records.group, report.records.group_end, report.records.jobs
        );
        assert!(report.to_string().contains(&counts), "{report}");
        let groups = format!("durable groups: {}\n", report.groups);
        assert!(report.to_string().contains(&groups), "{report}");
    }
}

/// The records of a file: where each ends, its kind, and the changes that it holds.
fn records(bytes: &[u8]) -> Vec<(usize, usize, Kind, Vec<Change>)> {
    let salt = FileHeader::decode(bytes).unwrap().salt;
    let (mut start, mut records) = (RECORDS_OFFSET as usize, Vec::new());
    while start < bytes.len() {
        let header = RecordHeader::decode(&bytes[start..], salt, start as u64).unwrap();
        let end = start + header.record_bytes() as usize;
        let changes = match Body::decode(&header, &bytes[start + 32..end]).unwrap() {
            Body::Append { id, .. } => vec![Append(number(id))],
            Body::Settle(ids) => record::ids(ids).map(|id| Settle(number(id))).collect(),
            Body::Group(it) => vec![Create(it.number)],
            Body::GroupEnd(number) => vec![Delete(number)],
            Body::Jobs(it) => {
                record::ids(it.ids).map(|id| Job(it.group, it.state, number(id))).collect()
            }
            _ => Vec::new(),
        };
        records.push((start, end, header.kind, changes));
        start = end;
    }
    records
}

/// One that was compacted while changes came: the file, and what it holds.
fn compacted(seed: u64) -> (Vec<u8>, Trace, Vec<Change>, Vec<usize>) {
    let mut story = Story::new(seed);
    let mut log = Log::start(JournalOptions { compact_min_bytes: 9000, ..options() });
    let live = Arc::clone(&log.run.live);
    // It cannot ask what is live, and so not end.
    let held = live.held.write().unwrap();
    for _ in 0..8 {
        log.submit(&story.take(15));
    }
    // So that there is enough to leave out.
    let mut left: Vec<u64> = story.state.jobs.keys().copied().collect();
    left.retain(|n| n % 4 != 0);
    let settles: Vec<Change> = left.into_iter().map(Settle).collect();
    settles.iter().for_each(|settle| story.state.apply(*settle));
    log.submit(&settles);
    for n in 150..180 {
        log.submit(&[Append(n), Settle(n)]);
    }
    drop(held);
    log.run.wait(|journal| journal.stats().compactions > 0);
    log.submit(&story.take(15));
    log.finish()
}

#[test]
fn a_compaction_changes_nothing_and_leaves_out_what_is_over() {
    for seed in 0..if FEW { 10 } else { 60 } {
        let (bytes, _, changes, _) = compacted(seed);
        let expected = State::of(changes.iter().copied());
        assert_eq!(recover_state(&disk(&bytes), options()).unwrap(), expected, "seed {seed}");
        // The records of groups stand before those of messages that are their jobs.
        let records = records(&bytes);
        let found = State::of(records.iter().flat_map(|it| it.3.iter().copied()));
        assert_eq!(found, expected, "seed {seed}");
    }
}

#[test]
fn groups_that_come_and_go_leave_nothing_behind_a_compaction() {
    let mut log = Log::start(JournalOptions { compact_min_bytes: 20_000, ..options() });
    log.submit(&[Create(1), Append(1)]);
    for n in 1..200 {
        log.submit(&[Create(3 * n), Job(3 * n, JobState::Open, 1), Delete(3 * n)]);
        log.submit(&[Job(1, JobState::Done, 1), Job(1, JobState::Open, 1)]);
    }
    log.run.wait(|journal| journal.stats().compactions > 0);
    let (bytes, _, changes, _) = log.finish();
    assert!(bytes.len() < 20_000, "{} bytes", bytes.len());
    assert_eq!(recover_state(&disk(&bytes), options()).unwrap(), State::of(changes));
}

#[test]
fn a_file_that_is_cut_anywhere_recovers_to_what_its_whole_records_say() {
    let (bytes, ..) = compacted(3);
    let records = records(&bytes);
    for length in (RECORDS_OFFSET as usize..=bytes.len()).step_by(if FEW { 11 } else { 1 }) {
        let whole = records.iter().filter(|(_, end, ..)| *end <= length);
        let expected = State::of(whole.flat_map(|it| it.3.iter().copied()));
        let found = recover_state(&disk(&bytes[..length]), options()).unwrap();
        assert_eq!(found, expected, "cut to {length} bytes");
    }
}

#[test]
fn a_flipped_bit_is_reported_and_costs_the_record_that_it_hits() {
    let mut story = Story::new(5);
    let mut log = Log::start(options());
    for _ in 0..6 {
        log.submit(&story.take(8));
    }
    let (bytes, ..) = log.finish();
    let records = records(&bytes);
    let mut hit_kinds = BTreeSet::new();
    for (hit, (start, end, kind, _)) in records.iter().enumerate() {
        if !matches!(kind, Kind::Group | Kind::GroupEnd | Kind::Jobs) {
            continue;
        }
        hit_kinds.insert(*kind as u8);
        for bit in (start * 8..end * 8).step_by(if FEW { 37 } else { 1 }) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let disk = disk(&flipped);
            assert!(matches!(recover(&disk, options()), Err(OpenError::Damaged { .. })));
            let repair = JournalOptions { repair: true, ..options() };
            let left = records.iter().enumerate().filter(|(at, _)| *at != hit);
            let expected = State::of(left.flat_map(|(_, it)| it.3.iter().copied()));
            assert_eq!(recover_state(&disk, repair).unwrap(), expected, "bit {bit}");
            assert_eq!(recover_state(&disk, options()).unwrap(), expected, "repaired");
        }
    }
    assert!(hit_kinds.into_iter().eq([7, 8, 9]));
}

/// How many changes must be on the disk after these events, and how many can be: those of a ticket come when the last one
/// is durable.
fn promised(events: &[Event], changes: &[Change], ends: &[usize]) -> (usize, usize) {
    let (mut noted, mut written, mut synced, mut journal) = (0, ends[0], 0, None);
    for event in events {
        match event {
            Event::Note(ticket) => {
                noted = ticket.checked_sub(1).map_or(0, |last| ends[last as usize]);
                written = ends.get(*ticket as usize).copied().unwrap_or(changes.len());
            }
            Event::Rename { to, file, .. } if to == Path::new(PATH) => journal = Some(*file),
            Event::Sync { file } if Some(*file) == journal => synced = noted,
            _ => {}
        }
    }
    // Settlements, and what groups are done with, may be synced later than they are reported.
    let is_promised = |change: &Change| matches!(change, Append(_) | Create(_) | Delete(_));
    let last = changes[..noted].iter().rposition(is_promised);
    (synced.max(last.map_or(0, |last| last + 1)), written)
}

/// Whether any part of what is not promised explains what was found.
fn is_explained(found: &State, promised: &[Change], rest: &[Change]) -> bool {
    (0..1_u32 << rest.len()).any(|part| {
        let rest = rest.iter().enumerate().filter(|(at, _)| part & 1 << at != 0);
        State::of(promised.iter().copied().chain(rest.map(|(_, change)| *change))) == *found
    })
}

/// Cuts the power behind each event; the first disk that does not hold what is promised.
fn cut_power(log: Log, altered: impl FnOnce(Trace) -> Trace) -> Result<usize, (usize, State)> {
    let (_, trace, changes, ends) = log.finish();
    let trace = altered(trace);
    let mut cut = PowerCut::behind(&trace, 0);
    let mut disks = 0;
    for n in 0..=trace.events.len() {
        let (promised, written) = promised(&trace.events[..n], &changes, &ends);
        let (before, rest) = changes[..written].split_at(promised);
        for tear in [Tear::Sectors, Tear::Bytes] {
            disks += choices::each(n as u64, |choose| {
                let found = recover_state(&cut.disk(tear, choose), options()).unwrap();
                match is_explained(&found, before, rest) {
                    true => Ok(()),
                    false => Err((n, found)),
                }
            })?;
        }
        trace.events.get(n).inspect(|event| cut.take(event));
    }
    Ok(disks)
}

/// One whose changes are durable before the next ones come.
fn in_steps() -> Log {
    let mut log = Log::start(options());
    for changes in [
        &[Create(1), Append(1)][..],
        &[Create(2)],
        &[Append(2), Append(3)],
        &[Job(1, JobState::Done, 2), Job(2, JobState::Done, 3), Settle(1)],
        &[Delete(2)],
        &[Create(5), Append(4)],
        &[Job(5, JobState::Open, 2)],
        &[Delete(1)],
    ] {
        let ticket = log.submit(changes);
        assert!(log.run.settled(ticket));
    }
    log
}

#[test]
fn what_was_reported_durable_survives_a_loss_of_power_at_any_moment() {
    let disks = cut_power(in_steps(), |trace| trace).unwrap();
    println!("{disks} disks");
}

#[test]
fn without_the_sync_of_a_commit_a_loss_of_power_loses_groups() {
    // The commit of the second group is the one behind the first that is reported. Those behind it would say that it is
    // synced.
    let altered = |mut trace: Trace| {
        let at = |trace: &Trace, ticket| {
            trace.events.iter().position(|event| *event == Event::Note(ticket)).unwrap()
        };
        trace.events.truncate(at(&trace, 2) + 1);
        let behind = trace.events.split_off(at(&trace, 1));
        let is_sync = |event: &Event| matches!(event, Event::Sync { .. });
        trace.events.extend(behind.into_iter().filter(|event| !is_sync(event)));
        trace
    };
    let (_, found) = cut_power(in_steps(), altered).unwrap_err();
    assert!(found.groups.into_iter().eq([1]));
}

#[test]
fn a_group_and_its_end_are_synced_before_they_are_reported() {
    let storage = MemoryStorage::new();
    let run =
        Run::start(&storage, JournalOptions { fsync: FsyncPolicy::Always, ..options() }).unwrap();
    let syncs = |change: Change| {
        let before = run.journal.stats().syncs;
        assert!(run.settled(run.journal.submit(vec![op(change)]).ok()));
        run.journal.stats().syncs > before
    };
    let synced = [Create(1), Append(1), Delete(1)].map(syncs);
    assert_eq!(synced, [true; 3]);
}
