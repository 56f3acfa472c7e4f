//! An identity that a peer chooses is never a key: it aborts nothing, keeps nobody out, and is short.

use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::name;

use crate::harness::native::assert_ok;
use crate::harness::raw::{greeting, ready_with, request};
use crate::harness::{Native, Raw, Server, eventually};

const MIB: usize = 1 << 20;

fn ready(identity: &[u8]) -> Vec<u8> {
    ready_with(&[("Socket-Type", b"DEALER"), ("Identity", identity)])
}

/// Connects with an identity.
#[track_caller]
fn connect(server: &Server, identity: &[u8]) -> Raw {
    Raw::try_connect_with(server.recv_addr, &ready(identity)).unwrap()
}

#[track_caller]
fn ping(raw: &mut Raw) {
    raw.say(&request(&v2_prefix(name::PING)));
    assert_ok(&raw.hear().expect("the server hung up"));
}

#[test]
fn one_that_libzmq_would_have_given_to_another_aborts_nothing() {
    let mut server = Server::start::<&str>(&[]);
    // libzmq numbers its peers from 0x6b8b4567 on.
    let mut chosen = connect(&server, b"\x00\x6b\x8b\x45\x68");
    ping(&mut chosen);
    let ordinary = [Native::connect(&server), Native::connect(&server)];
    for client in &ordinary {
        client.ping();
    }
    ping(&mut chosen);
    assert!(server.process.is_running());
}

#[test]
fn a_client_that_reconnects_at_once_is_served_each_time() {
    let server = Server::start::<&str>(&[]);
    for _ in 0..60 {
        ping(&mut connect(&server, b"fixed"));
    }
}

#[test]
fn those_that_share_one_are_all_served_and_leave_no_descriptors() {
    let server = Server::start::<&str>(&[]);
    let descriptors = format!("/proc/{}/fd", server.process.id());
    let count = || std::fs::read_dir(&descriptors).unwrap().count();
    let before = count();
    let mut all: Vec<_> = (0..200).map(|_| connect(&server, b"shared")).collect();
    all.iter_mut().for_each(ping);
    drop(all);
    eventually("the end of their descriptors", || (count() <= before).then_some(()));
}

#[test]
fn those_that_share_one_and_leave_with_much_unread_leave_no_descriptors() {
    const CONNECTIONS: usize = 500;
    const AT_ONCE: usize = 50;
    let server = Server::start::<&str>(&[]);
    // Their end lies behind more requests than a queue holds that is not read while the first one stays.
    let pings = request(&v2_prefix(name::PING)).repeat(2000);
    let mut first = connect(&server, b"shared");
    let descriptors = format!("/proc/{}/fd", server.process.id());
    let count = || std::fs::read_dir(&descriptors).unwrap().count();
    let before = count();
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut raw = connect(&server, b"shared");
        raw.say(&pings);
        open.push(raw);
        if open.len() == AT_ONCE {
            open.swap_remove(fastrand::usize(..AT_ONCE));
        }
    }
    drop(open);
    println!("{before} descriptors before, {} as the last ones leave", count());
    eventually("the end of their descriptors", || (count() <= before).then_some(()));
    ping(&mut first);
}

#[test]
fn up_to_255_bytes_are_taken_and_a_longer_one_is_closed() {
    let server = Server::start::<&str>(&[]);
    ping(&mut connect(&server, &[7; 255]));
    let mut longer = Raw::silent(server.recv_addr).unwrap();
    longer.say(&[greeting(), ready(&[7; 256])].concat());
    longer.wait_for_the_end();
    server.log_line("identity is longer than 255 bytes");
}

/// Checks that a handshake of many megabytes is closed before they take memory.
#[track_caller]
fn check_closed_early(ready: &[u8]) {
    let server = Server::start::<&str>(&[]);
    let client = Native::connect(&server);
    client.ping();
    let before = server.process.memory_bytes();
    for address in [server.recv_addr, server.pub_addr] {
        let mut raw = Raw::silent(address).unwrap();
        // The server may hang up in the middle.
        raw.try_say(&[&greeting()[..], ready].concat());
        raw.wait_for_the_end();
        let grown = server.process.memory_max_bytes() - before;
        assert!(grown < 10 * MIB, "{} MiB", grown / MIB);
    }
    client.ping();
}

#[test]
fn an_identity_of_many_megabytes_is_closed_early() {
    check_closed_early(&ready(&vec![7; 60 * MIB]));
}

#[test]
fn millions_of_properties_are_closed_early() {
    const PROPERTIES: usize = 5_000_000;
    const DIGITS: usize = 7;
    // Each has a name of its own, as a server that keeps them would keep one of each name.
    let names: String = (0..PROPERTIES).map(|n| format!("{n:0DIGITS$}")).collect();
    let mut properties: Vec<_> =
        (0..PROPERTIES).map(|n| (&names[n * DIGITS..][..DIGITS], &b""[..])).collect();
    // A server that reads on until here hangs up as well, and has taken the memory.
    properties.push(("Socket-Type", b"NONE"));
    check_closed_early(&ready_with(&properties));
}
