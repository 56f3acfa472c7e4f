//! Many connections are served; too many are closed at once; those of machines that vanished end.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mezzenger::ConnectError;
use mezzenger::wire::frame::v2_prefix;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::native::{assert_ok, connect, receive};
use crate::harness::raw::{greeting, request, subscription};
use crate::harness::{Native, NativeSubscriber, Raw, Server, eventually, skipped};

const MANY: usize = 10_000;
/// Descriptors that this process and the server need beside those of the connections.
const OTHERS: u64 = 1000;

/// Raises this process' limit on open files as far as it goes, and says whether that is enough.
fn may_open(descriptors: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let enough = limit.maximum.is_none_or(|maximum| maximum >= descriptors);
    if !enough {
        let why = format!("this takes {descriptors}, and the limit is {limit:?}");
        skipped("a test of many open files", &why);
    }
    enough
}

/// Sends messages one by one to a subscriber of its own, and returns the longest time one took.
#[track_caller]
fn longest_round(
    publisher: &mut Native,
    subscriber: &mut NativeSubscriber,
    rounds: usize,
) -> Duration {
    (0..rounds)
        .map(|_| {
            let start = Instant::now();
            let id = publisher.publish("others", b"x", true);
            assert_eq!(subscriber.next().id, id);
            publisher.ack(&[id]);
            start.elapsed()
        })
        .max()
        .unwrap()
}

#[test]
fn ten_thousand_are_served() {
    if !may_open(MANY as u64 + OTHERS) {
        return;
    }
    let mut server = Server::start::<&str>(&[]);
    let mut publisher = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "others");
    let before = server.process.memory_bytes();
    let start = Instant::now();
    let mut requesters: Vec<_> =
        (0..MANY / 2).map(|_| Raw::connect(server.recv_addr, "DEALER")).collect();
    let mut subscribers: Vec<_> =
        (0..MANY / 2).map(|_| Raw::connect(server.pub_addr, "SUB")).collect();
    println!("{MANY} connections after {:?}", start.elapsed());
    // Each of them works.
    for raw in &mut subscribers {
        raw.say(&subscription(&v2_prefix("crowd")));
    }
    for raw in &mut requesters {
        raw.say(&request(&v2_prefix("ping")));
    }
    for raw in &mut requesters {
        assert_ok(&raw.hear().unwrap());
    }
    for raw in &mut subscribers {
        raw.confirm();
    }
    let frame = publisher.frame("crowd", b"hello, all", false);
    assert_ok(&publisher.request(&frame));
    for raw in &mut subscribers {
        assert_eq!(raw.hear().unwrap(), frame);
    }
    let longest = longest_round(&mut publisher, &mut subscriber, 500);
    let memory = server.process.memory_max_bytes();
    println!(
        "all served after {:?}; {} MiB, {} KiB a connection; longest round beside them {longest:?}",
        start.elapsed(),
        memory >> 20,
        (memory - before) / 1024 / MANY,
    );
    assert!(memory - before < MANY * 64 * 1024, "{} MiB", memory >> 20);
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    drop((requesters, subscribers));
    longest_round(&mut publisher, &mut subscriber, 10);
    assert!(server.process.is_running());
}

/// Connects until the server has no room left; those that it took.
#[track_caller]
fn fill(address: SocketAddr, max: usize) -> Vec<Raw> {
    let answers = |raw: &mut Raw| raw.try_say(&request(&v2_prefix("ping"))) && raw.hear().is_some();
    let mut taken = Vec::new();
    while let Some(mut raw) = Raw::try_connect(address, "DEALER") {
        if !answers(&mut raw) {
            break;
        }
        taken.push(raw);
        assert!(taken.len() <= 2 * max, "nothing bounds the connections");
    }
    taken
}

