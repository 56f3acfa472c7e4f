//! MD5 of native messages, one by one and several at once.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mezzenger::wire::checksum::{Content, native, native_each};
use mezzenger_bench::{MEASUREMENT, SAMPLES, WARM_UP, payload};

const NAME: &str = "greet.world";
const TIMESTAMP_NS: u64 = 1_763_866_000_123_456_789;
/// Bytes of a payload, and messages of that size that a frame holds under load.
const SIZES: [(usize, usize); 3] = [(128, 256), (4096, 64), (64 * 1024, 8)];

fn one(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum/one");
    for (bytes, _) in SIZES {
        let payload = payload(bytes);
        let expected = native(NAME, &payload, TIMESTAMP_NS);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| {
            b.iter(|| assert_eq!(native(NAME, black_box(&payload), TIMESTAMP_NS), expected));
        });
    }
    group.finish();
}

fn batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum/batch");
    for (bytes, messages) in SIZES {
        let mut payloads = vec![payload(bytes); messages];
        for (n, payload) in payloads.iter_mut().enumerate() {
            payload[0] = n as u8;
        }
        let expected: Vec<_> = payloads.iter().map(|p| native(NAME, p, TIMESTAMP_NS)).collect();
        let mut sums = Vec::new();
        group.throughput(Throughput::Bytes((bytes * messages) as u64));
        group.bench_function(BenchmarkId::new(format!("{messages} of"), bytes), |b| {
            b.iter(|| {
                sums.clear();
                let contents = black_box(&payloads).iter().map(|payload| Content {
                    name: NAME,
                    payload,
                    timestamp_ns: TIMESTAMP_NS,
                });
                native_each(contents, &mut sums);
                assert_eq!(sums.last(), expected.last());
            });
        });
        assert_eq!(sums, expected);
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT)
        .sample_size(SAMPLES);
    targets = one, batch
}
criterion_main!(benches);
