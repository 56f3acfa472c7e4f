//! A client's connections: what becomes of them is told at the time.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, unbounded};

use super::fake_server::{FakeServer, LONG, frame};
use crate::client::{ClientBuilder, ConnectionEvent, DisconnectReason, Link};
use crate::limits::CLIENT_OWN_FRAME_BYTES;
use crate::net::tests::accept;
use crate::zmtp::frame::Head;

fn told(builder: ClientBuilder) -> (ClientBuilder, Receiver<ConnectionEvent>) {
    let (tell, events) = unbounded();
    let builder = builder.on_connection(move |event| tell.send(event.clone()).unwrap());
    (builder, events)
}

fn next(events: &Receiver<ConnectionEvent>) -> ConnectionEvent {
    events.recv_timeout(LONG).expect("an event should have come")
}

/// The next event of this link.
fn of(events: &Receiver<ConnectionEvent>, link: Link) -> ConnectionEvent {
    loop {
        match next(events) {
            event @ (ConnectionEvent::Connected { link: found }
            | ConnectionEvent::Disconnected { link: found, .. })
                if found == link =>
            {
                return event;
            }
            _ => {}
        }
    }
}

#[test]
fn both_connections_are_told_when_they_are_made_lost_and_made_again() {
    let server = FakeServer::start();
    let ports = (server.send_port, server.sub_port);
    let (builder, events) = told(server.patient());
    let _client = builder.connect().unwrap();
    let mut links = [next(&events), next(&events)];
    links.sort_by_key(|event| matches!(event, ConnectionEvent::Connected { link: Link::Messages }));
    let connected = |link| ConnectionEvent::Connected { link };
    assert_eq!(links, [Link::Requests, Link::Messages].map(connected));
    drop(server);
    let lost: Vec<_> = (0..2).map(|_| next(&events)).collect();
    for link in [Link::Requests, Link::Messages] {
        let why = DisconnectReason::Closed;
        assert!(lost.contains(&ConnectionEvent::Disconnected { link, why }), "{lost:?}");
    }
    let _server = FakeServer::start_on(ports.0, ports.1);
    let again: Vec<_> = (0..2).map(|_| next(&events)).collect();
    for link in [Link::Requests, Link::Messages] {
        assert!(again.contains(&connected(link)), "{again:?}");
    }
}

#[test]
fn a_callback_that_panics_stops_nothing_and_one_may_use_the_client() {
    let server = FakeServer::start();
    let options = server.patient().on_connection(|_| panic!("at the disco"));
    let client = options.connect().unwrap();
    client.send_message("a", "x", false).unwrap();
    let mut messages = client.subscription("a").unwrap();
    client.send_message("a", "y", false).unwrap();
    assert_eq!(messages.recv_timeout(LONG).unwrap().text(), Some("y"));
}

/// A port for messages, which confirms subscriptions.
fn publishing(listener: &TcpListener) -> TcpStream {
    let mut peer = accept(listener, b"XPUB");
    // Two subscriptions: the name's, and the one that is to be confirmed.
    for _ in 0..2 {
        let mut head = [0; 2];
        peer.read_exact(&mut head).unwrap();
        let mut body = vec![0; usize::from(head[1])];
        peer.read_exact(&mut body).unwrap();
        publish(&mut peer, &body[1..]).unwrap();
    }
    peer
}

fn publish(peer: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    Head::message(body.len(), false).append_to(&mut bytes);
    bytes.extend(body);
    peer.write_all(&bytes)
}

/// A client that subscribed to `a` at a server for messages that the test plays.
fn cut_off(
    subscribe: impl FnOnce(&crate::Client),
    frames: usize,
    until: impl FnOnce(),
) -> (crate::Client, Receiver<ConnectionEvent>, (FakeServer, TcpStream)) {
    let server = FakeServer::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (builder, events) = told(server.patient().sub_port(port));
    let peer = std::thread::spawn(move || publishing(&listener));
    let client = builder.connect().unwrap();
    subscribe(&client);
    let mut peer = peer.join().unwrap();
    for ordinal in 1..=frames as u64 {
        publish(&mut peer, &frame("a", 7, &[(ordinal, "x", false)])).unwrap();
    }
    assert_eq!(of(&events, Link::Messages), ConnectionEvent::Connected { link: Link::Messages });
    until();
    assert!(events.try_iter().all(|event| matches!(event, ConnectionEvent::Connected { .. })));
    // Closed as a whole, with something unread, it would take back what the system has not sent.
    peer.shutdown(Shutdown::Write).unwrap();
    (client, events, (server, peer))
}

#[test]
fn a_callback_that_is_busy_is_told_that_its_connection_ended() {
    let (entered, inside) = unbounded();
    let (leave, may_leave) = unbounded::<()>();
    let subscribe = |client: &crate::Client| {
        let callback = move |_: &[u8], _: &_| {
            entered.send(()).unwrap();
            let _ = may_leave.recv_timeout(LONG);
        };
        client.subscribe("a", callback).unwrap();
    };
    let (_client, events, _server) = cut_off(subscribe, 2, || inside.recv_timeout(LONG).unwrap());
    let (link, why) = (Link::Messages, DisconnectReason::Closed);
    assert_eq!(of(&events, link), ConnectionEvent::Disconnected { link, why });
    // It is told once, though the connection's own thread sees it later.
    drop(leave);
    inside.recv_timeout(LONG).unwrap();
}

#[test]
fn while_the_server_is_away_messages_gather_to_the_bound_of_bytes() {
    let server = FakeServer::start();
    let target = Duration::from_millis(1);
    let (builder, events) =
        told(server.options().auto_start(false).target_delay(target).connection_retries(100));
    let client = builder.connect().unwrap();
    let link = Link::Requests;
    assert_eq!(of(&events, link), ConnectionEvent::Connected { link });
    drop(server);
    assert!(matches!(of(&events, link), ConnectionEvent::Disconnected { .. }));
    let begin = Instant::now();
    for _ in 0..10 {
        client.publish("a", vec![0; CLIENT_OWN_FRAME_BYTES], false).unwrap();
        let start = Instant::now();
        while start.elapsed() < target * 2 {
            std::thread::yield_now();
        }
    }
    // Once an attempt to connect failed, nothing waits; patience is 20 s.
    assert!(begin.elapsed() < LONG / 2, "{:?}", client.counters());
    assert_eq!(client.counters().failed, 0);
}
