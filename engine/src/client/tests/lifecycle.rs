use std::time::{Duration, Instant};

use crossbeam::channel::{Sender, unbounded};

use super::fake_server::{Answer, FakeServer, LONG, frame};
use crate::client::{Client, ConnectError, Failure, ReceiveError, SendError, SubscribeError};

const TIMEOUT: Duration = Duration::from_millis(200);
/// What `stop` promises, for this timeout.
const STOP_BOUND: Duration = Duration::from_millis(3 * 200 + 1000);

#[test]
fn options_that_cannot_work_are_refused() {
    let refused = |builder: crate::ClientBuilder, name| {
        let Err(ConnectError::Option { option, .. }) = builder.connect() else { panic!("{name}") };
        assert_eq!(option, name);
    };
    refused(Client::builder().send_timeout(Duration::ZERO), "send_timeout");
    refused(Client::builder().send_timeout(Duration::MAX), "send_timeout");
    refused(Client::builder().target_delay(Duration::ZERO), "target_delay");
    refused(Client::builder().target_delay(Duration::MAX), "target_delay");
    refused(Client::builder().connection_retries(0), "connection_retries");
    refused(Client::builder().window(0), "window");
    refused(Client::builder().callback_threads(0), "callback_threads");
    refused(Client::builder().server_address(""), "server_address");
}

#[test]
fn stop_sends_what_waits_and_is_idempotent() {
    let server = FakeServer::start();
    let client = server.patient().connect().unwrap();
    let receipts: Vec<_> = (0..500).map(|n| client.publish("a", n.to_string()).unwrap()).collect();
    client.stop();
    client.stop();
    assert!(receipts.iter().all(|receipt| receipt.is_done() && receipt.wait() == Ok(())));
    assert_eq!(client.publish("a", "late").unwrap_err(), SendError::Stopped);
    assert_eq!(client.message("a", "late").send(), Err(SendError::Stopped));
    assert_eq!(client.subscribe("a", |_, _| ()), Err(SubscribeError::Stopped));
    assert_eq!(client.ping().unwrap_err(), SendError::Stopped);
    client.flush().unwrap();
}

#[test]
fn stop_is_bounded_while_the_server_is_away() {
    let server = FakeServer::start();
    let client = server.options().connection_retries(1000).connect().unwrap();
    let mut messages = client.subscription("a").unwrap();
    drop(server);
    let receipts = ["a", "b"].map(|name| client.message(name, "x").ack().publish().unwrap());
    let waiting = client.clone();
    let waiter = std::thread::spawn(move || waiting.flush());
    let start = Instant::now();
    client.stop();
    assert!(start.elapsed() < STOP_BOUND, "{:?}", start.elapsed());
    for receipt in receipts {
        assert_eq!(receipt.wait(), Err(SendError::Stopped));
    }
    assert_eq!(messages.recv().unwrap_err(), ReceiveError::Closed);
    // Whoever flushes first is told.
    let flushed = [waiter.join().unwrap(), client.flush()];
    assert!(flushed.contains(&Err(SendError::Stopped)), "{flushed:?}");
}

#[test]
fn what_never_left_is_counted_and_reported_when_the_client_stops() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Silence);
    let (report, reported) = unbounded();
    let builder = server.options().connection_retries(1000).window(1);
    let client =
        builder.on_error(move |failure| report.send(failure.clone()).unwrap()).connect().unwrap();
    client.publish("a", "on its way").unwrap();
    server.next();
    for _ in 0..9 {
        client.publish("a", "waits").unwrap();
    }
    client.stop();
    assert_eq!(client.counters().failed, 10);
    let messages = reported.try_iter().map(|failure| match failure {
        Failure::Publish { messages, error: SendError::Stopped, .. } => messages,
        other => panic!("{other}"),
    });
    assert_eq!(messages.sum::<usize>(), 10);
}

#[test]
fn acknowledgements_that_never_left_are_counted_when_the_client_stops() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Silence);
    let client = server.options().connection_retries(1000).connect().unwrap();
    let mut messages = client.subscription("a").unwrap();
    server.publish(frame("a", 7, &[(1, "x", true), (2, "x", true), (3, "x", true)]));
    messages.recv_timeout(LONG).unwrap().ack();
    assert_eq!(server.next().acked().len(), 1);
    messages.recv_timeout(LONG).unwrap().ack();
    let last = messages.recv_timeout(LONG).unwrap();
    client.stop();
    assert_eq!(client.counters().acks_dropped, 2);
    last.ack();
    assert_eq!(client.counters().acks_dropped, 3);
}

