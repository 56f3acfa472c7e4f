//! Subscribers that do not keep up hold publishers back, everybody concerned can tell, and without that
//! the checks here fail.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use mezzenger::config::SlowSubscriber;
use mezzenger::limits::OVERDRAFT_BYTES_MAX;
use mezzenger::wire::frame::v2_prefix;
use mezzenger::{Blocked, Client, Message};

use crate::harness::native::{connect, receive, try_receive};
use crate::harness::pickles::{Dict, text};
use crate::harness::{PATIENCE, Raw, Server, eventually};
use crate::stalled_subscriber::{patient_publisher, subscriber};

const MESSAGE_BYTES: usize = 64 * 1024;
const MIB: usize = 1 << 20;

/// A message of the original format, which costs a publisher nothing to make.
fn frame() -> Vec<u8> {
    Dict::message("flood", text(&"x".repeat(MESSAGE_BYTES))).frame("flood")
}

/// What may wait for a subscriber that does not read.
#[derive(Clone, Copy)]
struct Bounds {
    policy: SlowSubscriber,
    all_bytes: usize,
    subscriber_bytes: usize,
}

/// Nothing but the grace bounds what waits.
const NONE: Bounds = Bounds {
    policy: SlowSubscriber::Disconnect,
    all_bytes: usize::MAX,
    subscriber_bytes: usize::MAX,
};

/// Publishes more than all bounds to a subscriber that does not read, until an answer is late. The most
/// that the server held for it, in bytes.
fn most_unsent(bounds: Bounds) -> u64 {
    let server = mezzenger::Server::builder()
        .pub_port(0)
        .recv_port(0)
        .slow_subscriber(bounds.policy)
        .max_unsent_bytes(bounds.all_bytes)
        .max_subscriber_bytes(bounds.subscriber_bytes)
        // So that the subscriber stays.
        .stall_grace(Duration::from_secs(3600))
        .drain_timeout(Duration::from_millis(100))
        .start()
        .unwrap();
    let _stalled = subscriber(server.pub_addr(), b"flood|");
    let publisher = connect(zmq::DEALER, &format!("tcp://{}", server.recv_addr()));
    let frame = frame();
    let mut most = 0;
    for _ in 0..600 {
        publisher.send_multipart([&b""[..], &frame], 0).unwrap();
        let answer = try_receive(&publisher, Duration::from_millis(500));
        most = most.max(server.metrics().unsent_bytes);
        match answer {
            Some(parts) => assert_eq!(parts, [&b""[..], b"OK"]),
            None => break,
        }
    }
    server.shutdown().unwrap();
    most
}

/// What is held beyond a bound: a frame.
const SLACK: usize = MIB;
const BOUND: usize = 8 * MIB;

#[test]
fn what_waits_for_all_subscribers_is_bounded_and_so_is_what_waits_for_each() {
    let all = Bounds { all_bytes: BOUND, ..NONE };
    let each = Bounds { subscriber_bytes: BOUND, ..NONE };
    for bounds in [all, each] {
        let most = usize::try_from(most_unsent(bounds)).unwrap();
        // It was reached, too.
        assert!((BOUND / 2..=BOUND + SLACK).contains(&most), "{most}");
    }
}

#[test]
fn publishers_wait_for_a_subscriber_long_before_any_bound_of_bytes() {
    let hold = Bounds { policy: SlowSubscriber::Hold, ..NONE };
    let most = usize::try_from(most_unsent(hold)).unwrap();
    // What came in the 20 ms in which the queue was no standing one.
    assert!(most < 4 * BOUND, "{most}");
}

#[test]
fn without_back_pressure_far_more_waits() {
    let most = usize::try_from(most_unsent(NONE)).unwrap();
    assert!(most > 2 * BOUND, "{most}");
}

#[test]
fn a_publisher_is_told_that_it_is_held_back_and_the_server_counts_it() {
    let server = mezzenger::Server::builder()
        .pub_port(0)
        .recv_port(0)
        .stall_grace(Duration::from_millis(500))
        .start()
        .unwrap();
    let _stalled = subscriber(server.pub_addr(), &v2_prefix("flood"));
    let (told, events) = channel();
    let publisher = Client::builder()
        .port(server.recv_addr().port())
        .send_timeout(PATIENCE)
        .on_blocked(move |blocked| told.send(blocked).unwrap())
        .connect()
        .unwrap();
    let payload = vec![7; MESSAGE_BYTES];
    let mut published = 0;
    while server.metrics().slow_subscribers == 0 {
        publisher.publish("flood", &payload).unwrap();
        published += 1;
        assert!(published < 10_000, "it was never held back");
    }
    publisher.flush().unwrap();
    assert_eq!(events.recv_timeout(PATIENCE), Ok(Blocked::Began));
    match events.recv_timeout(PATIENCE) {
        Ok(Blocked::Ended { after }) => assert!(after > Duration::from_millis(100), "{after:?}"),
        other => panic!("{other:?}"),
    }
    let counters = publisher.counters();
    assert!(counters.blocked > 0 && counters.blocked_time > Duration::from_millis(100));
    let metrics = server.metrics();
    assert_eq!((metrics.slow_subscribers, metrics.refused), (1, 0));
    assert!(metrics.held_back > 0, "{metrics:?}");
    server.shutdown().unwrap();
}

