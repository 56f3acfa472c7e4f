//! What a connection promises, against libzmq and against peers that do not keep to it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::connection::{Address, Connection, Settings};
use super::frame::Head;
use super::handshake::{self, Kind};
use super::subscribing::Subscribing;
use super::wait::{Pause, wait};
use crate::transport::{Context, Part, Ready, Received, Socket, SocketOptions, poll, waker};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(20);

fn settings(kind: Kind, port: u16) -> Settings {
    Settings {
        address: Some(Address { host: "127.0.0.1".to_owned(), port }),
        kind,
        frame_bytes_max: 8 * 1024 * 1024,
        heartbeat: LONG,
        silence_max: LONG,
    }
}

fn dealer(port: u16) -> Connection {
    Connection::new(settings(Kind::Dealer, port), Instant::now())
}

/// Goes on with the connection until `done` returns something.
fn drive<T>(
    connection: &mut Connection,
    mut done: impl FnMut(&mut Connection, bool) -> Option<T>,
) -> T {
    let end = Instant::now() + LONG;
    let (_waker, wakes) = waker::pair().unwrap();
    loop {
        let now = Instant::now();
        assert!(now < end, "it takes too long: {connection:?}");
        connection.readable();
        let made = connection.advance(now);
        if let Some(done) = done(connection, made) {
            return done;
        }
        let due = connection.deadline(true).map_or(LONG, |at| at.saturating_duration_since(now));
        let pause = Pause { connection: connection.polled(), time: Some(due.min(end - now)) };
        wait(&pause, &wakes).unwrap();
    }
}

fn made(connection: &mut Connection) {
    drive(connection, |_, made| made.then_some(()));
}

fn send(connection: &mut Connection, parts: &[&[u8]]) {
    for (at, part) in parts.iter().enumerate() {
        let mut head = Vec::new();
        Head::message(part.len(), at + 1 < parts.len()).append_to(&mut head);
        connection.send(head.into());
        connection.send(Bytes::copy_from_slice(part));
    }
    connection.flush(Instant::now());
}

fn receive(connection: &mut Connection) -> Vec<Bytes> {
    drive(connection, |connection, _| {
        let mut parts = Vec::new();
        connection.receive(&mut parts, Instant::now()).then_some(parts)
    })
}

fn bound(socket: &Socket) -> u16 {
    let endpoint = socket.bind("tcp://127.0.0.1:*").unwrap();
    endpoint.rsplit(':').next().unwrap().parse().unwrap()
}

/// The next whole message of a socket of libzmq, while the connection goes on.
fn next_message(socket: &mut Socket, connection: &mut Connection) -> Vec<Bytes> {
    let end = Instant::now() + LONG;
    let mut parts = Vec::new();
    while Instant::now() < end {
        connection.advance(Instant::now());
        poll(&[socket], &[], &mut [Ready::default()], Some(Duration::from_millis(1))).unwrap();
        let mut part = Part::empty();
        while socket.receive(&mut part).unwrap() == Received::Part {
            let more = part.has_more();
            parts.push(std::mem::take(&mut part).into_bytes());
            if !more {
                return parts;
            }
        }
    }
    panic!("nothing arrived");
}

#[test]
fn requests_and_replies_of_any_size_pass_whole() {
    let context = Context::new(1).unwrap();
    let mut router = context.router(SocketOptions::default()).unwrap();
    let mut connection = dealer(bound(&router));
    made(&mut connection);
    for size in [0, 1, 255, 256, 70_000, 5_000_000] {
        let body: Vec<u8> = (0..size).map(|n| n as u8).collect();
        send(&mut connection, &[b"id", b"", &body]);
        let request = next_message(&mut router, &mut connection);
        assert_eq!(request[1..], [&b"id"[..], &b""[..], &body[..]]);
        for (at, part) in request.iter().enumerate() {
            assert!(router.send(&mut Part::share(part.clone()), at + 1 < request.len()).unwrap());
        }
        assert_eq!(receive(&mut connection), request[1..]);
    }
}

#[test]
fn a_server_that_comes_back_is_found_again() {
    let context = Context::new(1).unwrap();
    let router = context.router(SocketOptions::default()).unwrap();
    let port = bound(&router);
    let mut connection = dealer(port);
    made(&mut connection);
    drop((router, context));
    drive(&mut connection, |connection, _| {
        connection.receive(&mut Vec::new(), Instant::now());
        (!connection.is_open()).then_some(())
    });
    let context = Context::new(1).unwrap();
    let mut router = context.router(SocketOptions::default()).unwrap();
    router.bind(&format!("tcp://127.0.0.1:{port}")).unwrap();
    made(&mut connection);
    send(&mut connection, &[b"again"]);
    assert_eq!(next_message(&mut router, &mut connection)[1], "again");
}

