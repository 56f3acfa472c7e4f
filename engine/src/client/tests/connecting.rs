//! Why a client could not connect: the cause is in the error, and told at once when it is certain.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::fake_server::{FakeServer, LONG};
use crate::client::core::addresses;
use crate::client::options::read_address;
use crate::client::{Client, ClientBuilder, ConnectError, SendError};
use crate::zmtp::handshake;

const TIMEOUT: Duration = Duration::from_millis(200);

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port where nobody listens.
fn free_port() -> u16 {
    listen().1
}

/// Options with which giving up takes longer than any test.
fn patient(port: u16) -> ClientBuilder {
    Client::builder().port(port).send_timeout(LONG)
}

/// Whoever connects is answered so.
fn answering(answer: Vec<u8>) -> (u16, JoinHandle<()>) {
    let (listener, port) = listen();
    let peer = std::thread::spawn(move || {
        let (mut peer, _): (TcpStream, _) = listener.accept().unwrap();
        peer.write_all(&answer).unwrap();
        let _ = peer.read_to_end(&mut Vec::new());
    });
    (port, peer)
}

/// The error, which must come long before patience ends.
#[track_caller]
fn at_once(builder: ClientBuilder) -> ConnectError {
    let start = Instant::now();
    let error = builder.connect().unwrap_err();
    assert!(start.elapsed() < LONG / 4, "{:?} until {error}", start.elapsed());
    error
}

#[test]
fn nobody_listening_is_told_at_once() {
    let port = free_port();
    for host in ["127.0.0.1", "localhost"] {
        let error = at_once(patient(port).server_address(host));
        let text = error.to_string();
        assert!(matches!(error, ConnectError::Refused { .. }), "{text}");
        assert!(text.starts_with(&format!("could not connect to {host}:{port}")), "{text}");
        assert!(text.contains("refused") && text.contains("start mezzenger-server"), "{text}");
        assert!(error.source().is_some());
    }
}

#[test]
fn a_host_that_does_not_exist_is_told_at_once() {
    // No label may be so long, so that no resolver is asked.
    let host = "x".repeat(70);
    let error = at_once(patient(7202).server_address(&*host));
    assert!(matches!(error, ConnectError::NoSuchHost { .. }), "{error}");
    assert!(error.to_string().contains(&host) && error.source().is_some(), "{error}");
}

#[test]
fn what_is_more_than_a_host_is_refused_with_the_right_form() {
    let cases = [
        ("tcp://127.0.0.1", "127.0.0.1"),
        ("tcp://127.0.0.1:7202", "127.0.0.1"),
        ("tcp://[::1]:7202", "::1"),
        ("broker:7201:7202", "broker"),
        ("mezzenger://broker.test:7202/x", "broker.test"),
        (" broker", "broker"),
        ("broker ", "broker"),
        ("broker/x:7202", "broker"),
        ("one two:7202", "one"),
    ];
    for (given, host) in cases {
        let error = at_once(Client::builder().server_address(given));
        assert!(error.to_string().contains(&format!("'{host}'")), "{error}");
        let ConnectError::NotAHost { address, host: found } = error else { panic!("{error}") };
        assert_eq!((&*address, &*found), (given, host));
    }
    for host in ["127.0.0.1", "::1", "[::1]", "fe80::1%eth0", "a.b", "a_b-c"] {
        let error = patient(free_port()).server_address(host).send_timeout(TIMEOUT);
        let error = error.connection_retries(1).connect().unwrap_err();
        assert!(!matches!(error, ConnectError::NotAHost { .. }), "{host}: {error}");
    }
}

