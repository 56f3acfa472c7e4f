//! SIGTERM under full load: what was answered OK is kept, what was read is answered, and the end is over
//! within `--drain-timeout`.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mezzenger::MessageId;
use mezzenger::wire::checksum;
use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::reply::{self, ErrorCode, Reply};
use mezzenger_torture::ports;
use rustix::process::Signal;

use crate::harness::native::{connect, try_receive};
use crate::harness::pickles::{Dict, int, text};
use crate::harness::raw::request;
use crate::harness::server::command;
use crate::harness::{Native, NativeSubscriber, Raw, Server, eventually};
use crate::interference::EndsWith;
use crate::large_requests::dear_pickle;
use crate::stalled_subscriber::subscriber;

/// The default of `--drain-timeout`, and what a process takes to begin and end.
const DRAIN_MAX: Duration = Duration::from_millis(5500);
/// Without a message for so long, none comes any more.
const QUIET: Duration = Duration::from_secs(1);
const PUBLISHERS_OF_EACH_KIND: usize = 4;
const IN_FLIGHT: usize = 64;
/// Answers before the signal.
const ANSWERS: usize = 4000;

/// What all publishers share.
#[derive(Default)]
struct Load {
    answered: AtomicUsize,
    ended: AtomicBool,
}

/// What a publisher was told.
#[derive(Default)]
struct Told {
    taken: Vec<MessageId>,
    refused: usize,
}

impl Told {
    fn total(&self) -> usize {
        self.taken.len() + self.refused
    }
}

/// Publishes natively, as fast as it is answered, until the server is gone.
fn publish_natively(mut publisher: Native, ack: bool, load: &Load) -> Told {
    let mut told = Told::default();
    let mut sent = 0;
    loop {
        let ended = load.ended.load(Ordering::Acquire);
        while !ended && sent < told.total() + IN_FLIGHT {
            let frame = publisher.frame("task", b"some payload", ack);
            let sequence = publisher.last_id().sequence.to_le_bytes();
            // The number comes back with the answer: refusals overtake what waits for the journal.
            publisher.socket.send_multipart([&sequence[..], b"", &frame], 0).unwrap();
            sent += 1;
        }
        match try_receive(&publisher.socket, QUIET) {
            Some(parts) => {
                let sequence = u64::from_le_bytes(parts[0][..].try_into().unwrap());
                match reply::read(&parts[2]).unwrap() {
                    Reply::Ok { .. } => {
                        told.taken.push(MessageId { publisher: publisher.publisher, sequence });
                    }
                    Reply::Refused { code, .. } => {
                        assert_eq!(code, Some(ErrorCode::ShuttingDown));
                        told.refused += 1;
                    }
                }
                load.answered.fetch_add(1, Ordering::Relaxed);
            }
            None if ended => return told,
            None => {}
        }
    }
}

