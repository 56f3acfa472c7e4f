//! What becomes of a subscriber that does not keep up, by policy, and that nobody else feels it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use mezzenger::config::SlowSubscriber;
use mezzenger::limits::CLIENT_OWN_FRAME_BYTES;
use mezzenger::wire::frame::{split_v2, v2_prefix};
use mezzenger::{Client, Filter, MessageId};

use crate::floods::Others;
use crate::harness::native::try_receive;
use crate::harness::{Native, NativeSubscriber, PATIENCE, Raw, Server, eventually};
use crate::interference::EndsWith;
use crate::stalled_subscriber::subscriber;

const MESSAGE_BYTES: usize = 32 * 1024;
/// How soon a slow subscriber reads its next message: half a megabyte a second.
const SIP: Duration = Duration::from_millis(64);

/// A publisher under a name, and a subscriber that has each message before the next one is sent: so it is
/// never behind, however busy the machine is.
struct Pair {
    publisher: Native,
    subscriber: NativeSubscriber,
}

impl Pair {
    fn new(server: &Server) -> Self {
        let subscriber = NativeSubscriber::new(server, "flood");
        Self { publisher: Native::connect(server), subscriber }
    }

    /// A message goes from one to the other.
    #[track_caller]
    fn round(&mut self, payload: &[u8], ack: bool) -> MessageId {
        let id = self.publisher.publish("flood", payload, ack);
        // What was sent again comes between.
        while self.subscriber.next().id != id {}
        id
    }

    /// Messages of full size, one of eight small and kept instead, with rounds of others between. How long
    /// all took, and the longest of the others' rounds.
    #[track_caller]
    fn rounds(&mut self, rounds: usize, others: &mut Others) -> (Duration, Duration) {
        let (start, mut longest) = (Instant::now(), Duration::ZERO);
        for n in 0..rounds {
            if n % 8 == 7 {
                self.round(b"kept", true);
                longest = longest.max(others.rounds(1).0);
            } else {
                self.round(&[7; MESSAGE_BYTES], false);
            }
        }
        (start.elapsed(), longest)
    }
}

/// Without a reader at half a megabyte a second, a thousand rounds take a fraction of it.
const ROUNDS: usize = 1000;
/// At the pace of the slow subscriber they would take a minute.
const ROUNDS_TIME_MAX: Duration = Duration::from_secs(15);
/// What others wait when they are not held back, on a machine that has other work: half a grace.
const LONGEST_MAX: Duration = Duration::from_millis(500);

/// What a slow subscriber received: sequences, and whether they must be acknowledged.
type Received = Vec<(u64, bool)>;

/// Reads a message now and then until the end is told, then all up to that message. Less when it is
/// disconnected.
fn sip(mut raw: Raw, over: &AtomicBool, last: &AtomicU64) -> Received {
    let pause = zmq::Context::new().socket(zmq::PULL).unwrap();
    let mut received = Received::new();
    while let Some(frame) = raw.hear() {
        for record in split_v2(&frame).unwrap().1 {
            let (_, record) = record.unwrap();
            received.push((record.id.sequence, record.ack));
        }
        let over = over.load(Ordering::Acquire);
        if over && received.last().is_some_and(|&(n, _)| n == last.load(Ordering::Relaxed)) {
            break;
        }
        if !over && frame.len() >= MESSAGE_BYTES {
            assert!(try_receive(&pause, SIP).is_none());
        }
    }
    received
}

#[test]
fn dropping_costs_the_slow_one_its_oldest_messages_and_none_that_is_kept() {
    let server = Server::start(&["--slow-subscriber", "drop", "--retry-interval", "1h"]);
    let (mut others, mut pair) = (Others::new(&server), Pair::new(&server));
    let slow = subscriber(server.pub_addr, &v2_prefix("flood"));
    let address = slow.stream.local_addr().unwrap().to_string();
    let (over, last) = (AtomicBool::new(false), AtomicU64::new(0));
    let received = std::thread::scope(|scope| {
        let end = EndsWith(&over);
        let slow = scope.spawn(|| sip(slow, &over, &last));
        eventually("dropped messages", || {
            pair.rounds(8, &mut others);
            server.process.stderr().contains("dropped").then_some(())
        });
        let (took, longest) = pair.rounds(ROUNDS, &mut others);
        println!("{took:?}, the longest round of others {longest:?}");
        assert!(took < ROUNDS_TIME_MAX, "{took:?}");
        assert!(longest < LONGEST_MAX, "{longest:?}");
        pair.round(&[7; MESSAGE_BYTES], false);
        last.store(pair.round(b"the end", true).sequence, Ordering::Relaxed);
        drop(end);
        slow.join().unwrap()
    });
    let last = last.into_inner();
    assert!(received.is_sorted_by(|(a, _), (b, _)| a < b), "each once and in order");
    let kept: Vec<_> = received.iter().filter(|(_, ack)| *ack).map(|&(n, _)| n).collect();
    let published: Vec<_> = (1..=last).filter(|n| n % 8 == 0 || *n == last).collect();
    assert_eq!(kept, published);
    let lost = last as usize - received.len();
    println!("{lost} of {last} lost");
    assert!(lost > ROUNDS / 2, "{lost} of {last}");
    assert!(received.starts_with(&[(1, false), (2, false)]), "what it took in time");
    assert!(received.contains(&(last - 1, false)), "the newest are dropped last");
    let line = server.log_line("dropped");
    assert!(line.contains(&address), "{line}");
    assert!(!server.process.stderr().contains("disconnected"), "{}", server.process.stderr());
    assert!(server.process.memory_max_bytes() < 100 << 20);
}