#[test]
fn a_client_that_does_not_keep_up_with_itself_holds_itself_back_and_loses_nothing() {
    const MESSAGES: u64 = 1000;
    let server = Server::start::<&str>(&[]);
    let (told, events) = channel();
    let ended = told.clone();
    let client = server
        .client_options()
        .send_timeout(PATIENCE)
        .on_blocked(move |blocked| _ = told.send(matches!(blocked, Blocked::Began)))
        .connect()
        .unwrap();
    let mut subscription = client.subscription("flood").unwrap();
    let publisher = std::thread::spawn({
        let client = client.clone();
        move || {
            let payload = vec![7; MESSAGE_BYTES];
            for _ in 0..MESSAGES {
                client.publish("flood", &payload).unwrap();
            }
            client.flush().unwrap();
            ended.send(false).unwrap();
        }
    });
    // Until then nothing is read: the first word is that publishing is blocked, and not that all is published.
    assert_eq!(events.recv_timeout(PATIENCE), Ok(true));
    for _ in 0..MESSAGES {
        subscription.recv_timeout(PATIENCE).unwrap();
    }
    publisher.join().unwrap();
    assert_eq!(client.missed(), 0);
}

#[test]
fn a_subscriber_that_was_too_slow_is_told_how_many_messages_it_missed() {
    let server = Server::start::<&str>(&[]);
    let (went_on, go_on) = channel::<()>();
    let (seen, messages) = channel();
    let missed = std::sync::Arc::new(AtomicU64::new(0));
    let counted = std::sync::Arc::clone(&missed);
    let options = server.client_options();
    let subscriber = options
        .on_missed(move |missed| _ = counted.fetch_add(missed.messages, Ordering::SeqCst))
        .connect()
        .unwrap();
    let mut stopped = false;
    subscriber
        .subscribe("flood", move |_: &[u8], message: &Message| {
            seen.send(message.ordinal()).unwrap();
            if !std::mem::replace(&mut stopped, true) {
                // It reads no more until the test says so.
                go_on.recv().unwrap();
            }
        })
        .unwrap();
    let publisher = patient_publisher(&server);
    let payload = vec![7; MESSAGE_BYTES];
    let mut published = 0;
    while !server.process.stderr().contains("a subscriber granted no credit for") {
        publisher.publish("flood", &payload).unwrap();
        published += 1;
        assert!(published < 10_000, "publishers never went on");
    }
    // More than it gets without credit.
    for _ in 0..2 * OVERDRAFT_BYTES_MAX as usize / MESSAGE_BYTES {
        publisher.publish("flood", &payload).unwrap();
        published += 1;
    }
    publisher.flush().unwrap();
    went_on.send(()).unwrap();
    let mut received = 0;
    let last = eventually("a message once it reads again", || {
        publisher.message("flood", "here again").send().unwrap();
        let mut last = 0;
        while let Ok(ordinal) = messages.recv_timeout(Duration::from_millis(50)) {
            received += 1;
            last = ordinal;
        }
        (last > published).then_some(last)
    });
    let missed = missed.load(Ordering::SeqCst);
    println!("received {received} of {last}, missed {missed}");
    assert!(missed > 0);
    assert_eq!(received + missed, last);
    assert_eq!(subscriber.missed(), missed);
}

/// Reads 4 KiB in each millisecond at most.
fn read_slowly(mut slow: Raw, over: &AtomicBool) {
    let silent = zmq::Context::new().socket(zmq::PULL).unwrap();
    let mut buffer = vec![0; 4 * 1024];
    while !over.load(Ordering::Relaxed) && slow.stream.read(&mut buffer).is_ok_and(|n| n > 0) {
        assert!(try_receive(&silent, Duration::from_millis(1)).is_none());
    }
}

#[test]
fn a_subscriber_that_holds_the_others_up_is_named_in_the_log_now_and_then() {
    let server = Server::start::<&str>(&[]);
    let slow = subscriber(server.pub_addr, b"flood|");
    let address = slow.stream.local_addr().unwrap().to_string();
    let publisher = connect(zmq::DEALER, &server.recv_endpoint());
    let frame = frame();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| read_slowly(slow, &over));
        while !server.process.stderr().contains("does not keep up") {
            publisher.send_multipart([&b""[..], &frame], 0).unwrap();
            receive(&publisher);
        }
        over.store(true, Ordering::Relaxed);
    });
    let log = server.process.stderr();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("does not keep up")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains(&address), "{log}");
    assert!(!log.contains("disconnected"), "{log}");
}

#[test]
fn while_publishers_are_held_back_others_can_subscribe_and_the_server_rests() {
    let server = Server::start::<&str>(&[]);
    let slow = subscriber(server.pub_addr, b"flood|");
    let publisher = connect(zmq::DEALER, &server.recv_endpoint());
    let (frame, over) = (frame(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| read_slowly(slow, &over));
        // More than the server and the kernel hold: from then on it is held back, and goes on only with
        // the subscriber.
        for _ in 0..2000 {
            publisher.send_multipart([&b""[..], &frame], 0).unwrap();
        }
        eventually("a publisher held back", || {
            server.process.stderr().contains("does not keep up").then_some(())
        });
        let late = connect(zmq::SUB, &server.pub_endpoint());
        late.set_subscribe(b"late|").unwrap();
        let load = server.process.load_during(|| {
            assert!(try_receive(&late, Duration::from_secs(1)).is_none());
        });
        over.store(true, Ordering::Relaxed);
        assert!(load < 0.5, "it spins: {load}");
    });
}
