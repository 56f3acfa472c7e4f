use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::super::fake_server::LONG;
use super::super::subscriptions::server;
use super::{client, options, runtime};
use crate::client::asynchronous::{Client, Delivery};
use crate::client::{
    AdminError, ConnectError, DeadLetterCause, Filter, PayloadError, ReceiveError, RequestError,
    SendError, SubscribeError, TypedPayload, Verdict,
};

#[tokio::test]
async fn what_is_published_arrives_with_all_that_it_says() {
    let server = server();
    let client = client(&server).await;
    let mut messages = client.subscription("a").await.unwrap();
    assert_eq!(messages.try_recv().unwrap_err(), ReceiveError::TimedOut);
    client.publish("a", "x").await.unwrap().await.unwrap();
    client
        .message("a", "tea")
        .ack()
        .header("shop", "7")
        .content_type("text/plain")
        .send()
        .await
        .unwrap();
    client.message("a", vec![7; 300_000]).publish().await.unwrap();
    let plain = messages.recv().await.unwrap();
    assert_eq!((plain.text(), plain.requires_ack()), (Some("x"), false));
    let tea = messages.next().await.unwrap();
    assert_eq!(
        (tea.text(), tea.header("shop"), tea.content_type()),
        (Some("tea"), Some("7"), Some("text/plain"))
    );
    assert_eq!(server.metrics().pending_messages, 1);
    tea.ack();
    assert_eq!(messages.recv().await.unwrap().payload(), &[7; 300_000][..]);
    client.flush().await.unwrap();
    assert!(client.ping().await.unwrap() < LONG);
    while server.metrics().pending_messages > 0 {
        client.ping().await.unwrap();
    }
    client.close().await.unwrap();
    let counters = client.counters();
    assert_eq!((counters.published, counters.received, counters.acknowledged), (3, 3, 1));
}

#[tokio::test]
async fn a_typed_payload_is_read_as_its_type_alone() {
    let server = server();
    let client = client(&server).await;
    let mut messages = client.subscription("a").await.unwrap();
    client.publish_archive("a", &7_u32).await.unwrap().await.unwrap();
    let payload = TypedPayload::new(&7_u32).unwrap();
    client.message("a", payload).ack().header("shop", "7").send().await.unwrap();
    for shop in [None, Some("7")] {
        let message = messages.recv().await.unwrap();
        assert_eq!((message.header("shop"), message.verify()), (shop, Some(true)));
        assert_eq!(*message.archive::<u32>().unwrap(), 7);
        let published = String::from("u32");
        let other = PayloadError::OtherType { published, wanted: "i32" };
        assert_eq!(message.archive::<i32>().unwrap_err(), other);
        message.ack();
    }
}

#[tokio::test]
async fn a_group_keeps_what_expires_and_gets_it_for_good_when_it_is_replayed() {
    let server = server();
    let client = client(&server).await;
    let filter = || Filter::name("jobs");
    client.groups().durable("workers", filter()).keep_expired().create().await.unwrap();
    client.message("jobs", "x").ack().expires_in(Duration::ZERO).send().await.unwrap();
    let letters = client.dead_letters("workers");
    while letters.count().await.unwrap() == 0 {}
    let letter = letters.list(1).await.unwrap().remove(0);
    assert_eq!((letter.cause, letter.reason), (DeadLetterCause::Expired, None));
    assert_eq!(letters.replay_all().await.unwrap(), 1);
    let mut jobs = client.subscription_to(filter()).group("workers").open().await.unwrap();
    assert_eq!(jobs.recv().await.unwrap().text(), Some("x"));
}

#[tokio::test]
async fn a_group_works_by_a_callback_whose_outcome_settles() {
    let server = server();
    let client = client(&server).await;
    let (called, mut calls) = tokio::sync::mpsc::unbounded_channel();
    let delay = Duration::from_millis(1);
    let group = client.subscription_to(Filter::name("jobs")).group("workers").attempts_max(3);
    let asking = client.clone();
    let working = tokio::spawn(group.retry_delay(delay).run(async move |job: &Delivery| {
        asking.ping().await.map_err(|error| error.to_string())?;
        let text = job.text().unwrap_or_default();
        let _ = called.send((text.to_owned(), job.attempt()));
        match (text, job.attempt()) {
            ("later", 1) => Ok(Verdict::Nak(delay)),
            ("bad", _) => Ok(Verdict::Reject("no good".to_owned())),
            ("fails", 1) => Err("not yet".to_owned()),
            _ => Ok(Verdict::Ack),
        }
    }));
    for text in ["good", "later", "bad", "fails"] {
        client.message("jobs", text).ack().send().await.unwrap();
    }
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(timeout(LONG, calls.recv()).await.unwrap().unwrap());
    }
    all.sort();
    let expected =
        [("bad", 1), ("fails", 1), ("fails", 2), ("good", 1), ("later", 1), ("later", 2)];
    assert_eq!(all, expected.map(|(text, attempt)| (text.to_owned(), attempt)));
    let letters = client.dead_letters("workers");
    while server.metrics().pending_messages > 1 || letters.count().await.unwrap() == 0 {}
    assert_eq!(letters.list(1).await.unwrap()[0].reason.as_deref(), Some("no good"));
    assert_eq!(client.counters().callback_failures, 1);
    // Without its future it is no member any more.
    working.abort();
    while client.groups().get("workers").await.unwrap().is_some() {}
    let group = client.subscription_to(Filter::name("jobs")).group("workers");
    let working = tokio::spawn(group.run(async |_: &Delivery| ()));
    while client.groups().get("workers").await.unwrap().is_none() {}
    client.close().await.unwrap();
    assert_eq!(working.await.unwrap(), Err(SubscribeError::Stopped));
}

