//! When the store of unacknowledged messages is full, publishers are told, and nothing is dropped.

use mezzenger::wire::reply::ErrorCode;

use crate::harness::native::{assert_ok, assert_refused};
use crate::harness::{Native, NativeSubscriber, Python, Server};

#[test]
fn the_limit_on_messages_refuses_and_accepts_again() {
    let server = Server::start(&["--max-pending-messages", "10", "--retry-interval", "1h"]);
    let mut publisher = Native::connect(&server);
    let ids: Vec<_> = (0..10).map(|_| publisher.publish("task", b"x", true)).collect();
    for _ in 0..3 {
        let frame = publisher.frame("task", b"one too many", true);
        let why = assert_refused(&publisher.request(&frame), ErrorCode::PendingFull);
        assert!(
            why.contains(
                "pending limit reached: 10 of 10 messages unacknowledged; this request adds 1"
            ),
            "{why}"
        );
        assert!(why.contains("--max-pending-messages"), "{why}");
    }
    let mut original = Python::connect(&server);
    let refused = original.publish("task", "'one too many'", 1, 2);
    assert_eq!(refused.reply, Some(vec![Vec::new()]));
    // What need not be kept is taken all the while.
    publisher.publish("task", b"not kept", false);
    original.publish("task", "'not kept'", 0, 2).ok();

    publisher.ack(&ids[3..4]);
    let last = publisher.publish("task", b"there is room again", true);
    let frame = publisher.frame("task", b"one too many", true);
    assert_refused(&publisher.request(&frame), ErrorCode::PendingFull);

    let mut subscriber = NativeSubscriber::new(&server, "task");
    for id in ids.iter().enumerate().filter(|(n, _)| *n != 3).map(|(_, id)| id).chain([&last]) {
        assert_eq!(subscriber.next().id, *id);
    }
}

#[test]
fn the_limit_on_bytes_does_the_same() {
    let server = Server::start(&["--max-pending-bytes", "100kB", "--retry-interval", "1h"]);
    let mut publisher = Native::connect(&server);
    let ids: Vec<_> = (0..9).map(|_| publisher.publish("task", &[7; 10_000], true)).collect();
    let frame = publisher.frame("task", &[7; 10_000], true);
    let why = assert_refused(&publisher.request(&frame), ErrorCode::PendingFull);
    assert!(why.contains("of 100000 bytes"), "{why}");
    // A smaller one still fits.
    publisher.publish("task", &[7; 1000], true);
    publisher.ack(&ids);
    publisher.publish("task", &[7; 10_000], true);
}

#[test]
fn a_frame_is_taken_whole_or_refused_whole() {
    let server = Server::start(&["--max-pending-messages", "10", "--retry-interval", "1h"]);
    let mut publisher = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let frame = publisher.frame_of("task", &[b"x"; 11], true);
    assert_refused(&publisher.request(&frame), ErrorCode::PendingFull);
    let frame = publisher.frame_of("task", &[b"x"; 10], true);
    assert_ok(&publisher.request(&frame));
    for sequence in 12..=21 {
        assert_eq!(subscriber.next().id.sequence, sequence);
    }
}

#[test]
fn a_resent_request_is_ok_although_the_store_is_full() {
    let server = Server::start(&["--max-pending-messages", "1", "--retry-interval", "1h"]);
    let mut publisher = Native::connect(&server);
    let frame = publisher.frame("task", b"x", true);
    for _ in 0..3 {
        assert_ok(&publisher.request(&frame));
    }
}

#[test]
fn the_client_library_reports_it_and_goes_on_when_there_is_room() {
    let server = Server::start(&["--max-pending-messages", "1", "--retry-interval", "1h"]);
    let client = server.client();
    client.message("task", "first").ack().send().unwrap();
    let error = client.message("task", "second").ack().send().unwrap_err();
    assert!(matches!(error, mezzenger::SendError::PendingFull { .. }), "{error:?}");
    let mut subscriber = NativeSubscriber::new(&server, "task");
    Native::connect(&server).ack(&[subscriber.next().id]);
    client.message("task", "second").ack().send().unwrap();
    assert_eq!(subscriber.next().payload, b"second");
}

#[test]
fn sending_it_again_does_not_multiply_what_is_kept() {
    const MESSAGE_BYTES: usize = 1 << 20;
    const MESSAGES: usize = 200;
    let server = Server::start(&["--retry-interval", "1h"]);
    let mut publisher = Native::connect(&server);
    let ids: Vec<_> =
        (0..MESSAGES).map(|_| publisher.publish("large", &[7; MESSAGE_BYTES], true)).collect();
    let kept = server.process.memory_max_bytes();
    let mut subscriber = NativeSubscriber::new(&server, "large");
    for id in &ids {
        assert_eq!(subscriber.next().id, *id);
    }
    // What is on its way is bounded apart from what is kept: `max_unsent_bytes`, one frame more, and the
    // allocator's share.
    let on_its_way = server.process.memory_max_bytes() - kept;
    assert!(on_its_way < 100 << 20, "{} MiB beside {} MiB", on_its_way >> 20, kept >> 20);
    publisher.ack(&ids);
}
