//! The map of pending messages against its rivals: one insertion and one removal, first in, first
//! out, with so many messages between, their bodies included; alone, and while a second thread looks
//! messages up.
//!
//! With a million between, a table is replaced about once a second, and runs as short as these are
//! all chance: `bench/record/2026-11-23-pending/candidates` of commit 7d4ae2d662fe measures that, over two
//! million pairs.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use arcstr::ArcStr;
use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use crossbeam_skiplist::SkipMap;
use foldhash::quality::RandomState;
use mezzenger::message::{Body, Format, Message};
use mezzenger::pending::{Entry, Limits, PendingMap};
use mezzenger::wire::id::MessageId;
use mezzenger_bench::{MEASUREMENT, SAMPLES, WARM_UP, id};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A native record with a payload of 128 bytes, which each map copies.
const RECORD_BYTES: usize = 190;

type Contains = Box<dyn Fn(&MessageId) -> bool + Send + Sync>;

trait Map {
    fn insert(&mut self, id: MessageId, name: &ArcStr, record: &Bytes) -> bool;
    fn remove(&mut self, id: &MessageId) -> bool;
    fn view(&self) -> Contains;
}

/// What a map of any kind would hold.
fn message(id: MessageId, name: &ArcStr, record: &Bytes) -> Message {
    let body = Bytes::copy_from_slice(record);
    Message { id, name: name.clone(), format: Format::V2, body }
}

impl Map for PendingMap {
    fn insert(&mut self, id: MessageId, name: &ArcStr, record: &Bytes) -> bool {
        let body = Body::keep(record, record);
        self.insert(id, Entry::new(name.clone(), Format::V2, body, 0))
    }
    fn remove(&mut self, id: &MessageId) -> bool {
        self.remove(id).is_some()
    }
    fn view(&self) -> Contains {
        let view = self.view().clone();
        Box::new(move |id| view.contains(id))
    }
}

type Papaya = papaya::HashMap<MessageId, Message, RandomState>;

impl Map for Arc<Papaya> {
    fn insert(&mut self, id: MessageId, name: &ArcStr, record: &Bytes) -> bool {
        self.pin().try_insert(id, message(id, name, record)).is_ok()
    }
    fn remove(&mut self, id: &MessageId) -> bool {
        self.pin().remove(id).is_some()
    }
    fn view(&self) -> Contains {
        let map = Self::clone(self);
        Box::new(move |id| map.pin().contains_key(id))
    }
}

impl Map for Arc<SkipMap<MessageId, Message>> {
    fn insert(&mut self, id: MessageId, name: &ArcStr, record: &Bytes) -> bool {
        let new = !self.contains_key(&id);
        if new {
            SkipMap::insert(self, id, message(id, name, record));
        }
        new
    }
    fn remove(&mut self, id: &MessageId) -> bool {
        SkipMap::remove(self, id).is_some()
    }
    fn view(&self) -> Contains {
        let map = Self::clone(self);
        Box::new(move |id| map.contains_key(id))
    }
}

type Locked = Arc<Mutex<HashMap<MessageId, Message, RandomState>>>;

impl Map for Locked {
    fn insert(&mut self, id: MessageId, name: &ArcStr, record: &Bytes) -> bool {
        self.lock().unwrap().insert(id, message(id, name, record)).is_none()
    }
    fn remove(&mut self, id: &MessageId) -> bool {
        self.lock().unwrap().remove(id).is_some()
    }
    fn view(&self) -> Contains {
        let map = Self::clone(self);
        Box::new(move |id| map.lock().unwrap().contains_key(id))
    }
}

fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    outstanding: u64,
    reader: bool,
    mut map: impl Map,
) {
    let (name_of_all, record) = (ArcStr::from("greet"), Bytes::from(vec![7; RECORD_BYTES]));
    for n in 0..outstanding {
        assert!(map.insert(id(n), &name_of_all, &record));
    }
    let view = map.view();
    let (oldest, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        if reader {
            scope.spawn(|| {
                let mut n = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let near = oldest.load(Ordering::Relaxed) + (n >> 32) % outstanding;
                    black_box(view(&id(near)));
                }
            });
        }
        let mut n = 0;
        group.bench_function(BenchmarkId::new(name, outstanding), |b| {
            b.iter(|| {
                assert!(map.insert(id(n + outstanding), &name_of_all, &record));
                assert!(map.remove(&id(n)));
                n += 1;
                oldest.store(n, Ordering::Relaxed);
            });
        });
        done.store(true, Ordering::Relaxed);
        let contains = map.view();
        assert!(!contains(&id(n - 1)) && contains(&id(n)) && contains(&id(n + outstanding - 1)));
    });
}

fn pending(c: &mut Criterion) {
    const UNLIMITED: Limits = Limits { messages: usize::MAX, bytes: usize::MAX };
    for (group, reader) in [("pending/alone", false), ("pending/with_a_reader", true)] {
        let mut group = c.benchmark_group(group);
        for outstanding in [1_000, 100_000] {
            bench(&mut group, "ours", outstanding, reader, PendingMap::new(UNLIMITED));
            let papaya = Papaya::with_hasher(RandomState::default());
            bench(&mut group, "papaya", outstanding, reader, Arc::new(papaya));
            bench(&mut group, "skip_map", outstanding, reader, Arc::new(SkipMap::new()));
            bench(&mut group, "locked", outstanding, reader, Locked::default());
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT)
        .sample_size(SAMPLES);
    targets = pending
}
criterion_main!(benches);