#[test]
fn a_callback_may_stop_its_client() {
    let server = FakeServer::start();
    let client = server.patient().connect().unwrap();
    let (sender, stopped) = unbounded();
    let inside = client.clone();
    client
        .subscribe("a", move |_, _| {
            inside.stop();
            sender.send(()).unwrap();
        })
        .unwrap();
    // The callback's handle is the last one: the client ends on its own thread.
    drop(client);
    server.publish(frame("a", 7, &[(1, "x", false)]));
    stopped.recv_timeout(LONG).unwrap();
    // The callback's end drops the sender.
    assert!(stopped.recv_timeout(LONG).is_err_and(|error| error.is_disconnected()));
}

#[test]
fn a_callback_that_hangs_does_not_hang_stop() {
    let server = FakeServer::start();
    let client = server.options().connect().unwrap();
    let (entered, inside) = unbounded();
    let (leave, may_leave) = unbounded::<()>();
    client
        .subscribe("a", move |_, _| {
            entered.send(()).unwrap();
            may_leave.recv_timeout(LONG).unwrap();
        })
        .unwrap();
    server.publish(frame("a", 7, &[(1, "x", false), (2, "not delivered", false)]));
    inside.recv_timeout(LONG).unwrap();
    let start = Instant::now();
    client.stop();
    assert!(start.elapsed() < STOP_BOUND, "{:?}", start.elapsed());
    leave.send(()).unwrap();
    // It ends without delivering the rest, and drops the callback.
    assert!(inside.recv_timeout(LONG).is_err_and(|error| error.is_disconnected()));
}

/// A client with a callback that hangs until something is sent.
fn hanging(builder: crate::ClientBuilder, server: &FakeServer) -> (Client, Sender<()>) {
    let client = builder.connect().unwrap();
    let (entered, inside) = unbounded();
    let (leave, may_leave) = unbounded::<()>();
    client
        .subscribe("hangs", move |_, _| {
            entered.send(()).unwrap();
            may_leave.recv_timeout(LONG).unwrap();
        })
        .unwrap();
    server.publish(frame("hangs", 7, &[(1, "x", false)]));
    inside.recv_timeout(LONG).unwrap();
    (client, leave)
}

#[test]
fn an_end_that_waits_for_a_hanging_callback_has_a_bound_and_leaves_nothing_behind() {
    let server = FakeServer::start();
    let (client, leave) = hanging(server.options(), &server);
    let error = client.unsubscribe("hangs").unwrap_err();
    assert_eq!(error, SubscribeError::NotConfirmed { tries: 3, timeout: TIMEOUT });
    // It has ended all the same; what it captured goes with the last call.
    assert!(matches!(client.unsubscribe("hangs"), Err(SubscribeError::NotSubscribed { .. })));
    assert!(leave.send(()).is_ok());
    let deadline = Instant::now() + LONG;
    while leave.send(()).is_ok() {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn dropping_the_last_handle_ends_the_threads() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Hold);
    let client = server.options().connect().unwrap();
    let (kept, dropped) = unbounded::<()>();
    client.subscribe("a", move |_, _| drop(kept.clone())).unwrap();
    let receipt = client.publish("a", "x").unwrap();
    let start = Instant::now();
    drop(client);
    assert!(start.elapsed() < STOP_BOUND, "{:?}", start.elapsed());
    assert!(dropped.try_recv().is_err_and(|error| error.is_disconnected()));
    assert_eq!(receipt.wait(), Err(SendError::Stopped));
}

#[test]
fn a_server_that_comes_back_finds_the_client_and_its_subscriptions() {
    let first = FakeServer::start();
    let client = first.options().connection_retries(100).connect().unwrap();
    let mut messages = client.subscription("a").unwrap();
    let port = first.port;
    drop(first);
    let receipt = client.publish("b", "while away").unwrap();
    let second = FakeServer::start_on(port);
    assert_eq!(receipt.wait_timeout(LONG), Some(Ok(())));
    assert_eq!(second.next().name, "b");
    // The subscription comes back by itself; a further one is behind it.
    client.subscribe("c", |_, _| ()).unwrap();
    second.publish(frame("a", 7, &[(1, "back", false)]));
    assert_eq!(messages.recv_timeout(LONG).unwrap().text(), Some("back"));
}
