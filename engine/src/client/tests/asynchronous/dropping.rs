//! Futures that are dropped, at each point at which they wait.

use std::pin::pin;
use std::time::{Duration, Instant};

use super::super::fake_server::{Answer, FakeServer, LONG};
use super::super::subscriptions::server;
use super::{client, cut, options, poll_once};
use crate::Server;
use crate::client::asynchronous::{Client, Delivery, Subscription};
use crate::client::core::Core;
use crate::client::{Filter, SendError};
use crate::net::waker;
use crate::wire::properties::Properties;
use crate::wire::reply::ErrorCode;

/// Waits until nothing of the client waits and the server has no more subscriptions than these; durable groups count.
pub(super) async fn settled(server: &Server, client: &Client, subscriptions: u64) {
    assert_eq!(client.waiting(), 0, "a dropped future left something");
    let start = Instant::now();
    while server.metrics().subscriptions > subscriptions {
        assert!(start.elapsed() < LONG, "a dropped future left a subscription");
        client.ping().await.unwrap();
    }
    assert_eq!(client.waiting(), 0);
}

/// The next message that is no copy: while subscriptions end, the server may deliver what is not acknowledged yet again.
async fn next_new(messages: &mut Subscription) -> Delivery {
    loop {
        let message = messages.recv().await.unwrap();
        if !message.is_redelivered() {
            return message;
        }
        message.ack();
    }
}

/// Drops what `call` returns at each point at which it waits, until it comes to its end; how often that was.
pub(super) async fn at_each_point<T, F: Future<Output = T>>(
    server: &Server,
    client: &Client,
    mut call: impl FnMut() -> F,
) -> (usize, T) {
    let before = server.metrics().subscriptions;
    let mut dropped = 0;
    loop {
        match cut(dropped + 1, call()).await {
            Some(done) => {
                assert_eq!(client.waiting(), 0);
                return (dropped, done);
            }
            None => settled(server, client, before).await,
        }
        dropped += 1;
        assert!(dropped < 100, "it waits and waits");
    }
}

#[tokio::test]
async fn no_call_leaves_anything_wherever_it_is_dropped() {
    let server = server();
    let client = client(&server).await;
    let mut points = 0;
    let mut count = |(dropped, name): (usize, &str)| {
        assert!(dropped > 0, "{name} never waits");
        points += dropped;
    };
    let (dropped, done) = at_each_point(&server, &client, || client.ping()).await;
    done.unwrap();
    count((dropped, "ping"));
    let open = || client.subscription("a");
    let (dropped, subscription) = at_each_point(&server, &client, open).await;
    let mut messages = subscription.unwrap();
    count((dropped, "open"));
    let open = || client.subscription_to(Filter::name("b")).group("g").open();
    let (dropped, member) = at_each_point(&server, &client, open).await;
    drop(member.unwrap());
    count((dropped, "open of a group"));
    settled(&server, &client, 1).await;
    let count_letters = || async { client.dead_letters("g").count().await };
    let (dropped, letters) = at_each_point(&server, &client, count_letters).await;
    assert_eq!(letters, Ok(0));
    count((dropped, "dead letters"));

    // What was dropped was published all the same.
    let send = || client.message("a", "sent").ack().send();
    let (dropped, done) = at_each_point(&server, &client, send).await;
    done.unwrap();
    for _ in 0..=dropped {
        let message = next_new(&mut messages).await;
        assert_eq!(message.text(), Some("sent"));
        message.ack();
    }
    count((dropped, "send"));
    let publish = || async { client.publish("a", "receipt").await.unwrap().await };
    let (dropped, done) = at_each_point(&server, &client, publish).await;
    done.unwrap();
    for _ in 0..=dropped {
        assert_eq!(next_new(&mut messages).await.text(), Some("receipt"));
    }
    count((dropped, "a receipt"));
    let flush = || async {
        client.publish("other", "x").await.unwrap();
        client.flush().await
    };
    let (dropped, done) = at_each_point(&server, &client, flush).await;
    done.unwrap();
    count((dropped, "flush"));
    assert!(points >= 7);
}

#[tokio::test]
async fn no_call_about_groups_or_retained_messages_leaves_anything_wherever_it_is_dropped() {
    let server = server();
    let client = client(&server).await;
    let filter = || Filter::name("a");
    // What was dropped may be done, and is done again.
    let create = || client.groups().durable("g", filter()).create();
    let (created, done) = at_each_point(&server, &client, create).await;
    done.unwrap();
    let list = || async { client.groups().list().await };
    let (listed, groups) = at_each_point(&server, &client, list).await;
    assert_eq!(groups.unwrap().len(), 1);
    let get = || async { client.groups().get("g").await };
    let (got, group) = at_each_point(&server, &client, get).await;
    assert!(group.unwrap().is_some());
    let delete = || async {
        // The end that was begun last may not be over.
        while client.groups().durable("g", filter()).create().await.is_err() {}
        client.groups().delete("g").await
    };
    let (deleted, done) = at_each_point(&server, &client, delete).await;
    done.unwrap();
    client.message("a", "x").retain().send().await.unwrap();
    let list = || async { client.retained().list(&filter(), 9).await };
    let (kept, values) = at_each_point(&server, &client, list).await;
    assert_eq!(values.unwrap().len(), 1);
    let clear = || async { client.retained().clear("a").await };
    let (cleared, done) = at_each_point(&server, &client, clear).await;
    done.unwrap();
    while server.metrics().retained > 0 {
        client.ping().await.unwrap();
    }
    // Each waits for its answers.
    assert!([created, listed, got, kept, cleared].iter().all(|&points| points > 0));
    assert!(deleted > 1);
}

