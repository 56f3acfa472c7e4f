//! Floods of what nobody asked for: the server's memory stays within bounds, and others are served.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mezzenger::MessageId;
use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::{ack, name};

use crate::harness::native::{assert_ok, assert_refused};
use crate::harness::raw::{announce, greeting, part, ready, request, subscription};
use crate::harness::{Native, NativeSubscriber, Raw, Server};

/// The original client gives a request up after this time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
const MIB: usize = 1 << 20;

/// A publisher and a subscriber that do nobody any harm.
pub(crate) struct Others {
    pub(crate) publisher: Native,
    subscriber: NativeSubscriber,
    name: &'static str,
}

impl Others {
    pub(crate) fn new(server: &Server) -> Self {
        Self::named(server, "others")
    }

    /// Under a name of their own.
    pub(crate) fn named(server: &Server, name: &'static str) -> Self {
        let subscriber = NativeSubscriber::new(server, name);
        Self { publisher: Native::connect(server), subscriber, name }
    }

    /// Sends messages one by one; how long the longest took, and all together.
    #[track_caller]
    pub(crate) fn rounds(&mut self, rounds: usize) -> (Duration, Duration) {
        let start = Instant::now();
        let mut longest = Duration::ZERO;
        for _ in 0..rounds {
            let sent = Instant::now();
            let id = self.publisher.publish(self.name, b"x", false);
            assert_eq!(self.subscriber.next().id, id);
            longest = longest.max(sent.elapsed());
        }
        (longest, start.elapsed())
    }
}

/// Checks that others are served, and what the server's memory grew to, while peers do something again and
/// again, each until it returns false.
#[track_caller]
fn check_flood(peers: usize, memory_max: usize, peer: impl Fn(&Server, usize) -> Peer) {
    const ROUNDS: usize = 1000;
    let mut server = Server::start::<&str>(&[]);
    let mut others = Others::new(&server);
    let (_, alone) = others.rounds(ROUNDS);
    let peers: Vec<_> = (0..peers).map(|n| peer(&server, n)).collect();
    let over = AtomicBool::new(false);
    let (longest, beside) = std::thread::scope(|scope| {
        for mut peer in peers {
            let over = &over;
            scope.spawn(move || while !over.load(Ordering::Relaxed) && peer() {});
        }
        let served = others.rounds(ROUNDS);
        over.store(true, Ordering::Relaxed);
        served
    });
    let memory = server.process.memory_max_bytes();
    println!(
        "{ROUNDS} rounds took {alone:?} alone, {beside:?} beside the flood, the longest {longest:?}; \
         memory {} MiB",
        memory / MIB
    );
    assert!(longest < ANSWERED_WITHIN, "{longest:?}");
    assert!(memory < memory_max, "{} MiB", memory / MIB);
    assert!(server.process.is_running());
    assert!(!server.process.stderr().contains("panicked"), "{}", server.process.stderr());
}

type Peer = Box<dyn FnMut() -> bool + Send>;

#[test]
fn bytes_that_are_no_zmtp() {
    check_flood(4, 100 * MIB, |server, n| {
        let address = [server.recv_addr, server.pub_addr][n % 2];
        let mut random = fastrand::Rng::with_seed(n as u64);
        let mut garbage = vec![0; 64 * 1024];
        Box::new(move || {
            random.fill(&mut garbage);
            // Every other time behind a good beginning.
            let good = [greeting(), ready("SUB")].concat();
            if random.bool() {
                garbage[..good.len()].copy_from_slice(&good);
            }
            // The server hangs up in the middle.
            let _ = TcpStream::connect(address).and_then(|mut stream| stream.write_all(&garbage));
            true
        })
    });
}

#[test]
fn requests_that_are_none() {
    check_flood(4, 100 * MIB, |server, n| {
        let mut raw = Raw::connect(server.recv_addr, "DEALER");
        let mut random = fastrand::Rng::with_seed(n as u64);
        Box::new(move || {
            let len = random.usize(1..2000);
            let body: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
            raw.say(&request(&body).repeat(100));
            (0..100).all(|_| raw.hear().is_some())
        })
    });
}

