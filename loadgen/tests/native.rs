//! The relay and the forwarder deliver to native subscriptions, whose clients use one connection.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use loadgen::report::ready;
use mezzenger::curve::{KeyPair, write_key_pair};
use mezzenger::{Client, ConnectError, Filter, SubscribeError, Subscription};

/// Longer than any delivery takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// A child of a run, which ends with the test.
struct Target {
    child: Child,
    port: u16,
}

impl Target {
    fn start<S: AsRef<OsStr>>(words: &[S]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let (_, recv_addr) = ready::addresses(&line).expect("it listens");
        Self { child, port: recv_addr.port() }
    }

    fn client(&self) -> Client {
        Client::builder().port(self.port).connect().expect("a connection")
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads so many messages.
#[track_caller]
fn read(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let next = || {
        let delivery = subscription.recv_timeout(DEADLINE).expect("a message");
        delivery.text().expect("text").to_owned()
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn check(subcommand: &str) {
    let target = Target::start(&[subcommand]);
    let (publisher, client) = (target.client(), target.client());
    let (sender, callback) = std::sync::mpsc::channel();
    client
        .subscribe("a", move |payload: &[u8], _: &_| {
            sender.send(payload.to_vec()).expect("the test waits");
        })
        .expect("a callback");
    let open = |filter| client.subscription_to(filter).open().expect("a subscription");
    let mut named = open(Filter::name("a"));
    let mut all = open(Filter::prefix(""));
    for (name, text) in [("a", "1"), ("ab", "2"), ("a", "3")] {
        publisher.message(name, text).send().expect("taken");
    }
    assert_eq!(read(&mut named, 2), ["1", "3"]);
    assert_eq!(read(&mut all, 3), ["1", "2", "3"]);
    let called: Vec<_> = callback.iter().take(2).collect();
    assert_eq!(called, [b"1", b"3"]);
    drop(named);
    publisher.message("a", "4").send().expect("taken");
    assert_eq!(read(&mut all, 1), ["4"]);
    let member = client.subscription_to(Filter::name("a")).group("g").open();
    assert!(matches!(member, Err(SubscribeError::Refused { .. })), "{member:?}");

    // A request, with its answer, over two connections in all.
    let (asking, answering) = (target.client(), target.client());
    let mut questions = answering.subscription("question").expect("a subscription");
    let answerer = thread::spawn(move || {
        let question = questions.recv_timeout(DEADLINE).expect("a request");
        question.reply(format!("{}!", question.text().expect("text"))).expect("an answer");
        // The client ends after the answer left.
        answering.flush().expect("taken");
    });
    let answer = asking.message("question", "what").request(DEADLINE).expect("an answer");
    assert_eq!(answer.text(), Some("what!"));
    answerer.join().expect("it answered");
}

#[test]
fn the_server_of_an_encrypted_run_takes_its_clients_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name| folder.path().join(name);
    let (server, client) = (KeyPair::generate(), KeyPair::generate());
    fs::create_dir(path("authorized")).expect("a folder");
    write_key_pair(path("authorized/client"), &client).expect("written");
    let [_, secret] = write_key_pair(path("server"), &server).expect("written");
    let flag = |flag: &str| flag.to_owned().into();
    let keys = [flag("--curve-secret"), secret, flag("--authorized-keys"), path("authorized")];
    let target = Target::start(&[&[flag("serve")], &keys[..]].concat());
    let builder = || Client::builder().port(target.port);
    builder().curve(client, server.public()).connect().expect("a connection");
    let stranger = builder().curve(KeyPair::generate(), server.public()).connect();
    for refused in [builder().connect(), stranger] {
        assert!(matches!(refused, Err(ConnectError::Security { .. })), "{refused:?}");
    }
}

#[test]
fn the_relay_delivers_to_native_subscriptions() {
    check("relay");
}

#[cfg(feature = "libzmq")]
#[test]
fn the_bare_forwarder_delivers_to_native_subscriptions() {
    check("forward");
}

/// Two subscriptions of one client: what the one does not read holds up neither the client's memory, which credit
/// bounds, nor in the end the other.
#[test]
fn the_relay_sends_no_more_than_credit_allows() {
    const MESSAGES: usize = 200;
    let target = Target::start(&["relay"]);
    let (publisher, client) = (target.client(), target.client());
    let open = |credit| {
        let opened = client.subscription_to(Filter::name("a")).credit(credit).open();
        opened.expect("a subscription")
    };
    let mut reading = open(1);
    let unread = open(10_000);
    let texts: Vec<_> = (0..MESSAGES).map(|n| format!("{n:01000}")).collect();
    for text in &texts {
        publisher.message("a", &**text).send().expect("taken");
    }
    let received = || client.counters().received;
    assert_eq!(read(&mut reading, 10), texts[..10]);
    // The last delivery may take more than there was.
    assert!(received() <= 22, "{}", received());
    drop(unread);
    assert_eq!(read(&mut reading, MESSAGES - 10), texts[10..]);
    assert!(received() <= MESSAGES as u64 + 11, "{}", received());
}
