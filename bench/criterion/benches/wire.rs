//! What one native message costs on the wire's side: cutting its frame, validating its record and
//! building it. Its checksum is in `checksum`.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use mezzenger::wire::checksum;
use mezzenger::wire::frame::{Frame, v2_prefix};
use mezzenger::wire::record::{Encoding, LENGTH_BYTES, ROOT_BYTES, Record};
use mezzenger_bench::{MEASUREMENT, SAMPLES, WARM_UP, id, payload};

const NAME: &str = "greet.world";
const TIMESTAMP_NS: u64 = 1_763_866_000_123_456_789;
const PAYLOAD_BYTES: [usize; 5] = [16, 128, 1024, 8 * 1024, 64 * 1024];

fn record(payload: &[u8]) -> Record<'_> {
    Record {
        id: id(0),
        ordinal: 1,
        timestamp_ns: TIMESTAMP_NS,
        checksum: checksum::native(NAME, payload, TIMESTAMP_NS),
        ack: true,
        has_properties: false,
        encoding: Encoding::Bytes,
        payload,
    }
}

/// Runs `f` for payloads of each size.
fn sizes(
    c: &mut Criterion,
    group: &str,
    f: impl Fn(&mut BenchmarkGroup<'_, WallTime>, BenchmarkId, &[u8]),
) {
    let mut group = c.benchmark_group(group);
    for bytes in PAYLOAD_BYTES {
        f(&mut group, BenchmarkId::from_parameter(bytes), &payload(bytes));
    }
    group.finish();
}

fn parse_frame(c: &mut Criterion) {
    sizes(c, "wire/parse_frame", |group, id, payload| {
        let mut frame = v2_prefix(NAME);
        record(payload).append_to(&mut frame).unwrap();
        group.bench_function(id, |b| {
            b.iter(|| {
                let Ok(Frame::V2 { name, body }) = Frame::parse(black_box(&frame)) else {
                    panic!()
                };
                assert_eq!(name.len(), NAME.len());
                assert_eq!(body.len(), LENGTH_BYTES + ROOT_BYTES + payload.len());
            });
        });
    });
}

fn validate_record(c: &mut Criterion) {
    sizes(c, "wire/validate_record", |group, id, payload| {
        let mut bytes = Vec::new();
        record(payload).append_to(&mut bytes).unwrap();
        assert_eq!(Record::read(&bytes[LENGTH_BYTES..]), Ok(record(payload)));
        group.bench_function(id, |b| {
            b.iter(|| {
                let found = Record::read(black_box(&bytes[LENGTH_BYTES..])).unwrap();
                assert_eq!(found.payload.len(), payload.len());
                assert_eq!(found.timestamp_ns, TIMESTAMP_NS);
            });
        });
    });
}

fn build_record(c: &mut Criterion) {
    sizes(c, "wire/build_record", |group, id, payload| {
        group.throughput(Throughput::Bytes(payload.len() as u64));
        let record = record(payload);
        let mut out = Vec::new();
        group.bench_function(id, |b| {
            b.iter(|| {
                out.clear();
                black_box(&record).append_to(&mut out).unwrap();
                assert_eq!(out.len(), LENGTH_BYTES + payload.len() + ROOT_BYTES);
            });
        });
        assert_eq!(Record::read(&out[LENGTH_BYTES..]), Ok(record));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT)
        .sample_size(SAMPLES);
    targets = parse_frame, validate_record, build_record
}
criterion_main!(benches);
