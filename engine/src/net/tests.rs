//! What a connection promises, against libzmq and against peers that do not keep to it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::connection::{Address, Connection, Settings};
use super::wait::{Pause, wait};
use super::waker;
use crate::zmtp::frame::Head;
use crate::zmtp::handshake::{self, Kind};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(20);

fn settings(kind: Kind, port: u16) -> Settings {
    Settings {
        addresses: vec![Address { host: "127.0.0.1".to_owned(), port }],
        timeout: LONG,
        kind,
        frame_bytes_max: 8 * 1024 * 1024,
        heartbeat: LONG,
        silence_max: LONG,
        keys: None,
        login: None,
    }
}

fn dealer(port: u16) -> Connection {
    Connection::new(settings(Kind::Dealer, port))
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
        let made = connection.advance();
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
    connection.flush();
}

fn receive(connection: &mut Connection) -> Vec<Bytes> {
    drive(connection, |connection, _| {
        let mut parts = Vec::new();
        connection.receive(&mut parts).then_some(parts)
    })
}

/// A socket of libzmq that listens on a port (0: any), and the port.
pub(crate) fn listen(kind: zmq::SocketType, at: u16) -> (zmq::Socket, u16) {
    let socket = zmq::Context::new().socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_sndhwm(0).unwrap();
    socket.set_rcvhwm(0).unwrap();
    let port = if at == 0 { "*".to_owned() } else { at.to_string() };
    socket.bind(&format!("tcp://127.0.0.1:{port}")).unwrap();
    let endpoint = socket.get_last_endpoint().unwrap().unwrap();
    let port = endpoint.rsplit(':').next().unwrap().parse().unwrap();
    (socket, port)
}

/// The next whole message of a socket of libzmq, while the connection goes on.
fn next_message(socket: &zmq::Socket, connection: &mut Connection) -> Vec<Vec<u8>> {
    let end = Instant::now() + LONG;
    while Instant::now() < end {
        connection.advance();
        if socket.poll(zmq::POLLIN, 1).unwrap() > 0 {
            return socket.recv_multipart(0).unwrap();
        }
    }
    panic!("nothing arrived");
}

#[test]
fn requests_and_replies_of_any_size_pass_whole() {
    let (router, port) = listen(zmq::ROUTER, 0);
    let mut connection = dealer(port);
    made(&mut connection);
    for size in [0, 1, 255, 256, 70_000, 5_000_000] {
        let body: Vec<u8> = (0..size).map(|n| n as u8).collect();
        send(&mut connection, &[b"id", b"", &body]);
        let request = next_message(&router, &mut connection);
        assert_eq!(request[1..], [&b"id"[..], &b""[..], &body[..]]);
        router.send_multipart(&request, 0).unwrap();
        assert_eq!(receive(&mut connection), request[1..]);
    }
}

#[test]
fn a_server_that_comes_back_is_found_again() {
    let (router, port) = listen(zmq::ROUTER, 0);
    let mut connection = dealer(port);
    made(&mut connection);
    drop(router);
    drive(&mut connection, |connection, _| {
        connection.receive(&mut Vec::new());
        (!connection.is_open()).then_some(())
    });
    let (router, _) = listen(zmq::ROUTER, port);
    made(&mut connection);
    send(&mut connection, &[b"again"]);
    assert_eq!(next_message(&router, &mut connection)[1], b"again");
}

/// Accepts a connection and shakes hands as a server does.
pub(crate) fn accept(listener: &TcpListener, socket: &[u8]) -> TcpStream {
    let (peer, _) = listener.accept().unwrap();
    shake_hands(peer, socket)
}

/// Shakes hands as a server does.
pub(crate) fn shake_hands(mut peer: TcpStream, socket: &[u8]) -> TcpStream {
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
    let mut connection = Connection::new(settings);
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
fn refused_by(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = dealer(listener.local_addr().unwrap().port());
    let server = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(&answer).unwrap();
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
    assert!(refused_by(vec![b'H'; 64]).contains("speaks no ZMTP 3"));
    let mut swapped = handshake::GREETING.to_vec();
    swapped.extend(handshake::ready(b"XPUB"));
    assert!(refused_by(swapped).contains("are the two ports swapped?"));
    let mut garbage = handshake::GREETING.to_vec();
    garbage.extend([0xff; 100]);
    assert!(refused_by(garbage).contains("no ZMTP 3 frame"));
    let mut large = handshake::GREETING.to_vec();
    large.extend([2, 0xff, 0, 0, 0, 0, 0, 0, 0, b'x']);
    assert!(refused_by(large).contains("max_message_size"));
}

#[test]
fn a_peer_of_another_kind_is_known_by_its_first_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = dealer(listener.local_addr().unwrap().port());
    let server = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"H").unwrap();
        let _ = peer.read_to_end(&mut Vec::new());
    });
    let start = Instant::now();
    let told = drive(&mut connection, |connection, _| connection.told().map(str::to_owned));
    assert!(told.contains("speaks no ZMTP 3"), "{told}");
    assert!(start.elapsed() < super::connection::PATIENCE);
    drop(connection);
    server.join().unwrap();
}

