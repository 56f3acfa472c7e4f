//! An acknowledgement from either side settles a message for both.

use mezzenger::MessageId;
use mezzenger::limits::CLIENT_ACKS_PER_FRAME;
use mezzenger::wire::ack;
use mezzenger::wire::reply::{self, ErrorCode, Reply};

use crate::harness::native::{assert_ok, assert_refused};
use crate::harness::{Native, NativeSubscriber, Python, Server};

/// With one message allowed to wait, another is taken only once it is settled.
const ROOM_FOR_ONE: &[&str] = &["--max-pending-messages", "1", "--retry-interval", "1h"];

#[track_caller]
fn assert_no_room(publisher: &mut Native) {
    let frame = publisher.frame("probe", b"", true);
    assert_refused(&publisher.request(&frame), ErrorCode::PendingFull);
}

#[track_caller]
fn assert_settled(publisher: &mut Native) {
    let id = publisher.publish("probe", b"", true);
    publisher.ack(&[id]);
}

#[test]
fn a_native_acknowledgement_settles_an_original_message() {
    let server = Server::start(ROOM_FOR_ONE);
    let mut original = Python::connect(&server);
    original.subscribe("task");
    let mut native = NativeSubscriber::new(&server, "task");
    let mut requester = Native::connect(&server);
    let sent = original.publish("task", "'do it'", 1, 2).ok();
    assert_eq!(original.receive().checksum, sent.checksum);
    assert_no_room(&mut requester);
    requester.ack(&[native.next().id]);
    assert_settled(&mut requester);
}

#[test]
fn an_original_acknowledgement_settles_a_native_message() {
    let server = Server::start(ROOM_FOR_ONE);
    let mut original = Python::connect(&server);
    original.subscribe("task");
    let mut native = NativeSubscriber::new(&server, "task");
    let mut publisher = Native::connect(&server);
    let id = publisher.publish("task", b"do it", true);
    assert_eq!(native.next().id, id);
    let received = original.receive();
    assert_no_room(&mut publisher);
    original.ack(&received.checksum);
    assert_settled(&mut publisher);
}

#[test]
fn each_side_settles_its_own() {
    let server = Server::start(ROOM_FOR_ONE);
    let mut original = Python::connect(&server);
    original.subscribe("task");
    let mut publisher = Native::connect(&server);
    let sent = original.publish("task", "[1, 2]", 1, 0).ok();
    assert_no_room(&mut publisher);
    original.ack(&sent.checksum);
    assert_settled(&mut publisher);
    let id = publisher.publish("task", b"do it", true);
    assert_no_room(&mut publisher);
    publisher.ack(&[id]);
    assert_settled(&mut publisher);
}

#[test]
fn one_request_acknowledges_many_and_unknown_and_repeated_ones_are_ok() {
    let server = Server::start(&["--max-pending-messages", "100", "--retry-interval", "1h"]);
    let mut publisher = Native::connect(&server);
    let payloads = [&b"x"[..]; 100];
    let frame = publisher.frame_of("many", &payloads, true);
    assert_ok(&publisher.request(&frame));
    assert_no_room(&mut publisher);
    let ids: Vec<_> =
        (1..=100).map(|sequence| MessageId { publisher: publisher.publisher, sequence }).collect();
    let unknown = MessageId { publisher: 77, sequence: 99 };
    assert_ok(&publisher.request(&ack::frame(&[unknown, ids[0], ids[0]])));
    publisher.ack(&ids);
    publisher.ack(&ids);
    assert_settled(&mut publisher);
    let mut original = Python::connect(&server);
    original.ack("00112233445566778899aabbccddeeff");
    original.ack("00112233445566778899aabbccddeeff");
}

#[test]
fn the_client_library_acknowledges_when_the_callback_returned() {
    let server = Server::start(&["--max-pending-messages", "1", "--retry-interval", "100ms"]);
    let client = server.client();
    let (called, calls) = std::sync::mpsc::channel();
    let mut failures = 2;
    client
        .subscribe("task", move |payload: &[u8], _: &mezzenger::Message| {
            called.send(payload.to_vec()).unwrap();
            if failures > 0 {
                failures -= 1;
                return Err("not yet");
            }
            Ok(())
        })
        .unwrap();
    client.message("task", "do it").ack().send().unwrap();
    // Refused twice by the callback, so delivered three times.
    for _ in 0..3 {
        assert_eq!(calls.recv_timeout(crate::harness::PATIENCE).unwrap(), b"do it");
    }
    let mut requester = Native::connect(&server);
    crate::harness::eventually("the acknowledgement", || {
        let frame = requester.frame("probe", b"", true);
        let reply = requester.request(&frame);
        matches!(reply::read(&reply), Some(Reply::Ok { .. })).then_some(())
    });
}

#[test]
fn as_many_as_the_client_library_sends_in_one_request_are_taken_and_more_are_refused() {
    let server = Server::start::<&str>(&[]);
    let requester = Native::connect(&server);
    let ids: Vec<_> = (1..=CLIENT_ACKS_PER_FRAME as u64 + 1)
        .map(|n| MessageId { publisher: 7, sequence: n })
        .collect();
    assert_ok(&requester.request(&ack::frame(&ids[1..])));
    assert_refused(&requester.request(&ack::frame(&ids)), ErrorCode::TooLarge);
    // Four million, which would take everybody's time.
    let many = ids.repeat(4_000_000 / ids.len());
    assert_refused(&requester.request(&ack::frame(&many)), ErrorCode::TooLarge);
}