#[test]
fn requests_whose_answers_nobody_reads() {
    check_flood(4, 150 * MIB, |server, _| {
        let mut raw = Raw::connect(server.recv_addr, "DEALER");
        raw.stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        let pings = request(&v2_prefix(name::PING)).repeat(1000);
        Box::new(move || raw.try_say(&pings))
    });
}

#[test]
fn unread_answers_that_repeat_large_envelopes() {
    let envelope: Vec<u8> = (0..6).flat_map(|_| part(&[7; 300], true)).collect();
    let pings = [&envelope[..], &request(&v2_prefix(name::PING))].concat().repeat(1000);
    check_flood(20, 150 * MIB, |server, _| {
        let mut raw = Raw::connect(server.recv_addr, "DEALER");
        raw.stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        let pings = pings.clone();
        Box::new(move || raw.try_say(&pings))
    });
}

#[test]
fn acknowledgements_of_what_is_not_known() {
    let ids: Vec<_> = (1..=10_000).map(|n| MessageId { publisher: 7, sequence: n }).collect();
    let frame = request(&ack::frame(&ids));
    check_flood(2, 100 * MIB, |server, _| {
        let mut raw = Raw::connect(server.recv_addr, "DEALER");
        let frame = frame.clone();
        Box::new(move || {
            raw.say(&frame);
            raw.hear().is_some()
        })
    });
}

#[test]
fn acknowledgements_of_what_is_not_known_or_was_settled_leave_the_journal_alone() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let server = Server::start_with_journal(&journal, &[]);
    let mut publisher = Native::connect(&server);
    let id = publisher.publish("task", b"x", true);
    publisher.ack(&[id]);
    // What is stored later is stored behind all that came before.
    let bytes = |publisher: &mut Native| {
        publisher.publish("task", b"y", true);
        std::fs::metadata(&journal).unwrap().len()
    };
    let one = bytes(&mut publisher);
    let two = bytes(&mut publisher);
    let unknown: Vec<_> =
        (1..=1000).map(|n| MessageId { publisher: 7, sequence: n }).chain([id; 1000]).collect();
    for _ in 0..100 {
        publisher.ack(&unknown);
    }
    assert_eq!(bytes(&mut publisher) - two, two - one);
}

#[test]
fn parts_that_are_announced_larger_than_any_may_be() {
    check_flood(4, 100 * MIB, |server, n| {
        let (address, kind) = [(server.recv_addr, "DEALER"), (server.pub_addr, "SUB")][n % 2];
        let mut bytes = [1 << 63, u64::MAX, 1 << 40, 100 << 20].into_iter().cycle();
        Box::new(move || {
            let mut raw = Raw::connect(address, kind);
            raw.try_say(&[part(b"", true), announce(bytes.next().unwrap())].concat());
            raw.wait_for_the_end();
            true
        })
    });
}

#[test]
fn parts_that_are_announced_and_never_come_take_no_memory() {
    const PEERS: usize = 200;
    let server = Server::start::<&str>(&[]);
    let mut others = Others::new(&server);
    let before = server.process.memory_bytes();
    let open: Vec<_> = (0..PEERS)
        .map(|_| {
            let mut raw = Raw::connect(server.recv_addr, "DEALER");
            raw.say(&[part(b"", true), announce(64 << 20), vec![7; 1000]].concat());
            raw
        })
        .collect();
    others.rounds(100);
    let grown = server.process.memory_max_bytes() - before;
    println!("{} MiB for {PEERS} announcements of 64 MiB", grown / MIB);
    assert!(grown < 100 * MIB, "{} MiB", grown / MIB);
    drop(open);
    others.rounds(10);
}

