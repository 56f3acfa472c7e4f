//! A subscriber that does not keep up is felt by publishers of its names alone.

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mezzenger::wire::frame::v2_prefix;

use crate::floods::Others;
use crate::harness::native::try_receive;
use crate::harness::pickles::{Dict, text};
use crate::harness::raw::request;
use crate::harness::{Native, Raw, Server};
use crate::stalled_subscriber::subscriber;

const MESSAGE_BYTES: usize = 64 * 1024;

/// Ends what a test's threads do, also when the test fails: otherwise they would be waited for.
pub(crate) struct EndsWith<'a>(pub(crate) &'a AtomicBool);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Reads 500 kB a second.
fn sip(mut slow: Raw, over: &AtomicBool) {
    let pause = zmq::Context::new().socket(zmq::PULL).unwrap();
    let mut buffer = vec![0; 5_000];
    while !over.load(Ordering::Relaxed) && slow.stream.read(&mut buffer).is_ok_and(|n| n > 0) {
        assert!(try_receive(&pause, Duration::from_millis(10)).is_none());
    }
}

/// Writes until nothing has been taken for a second, or all was; how many bytes that were.
fn write_until_held(raw: &mut Raw, bytes: &[u8]) -> usize {
    raw.stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut said = 0;
    while said < bytes.len() {
        match raw.stream.write(&bytes[said..]) {
            Ok(bytes) => said += bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    said
}

/// Writes to `raw` for a subscriber that sips until nothing is taken any more; how many bytes were, and how
/// long others waited at most.
#[track_caller]
pub(crate) fn flood_until_held(
    raw: &mut Raw,
    requests: &[u8],
    slow: Raw,
    others: &mut Others,
) -> (usize, Duration) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let end = EndsWith(&over);
        scope.spawn(|| sip(slow, &over));
        let writing = scope.spawn(|| write_until_held(raw, requests));
        let mut longest = Duration::ZERO;
        while !writing.is_finished() {
            longest = longest.max(others.rounds(1).0);
        }
        drop(end);
        (writing.join().unwrap(), longest)
    })
}

/// Messages of a hundred kilobytes, to a subscriber that sips, until their publisher is held back: only a
/// part of them is taken, and others do not feel it.
#[track_caller]
fn check_held_back(server: &Server, ack: bool) {
    const MESSAGES: usize = 3000;
    let mut others = Others::new(server);
    let slow = subscriber(server.pub_addr, &v2_prefix("flood"));
    let mut publisher = Native::connect(server);
    let payload = [7; 100_000];
    let requests = (0..MESSAGES).map(|_| request(&publisher.frame("flood", &payload, ack)));
    let requests: Vec<u8> = requests.collect::<Vec<_>>().concat();
    let mut raw = publisher.raw(server);
    let (said, longest) = flood_until_held(&mut raw, &requests, slow, &mut others);
    println!("{said} of {} bytes, the longest round {longest:?}", requests.len());
    // What queues and the system hold.
    assert!(said < requests.len() / 2, "{said}");
    // Half a grace, on a machine that has other work.
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    server.log_line("does not keep up");
}

#[test]
fn publishers_of_a_subscriber_that_sips_are_held_back() {
    check_held_back(&Server::start::<&str>(&[]), false);
}

#[test]
fn so_are_those_whose_messages_wait_for_the_journal_first() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    check_held_back(&Server::start_with_journal(&journal, &["--fsync", "never"]), true);
}

#[test]
fn a_subscriber_that_sips_is_not_felt_under_other_names() {
    let server = Server::start::<&str>(&[]);
    let mut others = Others::new(&server);
    let slow = subscriber(server.pub_addr, b"flood|");
    let mut flooding = Raw::connect(server.recv_addr, "DEALER");
    flooding.stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    // In the original format, so that the same bytes are a message each time.
    let text = text(&"x".repeat(MESSAGE_BYTES));
    let request = request(&Dict::message("flood", text).frame("flood"));
    let over = AtomicBool::new(false);
    let mut rounds = std::thread::scope(|scope| {
        let end = EndsWith(&over);
        scope.spawn(|| sip(slow, &over));
        scope.spawn(|| {
            let mut said = 0;
            while !over.load(Ordering::Relaxed) {
                // It is held back: the server does not read it for a while.
                match flooding.stream.write(&request[said..]) {
                    Ok(bytes) => said = (said + bytes) % request.len(),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let start = Instant::now();
        let mut rounds = Vec::new();
        while start.elapsed() < Duration::from_secs(2) {
            rounds.push(others.rounds(1).0);
        }
        drop(end);
        rounds
    });
    rounds.sort_unstable();
    let p99 = rounds[rounds.len() * 99 / 100];
    println!("{} rounds, p99 {p99:?}, the longest {:?}", rounds.len(), rounds.last());
    assert!(p99 < Duration::from_millis(100), "{p99:?}");
    server.log_line("does not keep up");
    let log = server.process.stderr();
    assert!(!log.contains("disconnected"), "{log}");
}
