//! `kill -9` at any moment loses nothing that was answered OK.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use mezzenger::MessageId;
use mezzenger::wire::ack;

use crate::harness::native::{assert_ok, receive, try_receive};
use crate::harness::{Native, NativeSubscriber, PATIENCE, Python, Server};

const ROUNDS: usize = 30;
/// Requests that the publisher has under way at once.
const WINDOW: usize = 32;
const NAMES: &[&str] = &["a", "b", "c"];

/// What a publisher knows when the server is gone.
#[derive(Default)]
struct Owed {
    /// Answered OK, and no acknowledgement was sent.
    kept: BTreeSet<MessageId>,
    /// Sent, with the answer or an acknowledgement under way: these may come or not.
    unsure: BTreeSet<MessageId>,
}

/// A publisher with many requests under way. Each carries a number, because the answer to one that need
/// not wait for the journal overtakes those that must.
struct Load {
    publisher: Native,
    /// The messages of each request that was not answered.
    sent: BTreeMap<u32, Vec<MessageId>>,
    requests: u32,
    owed: Owed,
}

impl Load {
    fn send(&mut self, frame: &[u8], messages: Vec<MessageId>) {
        self.requests += 1;
        let number = self.requests.to_le_bytes();
        self.publisher.socket.send_multipart([&number[..], b"", frame], 0).unwrap();
        self.sent.insert(self.requests, messages);
    }

    fn take_answer(&mut self, parts: &[Vec<u8>]) {
        let [number, delimiter, answer] = parts else { panic!("{parts:?}") };
        assert!(delimiter.is_empty(), "{parts:?}");
        assert_ok(answer);
        let number = u32::from_le_bytes(number.as_slice().try_into().unwrap());
        self.owed.kept.extend(self.sent.remove(&number).unwrap());
    }

    /// Acknowledges a message in one of ten requests, and publishes some in the others.
    fn send_one(&mut self, random: &mut fastrand::Rng) {
        if random.u8(..10) == 0
            && let Some(id) = self.owed.kept.pop_first()
        {
            self.owed.unsure.insert(id);
            return self.send(&ack::frame(&[id]), Vec::new());
        }
        let payloads = vec![&b"some payload"[..]; random.usize(1..20)];
        let frame = self.publisher.frame_of(random.choice(NAMES).unwrap(), &payloads, true);
        let last = self.publisher.last_id();
        let first = last.sequence + 1 - payloads.len() as u64;
        let ids = (first..=last.sequence).map(|sequence| MessageId { sequence, ..last });
        self.send(&frame, ids.collect());
    }
}

/// Publishes kept messages until so many requests were answered, and kills the server at that moment.
fn publish_and_kill(mut server: Server, answers: usize, random: &mut fastrand::Rng) -> Owed {
    let publisher = Native::connect(&server);
    let mut load = Load { publisher, sent: BTreeMap::new(), requests: 0, owed: Owed::default() };
    for _ in 0..answers {
        while load.sent.len() < WINDOW {
            load.send_one(random);
        }
        let parts = receive(&load.publisher.socket);
        load.take_answer(&parts);
    }
    server.process.kill();
    // Answers that were on their way count as well: they were given.
    while let Some(parts) = try_receive(&load.publisher.socket, Duration::from_millis(20)) {
        load.take_answer(&parts);
    }
    load.owed.unsure.extend(load.sent.into_values().flatten());
    load.owed
}

/// Starts a server on the journal and checks that everything owed arrives, and nothing else.
#[track_caller]
fn check_recovery(journal: &Path, owed: &Owed) {
    let server = Server::start_with_journal(journal, &["--retry-interval", "1h"]);
    let prefixes: Vec<_> =
        NAMES.iter().map(|name| mezzenger::wire::frame::v2_prefix(name)).collect();
    let mut subscriber = NativeSubscriber::to_prefixes(&server, &prefixes);
    let mut missing = owed.kept.clone();
    let deadline = Instant::now() + PATIENCE;
    while !missing.is_empty() {
        match subscriber.next_within(deadline.saturating_duration_since(Instant::now())) {
            Some(delivery) => {
                let id = delivery.id;
                missing.remove(&id);
                assert!(owed.kept.contains(&id) || owed.unsure.contains(&id), "{id} is not owed");
                assert_eq!(delivery.payload, b"some payload");
            }
            None => panic!("{} of {} messages were lost", missing.len(), owed.kept.len()),
        }
    }
    // Settled, so that the next round begins with an empty journal.
    let requester = Native::connect(&server);
    let all: Vec<_> = owed.kept.union(&owed.unsure).copied().collect();
    requester.ack(&all);
    server.terminate();
}

#[test]
fn nothing_that_was_answered_is_lost() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    for round in 0..ROUNDS {
        let answers = random.usize(1..300);
        let server = Server::start_with_journal(&journal, &["--retry-interval", "1h"]);
        let owed = publish_and_kill(server, answers, &mut random);
        println!("round {round}: {} owed, {} unsure", owed.kept.len(), owed.unsure.len());
        assert!(!owed.kept.is_empty() || answers < 20);
        check_recovery(&journal, &owed);
    }
}

#[test]
fn it_holds_when_the_server_is_killed_again_while_it_recovers() {
    let mut random = fastrand::Rng::with_seed(7);
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let server = Server::start_with_journal(&journal, &[]);
    let owed = publish_and_kill(server, 200, &mut random);
    for _ in 0..5 {
        let mut command = crate::harness::server::command();
        command.args(["--pub-port", "0", "--recv-port", "0", "--persist-file"]).arg(&journal);
        // Killed before it is ready, or hardly later.
        let mut process = crate::harness::process::Process::start(&mut command);
        process.kill();
    }
    check_recovery(&journal, &owed);
}

#[test]
fn original_messages_survive_with_their_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let mut server = Server::start_with_journal(&journal, &[]);
    let mut publisher = Python::connect(&server);
    let frames: Vec<_> = (0..=5)
        .map(|protocol| publisher.publish("task", "{'do': [1, 2]}", 1, protocol).ok().frame)
        .collect();
    publisher.publish("task", "'not kept'", 0, 2).ok();
    server.process.kill();

    let server = Server::start_with_journal(&journal, &[]);
    let mut subscriber = Python::connect(&server);
    subscriber.subscribe("task");
    for frame in frames {
        let received = subscriber.receive();
        assert_eq!(received.frame, frame);
        subscriber.ack(&received.checksum);
    }
    server.terminate();

    let server = Server::start_with_journal(&journal, &["--max-pending-messages", "1"]);
    let mut probe = Native::connect(&server);
    // Nothing is left that would take the only place.
    probe.publish("probe", b"", true);
}

#[test]
fn what_was_acknowledged_stays_so_after_a_clean_end() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let server = Server::start_with_journal(&journal, &[]);
    let mut publisher = Native::connect(&server);
    let ids: Vec<_> = (0..100).map(|_| publisher.publish("a", b"x", true)).collect();
    publisher.ack(&ids[..99]);
    server.terminate();

    let server = Server::start_with_journal(&journal, &["--retry-interval", "20ms"]);
    let mut subscriber = NativeSubscriber::new(&server, "a");
    for _ in 0..5 {
        assert_eq!(subscriber.next().id, ids[99]);
    }
}
