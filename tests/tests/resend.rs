//! What nobody acknowledged is sent again, also to whoever arrives later.

use crate::harness::{Native, NativeSubscriber, Python, Server};

const QUICK: &[&str] = &["--retry-interval", "50ms"];

#[test]
fn a_native_message_comes_again_until_it_is_acknowledged() {
    let server = Server::start(QUICK);
    let mut publisher = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let first = publisher.publish("task", b"first", true);
    for _ in 0..4 {
        let delivery = subscriber.next();
        assert_eq!((delivery.id, delivery.payload.as_slice()), (first, &b"first"[..]));
    }
    publisher.ack(&[first]);
    // The second was taken after the first was settled: behind its first copy there is no copy of the
    // first.
    let second = publisher.publish("task", b"second", true);
    let ids = std::iter::repeat_with(|| subscriber.next().id);
    let behind: Vec<_> = ids.skip_while(|&id| id == first).take(4).collect();
    assert_eq!(behind, [second; 4]);
}

#[test]
fn an_original_message_comes_again_with_the_same_bytes() {
    let server = Server::start(QUICK);
    let mut client = Python::connect(&server);
    client.subscribe("task");
    let sent = client.publish("task", "{'do': 'it'}", 1, 4).ok();
    for _ in 0..4 {
        assert_eq!(client.receive().frame, sent.frame);
    }
}

#[test]
fn a_message_without_acknowledgement_comes_once() {
    let server = Server::start(QUICK);
    let mut publisher = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let once = publisher.publish("task", b"once", false);
    let again = publisher.publish("task", b"again", true);
    let seen: Vec<_> = std::iter::repeat_with(|| subscriber.next().id).take(5).collect();
    assert_eq!(seen, [once, again, again, again, again]);
}

#[test]
fn a_subscriber_that_arrives_later_gets_what_waits() {
    // No timer comes into it: the subscription itself releases the messages.
    let server = Server::start(&["--retry-interval", "1h"]);
    let mut publisher = Native::connect(&server);
    let native = publisher.publish("native", b"for a native subscriber", true);
    let other = publisher.publish("original", b"for an original subscriber", true);
    publisher.publish("native", b"not kept", false);
    let mut subscriber = NativeSubscriber::new(&server, "native");
    assert_eq!(subscriber.next().id, native);
    let mut original = Python::connect(&server);
    original.subscribe("original");
    assert_eq!(original.receive().payload, "b'for an original subscriber'");
    let sent = original.publish("another", "'hello'", 1, 3).ok();
    let mut everything = NativeSubscriber::to_prefixes(&server, &[b"\x01".to_vec()]);
    let delivery = everything.next();
    assert_eq!((delivery.name.as_str(), delivery.id.is_v1()), ("another", true));
    publisher.ack(&[other, native]);
    original.ack(&sent.checksum);
}

#[test]
fn a_subscriber_that_joins_others_gets_what_they_left() {
    let server = Server::start(QUICK);
    let mut publisher = Native::connect(&server);
    let mut first = NativeSubscriber::new(&server, "task");
    let id = publisher.publish("task", b"anyone", true);
    assert_eq!(first.next().id, id);
    let mut second = NativeSubscriber::new(&server, "task");
    assert_eq!(second.next().id, id);
    publisher.ack(&[id]);
}

#[test]
fn waiting_messages_leave_in_the_order_they_came() {
    let server = Server::start(&["--retry-interval", "1h"]);
    let mut publisher = Native::connect(&server);
    let sent: Vec<_> =
        (0..500_u32).map(|n| publisher.publish("queue", &n.to_le_bytes(), true)).collect();
    let mut subscriber = NativeSubscriber::new(&server, "queue");
    let received: Vec<_> = sent.iter().map(|_| subscriber.next().id).collect();
    assert_eq!(received, sent);
}

/// An hour: no timer comes into it.
const NEVER: &[&str] = &["--retry-interval", "1h"];

#[test]
fn what_a_subscriber_that_vanished_left_is_offered_at_once_to_those_who_came_after_it() {
    let server = Server::start(NEVER);
    let mut publisher = Native::connect(&server);
    let mut gone = NativeSubscriber::new(&server, "task");
    let first = publisher.publish("task", b"first", true);
    assert_eq!(gone.next().id, first);
    let mut left = NativeSubscriber::new(&server, "task");
    let second = publisher.publish("task", b"second", true);
    assert_eq!(left.next().id, second);
    drop(gone);
    assert_eq!(left.next().id, first);
}

#[test]
fn what_the_last_subscriber_left_when_it_vanished_is_offered_to_the_next_one() {
    let server = Server::start(NEVER);
    let mut publisher = Native::connect(&server);
    let mut gone = NativeSubscriber::new(&server, "task");
    let id = publisher.publish("task", b"payload", true);
    assert_eq!(gone.next().id, id);
    drop(gone);
    assert_eq!(NativeSubscriber::new(&server, "task").next().id, id);
}
