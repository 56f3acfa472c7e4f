//! The rules of subscriptions, groups and messages, each once: that they hold is the server's, that they are said is this
//! client's.

use std::time::{Duration, Instant, SystemTime};

use crossbeam::channel::unbounded;
use tokio::time::timeout;

use super::super::fake_server::{FakeServer, LONG, frame};
use super::super::subscriptions::{MOMENT, builder, server};
use super::{client, options};
use crate::client::asynchronous::{Client, Delivery, GroupBuilder, Subscription};
use crate::client::{Failure, Filter, Missed, SendError, SubscribeError};
use crate::limits::DURABLE_GROUPS_MAX;

/// No time for what comes again.
const SHORT: Duration = Duration::from_millis(100);

async fn next(messages: &mut Subscription) -> Delivery {
    timeout(LONG, messages.recv()).await.expect("a message should have come").unwrap()
}

/// Whether nothing comes that must not.
async fn is_silent(messages: &mut Subscription) -> bool {
    timeout(MOMENT, messages.recv()).await.is_err()
}

/// Waits until it is so, while the client works.
async fn until(client: &Client, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            client.ping().await.unwrap();
        }
    };
    timeout(LONG, waiting).await.expect("it should have become so");
}

fn workers(client: &Client) -> GroupBuilder {
    client.subscription_to(Filter::name("jobs")).group("workers")
}

async fn publish_jobs(client: &Client, texts: &[&str]) {
    for text in texts {
        client.message("jobs", *text).ack().send().await.unwrap();
    }
}

#[tokio::test]
async fn an_observer_acknowledges_nothing_and_gets_nothing_again() {
    let server = builder().retry_interval(SHORT).start().unwrap();
    let client = client(&server).await;
    let mut observer = client.subscription_to(Filter::name("a")).observe().open().await.unwrap();
    client.message("a", "x").ack().send().await.unwrap();
    next(&mut observer).await.ack();
    assert!(is_silent(&mut observer).await);
    assert_eq!((server.metrics().pending_messages, client.counters().acknowledged), (1, 0));
}

#[tokio::test]
async fn a_call_that_takes_a_name_rejects_a_pattern() {
    let server = server();
    let client = client(&server).await;
    for text in ["orders.*", "orders.>"] {
        let error = client.subscription(text).await.map(drop).unwrap_err();
        assert_eq!(error, SubscribeError::Pattern { text: text.to_owned() });
    }
    // A name that somebody says to be one.
    let mut literal = client.subscription_to(Filter::name("orders.*")).open().await.unwrap();
    client.publish("orders.new", "to another").await.unwrap();
    client.publish("orders.*", "to this").await.unwrap();
    assert_eq!(next(&mut literal).await.text(), Some("to this"));
}

#[tokio::test]
async fn a_lossy_one_loses_what_does_not_fit_and_is_told() {
    let server = server();
    let (report, missed) = unbounded();
    let told = options(&server).on_missed(move |m: &Missed| report.send(m.messages).unwrap());
    let client = told.connect_async().await.unwrap();
    let lossy = client.subscription_to(Filter::name("a")).lossy().credit(1);
    let mut messages = lossy.open().await.unwrap();
    for n in 0..10 {
        client.message("a", n.to_string()).send().await.unwrap();
    }
    let first = next(&mut messages).await;
    assert_eq!(first.text(), Some("0"));
    assert!(is_silent(&mut messages).await);
    drop(first);
    // Credit comes back some time later.
    let fitting = async {
        while !messages.try_recv().is_ok_and(|message| message.text() == Some("fits")) {
            client.message("a", "fits").send().await.unwrap();
        }
    };
    timeout(LONG, fitting).await.expect("a message should have fitted");
    assert!(missed.try_iter().sum::<u64>() >= 9);
}

#[tokio::test]
async fn a_message_comes_after_its_delay_and_at_its_time() {
    let server = server();
    let client = client(&server).await;
    let mut messages = client.subscription("a").await.unwrap();
    let start = Instant::now();
    client.message("a", "later").deliver_in(MOMENT).send().await.unwrap();
    client.message("a", "then").deliver_at(SystemTime::now() + MOMENT).send().await.unwrap();
    client.message("a", "now").deliver_at(SystemTime::now()).send().await.unwrap();
    let mut texts = Vec::new();
    for _ in 0..3 {
        let message = next(&mut messages).await;
        let text = message.text().unwrap().to_owned();
        // Times of the day are whole milliseconds.
        let early = start.elapsed() + Duration::from_millis(1) < MOMENT;
        assert!(text == "now" || !early, "{text} after {:?}", start.elapsed());
        texts.push(text);
    }
    texts.sort();
    assert_eq!(texts, ["later", "now", "then"]);
}

#[tokio::test]
async fn what_is_published_again_under_a_key_is_published_once() {
    let server = server();
    for _ in 0..3 {
        let publisher = client(&server).await;
        let message = publisher.message("a", "x").ack().idempotency_key("order-17");
        message.send().await.unwrap();
    }
    assert_eq!((server.metrics().pending_messages, server.metrics().duplicates), (1, 2));
}

#[tokio::test]
async fn an_answer_goes_where_it_is_wanted_and_nowhere_else() {
    let server = server();
    let client = client(&server).await;
    let mut answers = client.subscription("answers").await.unwrap();
    let mut questions = client.subscription("questions").await.unwrap();
    client.message("questions", "?").reply_to("answers").send().await.unwrap();
    let question = next(&mut questions).await;
    assert_eq!(question.reply_to(), Some("answers"));
    question.reply("!").await.unwrap().await.unwrap();
    assert_eq!(next(&mut answers).await.text(), Some("!"));
    client.publish("questions", "no question").await.unwrap();
    let refused = next(&mut questions).await.reply("!").await.unwrap_err();
    assert_eq!(refused, SendError::NoReplyWanted);
}