#[test]
fn names_that_are_too_long() {
    let server = Server::start::<&str>(&[]);
    let mut others = Others::new(&server);
    let client = Native::connect(&server);
    for bytes in [256, 1000, MIB, 32 * MIB] {
        let native = v2_prefix(&"n".repeat(bytes));
        assert_refused(&client.request(&native), mezzenger::wire::reply::ErrorCode::Malformed);
        let original = [&vec![b'n'; bytes][..], b"|", &[b'.'; 10]].concat();
        assert_eq!(client.request(&original), b"");
    }
    others.rounds(10);
    let memory = server.process.memory_max_bytes();
    assert!(memory < 200 * MIB, "{} MiB", memory / MIB);
}

#[test]
fn a_million_subscriptions() {
    const SUBSCRIPTIONS: usize = 1_000_000;
    let server = Server::start(&["--retry-interval", "300ms"]);
    let mut others = Others::new(&server);
    let before = server.process.memory_bytes();
    let start = Instant::now();
    let mut raw = Raw::connect(server.pub_addr, "SUB");
    let raw = std::thread::scope(|scope| {
        let subscribing = scope.spawn(move || {
            for thousand in 0..SUBSCRIPTIONS / 1000 {
                let names = (0..1000).map(|n| v2_prefix(&format!("name {}", thousand * 1000 + n)));
                raw.say(&names.flat_map(|name| subscription(&name)).collect::<Vec<_>>());
            }
            raw.confirm();
            raw
        });
        let mut longest = Duration::ZERO;
        while !subscribing.is_finished() {
            longest = longest.max(others.rounds(1).0);
        }
        println!("longest round beside it {longest:?}");
        assert!(longest < ANSWERED_WITHIN, "{longest:?}");
        subscribing.join().unwrap()
    });
    let memory = server.process.memory_max_bytes();
    println!(
        "{SUBSCRIPTIONS} subscriptions after {:?}: {} MiB, {} bytes each",
        start.elapsed(),
        memory / MIB,
        (memory - before) / SUBSCRIPTIONS
    );
    assert!(memory < 1024 * MIB, "{} MiB", memory / MIB);
    // All are live.
    let mut raw = raw;
    let frame = others.publisher.frame("name 999999", b"x", false);
    assert_ok(&others.publisher.request(&frame));
    assert_eq!(raw.hear().unwrap(), frame);
    // One that comes later gets what nobody acknowledged, again and again.
    let id = others.publisher.publish("task", b"x", true);
    let mut late = NativeSubscriber::new(&server, "task");
    for _ in 0..3 {
        assert_eq!(late.next().id, id);
    }
    others.publisher.ack(&[id]);
    // One more is one too many, and all end with their connection.
    raw.say(&subscription(b"one more"));
    raw.wait_for_the_end();
    server.log_line("1000000 subscriptions");
    let (longest, _) = others.rounds(1000);
    println!("longest round beside their end {longest:?}");
    assert!(longest < ANSWERED_WITHIN, "{longest:?}");
}

#[test]
fn a_request_without_end_takes_no_memory_and_is_cut_off() {
    const PARTS: usize = 200;
    let server = Server::start::<&str>(&[]);
    let mut others = Others::new(&server);
    let before = server.process.memory_bytes();
    let mebibyte = part(&vec![7; MIB], true);
    for delimiter in [None, Some(part(b"", true))] {
        let mut endless = Raw::connect(server.recv_addr, "DEALER");
        endless.say(&delimiter.unwrap_or_default());
        // It is closed on the way.
        let said = (0..PARTS).take_while(|_| endless.try_say(&mebibyte)).count();
        assert!(said < PARTS, "{said} parts");
        endless.wait_for_the_end();
        let (longest, _) = others.rounds(100);
        assert!(longest < ANSWERED_WITHIN, "{longest:?}");
    }
    let grown = server.process.memory_max_bytes() - before;
    assert!(grown < 30 * MIB, "{} MiB", grown / MIB);
}