#[test]
fn what_is_dropped_is_counted_by_the_server_and_seen_as_missed_by_the_subscriber() {
    let server = mezzenger::Server::builder()
        .pub_port(0)
        .recv_port(0)
        .slow_subscriber(SlowSubscriber::Drop)
        .retry_interval(Duration::from_secs(3600))
        // So that one that takes nothing stays.
        .stall_grace(Duration::from_secs(3600))
        .start()
        .unwrap();
    let options = Client::builder().port(server.recv_addr().port()).send_timeout(PATIENCE);
    let subscriber = options.clone().connect().unwrap();
    let (go_on, wait) = channel::<()>();
    let (seen, messages) = channel();
    let mut is_first = true;
    subscriber
        .subscribe("flood", move |_: &[u8], message: &mezzenger::Message| {
            seen.send((message.ordinal(), message.requires_ack())).unwrap();
            if std::mem::take(&mut is_first) {
                // It reads nothing until the test says so.
                wait.recv().unwrap();
            }
        })
        .unwrap();
    let publisher = options.connect().unwrap();
    // Each in a frame of its own.
    let payload = vec![7; CLIENT_OWN_FRAME_BYTES];
    let mut published = 0;
    while server.metrics().messages_dropped < 100 {
        // Answered one by one, so that none is part of a burst.
        let message = publisher.message("flood", &payload);
        let message = if published % 16 == 0 { message.ack() } else { message };
        message.send().unwrap();
        published += 1;
        assert!(published < 10_000, "nothing was dropped");
    }
    publisher.message("flood", "the last one").ack().send().unwrap();
    published += 1;
    let metrics = server.metrics();
    assert_eq!((metrics.held_back, metrics.slow_subscribers), (0, 0), "{metrics:?}");
    go_on.send(()).unwrap();
    let mut received = Vec::new();
    while received.last().is_none_or(|&(ordinal, _)| ordinal < published) {
        received.push(messages.recv_timeout(PATIENCE).unwrap());
    }
    let kept = received.iter().filter(|(_, ack)| *ack).count() as u64;
    assert_eq!(kept, (published - 1).div_ceil(16) + 1);
    let missed = published - received.len() as u64;
    assert_eq!(missed, server.metrics().messages_dropped);
    assert_eq!(missed, subscriber.missed());
    // Its acknowledgements are answered while there is a server.
    drop(subscriber);
    server.shutdown().unwrap();
}

#[test]
fn what_a_slow_one_loses_that_holds_nobody_back_is_logged_with_its_name() {
    let server = Server::start::<&str>(&[]);
    let options = server.client_options();
    let subscriber = options.clone().client_name("dashboard").connect().unwrap();
    let filter = Filter::name("prices");
    let subscription = subscriber.subscription_to(filter).lossy().credit(1000).open().unwrap();
    let publisher = options.connect().unwrap();
    for _ in 0..20 {
        publisher.message("prices", vec![7; 500]).send().unwrap();
    }
    let line = server.log_line("subscribers lost messages that they took too slowly");
    assert!(line.contains("dashboard") && line.contains("messages="), "{line}");
    drop(subscription);
}

