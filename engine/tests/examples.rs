//! The examples do what they say.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use mezzenger::{Client, Server};

/// The program of an example. `cargo test` compiles it beside the tests unless it is told which of them to run; then
/// `cargo build -p mezzenger --examples` does.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let folder: PathBuf = test.ancestors().nth(2).unwrap().join("examples");
    Command::new(folder.join(name))
}

#[test]
fn the_order_pipeline_packs_what_can_be_and_gives_up_what_cannot() {
    let output = example("order_pipeline").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    for order in
        ["tea at attempt 1", "coffee at attempt 1", "milk at attempt 3", "sugar at attempt 1"]
    {
        assert_eq!(text.matches(&format!("packed {order}\n")).count(), 1, "{text}");
    }
    assert_eq!(text.matches("could not pack a unicorn").count(), 3, "{text}");
    assert!(text.ends_with("given up after 3 attempts: a unicorn\n"), "{text}");
}

#[test]
fn the_dashboard_counts_by_name_and_takes_nothing() {
    let server = Server::builder().pub_port(0).recv_port(0).start().unwrap();
    let port = server.recv_addr().port();
    let mut dashboard = example("dashboard")
        .args(["127.0.0.1", &port.to_string(), "3"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(dashboard.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "observing");
    let client = Client::builder().port(port).connect().unwrap();
    for name in ["orders.new", "orders.new", "bills.new", "orders.7.paid"] {
        client.message(name, "x").ack().send().unwrap();
    }
    assert_eq!(lines.last().unwrap(), r#"{"orders.7.paid": 1, "orders.new": 2}"#);
    assert!(dashboard.wait().unwrap().success());
    assert_eq!(server.metrics().pending_messages, 4);
}

#[test]
fn the_request_service_answers_each_caller() {
    let output = example("request_service").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "'one': 1 words\n'one two': 2 words\n'one two three': 3 words\n");
}

#[test]
fn the_greeting_is_printed_and_acknowledged_until_enter_is_pressed() {
    let server = Server::builder().pub_port(0).recv_port(0).start().unwrap();
    let address = format!("mezzenger://{}", server.recv_addr());
    let mut subscriber = example("greeting_subscriber")
        .arg(&address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "waiting for greetings; press Enter to end");
    let output = example("greeting_publisher").arg(&address).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "sent\n", "{output:?}");
    assert_eq!(lines.next().unwrap(), "greet: hello");
    subscriber.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(lines.next(), None);
    assert!(subscriber.wait().unwrap().success());
    assert_eq!(server.metrics().pending_messages, 0);
}
