//! Versions of ZMTP, its commands, and other protocols on a port.

use std::io::Read;
use std::net::SocketAddr;

use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::name;

use crate::harness::native::assert_ok;
use crate::harness::raw::{command, part, request, subscription};
use crate::harness::{Native, Raw, Server};

/// All that the server says until it hangs up.
#[track_caller]
fn hear_all(raw: &mut Raw) -> Vec<u8> {
    let mut said = Vec::new();
    match raw.stream.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server did not hang up: {error}"),
    }
    said
}

#[test]
fn other_protocols_are_closed_at_once_and_named_in_the_log() {
    for (bytes, what) in [
        (&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
        (b"CONNECT {\"verbose\":false}\r\n", "NATS"),
        (b"*1\r\n$4\r\nPING\r\n", "RESP (Redis)"),
    ] {
        let server = Server::start::<&str>(&[]);
        let mut raw = Raw::silent(server.pub_addr).unwrap();
        raw.say(bytes);
        // Beyond the first bytes, which it says to everybody.
        assert!(hear_all(&mut raw).len() < 64);
        let peer = raw.stream.local_addr().unwrap().to_string();
        let line = server.log_line("looks like");
        assert!(line.contains(what) && line.contains(&peer), "{what}: {line}");
    }
}

/// Connects as a socket that speaks ZMTP 2.0: signature, revision 1, socket type, an empty identity. The
/// server's socket type comes back.
#[track_caller]
fn connect_v2(address: SocketAddr, socket_type: u8) -> (Raw, u8) {
    let mut raw = Raw::silent(address).unwrap();
    raw.say(b"\xff\0\0\0\0\0\0\0\x01\x7f\x01");
    let mut greeting = [0; 12];
    raw.stream.read_exact(&mut greeting).unwrap();
    raw.say(&[socket_type, 0, 0]);
    let (flags, identity) = raw.hear_part().unwrap();
    assert_eq!((flags, identity.len()), (0, 0));
    (raw, greeting[11])
}

#[test]
fn zmtp_2_is_served() {
    let server = Server::start::<&str>(&[]);
    let (mut dealer, router) = connect_v2(server.recv_addr, 5);
    let (mut sub, xpub) = connect_v2(server.pub_addr, 2);
    assert_eq!((router, xpub), (6, 9));
    sub.say(&subscription(&v2_prefix("greet")));
    sub.confirm();
    let mut publisher = Native::connect(&server);
    dealer.say(&request(&publisher.hello_request()));
    dealer.hear().unwrap();
    let frame = publisher.frame("greet", b"hello", false);
    dealer.say(&[part(b"id", true), request(&frame)].concat());
    assert_eq!(dealer.hear_part().unwrap().1, b"id");
    assert_ok(&dealer.hear().unwrap());
    assert_eq!(sub.hear().unwrap(), frame);
}

#[test]
fn subscriptions_as_commands_are_served() {
    let server = Server::start::<&str>(&[]);
    let mut raw = Raw::connect(server.pub_addr, "SUB");
    raw.say(&command("SUBSCRIBE", &v2_prefix("one")));
    raw.say(&command("SUBSCRIBE", &v2_prefix("two")));
    raw.say(&command("CANCEL", &v2_prefix("one")));
    raw.confirm();
    let mut publisher = Native::connect(&server);
    publisher.publish("one", b"nobody wants it", false);
    let frame = publisher.frame("two", b"hello", false);
    assert_ok(&publisher.request(&frame));
    assert_eq!(raw.hear().unwrap(), frame);
}

#[test]
fn a_ping_is_answered_with_at_most_16_bytes_of_its_context() {
    let server = Server::start::<&str>(&[]);
    for (address, kind) in [(server.recv_addr, "DEALER"), (server.pub_addr, "SUB")] {
        let mut raw = Raw::connect(address, kind);
        for context in [&b""[..], b"hello", &[7; 16], &[7; 100]] {
            raw.say(&command("PING", &[&[0, 0], context].concat()));
            let pong = [b"\x04PONG", &context[..context.len().min(16)]].concat();
            assert_eq!(raw.hear_part(), Some((4, pong)));
        }
    }
}

#[test]
fn a_ping_too_short_for_its_fields_is_closed_and_echoes_nothing() {
    let server = Server::start::<&str>(&[]);
    let mut other = Raw::connect(server.recv_addr, "DEALER");
    for body in [&b""[..], b"\0"] {
        // What was in the server's memory must not come back.
        other.say(&request(&b"secret".repeat(20)));
        other.hear().unwrap();
        let mut raw = Raw::connect(server.recv_addr, "DEALER");
        raw.say(&command("PING", body));
        assert_eq!(hear_all(&mut raw), b"");
    }
    other.say(&request(&v2_prefix(name::PING)));
    assert_ok(&other.hear().unwrap());
}
