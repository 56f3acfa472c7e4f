use std::time::Duration;

use super::fake_server::LONG;
use super::subscriptions::{builder, client, wait_for};
use crate::client::SendError;
use crate::wire::properties::PropertiesError;

#[test]
fn a_publisher_that_starts_anew_publishes_nothing_twice_also_after_the_server_was_started_anew() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let server = builder().persist_file(&journal).start().unwrap();
    for _ in 0..3 {
        let publisher = client(&server);
        publisher.message("a", "x").ack().idempotency_key("order-17").send().unwrap();
    }
    assert_eq!((server.metrics().pending_messages, server.metrics().duplicates), (1, 2));
    let subscriber = client(&server);
    let mut messages = subscriber.subscription("a").unwrap();
    let message = messages.recv_timeout(LONG).unwrap();
    assert_eq!((message.text(), message.ordinal()), (Some("x"), 0));
    message.ack();
    wait_for("the acknowledgement", || server.metrics().pending_messages == 0);
    drop(messages);
    server.shutdown().unwrap();
    let server = builder().persist_file(&journal).start().unwrap();
    let publisher = client(&server);
    publisher.message("a", "x").ack().idempotency_key("order-17").send().unwrap();
    assert_eq!((server.metrics().pending_messages, server.metrics().duplicates), (0, 1));
    publisher.message("a", "x").ack().idempotency_key("order-18").send().unwrap();
    assert_eq!(server.metrics().pending_messages, 1);
}

#[test]
fn the_window_is_the_servers_and_a_key_has_its_bounds() {
    let window = Duration::from_millis(200);
    let server = builder().idempotency_window(window).start().unwrap();
    let client = client(&server);
    client.message("a", "x").ack().idempotency_key("k").send().unwrap();
    wait_for("another one", || {
        client.message("a", "x").ack().idempotency_key("k").send().unwrap();
        server.metrics().pending_messages == 2
    });
    for key in [String::new(), "k".repeat(256)] {
        let refused = client.message("a", "x").idempotency_key(&key).send();
        let bytes = key.len();
        assert_eq!(refused, Err(SendError::Properties(PropertiesError::Key { bytes })));
    }
}
