//! A record that is sent again is answered OK and not published twice.

use mezzenger::wire::frame::v2_prefix;

use crate::harness::native::assert_ok;
use crate::harness::{Native, NativeSubscriber, Python, Server};

#[track_caller]
fn check(ack: bool) {
    // Without resending, so that each copy that arrives was published.
    let server = Server::start(&["--retry-interval", "1h"]);
    let mut publisher = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let mut expected = Vec::new();
    for _ in 0..20 {
        let frame = publisher.frame_of("task", &[b"one", b"two"], ack);
        for _ in 0..3 {
            assert_ok(&publisher.request(&frame));
        }
        let last = publisher.last_id();
        expected.extend([last.sequence - 1, last.sequence]);
    }
    publisher.publish("task", b"the end", false);
    expected.push(publisher.last_id().sequence);
    let received: Vec<_> = expected.iter().map(|_| subscriber.next().id.sequence).collect();
    assert_eq!(received, expected);
}

#[test]
fn kept_messages() {
    check(true);
}

#[test]
fn messages_that_are_not_kept() {
    check(false);
}

#[test]
fn from_another_connection() {
    let server = Server::start(&["--retry-interval", "1h"]);
    let mut publisher = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let frame = publisher.frame("task", b"once", true);
    assert_ok(&publisher.request(&frame));
    assert_ok(&publisher.again(&server).request(&frame));
    assert_eq!(subscriber.next().payload, b"once");
    publisher.publish("task", b"the end", false);
    assert_eq!(subscriber.next().payload, b"the end");
}

#[test]
fn what_is_new_in_a_frame_of_old_ones_is_published() {
    let server = Server::start(&["--retry-interval", "1h"]);
    let mut publisher = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let prefix = v2_prefix("task");
    let parts = [b"a", b"b", b"c", b"d"]
        .map(|payload| publisher.frame("task", payload, true).split_off(prefix.len()));
    let of = |from: usize, to: usize| [&prefix[..], &parts[from..to].concat()].concat();
    assert_ok(&publisher.request(&of(1, 2)));
    assert_ok(&publisher.request(&of(0, 4)));
    assert_ok(&publisher.request(&of(0, 4)));
    publisher.publish("task", b"the end", false);
    let received: Vec<_> = (0..5).map(|_| subscriber.next().payload).collect();
    assert_eq!(received, [&b"b"[..], b"a", b"c", b"d", b"the end"]);
}

#[test]
fn after_a_restart_with_a_journal() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let mut server = Server::start_with_journal(&journal, &["--retry-interval", "1h"]);
    let mut publisher = Native::connect(&server);
    let settled = publisher.frame("task", b"settled", true);
    assert_ok(&publisher.request(&settled));
    publisher.ack(&[publisher.last_id()]);
    // Stored behind the settlement, so that its OK says that both are.
    let waiting = publisher.frame_of("task", &[b"waiting"; 3], true);
    assert_ok(&publisher.request(&waiting));
    server.process.kill();

    let server = Server::start_with_journal(&journal, &["--retry-interval", "1h"]);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    // What waits comes once, from the journal.
    for _ in 0..3 {
        assert_eq!(subscriber.next().payload, b"waiting");
    }
    let requester = publisher.again(&server);
    assert_ok(&requester.request(&waiting));
    assert_ok(&requester.request(&settled));
    let mut publisher = Native::connect(&server);
    publisher.publish("task", b"the end", false);
    assert_eq!(subscriber.next().payload, b"the end");
}

#[test]
fn an_original_message_that_waits_is_recognised_by_its_checksum() {
    let server = Server::start(&["--retry-interval", "1h"]);
    let mut client = Python::connect(&server);
    client.subscribe("task");
    let sent = client.publish("task", "'once'", 1, 2).ok();
    assert_eq!(client.request(&sent.frame), Some(vec![b"OK".to_vec()]));
    client.publish("task", "'the end'", 0, 2).ok();
    assert_eq!(client.receive().payload, "'once'");
    assert_eq!(client.receive().payload, "'the end'");
}
