//! The journal on the real file system: appending, settling and recovering messages of 128 bytes.
//!
//! Each run checks what it measured: all tickets durable, all messages recovered.
//! `cargo bench -p mezzenger-bench --bench journal`

use std::collections::HashSet;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Instant;

use arcstr::ArcStr;
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam::channel::{Receiver, bounded};
use mezzenger::journal::storage::RealStorage;
use mezzenger::journal::{
    FsyncPolicy, Journal, JournalOptions, LiveSet, Op, SubmitError, inspect, open,
};
use mezzenger::message::{Format, Message};
use mezzenger::wire::id::MessageId;

/// The server's allocator.
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the broker submits for one frame of its publisher.
const GROUP_MESSAGES: u64 = 256;
const MESSAGES: u64 = 200_000;

struct Nothing(RwLock<HashSet<MessageId>>);

impl LiveSet for Nothing {
    fn is_live(&self, id: &MessageId) -> bool {
        self.0.read().is_ok_and(|set| set.contains(id))
    }
}

struct Running {
    journal: Journal,
    progress: Receiver<()>,
    path: PathBuf,
}

fn start(directory: &Path, fsync: FsyncPolicy) -> Running {
    let path = directory.join("journal");
    let _ = std::fs::remove_file(&path);
    let options =
        JournalOptions { fsync, compact_min_bytes: u64::MAX, ..JournalOptions::new(&path) };
    let (_, opened) = open(options, Arc::new(RealStorage)).expect("opens");
    let (sender, progress) = bounded(1);
    let on_progress = Box::new(move |_| sender.try_send(()).unwrap_or_default());
    let live = Arc::new(Nothing(RwLock::default()));
    Running { journal: opened.start(live, on_progress).expect("starts"), progress, path }
}

fn id(n: u64) -> MessageId {
    MessageId { publisher: 1 + n % 8, sequence: n / 8 + 1 }
}

fn groups(body_bytes: usize, messages: u64) -> Vec<Vec<Op>> {
    let name: ArcStr = "bench/name".into();
    let body = Bytes::from(vec![7; body_bytes]);
    let message = |n| Message {
        id: id(n),
        name: name.clone(),
        format: Format::V2,
        body: if body_bytes < 4096 { Bytes::copy_from_slice(&body) } else { body.clone() },
    };
    let numbers: Vec<u64> = (0..messages).collect();
    let group = |numbers: &[u64]| numbers.iter().map(|n| Op::Append(message(*n))).collect();
    numbers.chunks(GROUP_MESSAGES as usize).map(group).collect()
}

/// Submits all groups with at most `in_flight` not durable, and waits for the last.
fn submit_all(running: &Running, groups: Vec<Vec<Op>>, in_flight: u64) {
    let journal = &running.journal;
    let mut last = journal.durable();
    for mut group in groups {
        loop {
            if last - journal.durable() < in_flight {
                match journal.submit(group) {
                    Ok(ticket) => break last = ticket,
                    Err(SubmitError::Full(back)) => group = back,
                    Err(error) => panic!("{error}"),
                }
            }
            let _ = running.progress.recv();
        }
    }
    while journal.durable() < last {
        let _ = running.progress.recv();
    }
    assert_eq!(journal.failure(), None);
}

fn append(c: &mut Criterion) {
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let mut group = c.benchmark_group("journal/append");
    group.sample_size(10);
    for (name, fsync, body, messages, in_flight) in [
        ("128B/always", FsyncPolicy::Always, 128, MESSAGES, 1024),
        ("128B/always/8_in_flight", FsyncPolicy::Always, 128, MESSAGES, 8),
        ("128B/never", FsyncPolicy::Never, 128, MESSAGES, 1024),
        ("64KiB/never", FsyncPolicy::Never, 65_536, 2048, 1024),
    ] {
        group.throughput(Throughput::Elements(messages));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (start(directory.path(), fsync), groups(body, messages)),
                |(running, groups)| {
                    submit_all(&running, groups, in_flight);
                    assert_eq!(running.journal.stats().appended, messages);
                    running
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn recover(c: &mut Criterion) {
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let mut group = c.benchmark_group("journal/recover");
    group.sample_size(10);
    for settled_of_ten in [0, 9] {
        let running = start(directory.path(), FsyncPolicy::Never);
        submit_all(&running, groups(128, 10 * MESSAGES), 1024);
        let settled: Vec<u64> = (0..10 * MESSAGES).filter(|n| n % 10 < settled_of_ten).collect();
        let settles =
            settled.chunks(256).map(|ids| ids.iter().map(|n| Op::Settle(id(*n))).collect());
        submit_all(&running, settles.collect(), 1024);
        let path = running.path.clone();
        running.journal.close().expect("closes");
        let live = MESSAGES * (10 - settled_of_ten);
        let found = inspect(&path, &RealStorage).expect("reads");
        assert_eq!(found.live, live);
        group.throughput(Throughput::Elements(10 * MESSAGES));
        group.bench_function(format!("2M_appended/{settled_of_ten}0%_settled"), |bencher| {
            bencher.iter_custom(|times| {
                let mut taken = std::time::Duration::ZERO;
                for _ in 0..times {
                    let started = Instant::now();
                    let opened = open(JournalOptions::new(&path), Arc::new(RealStorage));
                    let (recovered, _) = opened.expect("opens");
                    let messages: Result<Vec<Message>, _> = recovered.messages.collect();
                    taken += started.elapsed();
                    assert_eq!(messages.expect("reads").len() as u64, live);
                    black_box(recovered.seen);
                }
                taken
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append, recover);
criterion_main!(benches);
