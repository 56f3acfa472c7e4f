//! What CURVE costs: to seal and to open a frame, to make a connection, and to publish. Server and client are in this thread, over
//! sockets within the process.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mezzenger::curve::{AuthorizedKeys, KeyPair, ServerKeys};
use mezzenger::internals::{DrivenClient, DrivenServer, Port, Sealed};
use mezzenger::journal::storage::RealStorage;
use mezzenger::{Client, ClientBuilder, Config};
use mezzenger_bench::{MEASUREMENT, SAMPLES, WARM_UP, payload};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 2] = [128, 64 * 1024];

/// A frame, sealed and opened.
fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("curve/seal");
    for bytes in SIZES {
        let (mut ends, body, mut out) = (Sealed::default(), payload(bytes), Vec::new());
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| {
            b.iter(|| {
                out.clear();
                ends.seal(&body, &mut out);
                black_box(&out);
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group("curve/open");
    for bytes in SIZES {
        let (mut ends, body) = (Sealed::default(), payload(bytes));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| {
            // Each opens once, and in its order.
            b.iter_custom(|count| {
                let mut elapsed = Duration::ZERO;
                for _ in 0..count {
                    let mut frame = Vec::new();
                    ends.seal(&body, &mut frame);
                    let begun = std::time::Instant::now();
                    assert_eq!(black_box(ends.open(&frame)), Some(bytes));
                    elapsed += begun.elapsed();
                }
                elapsed
            });
        });
    }
    group.finish();
}

/// A server and the options of its clients, with CURVE or without.
fn ends(with_curve: bool) -> (DrivenServer, ClientBuilder) {
    let options = Client::builder().target_delay(Duration::from_secs(3600));
    let (own, client) = (KeyPair::generate(), KeyPair::generate());
    let (options, curve) = if with_curve {
        let options = options.curve(client, own.public());
        (options, Some(ServerKeys { own, authorized: AuthorizedKeys::any() }))
    } else {
        (options, None)
    };
    let config = Config { curve, ..Config::default() };
    (DrivenServer::new(&config, Arc::new(RealStorage)).expect("starts"), options)
}

fn connect(server: &mut DrivenServer, options: &ClientBuilder) -> DrivenClient {
    let stream = server.connect(Port::Requests).expect("connects");
    let mut client = DrivenClient::over(options, stream).expect("connects");
    client.client().publish("greet", "hello").expect("publishes");
    while client.client().counters().published < 1 {
        client.turn();
        server.turn_broker().expect("takes it");
    }
    client
}

/// From nothing to the answer to the first message.
fn connections(c: &mut Criterion) {
    let mut group = c.benchmark_group("curve/connect");
    for (name, with_curve) in [("null", false), ("curve", true)] {
        let (mut server, options) = ends(with_curve);
        group.bench_function(name, |b| {
            b.iter(|| connect(&mut server, &options));
        });
    }
    group.finish();
}

/// What a client publishes, through a server to which nobody subscribed.
fn publish(c: &mut Criterion) {
    let mut group = c.benchmark_group("curve/publish");
    for (bytes, burst) in [(128, 1024_u64), (64 * 1024, 8)] {
        for (name, with_curve) in [("null", false), ("curve", true)] {
            let (mut server, options) = ends(with_curve);
            let mut client = connect(&mut server, &options);
            let (payload, mut published) = (payload(bytes), client.client().counters().published);
            group.throughput(Throughput::Elements(burst));
            group.bench_function(BenchmarkId::new(name, bytes), |b| {
                b.iter(|| {
                    for _ in 0..burst {
                        client.client().publish("greet", &payload).expect("publishes");
                    }
                    published += burst;
                    while client.client().counters().published < published {
                        client.turn();
                        server.turn_broker().expect("takes them");
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT)
        .sample_size(SAMPLES);
    targets = frames, connections, publish
}
criterion_main!(benches);
