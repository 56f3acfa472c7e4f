//! SIGTERM, SIGINT and SIGHUP end the server cleanly. Under load: `drain`.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Native, Server, binaries};

#[track_caller]
fn check(signal: Signal) {
    // However the tests were started themselves: under nohup the server would leave SIGHUP ignored.
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(binaries::path("mezzenger-server"));
    command.args(["--pub-port", "0", "--recv-port", "0"]);
    let mut server = Server::run(&mut command).unwrap();
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
fn sighup_ends_with_0() {
    check(Signal::HUP);
}

#[test]
fn the_end_says_what_is_lost_without_a_journal() {
    for acknowledged in [false, true] {
        let mut server = Server::start::<&str>(&[]);
        let mut publisher = Native::connect(&server);
        let ids = [(); 3].map(|()| publisher.publish("greet", b"hello", true));
        if acknowledged {
            publisher.ack(&ids);
        }
        server.process.signal(Signal::TERM);
        server.process.wait();
        let log = server.process.stderr();
        assert_eq!(log.contains("unacknowledged messages lost: 3,"), !acknowledged, "{log}");
        assert_eq!(log.contains("lost"), !acknowledged, "{log}");
    }
}

#[test]
fn sighup_stays_ignored_when_the_server_was_started_so() {
    // As nohup does.
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" HUP && exec "$@""#, "sh"]);
    command.arg(binaries::path("mezzenger-server"));
    command.args(["--pub-port", "0", "--recv-port", "0"]);
    let server = Server::run(&mut command).unwrap();
    server.process.signal(Signal::HUP);
    Native::connect(&server).publish("greet", b"hello", true);
    server.terminate();
}
