//! Clients, runtimes and servers that come and go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::super::fake_server::LONG;
use super::super::subscriptions::{self, server, wait_for};
use super::{client, options};
use crate::client::asynchronous::Client;
use crate::client::waiting::block;
use crate::client::{ConnectionEvent, Filter, ReceiveError, RequestError, SendError};

#[tokio::test]
async fn subscriptions_and_requests_go_on_after_the_server_was_away() {
    let first = server();
    let ports = (first.pub_addr().port(), first.recv_addr().port());
    let (told, events) = crossbeam::channel::unbounded();
    let options = options(&first).connection_retries(100).on_connection(move |event| {
        told.send(matches!(event, ConnectionEvent::Connected)).unwrap();
    });
    let client = options.send_timeout(Duration::from_millis(200)).connect_async().await.unwrap();
    let mut messages = client.subscription("a").await.unwrap();
    let mut jobs = client.subscription_to(Filter::name("b")).group("g").open().await.unwrap();
    client.message("b", "held").ack().send().await.unwrap();
    let held = jobs.recv().await.unwrap();
    first.shutdown().unwrap();
    // It is accepted, and arrives when the server is back.
    let receipt = client.message("a", "meanwhile").publish().await.unwrap();
    let second = subscriptions::builder().pub_port(ports.0).recv_port(ports.1).start().unwrap();
    receipt.await.unwrap();
    assert_eq!(messages.recv().await.unwrap().text(), Some("meanwhile"));
    // Of an earlier connection: it changes nothing, and harms nothing.
    held.ack();
    let asking = client.message("b", "question").request(LONG);
    let answering = async { drop(jobs.recv().await.unwrap().reply("answer").await.unwrap()) };
    let (answer, _) = tokio::join!(asking, answering);
    assert_eq!(answer.unwrap().text(), Some("answer"));
    client.close().await.unwrap();
    let events: Vec<_> = events.try_iter().collect();
    assert!(events.starts_with(&[true, false]) && events.ends_with(&[true]), "{events:?}");
    second.shutdown().unwrap();
}

#[test]
fn whatever_waits_ends_when_the_runtime_goes() {
    let server = server();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let [publisher, reader] = [(); 2].map(|()| runtime.block_on(client(&server)));
    let mut silent = runtime.block_on(reader.subscription("silent")).unwrap();
    let asked = runtime.block_on(reader.subscription("ask")).unwrap();
    // Within the runtime, and on threads that have none, whatever wakes them.
    for n in 0..8 {
        let publisher = publisher.clone();
        runtime.spawn(async move { while publisher.publish("load", [n; 1000]).await.is_ok() {} });
    }
    let published = AtomicU64::new(0);
    thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            loop {
                match block(publisher.publish("load", [0; 1000])) {
                    Ok(_) => published.fetch_add(1, Ordering::Relaxed),
                    Err(error) => break error,
                };
            }
        });
        let sending = scope.spawn(|| {
            loop {
                if let Err(error) = block(publisher.message("load", "x").send()) {
                    break error;
                }
            }
        });
        let flushing = scope.spawn(|| {
            loop {
                if let Err(error) = block(publisher.flush()) {
                    break error;
                }
            }
        });
        let asking = scope.spawn(|| block(reader.message("ask", "x").request(LONG * 100)));
        let reading = scope.spawn(|| block(silent.recv()).unwrap_err());
        wait_for("the load", || publisher.counters().published > 1000);
        wait_for("the thread's own", || published.load(Ordering::Relaxed) > 0);
        wait_for("the request", || reader.counters().published > 0);
        runtime.shutdown_background();
        assert_eq!(publishing.join().unwrap(), SendError::Stopped);
        assert_eq!(sending.join().unwrap(), SendError::Stopped);
        assert_eq!(flushing.join().unwrap(), SendError::Stopped);
        let error = asking.join().unwrap().unwrap_err();
        assert_eq!(error, RequestError::Send(SendError::Stopped));
        assert_eq!(reading.join().unwrap(), ReceiveError::Closed);
    });
    for call in [block(publisher.ping()).map(drop), block(publisher.publish("a", "x")).map(drop)] {
        assert_eq!(call, Err(SendError::Stopped));
    }
    assert!(block(publisher.subscription("a")).is_err());
    let _ = block(publisher.close());
    assert_eq!(publisher.waiting() + reader.waiting(), 0);
    drop(asked);
    wait_for("the end of the connections", || server.metrics().connections == 0);
}

#[test]
fn calls_need_no_runtime_of_their_own() {
    let server = server();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.unwrap();
    let client: Client = runtime.block_on(client(&server));
    let mut messages = block(client.subscription("a")).unwrap();
    block(client.message("a", "x").send()).unwrap();
    assert_eq!(block(messages.recv()).unwrap().text(), Some("x"));
    // The time is over on the client's own runtime.
    let patience = Duration::from_millis(20);
    let error = block(client.message("a", "x").request(patience)).unwrap_err();
    assert_eq!(error, RequestError::TimedOut { name: "a".to_owned(), timeout: patience });
    block(client.close()).unwrap();
}
