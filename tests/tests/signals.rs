//! SIGTERM and SIGINT end the server cleanly.

use std::time::Duration;

use mezzenger::wire::reply::{self, ErrorCode, Reply};
use rustix::process::Signal;

use crate::harness::native::try_receive;
use crate::harness::{Native, NativeSubscriber, Server};

#[track_caller]
fn check(signal: Signal) {
    let mut server = Server::start::<&str>(&[]);
    let mut publisher = Native::connect(&server);
    publisher.publish("greet", b"hello", true);
    server.process.signal(signal);
    // Well within the default of --drain-timeout: there is nothing to wait for.
    let status = server.process.wait_at_most(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0));
    assert!(!server.process.stderr().contains("panicked"), "{}", server.process.stderr());
}

#[test]
fn sigterm_ends_with_0() {
    check(Signal::TERM);
}

#[test]
fn sigint_ends_with_0() {
    check(Signal::INT);
}

#[test]
fn under_load_every_request_before_the_end_is_answered_and_every_ok_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let mut server = Server::start_with_journal(&journal, &[]);
    let mut publisher = Native::connect(&server);
    let mut sent = 0;
    let mut answered = 0;
    let mut taken = Vec::new();
    let mut refused = 0;
    while server.process.is_running() {
        while sent < answered + 64 && refused == 0 {
            let frame = publisher.frame("a", b"x", true);
            publisher.send(&frame);
            sent += 1;
        }
        while let Some(parts) = try_receive(&publisher.socket, Duration::from_millis(1)) {
            answered += 1;
            match reply::read(&parts[1]).unwrap() {
                Reply::Ok => taken.push(answered),
                Reply::Refused { code, .. } => {
                    assert_eq!(code, Some(ErrorCode::ShuttingDown));
                    refused += 1;
                }
            }
            if answered == 500 {
                server.process.signal(Signal::TERM);
            }
        }
    }
    assert_eq!(server.process.wait().code(), Some(0));
    assert!(taken.len() >= 500);

    let server = Server::start_with_journal(&journal, &[]);
    let mut subscriber = NativeSubscriber::new(&server, "a");
    for sequence in taken {
        assert_eq!(subscriber.next().id.sequence, sequence);
    }
}

#[test]
fn a_subscriber_that_does_not_read_does_not_hold_up_the_end() {
    let mut server = Server::start(&["--drain-timeout", "1s"]);
    let subscriber = crate::harness::Python::connect(&server);
    let mut python = subscriber;
    python.subscribe("flood");
    python.process.signal(Signal::STOP);
    let mut publisher = Native::connect(&server);
    let frame_bytes = 256 * 1024;
    // More than queues and kernels hold; the server stops answering when it is full.
    let mut unanswered = 0;
    for _ in 0..400 {
        let frame = publisher.frame("flood", &vec![b'x'; frame_bytes], false);
        publisher.send(&frame);
        match try_receive(&publisher.socket, Duration::from_millis(300)) {
            Some(_) => {}
            None => {
                unanswered += 1;
                break;
            }
        }
    }
    assert_eq!(unanswered, 1, "the subscriber's queue was never full");
    server.process.signal(Signal::TERM);
    // The drain, and what closed sockets may linger.
    let status = server.process.wait_at_most(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0));
}