#[test]
fn an_address_has_the_host_and_the_port() {
    let server = crate::Server::builder().pub_port(0).recv_port(0).start().unwrap();
    let port = server.recv_addr().port();
    for address in
        ["mezzenger://127.0.0.1:{port}", "mezzenger://localhost:{port}/", "127.0.0.1:{port}"]
    {
        let address = address.replace("{port}", &port.to_string());
        Client::connect(&address).unwrap().ping().unwrap();
        // The port of the address counts, as it was said later.
        let client = Client::builder().port(9).server_address(address).connect().unwrap();
        client.ping().unwrap();
    }
    for (url, host, port) in [
        ("mezzenger://a.b", "a.b", None),
        ("mezzenger://a.b:7", "a.b", Some(7)),
        ("mezzenger://[::1]", "::1", None),
        ("mezzenger://[::1]:65535/", "::1", Some(65535)),
        ("a.b:7", "a.b", Some(7)),
        ("[::1]:7202", "::1", Some(7202)),
    ] {
        assert_eq!(read_address(url), Some(vec![(host, port)]));
    }
    for host in ["a.b", "::1", "[::1]", "fe80::1%eth0"] {
        assert_eq!(read_address(host), None, "{host}");
    }
    let several = read_address("mezzenger://a,b:7,[::1]:8");
    assert_eq!(several, Some(vec![("a", None), ("b", Some(7)), ("::1", Some(8))]));
    for wrong in [
        "mezzenger://",
        "mezzenger://a,",
        "mezzenger://a,,b",
        "mezzenger://:7",
        "mezzenger://a:",
        "mezzenger://a,b c",
        "mezzenger://a:+7",
        "mezzenger://a:7:8",
        "mezzenger://[::1]7",
        "tcp://a:7",
        "a:",
        "a:7/",
        "a:7,b:8",
        "::1:7202/",
    ] {
        assert_eq!(read_address(wrong), None, "{wrong}");
        let error = at_once(Client::builder().server_address(wrong));
        assert!(matches!(error, ConnectError::NotAHost { .. }), "{wrong}: {error}");
    }
    for (wrong, of_it) in [
        ("mezzenger://a:0", "0"),
        ("mezzenger://a:65536", "65536"),
        ("mezzenger://a,b:99999", "99999"),
        ("a:99999", "99999"),
        ("[::1]:0", "0"),
    ] {
        assert_eq!(read_address(wrong), None, "{wrong}");
        let error = at_once(Client::builder().server_address(wrong));
        let text = format!("'{wrong}' has port {of_it}: give one of 1 to 65535");
        assert!(error.to_string().ends_with(&text), "{wrong}: {error}");
        let ConnectError::NotAPort { address, port } = error else { panic!("{error}") };
        assert_eq!((&*address, &*port), (wrong, of_it));
    }
}

#[test]
fn of_several_servers_the_next_takes_over_when_one_is_lost() {
    let start = || FakeServer::start();
    let (first, second) = (start(), start());
    let (nobody, one, two) = (free_port(), first.port, second.port);
    let url = format!("mezzenger://localhost:{nobody},127.0.0.1:{one},127.0.0.1:{two}");
    let client = first.patient().server_address(url).connect().unwrap();
    let mut messages = client.subscription("a").unwrap();
    client.message("a", "to the first").send().unwrap();
    assert_eq!(first.next().name, "a");
    drop(first);
    client.message("a", "to the second").send().unwrap();
    assert_eq!(second.next().name, "a");
    let texts = std::iter::from_fn(|| messages.recv_timeout(LONG).ok());
    assert!(texts.map(|it| it.text().unwrap().to_owned()).any(|text| text == "to the second"));
    let third = FakeServer::start_on(one);
    drop(second);
    client.message("a", "back").send().unwrap();
    assert_eq!(third.next().name, "a");
}

#[test]
fn what_is_no_server_is_no_reason_not_to_try_the_next() {
    let server = FakeServer::start();
    let (port, peer) = answering(b"HTTP/1.1 400 Bad Request\r\n".to_vec());
    let url = format!("mezzenger://127.0.0.1:{port},127.0.0.1:{}", server.port);
    let client = server.patient().server_address(url).connect().unwrap();
    peer.join().unwrap();
    drop(client);
    // When none is one, it is told at once.
    let ((one, first), (two, second)) = (answering(b"HTTP".to_vec()), answering(b"HTTP".to_vec()));
    let url = format!("mezzenger://127.0.0.1:{one},127.0.0.1:{two}");
    let error = at_once(patient(7202).server_address(url));
    assert!(matches!(error, ConnectError::NotMezzenger { .. }), "{error}");
    first.join().unwrap();
    second.join().unwrap();
}

