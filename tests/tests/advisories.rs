//! What the advisories of libzmq describe, tried on this server: the connection at fault ends, or is bounded, and all others
//! are served.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mezzenger::Client;
use mezzenger::curve::KeyPair;

use crate::curve::Keys;
use crate::harness::raw::{
    LONG, MORE, announce, cancellation, command, greeting, part, ready, subscription,
};
use crate::harness::{Native, Raw, Server};

/// The bytes that memory may grow by.
const GROWN_MAX: usize = 40 << 20;

/// How soon others are answered meanwhile.
const SOON: Duration = Duration::from_secs(2);

/// A server, and how much memory it took before.
struct Victim<'a> {
    server: &'a mut Server,
    before: usize,
}

impl<'a> Victim<'a> {
    fn new(server: &'a mut Server) -> Self {
        let before = server.process.memory_bytes();
        Self { server, before }
    }

    fn ports(&self) -> [SocketAddr; 2] {
        [self.server.recv_addr, self.server.pub_addr]
    }

    /// Whether all is as before, but for who asked for trouble.
    #[track_caller]
    fn check(&mut self, serves: impl FnOnce(&Server)) {
        serves(self.server);
        assert!(self.server.process.is_running());
        let log = self.server.process.stderr();
        assert!(!log.contains("panicked"), "{log}");
        let grown = self.server.process.memory_max_bytes().saturating_sub(self.before);
        assert!(grown < GROWN_MAX, "{} MiB", grown >> 20);
    }
}

fn serves(server: &Server) {
    let mut publisher = Native::connect(server);
    publisher.publish("afterwards", b"still here", true);
}

/// Sends these bytes, and hears the server out.
fn say(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    // The server may hang up in the middle, and then any of these fails.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told);
    told
}

fn greeting_with(mechanism: &[u8]) -> Vec<u8> {
    let mut greeting = greeting();
    greeting[12..32].fill(0);
    greeting[12..12 + mechanism.len()].copy_from_slice(mechanism);
    greeting
}

/// CURVE's first command, which opens for nobody, and the second one with so much behind it.
fn curve_commands(initiate_bytes: usize) -> [Vec<u8>; 2] {
    let hello = [&b"\x01\0"[..], &[9; 192]].concat();
    [command("HELLO", &hello), command("INITIATE", &vec![7; initiate_bytes])]
}

/// CVE-2019-13132: what a client that is not authenticated says of itself in its INITIATE overran a buffer on the stack.
#[test]
fn cve_2019_13132_a_long_initiate_of_a_stranger() {
    let keys = Keys::new();
    let alice = keys.client("alice");
    let mut server = keys.server();
    let mut victim = Victim::new(&mut server);
    for address in victim.ports() {
        for bytes in [0, 256, 257, 300, 3000, 100_000, 10_000_000] {
            let [hello, initiate] = curve_commands(bytes);
            let begin = greeting_with(b"CURVE");
            for said in [[&begin[..], &hello, &initiate].concat(), [&begin[..], &initiate].concat()]
            {
                let told = say(address, &said);
                assert!(!told.windows(5).any(|part| part == b"READY"));
            }
        }
    }
    victim.check(|server| {
        keys.connect(server, &alice).unwrap().ping().unwrap();
    });
}

/// The same where nobody is authenticated, of what a stranger says of itself in READY.
#[test]
fn cve_2019_13132_a_long_ready_of_a_stranger() {
    let mut server = Server::start::<&str>(&[]);
    let mut victim = Victim::new(&mut server);
    for address in victim.ports() {
        for bytes in [256, 3000, 100_000, 10_000_000] {
            say(address, &[greeting(), command("READY", &vec![0xff; bytes])].concat());
        }
    }
    victim.check(serves);
}

/// CVE-2020-15166: a peer that never finishes its handshake kept others from theirs.
#[test]
fn cve_2020_15166_handshakes_that_are_never_finished() {
    let keys = Keys::new();
    let alice = keys.client("alice");
    let mut server = keys.server();
    let mut victim = Victim::new(&mut server);
    let begin = greeting_with(b"CURVE");
    let open: Vec<_> = victim
        .ports()
        .into_iter()
        .cycle()
        .take(400)
        .map(|address| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&begin[..begin.len() - 1]).unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    let client: Client = keys.connect(victim.server, &alice).unwrap();
    client.ping().unwrap();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    drop(open);
    victim.check(|_| {
        client.ping().unwrap();
    });
}

/// CVE-2021-20235 and CVE-2020-36400: frames of ZMTP 1.0, and reads that fill a buffer to its end, overran it on the heap.
#[test]
fn cve_2021_20235_and_2020_36400_frames_of_zmtp_1_and_full_buffers() {
    let mut server = Server::start::<&str>(&[]);
    let mut victim = Victim::new(&mut server);
    for address in victim.ports() {
        // The head of an identity of ZMTP 1.0, short and long, and what claims to be a message behind it.
        let long = [&[0xff][..], &(u64::MAX - 1).to_be_bytes(), &[0]].concat();
        for head in [&b"\x01\0"[..], b"\x05\0iden", &long, &[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0]] {
            say(address, &[head, &[0xfe; 70_000]].concat());
        }
        // Around sizes that buffers have.
        for bytes in [8191, 8192, 8193, 65_535, 65_536, 65_537] {
            let body = vec![7; bytes];
            let message = [part(&body, true), part(&body, false)].concat();
            say(address, &[greeting(), ready("DEALER"), message.clone()].concat());
            say(address, &[greeting(), ready("SUB"), message].concat());
        }
    }
    victim.check(serves);
}

