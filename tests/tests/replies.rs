//! What a request that was taken is answered.

use mezzenger::wire::reply::{self, Reply};

use crate::harness::{Native, NativeSubscriber, Python, Server};

#[test]
fn whoever_said_hello_is_told_for_how_many_connections_its_messages_were() {
    let server = Server::start::<&str>(&[]);
    let mut publisher = Native::connect(&server);
    let mut send = |name: &str| {
        let frame = publisher.frame(name, b"payload", false);
        let answer = publisher.request(&frame);
        assert_eq!(answer.len(), 10, "{answer:?}");
        match reply::read(&answer) {
            Some(Reply::Ok { connections, takers }) => (connections, takers),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(send("greet"), (0, 0));
    let _subscribers = [(); 2].map(|()| NativeSubscriber::new(&server, "greet"));
    assert_eq!(send("greet"), (2, 2));
    assert_eq!(send("other"), (0, 0));
    let mut original = Python::connect(&server);
    original.subscribe("greet");
    assert_eq!(send("greet"), (3, 3), "one of them in the other format");
    // The original says no hello, and is answered as ever.
    let sent = original.publish("greet", "'hello'", 0, 2);
    assert_eq!(original.request(&sent.frame), Some(vec![b"OK".to_vec()]));
}

#[test]
fn a_message_that_was_taken_before_is_for_nobody() {
    let server = Server::start::<&str>(&[]);
    let mut publisher = Native::connect(&server);
    let _subscriber = NativeSubscriber::new(&server, "greet");
    let frame = publisher.frame("greet", b"payload", true);
    for connections in [1, 0] {
        let answer = publisher.request(&frame);
        assert_eq!(reply::read(&answer), Some(Reply::Ok { connections, takers: connections }));
    }
    // Nor is an acknowledgement for anybody.
    let id = publisher.last_id();
    let answer = publisher.request(&mezzenger::wire::ack::frame(&[id]));
    assert_eq!(reply::read(&answer), Some(Reply::Ok { connections: 0, takers: 0 }));
}