#[test]
fn a_server_whose_address_says_no_port_has_the_default_one() {
    let ports = |builder: ClientBuilder| -> Vec<u16> {
        addresses(&builder.options).iter().map(|address| address.port).collect()
    };
    let two = || Client::builder().server_address("mezzenger://one:7300,two");
    assert_eq!(ports(two()), [7300, 7202]);
    let given = Client::builder().port(7400);
    assert_eq!(ports(given.server_address("mezzenger://one:7300,two")), [7300, 7400]);
    // Another address takes the place of all that came before.
    assert_eq!(ports(two().server_address("three")), [7202]);
    assert_eq!(ports(two().server_address("mezzenger://three,four")), [7202, 7202]);
}

#[test]
fn another_protocol_is_named_at_once() {
    for (answer, name) in [
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], "HTTP"),
        (b"INFO {\"server_id\":1}\r\n", "NATS"),
        (b"-ERR unknown command\r\n", "Redis"),
        (b"\x15\x03\x01\0\x02\x02\x0a", "TLS"),
        (b"hello, who is there?", "no ZMTP 3"),
    ] {
        let (port, peer) = answering(answer.to_vec());
        let error = at_once(patient(port));
        assert!(matches!(error, ConnectError::NotMezzenger { .. }), "{error}");
        let source = error.source().unwrap().to_string();
        assert!(source.contains(name) && error.to_string().contains(&source), "{error}");
        peer.join().unwrap();
    }
}

#[test]
fn a_server_that_asks_for_another_mechanism_is_told_at_once() {
    let mut greeting = handshake::GREETING.to_vec();
    greeting[12..17].copy_from_slice(b"CURVE");
    let (port, peer) = answering(greeting);
    let error = at_once(patient(port));
    assert!(error.to_string().contains("CURVE"), "{error}");
    peer.join().unwrap();
}

#[test]
fn the_port_of_subscribing_sockets_is_told_at_once() {
    let (_publishing, port) = crate::net::tests::listen(zmq::XPUB, 0);
    let error = at_once(patient(port));
    assert!(matches!(error, ConnectError::WrongSocket { .. }), "{error}");
    assert!(error.to_string().contains("give the server's --recv-port"), "{error}");
}

#[test]
fn an_older_server_is_told_at_once() {
    let server = FakeServer::start();
    server.limit.store(0, std::sync::atomic::Ordering::Release);
    let error = at_once(server.patient());
    assert!(error.to_string().contains("use the same release of both"), "{error}");
    let ConnectError::Rejected { source, .. } = error else { panic!("{error}") };
    assert!(matches!(source, SendError::UnsupportedVersion { .. }), "{source}");
}

#[test]
fn a_silent_server_is_waited_for_through_all_tries() {
    let (_listener, port) = listen();
    let start = Instant::now();
    let options = patient(port).send_timeout(TIMEOUT).connection_retries(2);
    let error = options.connect().unwrap_err();
    assert!(matches!(error, ConnectError::NoAnswer { tries: 2, .. }), "{error}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("could not connect to 127.0.0.1:{port}")), "{text}");
    assert!(start.elapsed() >= TIMEOUT * 2 && start.elapsed() < LONG / 2);
}

#[test]
fn a_server_that_closes_each_connection_is_tried_again_and_the_last_cause_is_told() {
    let (listener, port) = listen();
    let server = std::thread::spawn(move || {
        let mut connections = 0;
        listener.set_nonblocking(true).unwrap();
        let end = Instant::now() + TIMEOUT * 4;
        while Instant::now() < end {
            connections += usize::from(listener.accept().is_ok());
            std::thread::yield_now();
        }
        connections
    });
    let options = patient(port).send_timeout(TIMEOUT).connection_retries(3);
    let error = options.connect().unwrap_err();
    assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error}");
    assert!(error.source().is_some() && error.to_string().contains("the last: "), "{error}");
    assert!(server.join().unwrap() >= 2);
}