/// CVE-2021-20236: cancelled subscriptions to topics of great length overran the stack.
#[test]
fn cve_2021_20236_cancelling_topics_of_great_length() {
    let mut server = Server::start::<&str>(&[]);
    let mut victim = Victim::new(&mut server);
    let address = victim.server.pub_addr;
    for bytes in [1, 1000, 1024, 1025, 5000, 100_000, 5_000_000] {
        let topic = vec![b'x'; bytes];
        let said = [subscription(&topic), cancellation(&topic), cancellation(&topic)].concat();
        say(address, &[greeting(), ready("SUB"), said].concat());
        let as_commands = [command("SUBSCRIBE", &topic), command("CANCEL", &topic)].concat();
        say(address, &[greeting(), ready("SUB"), as_commands].concat());
    }
    // Of many that lie one within the other, in the order in which recursion goes deepest.
    let mut raw = Raw::connect(address, "SUB");
    let nested: Vec<_> = (1..=1024).map(|bytes| vec![b'y'; bytes]).collect();
    raw.say(&nested.iter().flat_map(|topic| subscription(topic)).collect::<Vec<_>>());
    raw.say(&nested.iter().flat_map(|topic| cancellation(topic)).collect::<Vec<_>>());
    raw.confirm();
    victim.check(serves);
}

/// CVE-2021-20237: subscriptions that were cancelled, and those of connections that are gone, stayed in memory.
#[test]
fn cve_2021_20237_subscriptions_that_come_and_go_leave_nothing() {
    let mut server = Server::start::<&str>(&[]);
    let mut victim = Victim::new(&mut server);
    for round in 0..40 {
        let mut raw = Raw::connect(victim.server.pub_addr, "SUB");
        let topics = (0..2000).map(|n| format!("{round}.{n}.{}", "x".repeat(900)));
        let said: Vec<u8> = topics
            .flat_map(|topic| {
                let (begin, end) = (subscription(topic.as_bytes()), cancellation(topic.as_bytes()));
                // Every other one stays until the connection goes.
                if topic.ends_with('x') && round % 2 == 0 { [begin, end].concat() } else { begin }
            })
            .collect();
        raw.say(&said);
        raw.confirm();
    }
    victim.check(serves);
}

/// CVE-2019-6250: a length near the end of all numbers overflowed, and the bytes behind it were written anywhere.
#[test]
fn cve_2019_6250_lengths_that_overflow() {
    let mut server = Server::start::<&str>(&[]);
    let mut victim = Victim::new(&mut server);
    for (address, kind) in victim.ports().into_iter().zip(["DEALER", "SUB"]) {
        for bytes in [u64::MAX, u64::MAX - 1, u64::MAX - 8, 1 << 63, (1 << 63) - 1, 1 << 32] {
            let head = announce(bytes);
            let more = [&[LONG | MORE][..], &bytes.to_be_bytes()].concat();
            let in_command = [&[LONG | 4][..], &bytes.to_be_bytes()].concat();
            for head in [head, more, in_command] {
                // The server ends it, or waits for the bytes and takes no memory for them.
                say(address, &[greeting(), ready(kind), head.clone(), vec![7; 5000]].concat());
                say(address, &[greeting(), head, vec![7; 5000]].concat());
            }
        }
    }
    victim.check(serves);
}

/// CVE-2014-7202: a peer that says an older version, or another mechanism, was served without CURVE.
#[test]
fn cve_2014_7202_downgrades() {
    let keys = Keys::new();
    let alice = keys.client("alice");
    let mut server = keys.server();
    let mut victim = Victim::new(&mut server);
    let mut first = greeting();
    for (address, kind, number) in
        [(victim.server.recv_addr, "DEALER", 5), (victim.server.pub_addr, "SUB", 2)]
    {
        let ask = [subscription(b""), part(b"", true), part(b"ping|x", false)].concat();
        for revision in [0, 1, 2] {
            first[10] = revision;
            let v2 = [&first[..11], &[number, 0, 0][..], &ask].concat();
            let told = say(address, &v2);
            assert!(told.len() <= 11, "{told:?}");
        }
        for mechanism in [&b"NULL"[..], b"PLAIN", b"CURVE\0X", b""] {
            let said = [greeting_with(mechanism), ready(kind), ask.clone()].concat();
            let told = say(address, &said);
            assert!(told.len() <= 64, "nothing but its own greeting: {told:?}");
        }
    }
    victim.check(|server| {
        keys.connect(server, &alice).unwrap().ping().unwrap();
        assert!(keys.connect(server, &KeyPair::generate()).is_err());
    });
}