#[tokio::test]
async fn a_group_gives_back_and_rejects_and_its_dead_letters_are_there() {
    let server = server();
    let client = client(&server).await;
    let group = || client.subscription_to(Filter::name("jobs")).group("workers").attempts_max(2);
    let mut jobs = group().open().await.unwrap();
    let other = client.subscription_to(Filter::name("jobs")).group("workers").attempts_max(3);
    assert!(matches!(other.open().await, Err(SubscribeError::Refused { .. })));
    for text in ["bad", "twice", "good"] {
        client.message("jobs", text).ack().send().await.unwrap();
    }
    let mut done = Vec::new();
    while done.len() < 4 {
        let job = jobs.recv().await.unwrap();
        done.push((job.text().unwrap().to_owned(), job.attempt()));
        match (job.text(), job.attempt()) {
            (Some("bad"), _) => job.reject("no good"),
            (Some("twice"), 1) => job.nak(Duration::ZERO),
            _ => {
                job.extend();
                job.ack();
            }
        }
    }
    done.sort();
    let expected = [("bad", 1), ("good", 1), ("twice", 1), ("twice", 2)];
    assert_eq!(done, expected.map(|(text, attempt)| (text.to_owned(), attempt)));
    let letters = client.dead_letters("workers");
    while letters.count().await.unwrap() == 0 {
        client.ping().await.unwrap();
    }
    let [letter] = &letters.list(10).await.unwrap()[..] else { panic!("not one") };
    assert_eq!((letter.reason.as_deref(), letter.attempts), (Some("no good"), 1));
    let (_, message) = letters.show(letter.id).await.unwrap();
    assert_eq!(message.text(), Some("bad"));
    assert_eq!(letters.replay(&[letter.id]).await.unwrap(), 1);
    let again = jobs.recv().await.unwrap();
    assert_eq!((again.text(), again.attempt()), (Some("bad"), 1));
    again.reject("still");
    while letters.count().await.unwrap() == 0 {
        client.ping().await.unwrap();
    }
    assert_eq!(letters.replay_named("others").await.unwrap(), 0);
    assert_eq!(letters.purge_named("jobs").await.unwrap(), 1);
    assert_eq!(letters.purge_all().await.unwrap(), 0);
    drop(jobs);
    assert!(matches!(letters.show(message.id()).await, Err(AdminError::Refused { .. })));
}

#[tokio::test]
async fn groups_stay_and_last_values_are_there() {
    let server = server();
    let client = client(&server).await;
    let groups = client.groups();
    groups.durable("workers", Filter::name("jobs")).attempts_max(2).create().await.unwrap();
    for _ in 0..3 {
        client.message("jobs", "x").ack().send().await.unwrap();
    }
    let group = groups.get("workers").await.unwrap().unwrap();
    assert_eq!((group.is_durable, group.attempts_max, group.waiting), (true, 2, 3));
    let mut jobs =
        client.subscription_to(Filter::name("jobs")).group("workers").open().await.unwrap();
    jobs.recv().await.unwrap().ack();
    jobs.recv().await.unwrap().ack();
    // What was said of messages is heard, though the client has had no turn since.
    drop(jobs);
    while groups.list().await.unwrap()[0].members > 0 {}
    assert_eq!(groups.get("workers").await.unwrap().unwrap().waiting, 1);
    let refused = groups.delete("workers").await.unwrap_err();
    assert!(refused.to_string().contains("has 1 message that no member settled"), "{refused}");
    groups.delete_with_messages("workers").await.unwrap();
    assert_eq!(groups.list().await.unwrap(), []);
    for price in ["6", "7"] {
        client.message("price.tea", price).retain().send().await.unwrap();
    }
    let prices = client.subscription_to(Filter::prefix("price.")).with_last();
    assert_eq!(prices.open().await.unwrap().recv().await.unwrap().text(), Some("7"));
    let retained = client.retained();
    assert_eq!(retained.list(&Filter::prefix(""), 10).await.unwrap().len(), 1);
    retained.clear("price.tea").await.unwrap();
    assert_eq!(retained.count().await.unwrap(), 0);
}

