//! Original clients talk to each other through the server as they did through the original.

use std::time::Duration;

use crate::harness::{Python, Server};

/// Payloads as Python expressions: what a pickle can hold, in every protocol.
const PAYLOADS: &[&str] = &[
    "'hello'",
    "''",
    "'gr\\u00fc\\u00df dich \\U0001f980 \\u4f60\\u597d'",
    "'a|b|c'",
    "b''",
    "bytes(range(256))",
    "bytearray(b'abc')",
    "0",
    "-1",
    "2 ** 31",
    "-2 ** 63",
    "10 ** 40",
    "True",
    "None",
    "1.5",
    "-0.1",
    "float('inf')",
    "3 + 4j",
    "[]",
    "()",
    "{}",
    "[1, ['two', [3.0, [None, [True]]]]]",
    "{'a': {'b': [{'c': (1, 2, (3,))}]}, 5: b'x', (1, 2): 'tuple'}",
    "{1, 2, 3}",
    "frozenset([1])",
    "Point(1, 'two')",
    "[Point(1, 2), {'p': Point(3, 4)}]",
    "shared()",
    "'x' * 70000",
    "list(range(3000))",
    "b'\\xff\\x00' * 1048576",
];

#[test]
fn every_payload_in_every_protocol_arrives_with_the_bytes_it_left_with() {
    // However slow the machine: what is delivered again would be taken for the next.
    let server = Server::start(&["--retry-interval", "600"]);
    let mut publisher = Python::connect(&server);
    let mut subscriber = Python::connect(&server);
    subscriber.subscribe("greet");
    for protocol in 0..=5 {
        for payload in PAYLOADS {
            // Both kinds: ack=1 makes the server check the checksum, where it can, and keep the message.
            for ack in [0, 1] {
                let sent = publisher.publish("greet", payload, ack, protocol).ok();
                let received = subscriber.receive();
                assert!(received.frame == sent.frame, "{payload} in protocol {protocol} changed");
                assert_eq!(received.payload, sent.payload);
                assert_eq!(received.checksum, sent.checksum);
                assert_eq!(received.ack, i64::from(ack));
                assert_eq!(received.keys, ["ack", "checksum", "name", "payload", "timestamp"]);
                if ack == 1 {
                    subscriber.ack(&sent.checksum);
                }
            }
        }
    }
}

#[test]
fn a_subscription_is_a_prefix_and_the_exact_name_decides() {
    let server = Server::start::<&str>(&[]);
    let mut publisher = Python::connect(&server);
    let mut subscriber = Python::connect(&server);
    subscriber.subscribe("greet");
    publisher.publish("greetings", "'for others'", 0, 2).ok();
    publisher.publish("other", "'for others'", 0, 2).ok();
    publisher.publish("greet", "'for us'", 0, 2).ok();
    let (received, dropped) = subscriber.try_receive(Duration::from_secs(60));
    let received = received.unwrap();
    assert_eq!((received.name.as_str(), received.payload.as_str()), ("greet", "'for us'"));
    assert_eq!(dropped, 1, "greetings arrives and is dropped, other does not arrive");
}

#[test]
fn messages_of_one_publisher_arrive_in_order() {
    let server = Server::start::<&str>(&[]);
    let mut publisher = Python::connect(&server);
    let mut subscribers = [Python::connect(&server), Python::connect(&server)];
    for subscriber in &mut subscribers {
        subscriber.subscribe("count");
    }
    for n in 0..100 {
        publisher.publish("count", &n.to_string(), 0, 0).ok();
    }
    for subscriber in &mut subscribers {
        for n in 0..100 {
            assert_eq!(subscriber.receive().payload, n.to_string());
        }
    }
}
