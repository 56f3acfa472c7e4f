//! Subscriptions on the port for requests: a client needs one connection, in any language that has a DEALER.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use mezzenger::wire::ack;
use mezzenger::wire::control::{self, Control, Group, Kind, Overflow, Subscribe, Verdict};
use mezzenger::wire::filter::Filter;
use mezzenger::wire::frame::{split_v2, v2_prefix};
use mezzenger::wire::id::MessageId;
use mezzenger::wire::name;
use mezzenger::wire::record::Encoding;

use crate::check_journal;
use crate::harness::native::{assert_ok, receive};
use crate::harness::raw::request;
use crate::harness::{Native, PATIENCE, Python, Raw, Server, binaries, python};
use crate::stalled_subscriber::patient_publisher;

pub(crate) fn subscribe(number: u32, kind: Kind<'_>, filter: Filter<'_>, credit: u64) -> Vec<u8> {
    let overflow = Overflow::Drop;
    control::request(&Control::Subscribe(Subscribe {
        number,
        kind,
        overflow,
        filter,
        credit,
        with_last: false,
    }))
}

/// A client with one connection: what is delivered between answers is kept.
pub(crate) struct One {
    native: Native,
    deliveries: VecDeque<[Vec<u8>; 2]>,
}

impl One {
    pub(crate) fn connect(server: &Server) -> Self {
        Self { native: Native::connect(server), deliveries: VecDeque::new() }
    }

    /// One with little credit, for which publishers of `greet` wait.
    fn that_holds_up(server: &Server) -> Self {
        let mut one = Self::connect(server);
        let (kind, filter) = (Kind::Broadcast, Filter::Name("greet"));
        let overflow = Overflow::Hold;
        let wanted =
            Subscribe { number: 1, kind, overflow, filter, credit: 10_000, with_last: false };
        one.ask(&control::request(&Control::Subscribe(wanted)));
        one
    }

    /// The answer that is the next message, if it is none that is kept.
    #[track_caller]
    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut parts = receive(&self.native.socket);
        assert_eq!(parts.remove(0), b"");
        match <[Vec<u8>; 2]>::try_from(parts) {
            Ok(delivery) => {
                self.deliveries.push_back(delivery);
                None
            }
            Err(mut answer) => answer.pop(),
        }
    }

    /// Sends a request, and returns its answer.
    #[track_caller]
    pub(crate) fn request(&mut self, body: &[u8]) -> Vec<u8> {
        self.native.socket.send_multipart([b"", body], 0).unwrap();
        let answer = std::iter::from_fn(|| Some(self.receive())).find_map(|answer| answer);
        answer.unwrap()
    }

    /// Sends a request that is taken.
    #[track_caller]
    pub(crate) fn ask(&mut self, body: &[u8]) {
        assert_ok(&self.request(body));
    }

    #[track_caller]
    pub(crate) fn publish(&mut self, name: &str, payload: &[u8]) -> MessageId {
        let frame = self.native.frame(name, payload, true);
        self.ask(&frame);
        self.native.last_id()
    }

    /// What stands before the next delivery, and its frame.
    #[track_caller]
    pub(crate) fn delivery(&mut self) -> [Vec<u8>; 2] {
        while self.deliveries.is_empty() {
            self.receive();
        }
        self.deliveries.pop_front().unwrap()
    }
}

/// Runs a Python program of a page, counted from 1, against a server; what it printed.
#[track_caller]
fn run_the_page(page: &str, program: usize, server: &Server) -> String {
    let page = fs::read_to_string(binaries::workspace().join(page)).unwrap();
    let program = page.split("```python\n").nth(program).and_then(|rest| rest.split("```").next());
    let [pub_port, recv_port] =
        [server.pub_addr, server.recv_addr].map(|addr| addr.port().to_string());
    let program = program.expect("a program");
    let program = program.replace("7201", &pub_port).replace("7202", &recv_port);
    let output = Command::new(python::environment().join("bin/python"))
        .args(["-c", &program])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_program_of_the_wire_formats_page_joins_a_group_publishes_and_acknowledges() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let server = Server::start_with_journal(&journal, &[]);
    let printed = run_the_page("docs/wire-format.md", 1, &server);
    assert_eq!(printed, "order 1\norder 2\norder 3\n");
    server.terminate();
    let report = check_journal::report(&journal, 0);
    assert!(report.contains("3 settled, 0 live"), "{report}");
}

