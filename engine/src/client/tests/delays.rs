use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::fake_server::LONG;
use super::subscriptions::{MOMENT, builder, client, options, server, wait_for};
use crate::client::{ReceiveError, SendError};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn messages_arrive_at_their_time_and_nobody_misses_them_meanwhile() {
    let server = server();
    let missed = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&missed);
    let client = options(&server)
        .on_missed(move |missed| _ = count.fetch_add(missed.messages, Ordering::Relaxed))
        .connect()
        .unwrap();
    let mut messages = client.subscription("a").unwrap();
    let (delay, start) = (Duration::from_millis(500), Instant::now());
    for n in 0..10 {
        client.publish("a", n.to_string()).unwrap();
        client.message("a", "later").ack().deliver_in(delay).publish().unwrap();
        client.message("a", vec![7; 200_000]).deliver_in(delay).publish().unwrap();
        client.message("a", "at once").deliver_at(SystemTime::now()).publish().unwrap();
    }
    client.flush().unwrap();
    let mut counted = Vec::new();
    for _ in 0..40 {
        let message = messages.recv_timeout(LONG).unwrap();
        let is_later = message.text() == Some("later") || message.payload().len() == 200_000;
        let early = Duration::from_millis(1);
        if is_later {
            // Times of the day are whole milliseconds.
            assert!(start.elapsed() >= delay - early);
        }
        if is_later || message.text() == Some("at once") {
            assert_eq!(message.ordinal(), 0);
        } else {
            counted.push((message.text().unwrap().to_owned(), message.ordinal()));
        }
        message.ack();
    }
    let expected: Vec<_> = (0..10).map(|n| (n.to_string(), n + 1)).collect();
    assert_eq!(counted, expected);
    wait_for("the acknowledgements", || server.metrics().pending_messages == 0);
    assert_eq!(missed.load(Ordering::Relaxed), 0);
}

#[test]
fn what_asks_for_acknowledgement_outlives_the_server_and_the_rest_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let server = builder().persist_file(&journal).start().unwrap();
    let publisher = client(&server);
    publisher.message("a", "kept").ack().deliver_in(SHORT).send().unwrap();
    publisher.message("a", "lost").deliver_in(SHORT).send().unwrap();
    let start = Instant::now();
    server.shutdown().unwrap();
    let server = builder().persist_file(&journal).start().unwrap();
    let subscriber = client(&server);
    let mut messages = subscriber.subscription("a").unwrap();
    let message = messages.recv_timeout(LONG).unwrap();
    assert_eq!(message.text(), Some("kept"));
    assert!(start.elapsed() >= SHORT / 2, "{:?}", start.elapsed());
    message.ack();
    assert_eq!(messages.recv_timeout(MOMENT).unwrap_err(), ReceiveError::TimedOut);
}

#[test]
fn one_that_is_too_far_ahead_is_refused_with_the_limit() {
    let server = server();
    let client = client(&server);
    let ten_years = Duration::from_secs(3650 * 24 * 60 * 60);
    client.message("a", "x").deliver_in(ten_years - LONG).send().unwrap();
    let refused = client.message("a", "x").deliver_in(ten_years + LONG).send().unwrap_err();
    let SendError::Malformed { text } = refused else { panic!("{refused:?}") };
    assert!(text.contains("3651 days") && text.contains("at most 3650"), "{text}");
    client.message("a", "x").deliver_in(Duration::MAX).send().unwrap_err();
    let never = client.message("a", "x").expires_in(SHORT).deliver_in(LONG).send();
    assert!(matches!(
        never,
        Err(SendError::Properties(crate::PropertiesError::ExpiresFirst { .. }))
    ));
}
