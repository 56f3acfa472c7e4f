//! What keeps a server from starting ends it at once, with one line that says what to do.

use std::net::TcpListener;

use crate::harness::Server;
use crate::harness::server::{Refused, command};

/// Runs a server that must refuse to start, and checks the form of its refusal.
#[track_caller]
pub(crate) fn refusal(args: &[&str]) -> String {
    refusal_with(1, args)
}

/// As [`refusal`], with this exit code.
#[track_caller]
pub(crate) fn refusal_with(code: i32, args: &[&str]) -> String {
    let refused = match Server::run(command().args(args)) {
        Ok(_) => panic!("a server with {args:?} started"),
        Err(refused) => refused,
    };
    assert_eq!(refused.code, Some(code), "{refused:?}");
    let Refused { stdout, stderr, .. } = refused;
    assert!(stdout.is_empty(), "{stdout:?}");
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    assert!(lines[0].starts_with("mezzenger-server: "), "{stderr}");
    lines[0].to_owned()
}

#[track_caller]
fn check(args: &[&str], says: &str) {
    let line = refusal(args);
    assert!(line.contains(says), "{line:?} does not say {says:?}");
}

#[test]
fn a_start_that_fails_within_a_program_leaves_no_port_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..20 {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = mezzenger::Server::builder().pub_port(free);
        server.clone().recv_port(taken.local_addr().unwrap().port()).start().unwrap_err();
        server.recv_port(0).start().unwrap().shutdown().unwrap();
    }
}

/// Expects a usage error that only the settings together, or a value that parsed, can be.
#[track_caller]
fn check_setting(args: &[&str], says: &str) {
    let line = refusal_with(2, args);
    assert!(line.contains(says), "{line:?} does not say {says:?}");
}

#[track_caller]
fn check_usage(args: &[&str], says: &str) {
    let refused = match Server::run(command().args(args)) {
        Ok(_) => panic!("a server with {args:?} started"),
        Err(refused) => refused,
    };
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains(says), "{refused:?}");
}

#[test]
fn usage_errors_end_with_2() {
    check_usage(&["--no-such-flag"], "--no-such-flag");
    check_usage(&["surplus"], "surplus");
    check_usage(&["--pub-port", "70000"], "--pub-port");
    check_usage(&["--pub-port", "x"], "--pub-port");
    check_usage(&["--bind", "here"], "--bind");
    check_usage(&["--fsync", "sometimes"], "--fsync");
    check_usage(&["--retry-interval", "soon"], "--retry-interval");
    check_usage(&["--max-pending-bytes", "much"], "--max-pending-bytes");
    check_usage(&["--max-message-size=-1"], "--max-message-size");
    check_usage(&["--verify", "perhaps"], "--verify");
}

#[test]
fn a_taken_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    check(&["--pub-port", &port, "--recv-port", "0"], "Choose another port");
    check(&["--pub-port", "0", "--recv-port", &port], "Choose another port");
}

#[test]
fn two_servers_on_one_port() {
    let first = Server::start::<&str>(&[]);
    let port = first.recv_addr.port().to_string();
    let line = refusal(&["--pub-port", "0", "--recv-port", &port]);
    assert!(line.contains(&port) && line.contains("another server"), "{line}");
}

#[test]
fn the_same_port_twice() {
    check_setting(&["--pub-port", "7300", "--recv-port", "7300"], "two ports");
}

#[test]
fn an_address_that_is_not_ours() {
    // One of the addresses reserved for documentation: no machine has it.
    check(
        &["--bind", "192.0.2.1", "--insecure", "--pub-port", "0", "--recv-port", "0"],
        "no such address",
    );
}

#[test]
fn an_address_that_others_can_reach_needs_a_word() {
    for bind in ["0.0.0.0", "::", "192.0.2.1"] {
        check_setting(&["--bind", bind, "--pub-port", "0", "--recv-port", "0"], "--insecure");
    }
}

#[test]
fn limits_of_nothing() {
    for flag in
        ["--max-pending-messages", "--max-pending-bytes", "--max-message-size", "--max-connections"]
    {
        check_setting(&[flag, "0", "--pub-port", "0", "--recv-port", "0"], flag);
    }
    check_setting(&["--retry-interval", "0"], "--retry-interval");
}

#[test]
fn the_first_line_says_where_it_listens() {
    let server = Server::start::<&str>(&[]);
    assert!(server.pub_addr.ip().is_loopback() && server.recv_addr.ip().is_loopback());
    assert_ne!(server.pub_addr.port(), 0);
    assert_ne!(server.pub_addr.port(), server.recv_addr.port());
    // Another loopback address than the default.
    let server = Server::start(&["--bind", "127.0.0.2"]);
    assert_eq!(server.recv_addr.ip().to_string(), "127.0.0.2");
    server.client().ping().unwrap();
}