#[test]
fn the_original_clients_of_the_guide_publish_receive_and_acknowledge() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let server = Server::start_with_journal(&journal, &["--retry-interval", "100ms"]);
    assert_eq!(run_the_page("docs/migrating/original.md", 1, &server), "b'OK'\n");
    assert_eq!(
        run_the_page("docs/migrating/original.md", 2, &server),
        "greet {'hello': [1, 2, 3]}\nb'OK'\n"
    );
    server.terminate();
    let report = check_journal::report(&journal, 0);
    assert!(report.contains("1 settled, 0 live"), "{report}");
}

#[test]
fn answers_and_deliveries_share_a_connection_with_an_original_subscriber_beside() {
    let server = Server::start::<&str>(&[]);
    let mut original = Python::connect(&server);
    original.subscribe("greet");
    let mut one = One::connect(&server);
    one.ask(&subscribe(7, Kind::Broadcast, Filter::Name("greet"), 1 << 20));
    let id = one.publish("greet", b"hello");
    let [head, frame] = one.delivery();
    let expected = control::Delivery { number: 7, again: false, retained: false, attempt: 0 };
    assert_eq!(control::read_delivery(&head), Some(expected));
    let (name, mut records) = split_v2(&frame).unwrap();
    let (_, record) = records.next().unwrap().unwrap();
    assert_eq!((name, record.id, record.payload), ("greet", id, &b"hello"[..]));
    assert_eq!(original.receive().payload, "b'hello'");
    one.ask(&ack::frame(&[id]));
    // And the other way.
    original.publish("greet", "'back'", 0, 2).ok();
    let [_, frame] = one.delivery();
    let (_, mut records) = split_v2(&frame).unwrap();
    assert_eq!(records.next().unwrap().unwrap().1.encoding, Encoding::Pickle);
}

const FRAME_BYTES: usize = 64 * 1024;
/// Together far more than the server and the kernel hold for one subscriber.
const FRAMES: usize = 1500;

#[test]
fn a_subscriber_that_takes_nothing_is_disconnected_and_one_without_credit_is_not() {
    let server = Server::start::<&str>(&[]);
    let ask = |number, credit| {
        let mut raw = Raw::connect(server.recv_addr, "DEALER");
        raw.say(&request(&subscribe(number, Kind::Broadcast, Filter::Prefix("fl"), credit)));
        assert_ok(&raw.hear().unwrap());
        raw
    };
    let (mut stalled, mut poor) = (ask(1, 1 << 30), ask(2, 1));
    let client = server.client();
    let mut subscription = client.subscription("flood").unwrap();
    let publisher = patient_publisher(&server);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..FRAMES {
                publisher.publish("flood", vec![b'x'; FRAME_BYTES]).unwrap();
            }
            publisher.flush().unwrap();
        });
        for _ in 0..FRAMES {
            subscription.recv_timeout(PATIENCE).unwrap();
        }
    });
    assert_eq!(client.missed(), 0);
    stalled.wait_for_the_end();
    // One delivery was all its credit; it lives on, and gets what it has credit for.
    assert!(poor.hear().unwrap().starts_with(b"\x01flood|"));
    poor.say(&request(&control::request(&Control::Credit { number: 2, bytes: 1 << 20 })));
    assert_ok(&poor.hear().unwrap());
    publisher.message("flood", "the end").send().unwrap();
    assert!(poor.hear().unwrap().windows(7).any(|part| part == b"the end"));
}

const SUBSCRIPTIONS: u32 = 20_000;

