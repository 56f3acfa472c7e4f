//! What each library does. Every step has a server and a client of its own.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::capture::Capture;
use super::library::{Client, Library, REQUEST, SUBSCRIBER};
use super::message::{Message, ping};
use super::zmtp;
use mezzenger::curve::{KeyPair, write_key_pair};

use crate::curve::Keys;
use crate::harness::server::command;
use crate::harness::{Server, eventually};

/// A step's name in the matrix, and what it does; it panics when something is wrong.
type Step = (&'static str, fn(&Library));

/// The steps, in the order of the matrix.
pub(super) const STEPS: &[Step] = &[
    ("publish", publish),
    ("subscribe", subscribe),
    ("unsubscribe", unsubscribe),
    ("ack", ack),
    ("resend", resend),
    ("restart", restart),
    ("2 MB", large),
    ("heartbeat", heartbeat),
    ("correlate", correlate),
    ("dealer", dealer),
    ("identity", identity),
    ("curve", curve),
];

/// How long an unacknowledged message waits, as an option of the server.
const RETRY: Duration = Duration::from_millis(100);
const QUICK: &[&str] = &["--retry-interval", "100ms"];
/// How often a client says PING.
const HEARTBEAT: Duration = Duration::from_millis(200);

/// A client with a REQ and a SUB socket at this server.
fn connect(library: &Library, server: &Server) -> Client {
    let mut client = library.start();
    client.open(REQUEST, "REQ", &server.recv_endpoint(), &[]);
    client.open(SUBSCRIBER, "SUB", &server.pub_endpoint(), &[]);
    client
}

fn publish(library: &Library) {
    let server = Server::start::<&str>(&[]);
    let mut client = library.start();
    client.open(REQUEST, "REQ", &server.recv_endpoint(), &[]);
    client.request_ok(&ping());
    client.request_ok(&Message::once("greet", "hello").frame);
    // A refusal is one empty frame, after which the socket works as before.
    assert_eq!(client.request(b"not a message"), [b""]);
    assert_eq!(client.request(b""), [b""]);
    client.request_ok(&Message::kept("greet", "hello").frame);
    server.terminate();
}

fn subscribe(library: &Library) {
    let server = Server::start::<&str>(&[]);
    let mut client = connect(library, &server);
    client.subscribe("greet");
    for number in 0..10 {
        client.request_ok(&Message::once("other", &number.to_string()).frame);
        // The filter is a prefix.
        for name in ["greet", "greetings"] {
            let message = Message::once(name, &number.to_string());
            client.request_ok(&message.frame);
            client.expect(&message);
        }
    }
}

fn unsubscribe(library: &Library) {
    let server = Server::start::<&str>(&[]);
    let mut client = connect(library, &server);
    client.subscribe("dropped");
    client.subscribe("kept");
    let [dropped, kept] = ["dropped", "kept"].map(|name| Message::once(name, "hello"));
    for message in [&dropped, &kept] {
        client.request_ok(&message.frame);
        client.expect(message);
    }
    client.unsubscribe("dropped");
    for message in [&dropped, &kept] {
        client.request_ok(&message.frame);
    }
    client.expect(&kept);
    // And back.
    client.subscribe("dropped");
    client.request_ok(&dropped.frame);
    client.expect(&dropped);
}

fn ack(library: &Library) {
    let server = Server::start(QUICK);
    let mut client = connect(library, &server);
    client.subscribe("task");
    let message = Message::kept("task", "to be done");
    client.request_ok(&message.frame);
    client.expect(&message);
    client.request_ok(&message.acknowledgement());
    // What was sent again before the acknowledgement came is heard before this.
    let last = Message::once("task", "the last");
    client.request_ok(&last.frame);
    client.expect_at_last(&last);
    assert_eq!(client.receive_within(SUBSCRIBER, 8 * RETRY), None);
}

fn resend(library: &Library) {
    let server = Server::start(QUICK);
    let mut client = connect(library, &server);
    client.subscribe("task");
    let message = Message::kept("task", "to be done");
    client.request_ok(&message.frame);
    for _ in 0..5 {
        client.expect(&message);
    }
}

/// A server with a journal, on the ports of an earlier one.
fn start_again(earlier: &Server, journal: &Path) -> Server {
    let mut command = command();
    command.args(["--pub-port", &earlier.pub_addr.port().to_string()]);
    command.args(["--recv-port", &earlier.recv_addr.port().to_string()]);
    command.arg("--persist-file").arg(journal).args(QUICK);
    Server::run(&mut command).unwrap_or_else(|refused| panic!("the server ended: {refused:#?}"))
}

fn restart(library: &Library) {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let mut server = Server::start_with_journal(&journal, QUICK);
    let mut client = connect(library, &server);
    client.subscribe("task");
    // A clean end, and a crash.
    for signal in [Signal::TERM, Signal::KILL] {
        let kept = Message::kept("task", &format!("kept over {signal:?}"));
        client.request_ok(&kept.frame);
        client.expect(&kept);
        server.signal_and_wait(signal);
        server = start_again(&server, &journal);
        // Lines of the old connection are read first. The rest comes by a subscription that lives
        // again, without anything that the client's program did.
        let after = Message::once("task", &format!("after {signal:?}"));
        client.requests_again(library, &server.recv_endpoint());
        client.request_ok(&ping());
        client.expect_at_last(&kept);
        client.request_ok(&kept.acknowledgement());
        client.request_ok(&after.frame);
        client.expect_at_last(&after);
        // Nothing of this round is left for the next.
        let last = Message::once("task", &format!("the last after {signal:?}"));
        client.request_ok(&last.frame);
        client.expect_at_last(&last);
    }
}

fn large(library: &Library) {
    // However slow the machine: what is delivered again would be taken for the next.
    let server = Server::start(&["--retry-interval", "10m"]);
    let mut client = connect(library, &server);
    client.subscribe("large");
    for number in 0..4 {
        let payload = format!("{number}{}", "x".repeat(2 << 20));
        for message in [Message::once("large", &payload), Message::kept("large", &payload)] {
            client.request_ok(&message.frame);
            client.expect(&message);
            client.request_ok(&message.acknowledgement());
        }
    }
}

fn heartbeat(library: &Library) {
    let server = Server::start::<&str>(&[]);
    let requests = Capture::of(server.recv_addr);
    let messages = Capture::of(server.pub_addr);
    let option = format!("heartbeat={}", HEARTBEAT.as_millis());
    let mut client = library.start();
    client.open(REQUEST, "REQ", &requests.endpoint(), &[&option]);
    client.open(SUBSCRIBER, "SUB", &messages.endpoint(), &[&option]);
    client.subscribe("greet");
    for number in 0..2 {
        for capture in [&requests, &messages] {
            let before = zmtp::answered_pings(&capture.only_connection());
            // Idle meanwhile.
            eventually("the server answers PINGs", || {
                let now = zmtp::answered_pings(&capture.only_connection());
                (now >= before + 4).then_some(())
            });
        }
        let message = Message::once("greet", &number.to_string());
        client.request_ok(&message.frame);
        client.expect(&message);
    }
    // Neither end took the other for dead.
    requests.only_connection();
    messages.only_connection();
}

fn correlate(library: &Library) {
    let server = Server::start::<&str>(&[]);
    let mut client = library.start();
    client.open(REQUEST, "REQ", &server.recv_endpoint(), &["correlate"]);
    for _ in 0..10 {
        // The second gives the first up, as a program does after a timeout. Its answer, which is
        // empty, carries another request's id.
        client.send(REQUEST, &[b"not a message"]);
        client.send(REQUEST, &[&ping()]);
        assert_eq!(client.receive(REQUEST), [b"OK"]);
    }
}

fn dealer(library: &Library) {
    const DEALER: &str = "dealer";
    let server = Server::start::<&str>(&[]);
    let mut client = connect(library, &server);
    client.subscribe("greet");
    client.open(DEALER, "DEALER", &server.recv_endpoint(), &[]);
    let messages: Vec<_> =
        (0..20).map(|number| Message::once("greet", &number.to_string())).collect();
    for (number, message) in messages.iter().enumerate() {
        let id = format!("request {number}");
        client.send(DEALER, &[b"envelope", id.as_bytes(), b"", &message.frame]);
    }
    for number in 0..messages.len() {
        let id = format!("request {number}");
        assert_eq!(client.receive(DEALER), [b"envelope", id.as_bytes(), b"", b"OK"]);
    }
    for message in &messages {
        client.expect(message);
    }
}

fn identity(library: &Library) {
    const TIMES: usize = 60;
    let server = Server::start::<&str>(&[]);
    let mut client = library.start();
    let mut unanswered = 0;
    for _ in 0..TIMES {
        client.open("fixed", "DEALER", &server.recv_endpoint(), &["identity=fixed"]);
        client.send("fixed", &[b"", &ping()]);
        match client.receive_within("fixed", Duration::from_secs(2)) {
            Some(frames) => assert_eq!(frames, [b"", &b"OK"[..]]),
            None => unanswered += 1,
        }
        client.close("fixed");
    }
    assert!(
        unanswered == 0,
        "{unanswered} of {TIMES} connections, one after the other, not answered"
    );
    // Two at once.
    for name in ["one", "another"] {
        client.open(name, "DEALER", &server.recv_endpoint(), &["identity=fixed"]);
    }
    for name in ["one", "another", "one"] {
        client.send(name, &[b"", &ping()]);
        let answer = client.receive_within(name, Duration::from_secs(10));
        let answered = answer.is_some_and(|frames| frames == [b"", &b"OK"[..]]);
        assert!(answered, "of two connections at once, {name} was not answered");
    }
}

fn curve(library: &Library) {
    const DEALER: &str = "dealer";
    let keys = Keys::new();
    keys.client("alice");
    let server = keys.server();
    let option = |own: &str| {
        let [own, server] = [own, "server.key"].map(|name| keys.path(name).display().to_string());
        format!("curve={own},{server}")
    };
    let own = option("clients/alice.key_secret");
    let mut client = library.start();
    client.open(REQUEST, "REQ", &server.recv_endpoint(), &[&own]);
    client.open(SUBSCRIBER, "SUB", &server.pub_endpoint(), &[&own]);
    client.open(DEALER, "DEALER", &server.recv_endpoint(), &[&own]);
    client.subscribe("task");
    for message in
        [Message::kept("task", "to be done"), Message::once("task", &"x".repeat(1 << 20))]
    {
        client.request_ok(&message.frame);
        client.expect(&message);
        client.request_ok(&message.acknowledgement());
    }
    for _ in 0..3 {
        client.send(DEALER, &[b"envelope", b"", &ping()]);
        assert_eq!(client.receive(DEALER), [b"envelope", &b""[..], b"OK"]);
    }
    // Nothing is for who has another key, or none.
    write_key_pair(keys.path("stranger"), &KeyPair::generate()).unwrap();
    let stranger = option("stranger.key_secret");
    for (name, options, logged) in [
        ("stranger", &[&*stranger][..], "is not among the authorized ones"),
        ("plain", &[], "this server asks for CURVE"),
    ] {
        client.open(name, "SUB", &server.pub_endpoint(), options);
        client.ask(&format!("subscribe {name} task"));
        server.log_line(logged);
        let message = Message::once("task", name);
        client.request_ok(&message.frame);
        client.expect(&message);
        assert_eq!(client.receive_within(name, Duration::from_millis(100)), None);
    }
}