#[tokio::test]
async fn what_is_forwarded_is_what_it_was() {
    let server = server();
    let client = client(&server).await;
    let mut first = client.subscription("a").await.unwrap();
    let mut second = client.subscription("b").await.unwrap();
    let message = client.message("a", "tea").ack().header("shop", "7").reply_to("answers");
    message.content_type("text/plain").send().await.unwrap();
    let tea = next(&mut first).await;
    tea.forward_to("b").await.unwrap().await.unwrap();
    client.forward("b", tea.message()).await.unwrap().await.unwrap();
    tea.ack();
    for _ in 0..2 {
        let tea = next(&mut second).await;
        assert_eq!((tea.text(), tea.header("shop")), (Some("tea"), Some("7")));
        assert_eq!((tea.content_type(), tea.reply_to()), (Some("text/plain"), Some("answers")));
        assert_eq!((tea.requires_ack(), tea.verify()), (true, Some(true)));
        tea.ack();
    }
    until(&client, || server.metrics().pending_messages == 0).await;
}

#[tokio::test]
async fn a_group_waits_longer_after_each_failed_attempt() {
    let server = server();
    let client = client(&server).await;
    let (first, later) = (Duration::from_millis(20), Duration::from_millis(60));
    let mut jobs = workers(&client).backoff(&[first, later]).open().await.unwrap();
    publish_jobs(&client, &["x"]).await;
    let start = Instant::now();
    for attempt in 1..=3 {
        let job = next(&mut jobs).await;
        assert_eq!(job.attempt(), attempt);
        job.nak(Duration::ZERO);
    }
    assert!(start.elapsed() >= first + later, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_member_has_no_more_in_flight_than_it_may() {
    let server = server();
    let client = client(&server).await;
    let mut jobs = workers(&client).in_flight_max(1).open().await.unwrap();
    publish_jobs(&client, &["1", "2"]).await;
    let first = next(&mut jobs).await;
    assert!(is_silent(&mut jobs).await);
    first.ack();
    assert_eq!(next(&mut jobs).await.text(), Some("2"));
}

#[tokio::test]
async fn what_is_dropped_without_a_word_comes_again_when_its_time_is_over() {
    let server = builder().retry_interval(LONG * 10).start().unwrap();
    let client = client(&server).await;
    let mut jobs = workers(&client).ack_wait(SHORT).open().await.unwrap();
    publish_jobs(&client, &["x"]).await;
    drop(next(&mut jobs).await);
    assert_eq!(next(&mut jobs).await.attempt(), 2);
}

#[tokio::test]
async fn what_takes_long_is_extended_and_does_not_come_again() {
    let server = server();
    let client = client(&server).await;
    let mut jobs = workers(&client).ack_wait(MOMENT * 2).open().await.unwrap();
    publish_jobs(&client, &["x"]).await;
    let job = next(&mut jobs).await;
    assert!(timeout(MOMENT * 5, jobs.recv()).await.is_err());
    job.ack();
    until(&client, || server.metrics().pending_messages == 0).await;
}

#[tokio::test]
async fn without_extensions_of_its_own_the_client_says_those_that_it_is_told() {
    let server = server();
    let (report, reported) = unbounded();
    let told = options(&server).on_error(move |failure| report.send(failure.clone()).unwrap());
    let client = told.connect_async().await.unwrap();
    let member = workers(&client).ack_wait(MOMENT).extend_automatically(false);
    let mut jobs = member.open().await.unwrap();
    publish_jobs(&client, &["extended", "left alone"]).await;
    let (extended, left) = (next(&mut jobs).await, next(&mut jobs).await);
    let start = Instant::now();
    let again = loop {
        assert!(start.elapsed() < LONG, "its time should have been over");
        extended.extend();
        if let Ok(job) = timeout(MOMENT / 15, jobs.recv()).await {
            break job.unwrap();
        }
    };
    assert_eq!((again.text(), again.attempt()), (Some("left alone"), 2));
    // It is another attempt's by now.
    left.ack();
    until(&client, || !reported.is_empty()).await;
    assert_eq!(reported.recv(), Ok(Failure::AcksDropped { messages: 1 }));
    assert_eq!(server.metrics().pending_messages, 2);
    extended.ack();
    again.ack();
    until(&client, || server.metrics().pending_messages == 0).await;
    assert!(reported.is_empty());
}

#[tokio::test]
async fn a_checksum_that_does_not_match_keeps_a_message_away_when_asked_to() {
    let server = FakeServer::start();
    let client = server.patient().verify_checksums(true).connect_async().await.unwrap();
    let mut messages = client.subscription("a").await.unwrap();
    let mut damaged = frame("a", 7, &[(1, "damaged", true), (2, "sound", true)]);
    damaged[7] ^= 1;
    server.publish(damaged);
    assert_eq!(next(&mut messages).await.text(), Some("sound"));
}

#[tokio::test]
async fn durable_groups_are_limited_in_number() {
    let server = server();
    let client = client(&server).await;
    let create = |name: String| {
        let group = client.groups().durable(name, Filter::name("jobs"));
        async move { group.create().await }
    };
    let mut creating = tokio::task::JoinSet::new();
    for n in 0..DURABLE_GROUPS_MAX {
        creating.spawn(create(format!("g{n}")));
    }
    while let Some(created) = creating.join_next().await {
        created.unwrap().unwrap();
    }
    let error = create("more".to_owned()).await.unwrap_err();
    assert!(error.to_string().contains("there are 10000 durable groups"), "{error}");
    client.groups().delete("g7").await.unwrap();
    create("more".to_owned()).await.unwrap();
}