#[test]
fn a_stranger_s_subscriptions_end_with_its_connection_and_their_memory_is_given_back() {
    let server = Server::start::<&str>(&[]);
    let mut rss = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::connect(server.recv_addr, "DEALER");
        let asks = (0..SUBSCRIPTIONS).flat_map(|number| {
            let name = format!("name.{number}");
            request(&subscribe(number, Kind::Observer, Filter::Name(&name), 1))
        });
        raw.say(&asks.collect::<Vec<u8>>());
        (0..SUBSCRIPTIONS).for_each(|_| assert_ok(&raw.hear().unwrap()));
        drop(raw);
        Native::connect(&server).ping();
        rss.push(server.process.memory_bytes());
    }
    assert!(rss[2] < rss[0] + 8 * 1024 * 1024, "{rss:?}");
}

/// How long a delivery may take that needs no interval.
const AT_ONCE: Duration = Duration::from_secs(2);

#[test]
fn credit_brings_what_waited_at_once() {
    let server = Server::start(&["--retry-interval", "1h"]);
    let mut one = One::connect(&server);
    one.ask(&subscribe(1, Kind::Broadcast, Filter::Pattern("orders.*"), 0));
    let ids = [1, 2, 3].map(|n| one.publish("orders.new", &[n]));
    let start = Instant::now();
    one.ask(&control::request(&Control::Credit { number: 1, bytes: 1 << 20 }));
    let [_, frame] = one.delivery();
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    let (_, records) = split_v2(&frame).unwrap();
    let got: Vec<_> = records.map(|item| item.unwrap().1.id).collect();
    assert_eq!(got, ids);
}

#[test]
fn a_worker_that_is_killed_gives_its_jobs_to_another_at_once() {
    const JOBS: usize = 1000;
    let server = Server::start(&["--retry-interval", "1h"]);
    let group = Kind::Group(Group::named("packers"));
    let join = subscribe(1, group, Filter::Prefix("orders"), 1 << 20);
    let mut killed = One::connect(&server);
    killed.ask(&join);
    let mut publisher = One::connect(&server);
    let ids: BTreeSet<MessageId> =
        (0..JOBS).map(|n| publisher.publish("orders.new", &n.to_le_bytes())).collect();
    let mut given = 0;
    while given < JOBS {
        given += split_v2(&killed.delivery()[1]).unwrap().1.count();
    }
    let mut other = One::connect(&server);
    other.ask(&join);
    let start = Instant::now();
    drop(killed);
    let mut taken = BTreeSet::new();
    while taken.len() < JOBS {
        let [head, frame] = other.delivery();
        let delivery = control::read_delivery(&head).unwrap();
        assert_eq!((delivery.again, delivery.attempt), (true, 2));
        let (_, records) = split_v2(&frame).unwrap();
        for (_, record) in records.map(Result::unwrap) {
            assert!(taken.insert(record.id), "given twice");
        }
    }
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert_eq!(taken, ids);
    let ids: Vec<u8> = ids.iter().flat_map(|id| id.to_bytes()).collect();
    let settle = Control::Settle { number: 1, verdict: Verdict::Ack, ids: &ids };
    other.ask(&control::request(&settle));
    // Nothing is left for whoever comes.
    drop(other);
    let mut last = One::connect(&server);
    last.ask(&join);
    last.ask(&v2_prefix(name::PING));
    assert!(last.deliveries.is_empty());
}

#[test]
fn publishers_wait_for_the_credit_of_one_that_holds_them_up_and_nothing_is_lost() {
    const MESSAGES: usize = 300;
    let server = Server::start::<&str>(&[]);
    let mut one = One::that_holds_up(&server);
    let mut publisher = Native::connect(&server);
    for _ in 0..MESSAGES {
        let frame = publisher.frame("greet", &[7; 1000], false);
        publisher.socket.send_multipart([b"", &frame[..]], 0).unwrap();
    }
    server.log_line("does not keep up");
    let mut bytes = 0;
    for n in 1..=MESSAGES as u64 {
        let [_, frame] = one.delivery();
        bytes += frame.len() as u64;
        let (_, mut records) = split_v2(&frame).unwrap();
        assert_eq!(records.next().unwrap().unwrap().1.id.sequence, n);
        if n % 5 == 0 {
            one.ask(&control::request(&Control::Credit { number: 1, bytes }));
            bytes = 0;
        }
    }
    for _ in 0..MESSAGES {
        assert_ok(receive(&publisher.socket).last().unwrap());
    }
}