#[tokio::test]
async fn requests_of_many_tasks_get_their_own_answers() {
    let server = server();
    let [responder, requester] = [client(&server).await, client(&server).await];
    let error = requester.message("double", "1").request(LONG).await.unwrap_err();
    assert_eq!(error, RequestError::NoSubscriber { name: "double".to_owned() });
    let mut requests =
        responder.subscription_to(Filter::name("double")).group("doublers").open().await.unwrap();
    let answering = tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let n: u64 = request.text().unwrap().parse().unwrap();
            request.reply((2 * n).to_string()).await.unwrap();
        }
    });
    let callers: Vec<_> = (0..32_u64)
        .map(|caller| {
            let requester = requester.clone();
            tokio::spawn(async move {
                for n in (caller..320).step_by(32) {
                    let answer = requester.message("double", n.to_string()).request(LONG).await;
                    assert_eq!(answer.unwrap().text(), Some(&*(2 * n).to_string()));
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let mut silent = responder.subscription("silent").await.unwrap();
    let patience = Duration::from_millis(50);
    let error = requester.message("silent", "x").request(patience).await.unwrap_err();
    assert_eq!(error, RequestError::TimedOut { name: "silent".to_owned(), timeout: patience });
    // Its answer comes too late, and the next one gets its own.
    silent.recv().await.unwrap().reply("late").await.unwrap();
    let asking = tokio::spawn({
        let requester = requester.clone();
        async move { requester.message("silent", "y").request(LONG).await }
    });
    silent.recv().await.unwrap().reply("in time").await.unwrap();
    assert_eq!(asking.await.unwrap().unwrap().text(), Some("in time"));
    let failing = requester.message("silent", "z").request(LONG);
    let refused = async { drop(silent.recv().await.unwrap().reply_error("no").await.unwrap()) };
    let (failed, ()) = tokio::join!(failing, refused);
    let reason = "no".to_owned();
    assert_eq!(failed.unwrap_err(), RequestError::Failed { name: "silent".to_owned(), reason });
    drop(responder);
    timeout(LONG, answering).await.unwrap().unwrap();
}

#[tokio::test]
async fn whatever_waits_and_whatever_follows_ends_when_a_client_is_closed() {
    let server = server();
    let client = client(&server).await;
    let mut messages = client.subscription("a").await.unwrap();
    let waiting = tokio::spawn(async move {
        while messages.next().await.is_some() {}
        messages.recv().await.unwrap_err()
    });
    client.publish("a", "x").await.unwrap();
    client.close().await.unwrap();
    assert_eq!(waiting.await.unwrap(), ReceiveError::Closed);
    assert_eq!(client.publish("a", "x").await.unwrap_err(), SendError::Stopped);
    assert_eq!(client.message("a", "x").send().await, Err(SendError::Stopped));
    assert_eq!(client.ping().await.unwrap_err(), SendError::Stopped);
    assert_eq!(client.flush().await, Err(SendError::Stopped));
    assert_eq!(client.subscription("a").await.unwrap_err(), SubscribeError::Stopped);
    let error = client.message("a", "x").request(LONG).await.unwrap_err();
    assert_eq!(error, RequestError::Subscribe(SubscribeError::Stopped));
    let error = client.dead_letters("").count().await.unwrap_err();
    assert_eq!(error, AdminError::Send(SendError::Stopped));
    client.close().await.unwrap();
    assert_eq!(server.metrics().accepted, 1);
}

#[tokio::test]
async fn the_last_handle_takes_nothing_back() {
    let server = server();
    let [first, second] = [client(&server).await, client(&server).await];
    let mut messages = second.subscription("a").await.unwrap();
    for n in 0..1000 {
        first.publish("a", format!("{n}")).await.unwrap();
    }
    let start = Instant::now();
    drop(first);
    assert!(start.elapsed() < Duration::from_secs(1), "it waited");
    for n in 0..1000 {
        assert_eq!(messages.recv().await.unwrap().text(), Some(&*n.to_string()));
    }
}

#[test]
fn a_client_takes_a_runtime_that_can_wait() {
    let server = server();
    let connect = || without_waiting(options(&server).connect_async());
    assert!(matches!(connect(), Err(ConnectError::Runtime { .. })));
    for builder in [
        tokio::runtime::Builder::new_current_thread().enable_io(),
        tokio::runtime::Builder::new_current_thread().enable_time(),
    ] {
        let runtime = builder.build().unwrap();
        let error = runtime.block_on(options(&server).connect_async()).unwrap_err();
        assert!(matches!(error, ConnectError::Runtime { .. }), "{error}");
    }
    let error = runtime().block_on(options(&server).port(1).connect_async()).unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
}

/// What a future is that needs no wait.
fn without_waiting<T>(future: impl Future<Output = T>) -> T {
    match super::poll_once(std::pin::pin!(future)) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

#[tokio::test]
async fn a_host_is_looked_up_without_the_task() {
    let server = server();
    let url = format!("mezzenger://localhost:{}", server.recv_addr().port());
    let client = Client::connect(url).await.unwrap();
    client.ping().await.unwrap();
    let error = Client::builder().server_address("no.such.host.invalid").connect_async().await;
    assert!(matches!(error, Err(ConnectError::NoSuchHost { .. })), "{error:?}");
}
