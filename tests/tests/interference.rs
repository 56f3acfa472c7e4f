//! A subscriber that does not keep up is felt by publishers of its names alone.

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::floods::Others;
use crate::harness::native::try_receive;
use crate::harness::pickles::{Dict, text};
use crate::harness::raw::request;
use crate::harness::{Raw, Server};
use crate::stalled_subscriber::subscriber;

const MESSAGE_BYTES: usize = 64 * 1024;

/// Reads 500 kB a second.
fn sip(mut slow: Raw, over: &AtomicBool) {
    let pause = zmq::Context::new().socket(zmq::PULL).unwrap();
    let mut buffer = vec![0; 5_000];
    while !over.load(Ordering::Relaxed) && slow.stream.read(&mut buffer).is_ok_and(|n| n > 0) {
        assert!(try_receive(&pause, Duration::from_millis(10)).is_none());
    }
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
        over.store(true, Ordering::Relaxed);
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
