//! Whoever reads a publisher's id and numbers in a delivered message can neither use the numbers up nor
//! publish under the id.

use mezzenger::MessageId;
use mezzenger::wire::checksum;
use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::record::{Encoding, Record};
use mezzenger::wire::reply::ErrorCode;

use crate::harness::native::{assert_ok, assert_refused, connect, receive};
use crate::harness::{Native, NativeSubscriber, Server};

/// Numbers in one forged request, which stays below the 1 MiB that a request of several may have.
const FORGED: u64 = 10_000;
const MESSAGES: u64 = 1000;

/// A request with messages under the numbers that follow one that was seen.
fn forged(seen: MessageId, count: u64, payload: &[u8], ack: bool) -> Vec<u8> {
    let mut frame = v2_prefix("task");
    for sequence in seen.sequence + 1..=seen.sequence + count {
        let record = Record {
            id: MessageId { publisher: seen.publisher, sequence },
            ordinal: 0,
            timestamp_ns: 0,
            checksum: checksum::native("task", payload, 0),
            ack,
            has_properties: false,
            encoding: Encoding::Bytes,
            payload,
        };
        record.append_to(&mut frame).unwrap();
    }
    frame
}

/// What strangers try: one that proved nothing, and one that proved an id of its own.
#[track_caller]
fn check_strangers_are_refused(server: &Server, seen: MessageId) {
    let id = format!("{:016x}", seen.publisher);
    let unproved = connect(zmq::DEALER, &server.recv_endpoint());
    let proved = Native::connect(server);
    // All that the victim may use in a while, or the very next one with a content.
    for frame in [forged(seen, FORGED, b"", false), forged(seen, 1, b"forged", true)] {
        unproved.send_multipart([&b""[..], &frame], 0).unwrap();
        let answer = receive(&unproved);
        assert!(assert_refused(&answer[1], ErrorCode::NotYours).contains(&id));
        assert_refused(&proved.request(&frame), ErrorCode::NotYours);
    }
}

/// Publishes kept messages, and expects each at the subscriber, once and in order.
#[track_caller]
fn check_all_are_delivered(victim: &mut Native, subscriber: &mut NativeSubscriber) {
    let mut ids = Vec::new();
    for n in 0..MESSAGES {
        let frame = victim.frame("task", &n.to_le_bytes(), true);
        victim.send(&frame);
        ids.push(victim.last_id());
    }
    for _ in 0..MESSAGES {
        assert_ok(&victim.reply());
    }
    for (n, &id) in (0..MESSAGES).zip(&ids) {
        let delivery = subscriber.next();
        assert_eq!((delivery.id, &delivery.payload[..]), (id, &n.to_le_bytes()[..]));
    }
    victim.ack(&ids);
}

#[test]
fn strangers_are_refused_and_all_that_their_victim_publishes_is_delivered() {
    let server = Server::start(&["--retry-interval", "1h"]);
    let mut victim = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let mut spy = NativeSubscriber::new(&server, "task");
    let id = victim.publish("task", b"seen by all", true);
    let seen = spy.next().id;
    assert_eq!((seen, subscriber.next().id), (id, id));
    check_strangers_are_refused(&server, seen);
    check_all_are_delivered(&mut victim, &mut subscriber);
    // Nor once the victim connected anew.
    let seen = victim.last_id();
    let mut victim = victim.again(&server);
    check_strangers_are_refused(&server, seen);
    check_all_are_delivered(&mut victim, &mut subscriber);
}

#[test]
fn one_publisher_on_two_connections_is_served_on_both() {
    let server = Server::start(&["--retry-interval", "1h"]);
    let mut old = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let unanswered = old.frame("task", b"sent on both", true);
    let first = old.last_id();
    assert_ok(&old.request(&unanswered));
    // It connected anew, and the server does not know yet that the old connection is gone.
    let mut new = old.again(&server);
    assert_ok(&new.request(&unanswered));
    let mut ids = vec![first];
    for n in 0..100 {
        let frame = new.frame("task", &[n], true);
        let on = if n % 2 == 0 { &old } else { &new };
        assert_ok(&on.request(&frame));
        ids.push(new.last_id());
    }
    drop(old);
    ids.push(new.publish("task", b"the old one is gone", true));
    for id in ids {
        assert_eq!(subscriber.next().id, id);
    }
}
