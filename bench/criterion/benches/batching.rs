//! What publishing costs a client: messages gather in frames, are stamped and sent, and their answers
//! booked. One thread does it all, over sockets within the process; the server's end only answers.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mezzenger::internals::{DrivenClient, DrivenServer, Port};
use mezzenger::journal::storage::RealStorage;
use mezzenger::{Client, Config};
use mezzenger_bench::{MEASUREMENT, SAMPLES, WARM_UP, payload};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a client publishes, through a server to which nobody subscribed.
fn publish(c: &mut Criterion) {
    let mut group = c.benchmark_group("batching/publish");
    for (bytes, burst) in [(128, 1024_u64), (4096, 128), (64 * 1024, 8)] {
        let storage = Arc::new(RealStorage);
        let mut server = DrivenServer::new(&Config::default(), storage).expect("starts");
        let stream = server.connect(Port::Requests).expect("connects");
        let options = Client::builder().target_delay(Duration::from_secs(3600));
        let mut client = DrivenClient::over(&options, stream).expect("connects");
        let payload = payload(bytes);
        let mut published = 0;
        group.throughput(Throughput::Elements(burst));
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| {
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
        assert_eq!(server.metrics().accepted, published);
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
