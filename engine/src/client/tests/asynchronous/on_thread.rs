//! The client that a thread of its own drives: no runtime, and the same promises.

use std::thread;
use std::time::{Duration, Instant};

use super::super::subscriptions::{server, wait_for};
use super::options;
use crate::client::waiting::{block, block_until};
use crate::client::{ConnectError, Filter, ReceiveError, RequestError, SendError};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(30);

#[test]
fn everything_works_without_a_runtime() {
    let server = server();
    block(async {
        let client = options(&server).connect_on_thread().await.unwrap();
        let mut messages = client.subscription("a").await.unwrap();
        client.publish("a", "1").await.unwrap().await.unwrap();
        assert_eq!(messages.recv().await.unwrap().text(), Some("1"));
        let mut jobs = client.subscription_to(Filter::name("b")).group("g").open().await.unwrap();
        client.message("b", "2").ack().send().await.unwrap();
        jobs.recv().await.unwrap().ack();
        client.ping().await.unwrap();
        assert_eq!(client.groups().list().await.unwrap().len(), 1);
        let nobody = client.message("nobody", "?").request(LONG).await.unwrap_err();
        assert!(matches!(nobody, RequestError::NoSubscriber { .. }), "{nobody:?}");
        client.close().await.unwrap();
        assert!(matches!(messages.recv().await, Err(ReceiveError::Closed)));
        assert_eq!(client.publish("a", "3").await.unwrap_err(), SendError::Stopped);
    });
    // The acknowledgement left before the end.
    wait_for("its acknowledgement", || server.metrics().pending_messages == 0);
}

#[test]
fn times_pass_while_nothing_else_happens() {
    let server = server();
    let client = block(options(&server).connect_on_thread()).unwrap();
    let mut silent = block(client.subscription("ask")).unwrap();
    // Answered by nobody: what ends the wait is the clock, which the thread looks at.
    let (start, timeout) = (Instant::now(), Duration::from_millis(50));
    let end = start.checked_add(LONG);
    let answer = block_until(end, client.message("ask", "?").request(timeout)).expect("no end");
    assert!(matches!(answer, Err(RequestError::TimedOut { .. })), "{answer:?}");
    assert!(start.elapsed() >= timeout);
    assert_eq!(block(silent.recv()).unwrap().text(), Some("?"));
}

#[test]
fn a_server_that_is_not_there_is_an_error_and_leaves_no_thread() {
    let server = server();
    let error = block(options(&server).port(1).connect_on_thread()).unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
}

#[test]
fn what_waits_on_other_threads_ends_when_the_client_is_closed() {
    let server = server();
    let client = block(options(&server).connect_on_thread()).unwrap();
    let mut messages = block(client.subscription("a")).unwrap();
    let reading = thread::spawn(move || block(messages.recv()).unwrap_err());
    block(client.close()).unwrap();
    assert_eq!(reading.join().unwrap(), ReceiveError::Closed);
    // Closing again waits for the same end.
    block(client.close()).unwrap();
}

#[test]
fn what_an_original_client_would_send_arrives_and_is_done_when_it_is_acknowledged() {
    let server = server();
    block(async {
        let client = options(&server).connect_on_thread().await.unwrap();
        let mut messages = client.subscription("a").await.unwrap();
        // {'name': 'a', 'payload': 'x', 'ack': 1, 'timestamp': 1.0, 'checksum': …}, in protocol 0.
        let checksum = "521b15b8952674dbfa1d707e2946e8cc";
        let pickle = format!(
            "(dVname\nVa\nsVpayload\nVx\nsVack\nI1\nsVtimestamp\nF1.0\nsVchecksum\nV{checksum}\ns."
        );
        client.send_original("a", pickle.as_bytes()).await.unwrap();
        let message = messages.recv().await.unwrap();
        assert_eq!((message.payload(), message.requires_ack()), (pickle.as_bytes(), true));
        message.ack();
        let wrong = client.send_original("a", b"no pickle").await.unwrap_err();
        assert!(matches!(wrong, SendError::Malformed { .. }), "{wrong:?}");
        let wrong = client.send_original("a|b", pickle.as_bytes()).await.unwrap_err();
        assert!(matches!(wrong, SendError::Name(_)), "{wrong:?}");
    });
    wait_for("its acknowledgement", || server.metrics().pending_messages == 0);
}