#[test]
fn beyond_max_connections_they_are_closed_until_others_end() {
    let server = Server::start(&["--max-connections", "12"]);
    let mut publisher = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "others");
    let mut taken = fill(server.recv_addr, 10);
    assert_eq!(taken.len(), 10);
    for address in [server.pub_addr, server.recv_addr] {
        let mut surplus = TcpStream::connect(address).map(|stream| Raw { stream }).unwrap();
        surplus.wait_for_the_end();
    }
    server.log_line("--max-connections");
    let options = server.client_options().send_timeout(Duration::from_millis(100));
    let error = options.connection_retries(3).connect().unwrap_err();
    assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error}");
    longest_round(&mut publisher, &mut subscriber, 10);
    taken.truncate(5);
    // The server has to see their ends first.
    let again = eventually("room", || {
        let again = fill(server.recv_addr, 5);
        (again.len() == 5).then_some(again)
    });
    drop(again);
    server.terminate();
}

#[test]
fn without_descriptors_it_serves_those_it_has_and_takes_others_when_there_is_room() {
    const DESCRIPTORS: u32 = 100;
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let arguments = ["--persist-file", journal.to_str().unwrap()];
    let mut server = Server::start_with_descriptors(DESCRIPTORS, &arguments);
    server.log_line("ulimit -n");
    let mut publisher = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "others");
    let mut taken = fill(server.recv_addr, DESCRIPTORS as usize);
    println!("{} connections", taken.len());
    assert!(taken.len() > 10);
    // Whoever is refused comes again and again, as ZeroMQ's sockets do.
    let surplus: Vec<_> = (0..50).map(|_| connect(zmq::DEALER, &server.recv_endpoint())).collect();
    let start = Instant::now();
    let load = server.process.load_during(|| {
        // Kept messages: the journal has the descriptors it needs.
        while start.elapsed() < Duration::from_secs(2) {
            longest_round(&mut publisher, &mut subscriber, 1);
            subscriber.next_within(Duration::from_millis(50));
        }
    });
    assert!(load < 0.5, "it spins: {load}");
    server.log_line("rejected a connection");
    for raw in &mut taken {
        raw.say(&request(&v2_prefix("ping")));
        assert_ok(&raw.hear().unwrap());
    }
    drop(taken);
    let after = &surplus[0];
    after.send_multipart([&b""[..], &v2_prefix("ping")], 0).unwrap();
    assert_eq!(receive(after), [&b""[..], b"OK"]);
    assert!(server.process.is_running());
    server.terminate();
}

/// Whether the kernel asks the peer of a connection for signs of life: the timer of its row in
/// `/proc/net/tcp` is the keepalive timer.
fn is_kept_alive(local: SocketAddr, peer: SocketAddr) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ports = |row: &[&str]| -> Vec<u16> {
        let hex = |address: &str| u16::from_str_radix(address.rsplit(':').next().unwrap(), 16);
        row[1..3].iter().map(|address| hex(address).unwrap()).collect()
    };
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| ports(row) == [local.port(), peer.port()])
        .any(|row| row[5].starts_with("02:"))
}

#[test]
fn silent_peers_are_asked_for_signs_of_life() {
    let server = Server::start::<&str>(&[]);
    for (address, kind) in [(server.recv_addr, "DEALER"), (server.pub_addr, "SUB")] {
        let raw = Raw::connect(address, kind);
        let peer = raw.stream.local_addr().unwrap();
        eventually("a keepalive timer", || is_kept_alive(address, peer).then_some(()));
    }
}

#[test]
fn half_open_connections_end() {
    let server = Server::start::<&str>(&[]);
    let start = Instant::now();
    let open: Vec<_> = [server.recv_addr, server.pub_addr]
        .into_iter()
        .flat_map(|address| [0, 10, 64].map(|said| (address, said)))
        .map(|(address, said)| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&greeting()[..said]).unwrap();
            Raw { stream }
        })
        .collect();
    for mut raw in open {
        raw.wait_for_the_end();
    }
    assert!(start.elapsed() < Duration::from_secs(18), "{:?}", start.elapsed());
}
