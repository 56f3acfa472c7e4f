//! What publishing costs a client: messages gather in frames, are stamped and sent, and their answers
//! booked. One thread does it all, over sockets within the process; the server's end only answers.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mezzenger::Client;
use mezzenger::internals::DrivenClient;
use mezzenger::transport::{Context, Part, Received, Socket, SocketOptions};
use mezzenger::wire::frame::split_v2;
use mezzenger::wire::reply;
use mezzenger_bench::{MEASUREMENT, SAMPLES, WARM_UP, payload};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ENDPOINTS: [&str; 2] = ["inproc://requests", "inproc://unused"];

/// Answers every request that is there, and returns how many messages they held. Checks that these are
/// numbered on from `last`.
fn answer(router: &mut Socket, last: &mut u64) -> u64 {
    let mut messages = 0;
    loop {
        let mut parts: Vec<Part> = Vec::with_capacity(4);
        loop {
            let mut part = Part::empty();
            if router.receive(&mut part).expect("receives") == Received::Nothing {
                return messages;
            }
            let more = part.has_more();
            parts.push(part);
            if !more {
                break;
            }
        }
        let frame = parts.pop().expect("a request has parts");
        let (_, records) = split_v2(frame.as_slice()).expect("a native frame");
        for item in records {
            let (_, record) = item.expect("a record");
            *last += 1;
            assert_eq!(record.id.sequence, *last);
            messages += 1;
        }
        for part in &mut parts {
            assert!(router.send(part, true).expect("sends"));
        }
        assert!(router.send(&mut Part::copy_of(reply::OK), false).expect("sends"));
    }
}

fn publish(c: &mut Criterion) {
    let mut group = c.benchmark_group("batching/publish");
    for (bytes, burst) in [(128, 1024_u64), (4096, 128), (64 * 1024, 8)] {
        let context = Context::new(1).expect("a context");
        let mut router = context.router(SocketOptions::default()).expect("a socket");
        router.bind(ENDPOINTS[0]).expect("binds");
        let options = Client::builder().auto_start(false);
        let endpoints = ENDPOINTS.map(str::to_owned);
        let mut client = DrivenClient::new(&options, &context, endpoints).expect("connects");
        let payload = payload(bytes);
        let mut last = 0;
        group.throughput(Throughput::Elements(burst));
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| {
            b.iter(|| {
                for _ in 0..burst {
                    client.client().publish("greet", &payload, false).expect("publishes");
                }
                let mut answered = 0;
                while answered < burst {
                    client.turn_requests();
                    client.carry().expect("carries frames");
                    answered += answer(&mut router, &mut last);
                }
                while client.carry().expect("carries answers") {
                    client.turn_requests();
                }
            });
        });
        assert_eq!(client.client().counters().published, last);
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT)
        .sample_size(SAMPLES);
    targets = publish
}
criterion_main!(benches);
