//! An original client's message reaches native subscribers: the whole dict, untouched.

use std::time::{Duration, SystemTime};

use mezzenger::{Checksum, Encoding};

use crate::harness::{NativeSubscriber, PATIENCE, Python, Server};

#[test]
fn the_dict_is_the_payload_in_every_protocol() {
    let server = Server::start::<&str>(&[]);
    let mut publisher = Python::connect(&server);
    let client = server.client();
    let mut subscription = client.subscription("greet").unwrap();
    for protocol in 0..=5 {
        for payload in ["'hello'", "b'\\x00\\xff'", "{'nested': [1, None]}"] {
            let before = SystemTime::now();
            let sent = publisher.publish("greet", payload, 0, protocol).ok();
            let message = subscription.recv_timeout(PATIENCE).unwrap();
            let dict = sent.frame.strip_prefix(b"greet|").unwrap();
            assert_eq!(message.name(), "greet");
            assert_eq!(message.encoding(), Encoding::Pickle);
            assert_eq!(message.payload(), dict);
            assert!(!message.requires_ack());
            // The dict's clock is a float of seconds, good to less than a microsecond.
            let slack = Duration::from_millis(1);
            assert!(message.timestamp() + slack >= before, "{:?}", message.timestamp());
            assert!(message.timestamp() <= SystemTime::now() + slack);
        }
    }
}

#[test]
fn the_record_carries_an_id_made_from_the_checksum_and_a_checksum_of_its_own() {
    let server = Server::start::<&str>(&[]);
    let mut publisher = Python::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "greet");
    let sent = publisher.publish("greet", "'hello'", 1, 2).ok();
    let delivery = subscriber.next();
    let checksum: Checksum = mezzenger::wire::checksum::from_hex(sent.checksum.as_bytes()).unwrap();
    assert_eq!(delivery.id, mezzenger::MessageId::from_v1_checksum(checksum));
    assert!(delivery.id.is_v1());
    assert!(delivery.ack);
    assert_eq!(delivery.encoding, Encoding::Pickle);
}

#[test]
fn a_native_subscription_is_for_exactly_one_name() {
    let server = Server::start::<&str>(&[]);
    let mut publisher = Python::connect(&server);
    let client = server.client();
    let mut subscription = client.subscription("greet").unwrap();
    publisher.publish("greetings", "'for others'", 0, 2).ok();
    let sent = publisher.publish("greet", "'for us'", 0, 2).ok();
    let message = subscription.recv_timeout(PATIENCE).unwrap();
    assert_eq!(message.name(), "greet");
    assert!(sent.frame.ends_with(message.payload()));
}
