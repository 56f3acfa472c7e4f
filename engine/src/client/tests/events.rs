//! A client's connection: what becomes of it is told at the time.

use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, unbounded};

use super::fake_server::{FakeServer, LONG, frame};
use crate::client::{ClientBuilder, ConnectionEvent, DisconnectReason};
use crate::limits::CLIENT_OWN_FRAME_BYTES;

fn told(builder: ClientBuilder) -> (ClientBuilder, Receiver<ConnectionEvent>) {
    let (tell, events) = unbounded();
    let builder = builder.on_connection(move |event| tell.send(event.clone()).unwrap());
    (builder, events)
}

fn next(events: &Receiver<ConnectionEvent>) -> ConnectionEvent {
    events.recv_timeout(LONG).expect("an event should have come")
}

fn disconnected() -> ConnectionEvent {
    ConnectionEvent::Disconnected { why: DisconnectReason::Closed }
}

#[test]
fn it_is_told_when_a_connection_is_made_lost_and_made_again() {
    let server = FakeServer::start();
    let port = server.port;
    let (builder, events) = told(server.patient());
    let _client = builder.connect().unwrap();
    assert_eq!(next(&events), ConnectionEvent::Connected);
    drop(server);
    assert_eq!(next(&events), disconnected());
    let _server = FakeServer::start_on(port);
    assert_eq!(next(&events), ConnectionEvent::Connected);
}

#[test]
fn a_callback_that_panics_stops_nothing_and_one_may_use_the_client() {
    let server = FakeServer::start();
    let options = server.patient().on_connection(|_| panic!("at the disco"));
    let client = options.connect().unwrap();
    client.message("a", "x").send().unwrap();
    let mut messages = client.subscription("a").unwrap();
    client.message("a", "y").send().unwrap();
    assert_eq!(messages.recv_timeout(LONG).unwrap().text(), Some("y"));
}

#[test]
fn the_end_of_a_connection_is_told_while_a_callback_is_busy() {
    let server = FakeServer::start();
    let (builder, events) = told(server.patient());
    let client = builder.connect().unwrap();
    let (entered, inside) = unbounded();
    let (leave, may_leave) = unbounded::<()>();
    client
        .subscribe("a", move |_, _| {
            entered.send(()).unwrap();
            let _ = may_leave.recv_timeout(LONG);
        })
        .unwrap();
    assert_eq!(next(&events), ConnectionEvent::Connected);
    server.publish(frame("a", 7, &[(1, "x", false)]));
    inside.recv_timeout(LONG).unwrap();
    assert!(events.is_empty());
    drop(server);
    assert_eq!(next(&events), disconnected());
    drop(leave);
}

#[test]
fn while_the_server_is_away_messages_gather_to_the_bound_of_bytes() {
    let server = FakeServer::start();
    let target = Duration::from_millis(1);
    let (builder, events) = told(server.options().target_delay(target).connection_retries(100));
    let client = builder.connect().unwrap();
    assert_eq!(next(&events), ConnectionEvent::Connected);
    drop(server);
    assert!(matches!(next(&events), ConnectionEvent::Disconnected { .. }));
    let begin = Instant::now();
    for _ in 0..10 {
        client.publish("a", vec![0; CLIENT_OWN_FRAME_BYTES]).unwrap();
        let start = Instant::now();
        while start.elapsed() < target * 2 {
            std::thread::yield_now();
        }
    }
    // Once an attempt to connect failed, nothing waits; patience is 20 s.
    assert!(begin.elapsed() < LONG / 2, "{:?}", client.counters());
    assert_eq!(client.counters().failed, 0);
}
