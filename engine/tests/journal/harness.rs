//! One way to run a journal, and one naive reader of its file to compare with.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam::channel::{Receiver, unbounded};
use mezzenger::journal::record::{self, Body, FileHeader, RECORDS_OFFSET, RecordHeader};
use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::storage::power_cut::{PowerCut, Tear};
use mezzenger::journal::storage::trace::Event;
use mezzenger::journal::storage::{RealStorage, Storage};
use mezzenger::journal::{
    FsyncPolicy, Journal, JournalOptions, LiveSet, Op, OpenError, Recovered, open,
};
use mezzenger::message::{Format, Message};
use mezzenger::wire::id::MessageId;

/// Where the journal is on disks in memory.
pub(crate) const PATH: &str = "/data/journal";
/// Whether to look at a part of all disks only: without optimization, one takes milliseconds.
pub(crate) const FEW: bool = cfg!(debug_assertions);
/// After this a wait has failed.
const DEADLINE: Duration = Duration::from_secs(30);

/// Which messages are kept: by id, in order.
pub(crate) type Kept = BTreeMap<(u64, u64), Message>;

/// The id of message `n`; a few publishers take turns, one of them of v1.
pub(crate) fn id(n: u64) -> MessageId {
    match n % 4 {
        3 => MessageId::from_v1_checksum((u128::from(n) << 64 | u128::from(n)).to_be_bytes()),
        publisher => MessageId { publisher: publisher + 1, sequence: n / 4 + 1 },
    }
}

/// Message `n`, always the same. Some are large enough to be written without a copy.
pub(crate) fn message(n: u64) -> Message {
    let bytes = match n % 7 {
        0 => 0,
        6 => 4096 + n as usize % 999,
        small => 30 * small as usize,
    };
    let body: Vec<u8> = (0..bytes).map(|at| (n as usize * 31 + at * 7) as u8).collect();
    let format = if n % 4 == 3 { Format::V1 } else { Format::V2 };
    Message { id: id(n), name: format!("name/{}", n % 5).into(), format, body: Bytes::from(body) }
}

pub(crate) fn kept(messages: impl IntoIterator<Item = Message>) -> Kept {
    messages.into_iter().map(|m| ((m.id.publisher, m.id.sequence), m)).collect()
}

pub(crate) fn messages(numbers: impl IntoIterator<Item = u64>) -> Kept {
    kept(numbers.into_iter().map(message))
}

/// What the broker would hold in its map.
#[derive(Default)]
pub(crate) struct Set {
    pub(crate) ids: RwLock<HashSet<MessageId>>,
    /// Nothing is answered while a test holds it to write.
    pub(crate) held: RwLock<()>,
}

impl LiveSet for Set {
    fn is_live(&self, id: &MessageId) -> bool {
        let _held = self.held.read().unwrap();
        self.ids.read().unwrap().contains(id)
    }
}

/// The disk as a loss of power may leave it now. See [`PowerCut::disk`] for `choose`.
///
/// [`PowerCut::disk`]: mezzenger::journal::storage::power_cut::PowerCut::disk
pub(crate) fn after_power_cut(
    storage: &MemoryStorage,
    choose: &mut dyn FnMut(usize) -> usize,
) -> MemoryStorage {
    let trace = storage.trace();
    PowerCut::behind(&trace, trace.events.len()).disk(Tear::Sectors, choose)
}

pub(crate) fn options() -> JournalOptions {
    JournalOptions::new(PATH)
}

/// Compacts nearly at once.
pub(crate) fn eager() -> JournalOptions {
    JournalOptions { compact_min_bytes: 0, ..options() }
}

/// A journal at work.
pub(crate) struct Run {
    pub(crate) journal: Journal,
    pub(crate) live: Arc<Set>,
    /// What was recovered.
    pub(crate) kept: Kept,
    progress: Receiver<()>,
}

impl Run {
    /// Opens and starts a journal on a disk in memory, which notes each durable ticket.
    pub(crate) fn start(
        storage: &MemoryStorage,
        options: JournalOptions,
    ) -> Result<Self, OpenError> {
        let noted = storage.clone();
        Self::on(Arc::new(storage.clone()), options, move |durable| noted.note(durable))
    }

    /// Opens and starts a journal on the file system.
    pub(crate) fn real(options: JournalOptions) -> Result<Self, OpenError> {
        Self::on(Arc::new(RealStorage), options, |_| {})
    }

    /// Opens and starts a journal; `watch` is called as its thread makes progress.
    pub(crate) fn on(
        storage: Arc<dyn Storage>,
        options: JournalOptions,
        watch: impl Fn(u64) + Send + 'static,
    ) -> Result<Self, OpenError> {
        let (recovered, opened) = open(options, storage)?;
        let kept = kept(recovered.messages.collect::<Result<Vec<_>, _>>()?);
        let live = Arc::new(Set::default());
        live.ids.write().unwrap().extend(kept.values().map(|m| m.id));
        let (sender, progress) = unbounded();
        let on_progress = move |durable| {
            watch(durable);
            let _ = sender.send(());
        };
        let live_there = Arc::clone(&live);
        let journal = opened.start(live_there, Box::new(on_progress))?;
        Ok(Self { journal, live, kept, progress })
    }

    /// Submits messages as the broker would: into the map first.
    pub(crate) fn append(&self, numbers: impl IntoIterator<Item = u64>) -> Option<u64> {
        let messages: Vec<Message> = numbers.into_iter().map(message).collect();
        self.live.ids.write().unwrap().extend(messages.iter().map(|m| m.id));
        self.journal.submit(messages.into_iter().map(Op::Append).collect()).ok()
    }

