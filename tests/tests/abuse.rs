//! Peers that do not speak ZeroMQ, or only half, do not disturb those that do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use mezzenger::wire::frame::v2_prefix;

use crate::harness::native::{connect, receive};
use crate::harness::raw::{announce, greeting, part, ready, subscription};
use crate::harness::{Native, NativeSubscriber, Python, Server};

#[track_caller]
fn assert_serves(server: &mut Server) {
    let mut original = Python::connect(server);
    original.subscribe("afterwards");
    let mut subscriber = NativeSubscriber::new(server, "afterwards");
    let mut publisher = Native::connect(server);
    let id = publisher.publish("afterwards", b"still here", false);
    assert_eq!(subscriber.next().id, id);
    assert_eq!(original.receive().payload, "b'still here'");
    assert!(server.process.is_running());
    assert!(!server.process.stderr().contains("panicked"), "{}", server.process.stderr());
    let memory = server.process.memory_max_bytes();
    assert!(memory < 200 << 20, "{} MiB", memory >> 20);
}

fn both_ports(server: &Server) -> [SocketAddr; 2] {
    [server.pub_addr, server.recv_addr]
}

#[test]
fn garbage_on_either_port() {
    let mut server = Server::start::<&str>(&[]);
    let mut random = fastrand::Rng::with_seed(1);
    for address in both_ports(&server) {
        let mut inputs = vec![
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_vec(),
            vec![0; 100_000],
            vec![0xff; 100_000],
            // A good beginning, then a frame of 2^63 bytes, or a command that is none.
            [&greeting()[..], &[2, 0x80, 0, 0, 0, 0, 0, 0, 0], &[7; 1000]].concat(),
            [&greeting()[..], &[4, 200], &[7; 200]].concat(),
            [&greeting()[..], b"\x04\x05\x05READY", &[0; 5000]].concat(),
        ];
        for _ in 0..50 {
            let len = random.usize(1..20_000);
            inputs.push(std::iter::repeat_with(|| random.u8(..)).take(len).collect());
        }
        for input in inputs {
            let mut stream = TcpStream::connect(address).unwrap();
            // The server may hang up in the middle, and then either call fails.
            let _ = stream.write_all(&input);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    assert_serves(&mut server);
}

#[test]
fn half_open_connections() {
    let mut server = Server::start::<&str>(&[]);
    let mut open = Vec::new();
    for address in both_ports(&server) {
        for said in [0, 1, 10, 11, 63, 64] {
            for _ in 0..30 {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(&greeting()[..said]).unwrap();
                open.push(stream);
            }
        }
    }
    assert_serves(&mut server);
    drop(open);
    assert_serves(&mut server);
}

#[test]
fn requests_that_are_never_finished() {
    let mut server = Server::start::<&str>(&[]);
    let open: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(server.recv_addr).unwrap();
            stream.write_all(&greeting()).unwrap();
            stream.write_all(&ready("REQ")).unwrap();
            // A delimiter, then a frame of a megabyte of which half comes.
            stream.write_all(&[part(b"", true), announce(1 << 20)].concat()).unwrap();
            stream.write_all(&vec![b'x'; 1 << 19]).unwrap();
            stream
        })
        .collect();
    assert_serves(&mut server);
    drop(open);
    assert_serves(&mut server);
}

#[test]
fn many_connections_that_come_and_go() {
    let mut server = Server::start::<&str>(&[]);
    for _ in 0..300 {
        let socket = connect(zmq::DEALER, &server.recv_endpoint());
        socket.send_multipart([&b""[..], &v2_prefix("ping")], 0).unwrap();
        assert_eq!(receive(&socket), [&b""[..], b"OK"]);
        // And gone, some of them with a request unanswered.
        socket.send_multipart([&b""[..], &v2_prefix("ping")], 0).unwrap();
    }
    assert_serves(&mut server);
}

#[test]
fn subscribers_that_send_messages_or_giant_subscriptions() {
    let mut server = Server::start::<&str>(&[]);
    let talker = connect(zmq::XSUB, &server.pub_endpoint());
    for message in [&b"hello"[..], b"", b"\x07", b"\x01", b"\x00never subscribed"] {
        talker.send(message, 0).unwrap();
    }
    // A megabyte, said without a library: libzmq's own subscriber would not survive it.
    let mut giant = TcpStream::connect(server.pub_addr).unwrap();
    for said in [greeting(), ready("SUB"), subscription(&vec![b'x'; 1 << 20])] {
        // The server may hang up in the middle.
        let _ = giant.write_all(&said);
    }
    let many = connect(zmq::SUB, &server.pub_endpoint());
    for n in 0..20_000 {
        many.set_subscribe(format!("name {n}|").as_bytes()).unwrap();
    }
    assert_serves(&mut server);
}
