//! When `subscribe` returns, the server has the subscription: nothing published later is missed.

use std::sync::mpsc::channel;

use crate::harness::{Native, NativeSubscriber, PATIENCE, Server};

const TIMES: usize = 200;

#[test]
fn what_is_published_right_after_subscribing_arrives() {
    let server = Server::start::<&str>(&[]);
    let publisher = server.client_options().connect().unwrap();
    let subscriber = server.client();
    for n in 0..TIMES {
        // A new name each time, so that no subscription is live already.
        let name = format!("name {n}");
        let (send, receive) = channel();
        subscriber
            .subscribe(&name, move |payload: &[u8], _: &mezzenger::Message| {
                send.send(payload.to_vec()).map_err(|_| "the test ended")
            })
            .unwrap();
        publisher.message(&name, n.to_string()).send().unwrap();
        assert_eq!(receive.recv_timeout(PATIENCE).unwrap(), n.to_string().as_bytes());
        subscriber.unsubscribe(&name).unwrap();
    }
}

#[test]
fn it_holds_for_new_connections_too() {
    let server = Server::start::<&str>(&[]);
    let publisher = server.client_options().connect().unwrap();
    for n in 0..TIMES / 4 {
        let client = server.client();
        let mut subscription = client.subscription("greet").unwrap();
        publisher.message("greet", n.to_string()).send().unwrap();
        let message = subscription.recv_timeout(PATIENCE).unwrap();
        assert_eq!(message.text(), Some(n.to_string().as_str()));
        client.stop();
    }
}

#[test]
fn it_holds_for_the_wire_format_alone() {
    let server = Server::start::<&str>(&[]);
    let mut publisher = Native::connect(&server);
    for _ in 0..TIMES {
        let mut subscriber = NativeSubscriber::new(&server, "greet");
        let id = publisher.publish("greet", b"hello", false);
        assert_eq!(subscriber.next().id, id);
    }
}

#[test]
fn nothing_arrives_after_unsubscribing() {
    let server = Server::start::<&str>(&[]);
    let client = server.client();
    let (send, receive) = channel();
    for name in ["kept", "dropped"] {
        let send = send.clone();
        client
            .subscribe(name, move |_: &[u8], message: &mezzenger::Message| {
                send.send(message.name().to_owned()).map_err(|_| "the test ended")
            })
            .unwrap();
    }
    client.unsubscribe("dropped").unwrap();
    assert!(matches!(
        client.unsubscribe("dropped"),
        Err(mezzenger::SubscribeError::NotSubscribed { .. })
    ));
    for name in ["dropped", "kept", "dropped", "kept"] {
        client.message(name, b"").send().unwrap();
    }
    for _ in 0..2 {
        assert_eq!(receive.recv_timeout(PATIENCE).unwrap(), "kept");
    }
}

#[test]
fn a_client_finds_its_subscriptions_again_when_the_server_comes_back() {
    let mut server = Server::start::<&str>(&[]);
    let client = server.client();
    let mut subscription = client.subscription("greet").unwrap();
    client.message("greet", "before").send().unwrap();
    assert_eq!(subscription.recv_timeout(PATIENCE).unwrap().text(), Some("before"));
    let (pub_port, recv_port) = (server.pub_addr.port(), server.recv_addr.port());
    server.process.kill();

    let (pub_port, recv_port) = (pub_port.to_string(), recv_port.to_string());
    let mut command = crate::harness::server::command();
    command.args(["--pub-port", &pub_port, "--recv-port", &recv_port]);
    let server = Server::started(&mut command);
    // It waits at the server until the subscription is there again.
    let publisher = server.client_options().connect().unwrap();
    publisher.message("greet", "after").ack().send().unwrap();
    assert_eq!(subscription.recv_timeout(PATIENCE).unwrap().text(), Some("after"));
}