    /// Settles messages as the broker would: out of the map first.
    pub(crate) fn settle(&self, numbers: impl IntoIterator<Item = u64>) -> Option<u64> {
        let ids: Vec<MessageId> = numbers.into_iter().map(id).collect();
        self.live.ids.write().unwrap().retain(|id| !ids.contains(id));
        self.journal.submit(ids.into_iter().map(Op::Settle).collect()).ok()
    }

    /// Waits until something is so; panics if it never is.
    #[track_caller]
    pub(crate) fn wait(&self, is_so: impl Fn(&Journal) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(&self.journal) {
            assert!(self.progress.recv_deadline(deadline).is_ok(), "waited in vain");
        }
    }

    /// Waits until a ticket is durable or the journal has failed; tells whether it is durable.
    #[track_caller]
    pub(crate) fn settled(&self, ticket: Option<u64>) -> bool {
        let Some(ticket) = ticket else { return false };
        self.wait(|journal| journal.durable() >= ticket || journal.failure().is_some());
        self.journal.durable() >= ticket
    }
}

/// Opens a journal, and closes it unstarted.
pub(crate) fn recover(
    storage: &MemoryStorage,
    options: JournalOptions,
) -> Result<(Kept, Recovered), OpenError> {
    let (mut recovered, _) = open(options, Arc::new(storage.clone()))?;
    let messages = kept(recovered.messages.by_ref().collect::<Result<Vec<_>, _>>()?);
    Ok((messages, recovered))
}

/// A disk with one file.
pub(crate) fn disk(bytes: &[u8]) -> MemoryStorage {
    let storage = MemoryStorage::new();
    storage.put(Path::new(PATH), bytes.to_vec());
    storage
}

/// A record as the naive reader sees it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) synced: usize,
    pub(crate) ops: Vec<Op>,
}

/// Reads an undamaged file, all of it in memory.
pub(crate) fn naive(bytes: &[u8]) -> Vec<Seen> {
    let salt = FileHeader::decode(bytes).unwrap().salt;
    let mut start = RECORDS_OFFSET as usize;
    let mut records = Vec::new();
    while start < bytes.len() {
        let header = RecordHeader::decode(&bytes[start..], salt, start as u64).unwrap();
        let end = start + header.record_bytes() as usize;
        let ops = match Body::decode(&header, &bytes[start + 32..end]).unwrap() {
            Body::Append { id, format, name, body } => vec![Op::Append(Message {
                id,
                name: name.into(),
                format,
                body: Bytes::copy_from_slice(body),
            })],
            Body::Settle(bytes) => record::ids(bytes).map(Op::Settle).collect(),
            // Letters and groups have tests of their own.
            _ => Vec::new(),
        };
        records.push(Seen { start, end, synced: header.synced_to(start as u64) as usize, ops });
        start = end;
    }
    records
}

/// What these records leave.
pub(crate) fn fold<'a>(records: impl IntoIterator<Item = &'a Seen>) -> Kept {
    let mut kept = Kept::new();
    for op in records.into_iter().flat_map(|record| &record.ops) {
        match op {
            Op::Append(m) => kept.insert((m.id.publisher, m.id.sequence), m.clone()),
            Op::Settle(id) => kept.remove(&(id.publisher, id.sequence)),
            _ => None,
        };
    }
    kept
}

/// The file of a journal with a dozen commits, closed or, as after a crash, not.
pub(crate) fn sample(fsync: FsyncPolicy, close: bool) -> Vec<u8> {
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, JournalOptions { fsync, ..options() }).unwrap();
    for n in 0..8 {
        assert!(run.settled(run.append([2 * n, 2 * n + 1].map(|n| if n % 7 == 6 {
            16 + n / 7
        } else {
            n
        }))));
        if n % 3 == 2 {
            assert!(run.settled(run.settle([2 * n - 4, 2 * n - 1])));
        }
    }
    let bytes = storage.read(Path::new(PATH)).unwrap();
    run.journal.close().unwrap();
    if close { storage.read(Path::new(PATH)).unwrap() } else { bytes }
}

/// The file of a journal that was compacted, so that it has a record of each kind.
pub(crate) fn compacted() -> Vec<u8> {
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, options()).unwrap();
    run.append(0..12);
    run.settle(0..9);
    run.journal.close().unwrap();
    let run =
        Run::start(&storage, JournalOptions { compact_min_bytes: 5000, ..options() }).unwrap();
    run.wait(|journal| journal.stats().compactions > 0);
    assert!(run.settled(run.append([12, 14])));
    assert!(run.settled(run.settle([10, 12])));
    run.journal.close().unwrap();
    storage.read(Path::new(PATH)).unwrap()
}

/// Files of each kind: with all synced or nothing, closed or not, and compacted.
pub(crate) fn samples() -> [Vec<u8>; 5] {
    [
        sample(FsyncPolicy::Always, true),
        sample(FsyncPolicy::Always, false),
        sample(FsyncPolicy::Never, true),
        sample(FsyncPolicy::Never, false),
        compacted(),
    ]
}

/// The disk of a journal that was killed between the write and the sync of its last commit.
pub(crate) fn killed_before_sync() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, options()).unwrap();
    for n in 0..5 {
        assert!(run.settled(run.append([2 * n, 2 * n + 1])));
    }
    let trace = storage.trace();
    let is_sync = |event: &Event| matches!(event, Event::Sync { .. });
    MemoryStorage::killed(&trace, trace.events.iter().rposition(is_sync).unwrap())
}

/// A small generator of random numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 33) as usize % n.max(1)
    }
}
