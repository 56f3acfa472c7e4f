//! A burst of messages from one client to another, through a server in the same process, over loopback.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mezzenger::{Client, Message, Server};
use mezzenger_bench::{MEASUREMENT, SAMPLES, WARM_UP, payload};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BURST: u64 = 10_000;
const DEADLINE: Duration = Duration::from_secs(30);

fn connect(server: &Server) -> Client {
    Client::builder().port(server.recv_addr().port()).connect().expect("connects")
}

/// Subscribes; the receiver is told each time that a burst was received whole and in order.
fn subscribe(client: &Client, bytes: usize) -> Receiver<()> {
    let (sender, whole) = sync_channel(1);
    let mut received = 0;
    let note = move |payload: &[u8], message: &Message| {
        received += 1;
        assert_eq!((payload.len(), message.ordinal()), (bytes, received));
        if received % BURST == 0 {
            sender.send(()).expect("somebody waits");
        }
    };
    client.subscribe("greet", note).expect("subscribes");
    whole
}

fn burst(c: &mut Criterion) {
    let mut group = c.benchmark_group("end_to_end/burst");
    group.throughput(Throughput::Elements(BURST));
    for (name, ack) in [("ack0", false), ("ack1", true)] {
        let server = Server::builder().pub_port(0).recv_port(0).start().expect("starts");
        let (publisher, subscriber) = (connect(&server), connect(&server));
        let payload = payload(128);
        let whole = subscribe(&subscriber, payload.len());
        let mut sent = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..BURST {
                    let published = match ack {
                        true => publisher.message("greet", &payload).ack().publish(),
                        false => publisher.publish("greet", &payload),
                    };
                    published.expect("publishes");
                }
                publisher.flush().expect("is taken");
                whole.recv_timeout(DEADLINE).expect("is received");
                sent += BURST;
                // A ping is answered after the acknowledgements that were sent before it.
                while ack && server.metrics().settled < sent {
                    subscriber.ping().expect("is answered");
                }
            });
        });
        let (counters, metrics) = (subscriber.counters(), server.metrics());
        assert_eq!((counters.received, counters.missed, counters.callback_failures), (sent, 0, 0));
        assert_eq!((metrics.accepted, metrics.pending_messages), (sent, 0));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT)
        .sample_size(SAMPLES);
    targets = burst
}
criterion_main!(benches);
