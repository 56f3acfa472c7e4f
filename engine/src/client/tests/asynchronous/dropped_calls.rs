//! Futures that do more than one thing, or wait for room, dropped at each point at which they wait.

use std::pin::pin;
use std::time::Instant;

use tokio::time::timeout;

use super::super::fake_server::{Answer, FakeServer, LONG};
use super::super::subscriptions::server;
use super::dropping::{at_each_point, settled};
use super::{client, cut, options, poll_once};
use crate::client::asynchronous::Delivery;
use crate::client::{AdminError, Filter, SendError};

fn jobs() -> Filter {
    Filter::name("jobs")
}

#[tokio::test]
async fn a_member_that_is_dropped_anywhere_leaves_its_group_and_its_jobs_to_others() {
    const JOBS: u64 = 4;
    let server = server();
    let client = client(&server).await;
    for _ in 0..JOBS {
        client.message("jobs", "x").ack().send().await.unwrap();
    }
    let (mut dropped, mut called) = (0, 0);
    while server.metrics().pending_messages > 0 {
        let work = async |_: &Delivery| {
            called += 1;
            client.ping().await.unwrap();
        };
        let working = client.subscription_to(jobs()).group("workers").run(work);
        let all_done = async {
            while server.metrics().pending_messages > 0 {
                client.ping().await.unwrap();
            }
        };
        tokio::select! {
            ended = cut(dropped + 1, working) => assert!(ended.is_none(), "{ended:?}"),
            done = timeout(LONG, all_done) => done.expect("the jobs should have been done"),
        }
        settled(&server, &client, 0).await;
        dropped += 1;
        assert!(dropped < 100, "it waits and waits");
    }
    assert!(dropped > 2, "{dropped}");
    // Some of them again, after the future of an earlier call was dropped.
    assert!(called > JOBS, "{called}");
}

#[tokio::test]
async fn dead_letters_are_none_the_worse_for_calls_that_are_dropped() {
    let server = server();
    let client = client(&server).await;
    client.groups().durable("g", jobs()).create().await.unwrap();
    let mut member = client.subscription_to(jobs()).group("g").open().await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..4 {
        client.message("jobs", "x").ack().send().await.unwrap();
        let job = member.recv().await.unwrap();
        ids.push(job.id());
        job.reject("no");
    }
    drop(member);
    let letters = client.dead_letters("g");
    while letters.count().await.unwrap() < 4 || server.metrics().subscriptions > 1 {}

    let (listed, found) = at_each_point(&server, &client, || letters.list(9)).await;
    assert_eq!(found.unwrap().len(), 4);
    let (shown, found) = at_each_point(&server, &client, || letters.show(ids[3])).await;
    assert_eq!(found.unwrap().0.id, ids[3]);
    // What was dropped may be done: then there is none any more.
    let is_done = |done| matches!(done, Ok(1) | Err(AdminError::Refused { .. }));
    let (purged, done) = at_each_point(&server, &client, || letters.purge(&ids[..1])).await;
    assert!(is_done(done));
    let purge = || letters.purge_named("other");
    let (purged_named, done) = at_each_point(&server, &client, purge).await;
    assert_eq!(done, Ok(0));
    let (replayed, done) = at_each_point(&server, &client, || letters.replay(&ids[1..2])).await;
    assert!(is_done(done));
    let replay = || letters.replay_named("jobs");
    let (replayed_named, done) = at_each_point(&server, &client, replay).await;
    done.unwrap();
    let (replayed_all, done) = at_each_point(&server, &client, || letters.replay_all()).await;
    assert_eq!(done, Ok(0));
    let (purged_all, done) = at_each_point(&server, &client, || letters.purge_all()).await;
    assert_eq!(done, Ok(0));

    let each =
        [listed, shown, purged, purged_named, replayed, replayed_named, replayed_all, purged_all];
    assert!(each.iter().all(|&points| points > 0), "{each:?}");
    // Each that was not purged is its group's again, and once.
    let group = client.groups().get("g").await.unwrap().unwrap();
    assert_eq!((group.waiting, group.dead_letters), (3, 0));
    let delete = || async {
        // The end that was begun last may not be over.
        while client.groups().durable("g", jobs()).create().await.is_err() {}
        client.groups().delete_with_messages("g").await
    };
    let (deleted, done) = at_each_point(&server, &client, delete).await;
    done.unwrap();
    assert!(deleted > 1, "{deleted}");
    let retained = client.retained();
    let (counted, count) = at_each_point(&server, &client, || retained.count()).await;
    assert_eq!(count, Ok(0));
    assert!(counted > 0);
}