#[tokio::test]
async fn a_request_that_is_dropped_leaves_its_answer_to_nobody() {
    let server = server();
    let client = client(&server).await;
    let mut requests = client.subscription("ask").await.unwrap();
    let responder = async {
        while let Some(request) = requests.next().await {
            request.reply(request.text().unwrap()).await.unwrap();
        }
    };
    let asking = async {
        let mut dropped = 0;
        // The first ones are dropped while answers are being subscribed to.
        loop {
            let text = dropped.to_string();
            if let Some(answer) =
                cut(dropped + 1, client.message("ask", &*text).request(LONG)).await
            {
                assert_eq!(answer.unwrap().text(), Some(&*text));
                break dropped;
            }
            assert_eq!(client.waiting(), 0);
            dropped += 1;
        }
    };
    let dropped = tokio::select! {
        dropped = asking => dropped,
        () = responder => unreachable!("the subscription ended"),
    };
    assert!(dropped >= 2, "{dropped}");
    settled(&server, &client, 2).await;
}

#[tokio::test]
async fn no_message_is_lost_with_the_future_that_waits_for_it() {
    let server = server();
    let client = client(&server).await;
    let mut messages = client.subscription("a").await.unwrap();
    let mut dropped = 0;
    for n in 0..200 {
        // Two a frame, of which the second one waits in the subscription.
        let expected = n.to_string();
        if n % 2 == 0 {
            assert!(cut(1, messages.recv()).await.is_none());
            client.publish("a", &*expected).await.unwrap();
            client.publish("a", (n + 1).to_string()).await.unwrap();
        }
        let message = loop {
            match cut(1, messages.next()).await {
                Some(message) => break message.unwrap(),
                None => dropped += 1,
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(message.text(), Some(&*expected));
    }
    assert!(dropped >= 100, "{dropped}");
}

#[tokio::test]
async fn a_publish_that_is_dropped_while_it_waits_for_room_is_not_in_at_all() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Hold);
    let client = server.patient().window(1).buffer_bytes(2000).connect_async().await.unwrap();
    let mut taken = Vec::new();
    for n in 0_u8.. {
        let mut publish = pin!(client.publish("a", [n; 900]));
        match poll_once(publish.as_mut()) {
            std::task::Poll::Ready(published) => {
                published.unwrap();
                taken.push(n);
            }
            std::task::Poll::Pending if client.waiting() == 2 => break,
            std::task::Poll::Pending => panic!("it waits for {} things", client.waiting()),
        }
        tokio::task::yield_now().await;
        assert!(n < 20, "nothing holds it back");
    }
    // In the outbox and at the clock.
    assert_eq!(client.waiting(), 0);
    // Others go on meanwhile.
    client.ping().await.unwrap();
    let blocked = tokio::spawn({
        let client = client.clone();
        async move { client.publish("a", [200; 900]).await.map(drop) }
    });
    client.ping().await.unwrap();
    assert!(!blocked.is_finished());
    server.answer(|_| Answer::Ok);
    server.release();
    blocked.await.unwrap().unwrap();
    client.flush().await.unwrap();
    taken.push(200);
    let mut seen = Vec::new();
    while seen.len() < taken.len() {
        seen.extend(server.next().payloads().iter().map(|payload| payload[0]));
    }
    assert_eq!(seen, taken);
    assert!(server.requests.is_empty());
    assert!(client.counters().blocked >= 2);
}

#[test]
fn a_publish_without_room_fails_after_its_patience() {
    let patience = Duration::from_millis(50);
    let options = Client::builder().send_timeout(patience).connection_retries(1);
    let (waker, _wakes) = waker::for_task();
    // Nobody does its turns, so that there is no room. Its clock goes.
    let (core, _requester) = Core::for_task(&options.buffer_bytes(2000).options, waker).unwrap();
    let publish = || {
        let payload = [0; 900];
        core.publisher().publish_in_task("a", payload, Properties::default(), false, true)
    };
    let error = loop {
        let mut publish = pin!(publish());
        let published = loop {
            match poll_once(publish.as_mut()) {
                std::task::Poll::Ready(published) => break published,
                std::task::Poll::Pending => core.publisher().clock.wake(Instant::now()),
            }
        };
        if let Err(error) = published {
            break error;
        }
    };
    assert!(matches!(error, SendError::Full { waited } if waited >= patience), "{error}");
    assert_eq!(core.waiting(), 0);
}

#[tokio::test]
async fn an_error_that_nobody_waits_for_any_more_is_told_by_the_next_flush() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Refuse(ErrorCode::PendingFull));
    let client = server.patient().connect_async().await.unwrap();
    assert!(cut(1, client.message("a", "x").send()).await.is_none());
    // The flush that is dropped leaves it there.
    assert!(cut(1, client.flush()).await.is_none());
    assert!(matches!(client.flush().await, Err(SendError::PendingFull { .. })));
    client.flush().await.unwrap();
    // Who waits is told alone.
    assert!(client.message("a", "x").send().await.is_err());
    client.flush().await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_dropped_while_it_connects_is_gone() {
    let server = server();
    let mut dropped = 0;
    let client = loop {
        if let Some(client) = cut(dropped + 1, options(&server).connect_async()).await {
            break client.unwrap();
        }
        dropped += 1;
    };
    assert!(dropped > 0);
    while server.metrics().connections != 1 {
        client.ping().await.unwrap();
    }
    // So is one that is dropped while it closes, and the one that follows finds it closed.
    assert!(cut(1, client.close()).await.is_none());
    client.close().await.unwrap();
}
