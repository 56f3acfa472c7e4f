//! The retry wheel against a sorted map: timers that are cancelled, as nearly all are, and timers
//! that expire.

use std::collections::{BTreeMap, VecDeque};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mezzenger::retry::wheel::Wheel;
use mezzenger::wire::id::MessageId;
use mezzenger_bench::{MEASUREMENT, SAMPLES, WARM_UP, id};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Ticks that a timer runs, as the retrier has it.
const AHEAD: u64 = 64;
/// Timers that start within a tick.
const PER_TICK: u64 = 1000;

fn schedule_and_cancel(c: &mut Criterion) {
    let mut group = c.benchmark_group("wheel/schedule_and_cancel");
    for outstanding in [1_000, 100_000, 1_000_000] {
        group.bench_function(BenchmarkId::new("wheel", outstanding), |b| {
            let mut wheel = Wheel::new(0);
            // Deadlines lie so far ahead that none of so many passes before its timer is cancelled.
            let ahead = AHEAD + outstanding / PER_TICK;
            let mut tokens: VecDeque<_> =
                (0..outstanding).map(|n| wheel.schedule(id(n), ahead + n / PER_TICK)).collect();
            let mut expired = Vec::new();
            let mut n = 0;
            b.iter(|| {
                let new = n + outstanding;
                tokens.push_back(wheel.schedule(id(new), ahead + new / PER_TICK));
                assert!(wheel.cancel(tokens.pop_front().unwrap(), &id(n)));
                if n % PER_TICK == 0 {
                    while wheel.advance(n / PER_TICK, 4096, &mut expired) {}
                }
                n += 1;
            });
            assert!(expired.is_empty());
            assert_eq!(wheel.len() as u64, outstanding);
            assert!(wheel.bytes() as u64 <= outstanding * 32 + 128 * 1024);
        });
        group.bench_function(BenchmarkId::new("sorted_map", outstanding), |b| {
            let mut timers: BTreeMap<(u64, MessageId), ()> =
                (0..outstanding).map(|n| ((AHEAD + n / PER_TICK, id(n)), ())).collect();
            let mut n = 0;
            b.iter(|| {
                let new = n + outstanding;
                timers.insert((AHEAD + new / PER_TICK, id(new)), ());
                assert!(timers.remove(&(AHEAD + n / PER_TICK, id(n))).is_some());
                n += 1;
            });
            assert_eq!(timers.len() as u64, outstanding);
        });
    }
    group.finish();
}

fn schedule_and_expire(c: &mut Criterion) {
    let mut group = c.benchmark_group("wheel/schedule_and_expire");
    group.throughput(Throughput::Elements(PER_TICK));
    group.bench_function("a_thousand", |b| {
        let mut wheel = Wheel::new(0);
        let mut expired = Vec::new();
        let mut now = 0;
        b.iter(|| {
            for n in 0..PER_TICK {
                wheel.schedule(id(n), now + AHEAD);
            }
            now += AHEAD;
            assert!(!wheel.advance(now - 1, 4096, &mut expired));
            assert!(expired.is_empty());
            assert!(!wheel.advance(now, 4096, &mut expired));
            assert_eq!(expired.len() as u64, PER_TICK);
            expired.clear();
        });
    });
    group.finish();
}

fn idle(c: &mut Criterion) {
    c.bench_function("wheel/idle_for_a_billion_ticks", |b| {
        let mut wheel = Wheel::new(0);
        let mut now = 0;
        let mut expired = Vec::new();
        b.iter(|| {
            wheel.schedule(id(0), now + 1_000_000_000);
            now += 1_000_000_000;
            assert!(!wheel.advance(now, 16, &mut expired));
            assert_eq!(expired.pop(), Some(id(0)));
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT)
        .sample_size(SAMPLES);
    targets = schedule_and_cancel, schedule_and_expire, idle
}
criterion_main!(benches);
