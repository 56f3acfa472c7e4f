use std::time::Duration;

use super::fake_server::LONG;
use super::subscriptions::{MOMENT, client, server, wait_for};
use crate::client::{Filter, ReceiveError};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn nobody_gets_a_message_after_its_time_and_the_server_frees_it() {
    let server = server();
    let client = client(&server);
    client.message("a", "short").ack().expires_in(SHORT).send().unwrap();
    client.message("a", "long").ack().expires_in(LONG).header("k", "v").send().unwrap();
    client.message("a", "over").ack().expires_in(Duration::ZERO).send().unwrap();
    // Nobody asks for it.
    wait_for("the end", || server.metrics().expired == 2 && server.metrics().pending_messages == 1);
    let mut messages = client.subscription("a").unwrap();
    let message = messages.recv_timeout(LONG).unwrap();
    assert_eq!((message.text(), message.header("k")), (Some("long"), Some("v")));
    message.ack();
    assert_eq!(messages.recv_timeout(MOMENT).unwrap_err(), ReceiveError::TimedOut);
    // One that does not ask for acknowledgement.
    client.message("a", "over").expires_in(Duration::ZERO).send().unwrap();
    client.message("a", "long").expires_in(LONG).send().unwrap();
    assert_eq!(messages.recv_timeout(LONG).unwrap().text(), Some("long"));
    assert_eq!(server.metrics().expired, 3);
}

#[test]
fn a_job_that_expires_goes_to_no_other_member() {
    let server = server();
    let client = client(&server);
    let group = || client.subscription_to(Filter::prefix("jobs")).group("workers").open().unwrap();
    let mut first = group();
    client.message("jobs.new", "x").ack().expires_in(SHORT).send().unwrap();
    let job = first.recv_timeout(LONG).unwrap();
    let mut second = group();
    wait_for("the end", || server.metrics().expired == 1);
    job.nak(Duration::ZERO);
    drop(first);
    assert_eq!(second.recv_timeout(MOMENT).unwrap_err(), ReceiveError::TimedOut);
    assert_eq!((server.metrics().pending_messages, server.metrics().settled), (0, 0));
}
