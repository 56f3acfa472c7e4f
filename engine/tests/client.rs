//! The client against a real server in the same process, through the public API alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use mezzenger::wire::pickle::{Plain, write};
use mezzenger::{Client, ClientBuilder, Filter, PayloadError, SendError, Server, Value};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(30);

fn server() -> Server {
    Server::builder().pub_port(0).recv_port(0).start().unwrap()
}

fn options(server: &Server) -> ClientBuilder {
    Client::builder().port(server.recv_addr().port())
}

#[track_caller]
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn a_saturating_publisher_loses_nothing_and_keeps_its_order() {
    let server = server();
    let publisher = options(&server).connect().unwrap();
    let subscribers = [(); 3].map(|()| options(&server).connect().unwrap());
    let count = 100_000_u64;
    let (done, ends) = channel();
    for subscriber in &subscribers {
        let done = done.clone();
        let mut last = 0;
        subscriber
            .subscribe("numbers", move |payload, message| {
                let number = u64::from_le_bytes(payload.try_into().unwrap());
                assert_eq!((number, message.ordinal()), (last + 1, last + 1));
                last = number;
                if last == count {
                    done.send(()).unwrap();
                }
            })
            .unwrap();
    }
    for n in 1..=count {
        publisher.publish("numbers", n.to_le_bytes()).unwrap();
    }
    publisher.flush().unwrap();
    for _ in &subscribers {
        ends.recv_timeout(LONG).expect("all messages should have come");
    }
    for subscriber in subscribers {
        let counters = subscriber.counters();
        let seen = (counters.received, counters.missed, counters.callback_failures);
        assert_eq!(seen, (count, 0, 0));
    }
}

#[test]
fn what_a_callback_refuses_comes_again_until_it_is_taken() {
    let retry = Duration::from_millis(100);
    let builder = Server::builder().pub_port(0).recv_port(0).retry_interval(retry);
    let server = builder.start().unwrap();
    let client = options(&server).connect().unwrap();
    let (sender, deliveries) = channel();
    let tries = AtomicUsize::new(0);
    client
        .subscribe("orders", move |_, message| {
            sender.send(message.id()).unwrap();
            match tries.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Err("not yet"),
                _ => Ok(()),
            }
        })
        .unwrap();
    client.message("orders", "tea").ack().send().unwrap();
    let ids = [(); 3].map(|()| deliveries.recv_timeout(LONG).unwrap());
    assert!(ids.iter().all(|id| *id == ids[0]));
    wait_for("the acknowledgement", || client.counters().acknowledged == 1);
    assert_eq!(server.metrics().pending_messages, 0);
    assert_eq!((client.missed(), client.counters().callback_failures), (0, 2));
}

#[test]
fn a_thousand_acknowledged_messages_are_settled() {
    let server = server();
    let client = options(&server).connect().unwrap();
    let mut messages = client.subscription_to(Filter::prefix("jobs/")).open().unwrap();
    for n in 0..1000 {
        client.message(&format!("jobs/{}", n % 10), n.to_string()).ack().publish().unwrap();
    }
    client.flush().unwrap();
    for _ in 0..1000 {
        messages.recv_timeout(LONG).unwrap().ack();
    }
    wait_for("the last acknowledgement", || client.counters().acknowledged == 1000);
    assert_eq!(server.metrics().pending_messages, 0);
}

#[test]
fn large_and_small_messages_arrive_whole() {
    let server = server();
    let client = options(&server).verify_checksums(true).connect().unwrap();
    let mut messages = client.subscription("sizes").unwrap();
    let sizes = [0, 1, 1000, 16 * 1024, 65_536, 3_000_000];
    for size in sizes {
        client.publish("sizes", vec![9; size]).unwrap();
    }
    for size in sizes {
        assert_eq!(messages.recv_timeout(LONG).unwrap().payload(), vec![9; size]);
    }
}

