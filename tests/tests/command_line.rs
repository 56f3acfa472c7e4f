//! The `mezzenger` program: a person sees the broker work without writing code.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::process::Process;
use crate::harness::server;
use crate::harness::{Native, NativeSubscriber, Python, Server, binaries, eventually};

fn command(server: &Server, args: &[&str]) -> Command {
    let mut command = Command::new(binaries::path("mezzenger"));
    command.args(args);
    command.args(["--port", &server.recv_addr.port().to_string()]);
    command
}

#[track_caller]
fn run(server: &Server, args: &[&str], stdin: &[u8]) -> Output {
    let mut child = command(server, args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn run_ok(server: &Server, args: &[&str], stdin: &[u8]) -> String {
    let output = run(server, args, stdin);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn pub_publishes_text_standard_input_and_files() {
    let server = Server::start::<&str>(&[]);
    let mut subscriber = NativeSubscriber::new(&server, "greet");
    run_ok(&server, &["pub", "greet", "hello"], b"");
    let delivery = subscriber.next();
    assert_eq!(delivery.payload, b"hello");
    assert_eq!(delivery.encoding, mezzenger::Encoding::Text);
    assert!(!delivery.ack);

    run_ok(&server, &["pub", "greet", "-", "--ack"], b"from\nstandard input\n");
    let delivery = subscriber.next();
    assert_eq!(delivery.payload, b"from\nstandard input\n");
    assert!(delivery.ack);

    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"\xff\x00").unwrap();
    run_ok(&server, &["pub", "greet", "--file", file.path().to_str().unwrap()], b"");
    let delivery = subscriber.next();
    assert_eq!(delivery.payload, b"\xff\x00");
    assert_eq!(delivery.encoding, mezzenger::Encoding::Bytes);
}

/// Starts `mezzenger sub` and publishes until its first line shows that it subscribed.
fn subscribe(server: &Server, args: &[&str]) -> Process {
    let process = Process::start(&mut command(server, args));
    let mut publisher = Native::connect(server);
    eventually("the subscription of mezzenger sub", || {
        publisher.publish("greet", b"are you there", false);
        process.lines_so_far().pop()
    });
    process
}

/// The first line that is not one of the publications that looked for the subscription.
#[track_caller]
fn line(process: &Process) -> String {
    loop {
        let line = process.line().unwrap();
        if !line.contains("are you there") {
            return line;
        }
    }
}

#[test]
fn sub_prints_messages_of_both_formats() {
    let server = Server::start::<&str>(&[]);
    let mut process = subscribe(&server, &["sub", "greet"]);
    run_ok(&server, &["pub", "greet", "hello"], b"");
    assert_eq!(line(&process), "hello");
    let mut original = Python::connect(&server);
    original.publish("greet", "'from Python'", 0, 2).ok();
    assert_eq!(line(&process), "from Python");
    process.signal(Signal::INT);
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn sub_json_prints_one_object_a_line() {
    let server = Server::start::<&str>(&[]);
    let process = subscribe(&server, &["sub", "greet", "--json"]);
    run_ok(&server, &["pub", "greet", "hello", "--ack"], b"");
    let message: Value = loop {
        let line = process.line().unwrap();
        let message: Value = serde_json::from_str(&line).unwrap();
        if message["encoding"] == "text" {
            break message;
        }
    };
    assert_eq!(message["name"], "greet");
    assert_eq!(message["payload"], "hello");
    assert_eq!(message["ack"], true);
    assert_eq!(message["checksum"].as_str().unwrap().len(), 32);
}

#[test]
fn what_sub_printed_is_acknowledged_when_it_is_asked_to() {
    let server = Server::start(&["--max-pending-messages", "1", "--retry-interval", "1h"]);
    let process = subscribe(&server, &["sub", "greet", "--ack"]);
    for text in ["first", "second", "third"] {
        eventually("room for the next message", || {
            run(&server, &["pub", "greet", text, "--ack"], b"").status.success().then_some(())
        });
        assert_eq!(line(&process), text);
    }
}

#[test]
fn sub_says_that_its_server_is_gone_and_that_it_is_back() {
    let mut server = Server::start::<&str>(&[]);
    let [pub_port, recv_port] = [server.pub_addr, server.recv_addr].map(|at| at.port().to_string());
    let subscriber = subscribe(&server, &["sub", "greet"]);
    server.process.kill();
    let said = |text: &str| {
        eventually(text, || subscriber.stderr().contains(text).then_some(()));
    };
    said("no messages for now: ");
    let ports = ["--pub-port", &pub_port, "--recv-port", &recv_port];
    let server = Server::started(server::command().args(ports));
    said("connected again");
    let mut publisher = Native::connect(&server);
    eventually("a message of the new server", || {
        publisher.publish("greet", b"back", false);
        subscriber.lines_so_far().contains(&"back".to_owned()).then_some(())
    });
}

#[test]
fn ping_answers_or_fails() {
    let server = Server::start::<&str>(&[]);
    assert!(run_ok(&server, &["ping"], b"").contains("answered in"));
    let output = Command::new(binaries::path("mezzenger"))
        .args(["ping", "--port", "1", "--timeout", "200ms"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("could not connect"), "{stderr}");
}

#[test]
fn usage_errors_end_with_2() {
    let server = Server::start::<&str>(&[]);
    for args in [&["pub"][..], &["pub", "a|b", "x"], &["pub", "ping", "x"], &["sub"], &["shout"]] {
        let output = run(&server, args, b"");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}