/// Publishes in the original format, a request at a time, until the server is gone.
fn publish_originally(socket: &zmq::Socket, ack: bool, load: &Load) -> Told {
    let mut told = Told::default();
    loop {
        let id = fastrand::u128(..).to_le_bytes();
        let message = Dict::message("task", text("some payload"))
            .with("ack", int(u8::from(ack)))
            .with("checksum", text(&checksum::to_hex(id)));
        socket.send(message.frame("task"), 0).unwrap();
        let answer = loop {
            let ended = load.ended.load(Ordering::Acquire);
            match try_receive(socket, QUIET) {
                Some(parts) => break parts,
                None if ended => return told,
                None => {}
            }
        };
        match &answer[0][..] {
            b"OK" => told.taken.push(MessageId::from_v1_checksum(id)),
            b"" => told.refused += 1,
            other => panic!("{other:?}"),
        }
        load.answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// The ids of all that comes until nothing comes any more, and the server ended.
fn receive_all(mut subscriber: NativeSubscriber, ended: &AtomicBool) -> HashSet<MessageId> {
    let mut ids = HashSet::new();
    loop {
        let last = ended.load(Ordering::Acquire);
        match subscriber.next_within(QUIET) {
            Some(delivery) => _ = ids.insert(delivery.id),
            None if last => return ids,
            None => {}
        }
    }
}

/// How many requests the server says that it read and answered.
fn read_and_answered(log: &str) -> usize {
    let line = log.lines().find(|line| line.contains("ended in")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "requests").unwrap();
    words[at - 1].parse().unwrap()
}

/// Ends a server that publishers of both formats keep busy; what they were told OK, and what a subscriber
/// received.
#[track_caller]
fn end_under_load(mut server: Server, ack: bool) -> (Vec<MessageId>, HashSet<MessageId>) {
    let subscriber = NativeSubscriber::new(&server, "task");
    let load = Load::default();
    let (told, received) = std::thread::scope(|scope| {
        let mut publishers = Vec::new();
        for _ in 0..PUBLISHERS_OF_EACH_KIND {
            let native = Native::connect(&server);
            publishers.push(scope.spawn(|| publish_natively(native, ack, &load)));
            let original = connect(zmq::REQ, &server.recv_endpoint());
            publishers.push(scope.spawn(|| {
                let original = original;
                publish_originally(&original, ack, &load)
            }));
        }
        let received = scope.spawn(|| receive_all(subscriber, &load.ended));
        eventually("answers", || (load.answered.load(Ordering::Relaxed) >= ANSWERS).then_some(()));
        let start = Instant::now();
        server.process.signal(Signal::TERM);
        let status = server.process.wait_at_most(DRAIN_MAX);
        println!("the end took {:?}", start.elapsed());
        load.ended.store(true, Ordering::Release);
        assert_eq!(status.code(), Some(0));
        let told: Vec<_> = publishers.into_iter().map(|p| p.join().unwrap()).collect();
        (told, received.join().unwrap())
    });
    let answered: usize = told.iter().map(Told::total).sum();
    println!(
        "{answered} answers, {} of them refusals",
        told.iter().map(|t| t.refused).sum::<usize>()
    );
    // Each native publisher said hello, too.
    let hellos = PUBLISHERS_OF_EACH_KIND;
    assert_eq!(answered + hellos, read_and_answered(&server.process.stderr()));
    (told.into_iter().flat_map(|told| told.taken).collect(), received)
}

#[test]
fn with_a_journal_every_ok_is_kept_and_every_request_answered() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    // Made-up checksums identify the original messages.
    let arguments = ["--verify", "never", "--retry-interval", "1h"];
    let (taken, _) = end_under_load(Server::start_with_journal(&journal, &arguments), true);
    let server = Server::start_with_journal(&journal, &arguments);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let mut missing: HashSet<_> = taken.into_iter().collect();
    while !missing.is_empty() {
        missing.remove(&subscriber.next().id);
    }
}

#[test]
fn without_a_journal_every_ok_was_delivered_and_every_request_answered() {
    let (taken, received) = end_under_load(Server::start::<&str>(&[]), false);
    assert!(taken.iter().all(|id| received.contains(id)));
}

/// Publishes to a subscriber that does not read until an answer is late.
#[track_caller]
fn publish_until_held_back(server: &Server) -> Native {
    let mut publisher = Native::connect(server);
    for _ in 0..400 {
        let frame = publisher.frame("flood", &[b'x'; 256 * 1024], false);
        publisher.send(&frame);
        if try_receive(&publisher.socket, Duration::from_millis(300)).is_none() {
            return publisher;
        }
    }
    panic!("the subscriber's queue was never full");
}

#[test]
fn a_subscriber_that_does_not_read_does_not_hold_up_the_end_nor_the_answers() {
    let mut server = Server::start(&["--drain-timeout", "800ms"]);
    let _stalled = subscriber(server.pub_addr, &v2_prefix("flood"));
    let publisher = publish_until_held_back(&server);
    server.process.signal(Signal::TERM);
    // It is not waited for its grace, but for its part of the drain timeout.
    let status = server.process.wait_at_most(Duration::from_millis(1300));
    assert_eq!(status.code(), Some(0));
    assert!(try_receive(&publisher.socket, QUIET).is_some(), "no answer to what was read");
}

#[test]
fn a_peer_that_sends_large_requests_all_the_while_does_not_delay_the_end() {
    // Far more than are checked before the end, and a bound for what a server holds that takes them all.
    const REQUESTS: usize = 24;
    let mut server = Server::start(&["--drain-timeout", "1s"]);
    let mut raw = Raw::connect(server.recv_addr, "DEALER");
    let mut answers = Raw { stream: raw.stream.try_clone().unwrap() };
    // Each takes longer to check than to send.
    let large = request(&dear_pickle(20 << 20));
    std::thread::scope(|scope| {
        // Or until the server is gone.
        scope.spawn(|| (0..REQUESTS).all(|_| raw.try_say(&large)));
        // By then, a server that takes all that comes has others queued.
        assert_eq!(answers.hear().as_deref(), Some(&b""[..]), "a refusal");
        server.process.signal(Signal::TERM);
        let status = server.process.wait_at_most(Duration::from_millis(1500));
        assert_eq!(status.code(), Some(0));
    });
}

#[test]
fn a_second_signal_ends_it_at_once_and_what_was_answered_is_kept_all_the_same() {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let directory = tempfile::tempdir().unwrap();
        let journal = directory.path().join("journal");
        let mut server = Server::start_with_journal(&journal, &["--drain-timeout", "1h"]);
        let id = Native::connect(&server).publish("task", b"x", true);
        let _stalled = subscriber(server.pub_addr, &v2_prefix("flood"));
        let _publisher = publish_until_held_back(&server);
        server.process.signal(Signal::TERM);
        eventually("the drain", || server.process.stderr().contains("ending:").then_some(()));
        server.process.signal(second);
        assert_eq!(server.process.wait().code(), Some(code));
        let server = Server::start_with_journal(&journal, &[]);
        assert_eq!(NativeSubscriber::new(&server, "task").next().id, id);
    }
}

#[test]
fn a_publisher_without_ack_notices_nothing_of_a_restart() {
    const MESSAGES: usize = 2000;
    let [publish, receive] = ports::pair(&mut fastrand::Rng::new()).map(|port| port.to_string());
    let start = || {
        let mut command = command();
        Server::started(command.args(["--pub-port", &publish, "--recv-port", &receive]))
    };
    let mut server = start();
    let client = server.client_options().connect().unwrap();
    let (taken, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let end = EndsWith(&over);
        let publisher = scope.spawn(|| {
            let mut waiting = VecDeque::new();
            while !over.load(Ordering::Acquire) || !waiting.is_empty() {
                // As many are in flight as the end of a server meets.
                while waiting.len() < IN_FLIGHT && !over.load(Ordering::Acquire) {
                    waiting.push_back(client.publish("task", "some payload").unwrap());
                }
                if let Some(receipt) = waiting.pop_front() {
                    receipt.wait().unwrap();
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let flows = |count: usize| {
            eventually("messages", || {
                (publisher.is_finished() || taken.load(Ordering::Relaxed) >= count).then_some(())
            });
        };
        for round in 1..=5 {
            flows(round * MESSAGES);
            assert_eq!(server.signal_and_wait(Signal::TERM).code(), Some(0));
            server = start();
        }
        flows(taken.load(Ordering::Relaxed) + MESSAGES);
        drop(end);
        publisher.join().unwrap();
    });
    assert_eq!(client.counters().failed, 0);
}
