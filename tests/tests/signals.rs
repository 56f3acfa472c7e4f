//! SIGTERM and SIGINT end the server cleanly. Under load: `drain`.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Native, Server};

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