#[test]
fn the_server_s_limits_come_back_as_variants() {
    let builder = Server::builder().pub_port(0).recv_port(0).max_pending_messages(1);
    let server = builder.max_message_bytes(1000).start().unwrap();
    let client = options(&server).connect().unwrap();
    let error = client.message("a", vec![0; 2000]).send().unwrap_err();
    assert!(matches!(error, SendError::TooLargeForServer { .. }), "{error}");
    client.message("a", "kept").ack().send().unwrap();
    let error = client.message("a", "too many").ack().send().unwrap_err();
    assert!(matches!(error, SendError::PendingFull { .. }), "{error}");
    client.message("a", "not kept").send().unwrap();
}

#[test]
fn a_message_of_an_original_client_is_read_as_data() {
    let server = server();
    let client = options(&server).connect().unwrap();
    let mut messages = client.subscription("greet").unwrap();
    let request = zmq::Context::new().socket(zmq::DEALER).unwrap();
    request.set_linger(0).unwrap();
    request.connect(&format!("tcp://{}", server.recv_addr())).unwrap();
    let mut frame = b"greet|".to_vec();
    frame.extend(write("greet", Plain::Text("hello"), true, 1_763_866_000_000_000_000).0);
    request.send_multipart([&b""[..], &frame], 0).unwrap();
    let message = messages.recv_timeout(LONG).unwrap();
    assert_eq!(message.value(), Ok(Value::Text("hello".to_owned())));
    assert!(message.id().is_v1() && message.requires_ack());
    assert_eq!((message.ordinal(), message.verify(), message.text()), (0, None, None));
    message.ack();
    wait_for("the acknowledgement", || server.metrics().pending_messages == 0);
    // The original's reply is there, too.
    request.set_rcvtimeo(LONG.as_millis() as i32).unwrap();
    request.recv_multipart(0).unwrap();
    client.message("greet", "native").send().unwrap();
    let native = messages.recv_timeout(LONG).unwrap();
    assert!(matches!(native.value(), Err(PayloadError::NotAPickle { .. })));
}

#[test]
fn a_server_that_restarts_finds_its_clients_again() {
    let first = server();
    let (send_port, sub_port) = (first.recv_addr().port(), first.pub_addr().port());
    let client =
        options(&first).send_timeout(Duration::from_millis(300)).connection_retries(100).connect();
    let client = client.unwrap();
    let mut messages = client.subscription("a").unwrap();
    first.shutdown().unwrap();
    let receipt = client.message("a", "while away").ack().publish().unwrap();
    let second = Server::builder().pub_port(sub_port).recv_port(send_port).start().unwrap();
    receipt.wait().unwrap();
    client.message("a", "back").send().unwrap();
    let texts = std::iter::from_fn(|| messages.recv_timeout(LONG).ok())
        .map(|message| message.text().unwrap().to_owned());
    assert!(texts.into_iter().any(|text| text == "back"));
    second.shutdown().unwrap();
}

#[test]
fn a_server_that_restarts_gets_thousands_of_subscriptions_again() {
    const NAMES: usize = 2000;
    let first = server();
    let (send_port, sub_port) = (first.recv_addr().port(), first.pub_addr().port());
    let client = options(&first).connect().unwrap();
    let (sender, received) = channel();
    // They share a thread, so the last is confirmed after the others.
    std::thread::scope(|scope| {
        for part in 0..8 {
            let (client, sender) = (&client, sender.clone());
            scope.spawn(move || {
                for n in (part..NAMES).step_by(8) {
                    let sender = sender.clone();
                    let callback = move |_: &[u8], _: &_| sender.send(n).unwrap();
                    client.subscribe(&format!("name {n}"), callback).unwrap();
                }
            });
        }
    });
    first.shutdown().unwrap();
    let second = Server::builder().pub_port(sub_port).recv_port(send_port).start().unwrap();
    let publisher = options(&second).connect().unwrap();
    // A further subscription is behind those that come back.
    client.subscribe("last", |_, _| ()).unwrap();
    for n in 0..NAMES {
        publisher.publish(&format!("name {n}"), "x").unwrap();
    }
    publisher.flush().unwrap();
    let mut missing: std::collections::HashSet<_> = (0..NAMES).collect();
    while !missing.is_empty() {
        let Ok(n) = received.recv_timeout(Duration::from_secs(5)) else {
            panic!("{} names were not received", missing.len());
        };
        missing.remove(&n);
    }
}
