use std::time::Duration;

use super::fake_server::LONG;
use super::subscriptions::{MOMENT, client, server, wait_for};
use crate::client::{DeadLetterCause, Filter, ReceiveError};

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

#[test]
fn what_a_group_keeps_when_it_expires_is_replayed_for_good() {
    let server = server();
    let client = client(&server);
    client.groups().durable("workers", Filter::name("jobs")).keep_expired().create().unwrap();
    assert!(client.groups().get("workers").unwrap().unwrap().keeps_expired);
    client.message("jobs", "x").ack().expires_in(Duration::ZERO).send().unwrap();
    let letters = client.dead_letters("workers");
    wait_for("the letter", || letters.count() == Ok(1));
    assert_eq!(server.metrics().dead_letters_expired, 1);
    let letter = letters.list(9).unwrap().remove(0);
    assert_eq!((letter.cause, letter.attempts), (DeadLetterCause::Expired, 0));
    assert_eq!(letter.reason, None);
    assert_eq!(letters.replay(&[letter.id]).unwrap(), 1);
    // A member that says nothing takes the group's terms, and one that says the same may.
    for keeps in [false, true] {
        let group = client.subscription_to(Filter::name("jobs")).group("workers");
        let mut jobs = if keeps { group.keep_expired().open() } else { group.open() }.unwrap();
        let job = jobs.recv_timeout(LONG).unwrap();
        assert_eq!((job.text(), job.attempt()), (Some("x"), if keeps { 2 } else { 1 }));
        drop(job);
    }
    assert_eq!(server.metrics().expired, 1);
}

#[test]
fn a_group_that_lives_with_its_members_keeps_what_expires_if_they_say_so() {
    let server = server();
    let client = client(&server);
    let group = || client.subscription_to(Filter::name("jobs")).group("workers");
    let _keeping = group().keep_expired().open().unwrap();
    let _following = group().open().unwrap();
    client.message("jobs", "x").ack().expires_in(Duration::ZERO).send().unwrap();
    let letters = client.dead_letters("workers");
    wait_for("the letter", || letters.count() == Ok(1));
}