#[test]
fn each_new_connection_begins_with_all_subscriptions() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut subscribing =
        Subscribing::new(Connection::new(settings(Kind::Sub, port), Instant::now()));
    let now = Instant::now();
    for topic in ["a", "b", "b", "c"] {
        subscribing.subscribe(topic.as_bytes(), now);
    }
    subscribing.unsubscribe(b"b", now);
    subscribing.unsubscribe(b"c", now);
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let mut peer = accept(&listener, b"XPUB");
            let mut frames = [0; 6];
            peer.read_exact(&mut frames).unwrap();
            assert_eq!(frames, *b"\0\x02\x01a\0\x02");
            let mut rest = [0; 2];
            peer.read_exact(&mut rest).unwrap();
            assert_eq!(rest, *b"\x01b");
        }
    });
    let (_waker, wakes) = waker::pair().unwrap();
    let end = Instant::now() + LONG;
    while !server.is_finished() {
        let now = Instant::now();
        assert!(now < end);
        subscribing.readable();
        subscribing.advance(now);
        subscribing.receive(now);
        let due = subscribing.deadline(true).map_or(LONG, |at| at.saturating_duration_since(now));
        let time = Some(due.min(Duration::from_millis(50)));
        wait(&Pause { connection: subscribing.polled(), time }, &wakes).unwrap();
    }
    server.join().unwrap();
}

/// Accepts a connection and shakes hands as a server does.
fn accept(listener: &TcpListener, socket: &[u8]) -> TcpStream {
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(LONG)).unwrap();
    peer.write_all(&handshake::GREETING).unwrap();
    peer.write_all(&handshake::ready(socket)).unwrap();
    let mut hello = [0; handshake::GREETING_BYTES];
    peer.read_exact(&mut hello).unwrap();
    let mut head = [0; 2];
    peer.read_exact(&mut head).unwrap();
    let mut ready = vec![0; usize::from(head[1])];
    peer.read_exact(&mut ready).unwrap();
    assert_eq!(ready[..6], *b"\x05READY");
    peer
}

#[test]
fn a_ping_is_answered_with_its_context() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = dealer(listener.local_addr().unwrap().port());
    let server = std::thread::spawn(move || {
        let mut peer = accept(&listener, b"ROUTER");
        peer.write_all(b"\x04\x0a\x04PING\0\0abc\0\x02ok").unwrap();
        let mut pong = [0; 10];
        peer.read_exact(&mut pong).unwrap();
        assert_eq!(pong, *b"\x04\x08\x04PONGabc");
    });
    assert_eq!(receive(&mut connection), ["ok"]);
    server.join().unwrap();
}

#[test]
fn a_peer_that_falls_silent_is_asked_and_then_connected_to_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let patience = Duration::from_millis(50);
    let settings =
        Settings { heartbeat: patience, silence_max: patience, ..settings(Kind::Dealer, port) };
    let mut connection = Connection::new(settings, Instant::now());
    let server = std::thread::spawn(move || {
        let mut silent = accept(&listener, b"ROUTER");
        let mut ping = [0; 9];
        silent.read_exact(&mut ping).unwrap();
        assert_eq!(ping, *b"\x04\x07\x04PING\0\0");
        accept(&listener, b"ROUTER")
    });
    made(&mut connection);
    made(&mut connection);
    server.join().unwrap();
}

/// What a connection says when this peer answers.
fn refused_by(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = dealer(listener.local_addr().unwrap().port());
    let server = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(answer).unwrap();
        // Until the other end closes.
        let _ = peer.read_to_end(&mut Vec::new());
    });
    let told = drive(&mut connection, |connection, _| connection.told().map(str::to_owned));
    drop(connection);
    server.join().unwrap();
    told
}

#[test]
fn who_answers_wrongly_is_named() {
    assert!(refused_by(&[b'H'; 64]).contains("speaks no ZMTP 3"));
    let mut swapped = handshake::GREETING.to_vec();
    swapped.extend(handshake::ready(b"XPUB"));
    assert!(refused_by(swapped.leak()).contains("are the two ports swapped?"));
    let mut garbage = handshake::GREETING.to_vec();
    garbage.extend([0xff; 100]);
    assert!(refused_by(garbage.leak()).contains("no ZMTP 3 frame"));
    let mut large = handshake::GREETING.to_vec();
    large.extend([2, 0xff, 0, 0, 0, 0, 0, 0, 0]);
    assert!(refused_by(large.leak()).contains("max_message_size"));
}

#[test]
fn nobody_listening_is_told_and_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut connection = dealer(port);
    let told = drive(&mut connection, |connection, _| connection.told().map(str::to_owned));
    assert!(told.contains("is the server running"), "{told}");
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let server = std::thread::spawn(move || accept(&listener, b"ROUTER"));
    made(&mut connection);
    server.join().unwrap();
}

#[test]
fn each_address_of_a_name_is_tried() {
    // Where `localhost` is ::1 first, nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = Some(Address { host: "localhost".to_owned(), port });
    let settings = Settings { address, ..settings(Kind::Dealer, port) };
    let mut connection = Connection::new(settings, Instant::now());
    let server = std::thread::spawn(move || accept(&listener, b"ROUTER"));
    made(&mut connection);
    server.join().unwrap();
}