#[test]
fn one_that_lacks_credit_for_what_it_publishes_itself_waits_and_is_read_on() {
    const MESSAGES: usize = 100;
    let server = Server::start::<&str>(&[]);
    let mut one = One::that_holds_up(&server);
    // All of it before any credit comes back: what grants credit stands behind it on the connection.
    for _ in 0..MESSAGES {
        let frame = one.native.frame("greet", &[7; 1000], false);
        one.native.socket.send_multipart([b"", &frame[..]], 0).unwrap();
    }
    server.log_line("does not keep up");
    let (mut answers, mut taken) = (0, 0);
    while answers < 2 * MESSAGES || taken < MESSAGES {
        if let Some(answer) = one.receive() {
            assert_ok(&answer);
            answers += 1;
        }
        while let Some([_, frame]) = one.deliveries.pop_front() {
            taken += 1;
            let (_, mut records) = split_v2(&frame).unwrap();
            assert_eq!(records.next().unwrap().unwrap().1.id.sequence, taken as u64);
            let credit = Control::Credit { number: 1, bytes: frame.len() as u64 };
            one.native.socket.send_multipart([b"", &control::request(&credit)[..]], 0).unwrap();
        }
    }
    assert!(!server.process.stderr().contains("granted no credit"));
}

#[test]
fn publishers_do_not_wait_for_ever_for_credit_that_does_not_come() {
    const MESSAGES: usize = 100;
    let server = Server::start::<&str>(&[]);
    let mut one = One::that_holds_up(&server);
    let mut publisher = Native::connect(&server);
    for _ in 0..MESSAGES {
        let frame = publisher.frame("greet", &[7; 1000], false);
        publisher.socket.send_multipart([b"", &frame[..]], 0).unwrap();
    }
    for _ in 0..MESSAGES {
        assert_ok(receive(&publisher.socket).last().unwrap());
    }
    // It is far from the bound on what it gets without credit.
    for n in 1..=MESSAGES as u64 {
        let [_, frame] = one.delivery();
        let (_, mut records) = split_v2(&frame).unwrap();
        assert_eq!(records.next().unwrap().unwrap().1.id.sequence, n);
    }
}

#[test]
fn publishers_wait_again_for_one_that_was_given_up_and_grants_credit_again() {
    const BEFORE: u64 = 100;
    const AFTER: u64 = 500;
    let server = Server::start::<&str>(&[]);
    let mut one = One::that_holds_up(&server);
    let mut publisher = Native::connect(&server);
    let mut publish = |messages, payload: &[u8]| {
        for _ in 0..messages {
            let frame = publisher.frame("greet", payload, false);
            publisher.socket.send_multipart([b"", &frame[..]], 0).unwrap();
        }
    };
    publish(BEFORE, &[7; 1000]);
    server.log_line("granted no credit");
    let take = |one: &mut One| {
        let [_, frame] = one.delivery();
        let (_, mut records) = split_v2(&frame).unwrap();
        (records.next().unwrap().unwrap().1.id.sequence, frame.len() as u64)
    };
    let mut owed: u64 = (0..BEFORE).map(|_| take(&mut one).1).sum();
    // Far from all: its credit stays below 0.
    one.ask(&control::request(&Control::Credit { number: 1, bytes: 1 }));
    // Four times what one gets without credit, faster than it takes that.
    publish(AFTER, &[7; FRAME_BYTES]);
    for n in 1..=AFTER {
        let (sequence, bytes) = take(&mut one);
        assert_eq!(sequence, BEFORE + n);
        owed += bytes;
        one.ask(&control::request(&Control::Credit { number: 1, bytes: owed }));
        owed = 0;
    }
}