#[tokio::test]
async fn an_original_message_that_is_dropped_on_its_way_is_sent_all_the_same() {
    let server = server();
    let client = client(&server).await;
    let mut messages = client.subscription("a").await.unwrap();
    // {'name': 'a', 'payload': 'x', 'ack': 0, 'timestamp': 1.0, 'checksum': …}, in protocol 0.
    let checksum = "521b15b8952674dbfa1d707e2946e8cc";
    let pickle = format!(
        "(dVname\nVa\nsVpayload\nVx\nsVack\nI0\nsVtimestamp\nF1.0\nsVchecksum\nV{checksum}\ns."
    );
    let send = || client.send_original("a", pickle.as_bytes());
    let (dropped, done) = at_each_point(&server, &client, send).await;
    done.unwrap();
    assert!(dropped > 0);
    for _ in 0..=dropped {
        assert_eq!(messages.recv().await.unwrap().payload(), pickle.as_bytes());
    }
}

#[tokio::test]
async fn whatever_is_dropped_while_it_waits_for_room_is_not_in_at_all() {
    let server = FakeServer::start();
    let client = server.patient().window(1).buffer_bytes(2000).connect_async().await.unwrap();
    let (large, text) = ([7; 900], "x".repeat(900));
    let mut questions = client.subscription("ask").await.unwrap();
    let asking = client.message("ask", large).ack().request(LONG);
    let answering = async {
        let question = questions.recv().await.unwrap();
        question.reply("").await.unwrap();
        question
    };
    let (answer, question) = tokio::join!(asking, answering);
    answer.unwrap();
    client.flush().await.unwrap();
    assert_eq!(server.requests.try_iter().count(), 2);
    server.answer(|_| Answer::Hold);
    let mut taken = 0;
    while poll_once(pin!(client.publish("fill", large))).is_ready() {
        taken += 1;
        tokio::task::yield_now().await;
        assert!(taken < 20, "nothing holds it back");
    }
    // The server has what it holds.
    client.ping().await.unwrap();
    let lost = || client.message("lost", large);
    macro_rules! check_waits {
        ($call:expr) => {{
            let name = stringify!($call);
            assert!(poll_once(pin!($call)).is_pending(), "{name} does not wait");
            assert_eq!(client.waiting(), 0, "{name} left something");
        }};
    }
    check_waits!(question.reply(large));
    check_waits!(question.forward_to("lost"));
    check_waits!(client.forward("lost", question.message()));
    check_waits!(client.publish_archive("lost", &text));
    check_waits!(lost().publish());
    check_waits!(lost().send());
    check_waits!(lost().request(LONG));
    server.answer(|_| Answer::Ok);
    server.release();
    client.flush().await.unwrap();
    let mut names: Vec<_> = server.requests.try_iter().map(|request| request.name).collect();
    names.dedup();
    assert_eq!(names, ["fill"]);
}

#[tokio::test]
async fn a_client_on_a_thread_that_is_dropped_while_it_connects_is_gone() {
    let server = server();
    let mut dropped = 0;
    let client = loop {
        if let Some(client) = cut(dropped + 1, options(&server).connect_on_thread()).await {
            break client.unwrap();
        }
        dropped += 1;
        assert!(dropped < 100, "it waits and waits");
    };
    assert!(dropped > 0);
    let start = Instant::now();
    while server.metrics().connections != 1 {
        assert!(start.elapsed() < LONG, "a dropped future left a connection");
        client.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_client_closes_wherever_the_future_that_closes_it_is_dropped() {
    let server = server();
    let reader = client(&server).await;
    let mut messages = reader.subscription("a").await.unwrap();
    let mut dropped = 0;
    loop {
        let client = client(&server).await;
        let kept = client.subscription("b").await.unwrap();
        let receipt = client.publish("a", dropped.to_string()).await.unwrap();
        let closed = cut(dropped + 1, client.close()).await;
        assert_eq!(client.publish("a", "x").await.unwrap_err(), SendError::Stopped);
        // Whoever closes it again waits for the same end.
        client.close().await.unwrap();
        receipt.await.unwrap();
        assert_eq!(client.waiting(), 0);
        assert_eq!(messages.recv().await.unwrap().text(), Some(&*dropped.to_string()));
        drop(kept);
        if let Some(closed) = closed {
            closed.unwrap();
            break;
        }
        dropped += 1;
        assert!(dropped < 100, "it waits and waits");
    }
    assert!(dropped > 0);
    settled(&server, &reader, 1).await;
}