#[test]
fn disconnecting_ends_the_slow_one_and_what_is_kept_comes_when_it_is_back() {
    let server = Server::start(&["--slow-subscriber", "disconnect", "--retry-interval", "500ms"]);
    let (mut others, mut pair) = (Others::new(&server), Pair::new(&server));
    let slow = subscriber(server.pub_addr, &v2_prefix("flood"));
    let address = slow.stream.local_addr().unwrap().to_string();
    let (over, last) = (AtomicBool::new(false), AtomicU64::new(0));
    let longest = std::thread::scope(|scope| {
        // It reads all the while, only too slowly.
        let end = EndsWith(&over);
        let slow = scope.spawn(|| sip(slow, &over, &last));
        let mut longest = Duration::ZERO;
        eventually("the end of its connection", || {
            longest = longest.max(pair.rounds(8, &mut others).1);
            server.process.stderr().contains("disconnected a subscriber").then_some(())
        });
        drop(end);
        let received = slow.join().unwrap().len() as u64;
        assert!(received < pair.publisher.last_id().sequence, "{received}");
        longest
    });
    assert!(longest < LONGEST_MAX, "{longest:?}");
    let line = server.log_line("disconnected a subscriber");
    assert!(line.contains(&address), "{line}");
    let (took, longest) = pair.rounds(ROUNDS, &mut others);
    println!("{took:?}, the longest round of others {longest:?}");
    assert!(took < ROUNDS_TIME_MAX && longest < LONGEST_MAX, "{took:?} {longest:?}");
    // Nobody acknowledged anything.
    let mut back = NativeSubscriber::new(&server, "flood");
    let mut missing: std::collections::HashSet<_> =
        (1..=pair.publisher.last_id().sequence).filter(|n| n % 8 == 0).collect();
    while !missing.is_empty() {
        missing.remove(&back.next().id.sequence);
    }
}

const STALLING: usize = 4;

/// Subscribers that read nothing, each of which comes back once it is disconnected.
struct Stalling<'a> {
    server: &'a Server,
    all: Vec<Raw>,
    ends: usize,
}

impl<'a> Stalling<'a> {
    fn new(server: &'a Server) -> Self {
        let all = (0..STALLING).map(|_| subscriber(server.pub_addr, &v2_prefix("flood"))).collect();
        Self { server, all, ends: 0 }
    }

    /// Lets those that were disconnected come back.
    fn come_back(&mut self) {
        let log = self.server.process.stderr();
        for raw in &mut self.all {
            let address = raw.stream.local_addr().unwrap().to_string();
            if log.lines().any(|line| line.contains("disconnected") && line.contains(&address)) {
                *raw = subscriber(self.server.pub_addr, &v2_prefix("flood"));
                self.ends += 1;
            }
        }
    }
}

/// Four that stall and come back under one name, under a policy: what others of other names feel, and of
/// the same name, then and afterwards.
#[track_caller]
fn check_stalling(policy: &str, beside_max: Duration) {
    let server = Server::start(&["--slow-subscriber", policy, "--retry-interval", "1h"]);
    let (mut others, mut pair) = (Others::new(&server), Pair::new(&server));
    let mut strangers = Others::named(&server, "strangers");
    let mut stalling = Stalling::new(&server);
    let over = AtomicBool::new(false);
    let (mut pair, beside, mut rounds) = std::thread::scope(|scope| {
        let end = EndsWith(&over);
        let flooding = scope.spawn(|| {
            let mut beside = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                beside = beside.max(pair.rounds(100, &mut strangers).0);
            }
            (pair, beside)
        });
        let mut rounds = Vec::new();
        while stalling.ends < STALLING + 1 && !flooding.is_finished() {
            rounds.push(others.rounds(1).0);
            stalling.come_back();
        }
        drop((end, stalling));
        let (pair, beside) = flooding.join().unwrap();
        (pair, beside, rounds)
    });
    rounds.sort_unstable();
    let p99 = rounds[rounds.len() * 99 / 100];
    let (afterwards, _) = pair.rounds(ROUNDS, &mut others);
    println!(
        "{policy}: others {} rounds, p99 {p99:?}, the longest {:?}; of the same name 100 rounds in at \
         most {beside:?}, afterwards {ROUNDS} in {afterwards:?}",
        rounds.len(),
        rounds.last(),
    );
    assert!(p99 < Duration::from_millis(100), "{p99:?}");
    assert!(rounds[rounds.len() - 1] < LONGEST_MAX, "{:?}", rounds.last());
    assert!(beside < beside_max, "{beside:?}");
    assert!(afterwards < ROUNDS_TIME_MAX, "{afterwards:?}");
}

#[test]
fn those_that_stall_and_come_back_cost_the_others_of_their_name_a_grace_each_time() {
    // Two graces of a second within a hundred rounds, each found out late on a busy machine.
    check_stalling("hold", Duration::from_secs(10));
}

#[test]
fn those_that_stall_and_come_back_cost_nobody_anything_where_they_are_dropped() {
    check_stalling("drop", Duration::from_secs(2));
}
