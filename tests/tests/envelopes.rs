//! A reply repeats its request's envelope and carries exactly one frame.

use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::name;

use crate::harness::native::{connect, receive};
use crate::harness::raw::part;
use crate::harness::{Raw, Server};

fn ping() -> Vec<u8> {
    v2_prefix(name::PING)
}

#[track_caller]
fn check(socket: &zmq::Socket, request: &[&[u8]], reply: &[&[u8]]) {
    socket.send_multipart(request, 0).unwrap();
    assert_eq!(receive(socket), reply);
}

#[test]
fn a_req_socket_gets_one_frame_and_can_send_again() {
    let server = Server::start::<&str>(&[]);
    let socket = connect(zmq::REQ, &server.recv_endpoint());
    for request in [&ping()[..], b"not a frame", b"ping|", b"", &ping()] {
        socket.send(request, 0).unwrap();
        assert_eq!(receive(&socket).len(), 1);
    }
}

#[test]
fn a_correlating_req_socket_is_answered() {
    let server = Server::start::<&str>(&[]);
    let socket = connect(zmq::REQ, &server.recv_endpoint());
    socket.set_req_correlate(true).unwrap();
    socket.set_req_relaxed(true).unwrap();
    for _ in 0..3 {
        // The second send gives the first request up, as a client does after a timeout; its reply
        // carries another request's id and is dropped.
        socket.send(ping(), 0).unwrap();
        socket.send(ping(), 0).unwrap();
        assert_eq!(receive(&socket), [b"OK"]);
    }
}

#[test]
fn whatever_stands_before_the_delimiter_comes_back() {
    let server = Server::start::<&str>(&[]);
    let socket = connect(zmq::DEALER, &server.recv_endpoint());
    let ping = ping();
    check(&socket, &[b"", &ping], &[b"", b"OK"]);
    check(&socket, &[b"request 7", b"", &ping], &[b"request 7", b"", b"OK"]);
    let several: [&[u8]; 5] = [b"a", b"bb", &[0xff; 300], b"\x00", b"e"];
    let request = [&several[..], &[b"", &ping]].concat();
    let reply = [&several[..], &[b"", b"OK"]].concat();
    check(&socket, &request, &reply);
    // A refusal travels the same way.
    check(&socket, &[b"request 8", b"", b"not a frame"], &[b"request 8", b"", b""]);
}

#[test]
fn requests_that_are_no_requests_are_refused_with_one_frame() {
    let server = Server::start::<&str>(&[]);
    let socket = connect(zmq::DEALER, &server.recv_endpoint());
    let ping = ping();
    // No delimiter at all: the reply comes behind one, as all do.
    check(&socket, &[&ping], &[b"", b""]);
    check(&socket, &[b"a", b"b", &ping], &[b"", b""]);
    // Nothing behind it.
    check(&socket, &[b""], &[b"", b""]);
    check(&socket, &[b"a", b""], &[b"a", b"", b""]);
    // More than one frame behind it.
    check(&socket, &[b"", &ping, &ping], &[b"", b""]);
    check(&socket, &[b"a", b"", b"", &ping], &[b"a", b"", b""]);
    // The server goes on.
    check(&socket, &[b"", &ping], &[b"", b"OK"]);
}

#[test]
fn an_envelope_without_end_is_refused() {
    let server = Server::start::<&str>(&[]);
    let socket = connect(zmq::DEALER, &server.recv_endpoint());
    let ping = ping();
    let request = |frames: usize| [&vec![&b"frame"[..]; frames][..], &[b"", &ping]].concat();
    // More than an answer repeats: refused behind an empty frame.
    check(&socket, &request(7), &[b"", b""]);
    check(&socket, &[&[7; 2049], b"", &ping], &[b"", b""]);
    check(&socket, &request(62), &[b"", b""]);
    check(&socket, &[b"", &ping], &[b"", b"OK"]);
    // More than the server counts: the connection is closed.
    let mut endless = Raw::connect(server.recv_addr, "DEALER");
    endless.say(&part(b"frame", true).repeat(65));
    endless.wait_for_the_end();
    check(&socket, &[b"", &ping], &[b"", b"OK"]);
}

#[test]
fn pipelined_requests_are_answered_in_order_each_with_its_own_envelope() {
    let server = Server::start::<&str>(&[]);
    let socket = connect(zmq::DEALER, &server.recv_endpoint());
    for n in 0..1000_u32 {
        let id = n.to_string();
        let body = if n % 3 == 0 { b"bad".to_vec() } else { ping() };
        socket.send_multipart([id.as_bytes(), b"", &body], 0).unwrap();
    }
    for n in 0..1000_u32 {
        let expected = if n % 3 == 0 { b"".to_vec() } else { b"OK".to_vec() };
        assert_eq!(receive(&socket), [n.to_string().into_bytes(), Vec::new(), expected]);
    }
}