#[test]
fn swapped_ports_are_named_when_libzmq_answers() {
    let (_publishing, port) = listen(zmq::XPUB, 0);
    let mut connection = dealer(port);
    let told = drive(&mut connection, |connection, _| connection.told().map(str::to_owned));
    assert!(told.contains("are the two ports swapped?"), "{told}");
}

#[test]
fn who_hangs_up_at_once_is_left_alone_for_longer_and_longer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = dealer(listener.local_addr().unwrap().port());
    // Goes on until the process ends: whether it has seen the connection end is nothing that can be awaited.
    std::thread::spawn(move || {
        loop {
            drop(accept(&listener, b"ROUTER"));
        }
    });
    let mut parts = Vec::new();
    // Longer than the first pause can be, by far.
    let long = Duration::from_millis(400);
    drive(&mut connection, |connection, _| {
        connection.receive(&mut parts);
        let pause = connection.deadline(true)?.saturating_duration_since(Instant::now());
        (connection.polled().is_none() && pause > long).then_some(())
    });
    made(&mut connection);
}

#[test]
fn what_arrived_before_the_connection_was_lost_is_not_lost_with_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = dealer(listener.local_addr().unwrap().port());
    let server = std::thread::spawn(move || {
        let mut peer = accept(&listener, b"ROUTER");
        peer.write_all(b"\0\x02ok").unwrap();
        peer
    });
    made(&mut connection);
    // Closed with something unread, it answers what is sent with a reset.
    let peer = server.join().unwrap();
    send(&mut connection, &[b"unread"]);
    drop(peer);
    while connection.flush() {
        connection.send(Bytes::from_static(b"\0\x01x"));
    }
    let mut parts = Vec::new();
    assert!(connection.receive(&mut parts));
    assert_eq!(parts, ["ok"]);
    assert!(!connection.receive(&mut parts) && !connection.is_open());
}

#[test]
fn many_pings_are_answered_once_while_the_answer_waits() {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let settings = Settings { addresses: Vec::new(), ..settings(Kind::Dealer, 0) };
    let mut connection = Connection::over(near.into(), settings);
    (&far).write_all(&handshake::GREETING).unwrap();
    (&far).write_all(&handshake::ready(b"ROUTER")).unwrap();
    made(&mut connection);
    // Nobody reads them, so that the system takes no more.
    while connection.flush() {
        connection.send(Bytes::from(vec![0; 1 << 20]));
    }
    let before = format!("{connection:?}").len();
    let ping = [&[4, 107][..], b"\x04PING\0\0", &[b'c'; 100]].concat();
    for _ in 0..100 {
        (&far).write_all(&ping).unwrap();
        connection.readable();
        assert!(!connection.receive(&mut Vec::new()));
    }
    let after = format!("{connection:?}").len();
    assert!(after < before + 2 * ping.len(), "{before} {after}");
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
    let addresses = vec![Address { host: "localhost".to_owned(), port }];
    let settings = Settings { addresses, ..settings(Kind::Dealer, port) };
    let mut connection = Connection::new(settings);
    let server = std::thread::spawn(move || accept(&listener, b"ROUTER"));
    made(&mut connection);
    server.join().unwrap();
}

/// A connection to the first of two servers, of which the second shakes hands.
fn two(first: &TcpListener, timeout: Duration) -> (Connection, std::thread::JoinHandle<TcpStream>) {
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = |listener: &TcpListener| Address {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
    };
    let addresses = vec![local(first), local(&second)];
    let settings = Settings { addresses, timeout, ..settings(Kind::Dealer, 0) };
    let server = std::thread::spawn(move || accept(&second, b"ROUTER"));
    (Connection::new(settings), server)
}

#[test]
fn a_server_that_says_nothing_leaves_time_for_the_next() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut connection, server) = two(&silent, Duration::from_millis(50));
    let start = Instant::now();
    made(&mut connection);
    assert!(start.elapsed() < super::connection::PATIENCE / 2, "{:?}", start.elapsed());
    server.join().unwrap();
}

#[test]
fn a_server_that_answers_no_request_is_left_for_the_next() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut connection, server) = two(&mute, LONG);
    let first = std::thread::spawn(move || {
        let peer = accept(&mute, b"ROUTER");
        (peer, mute)
    });
    made(&mut connection);
    let _first = first.join().unwrap();
    connection.restart(Duration::ZERO, Duration::ZERO);
    made(&mut connection);
    server.join().unwrap();
}
