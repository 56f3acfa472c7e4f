//! Native clients talk to each other.

use mezzenger::wire::record::Encoding as WireEncoding;
use mezzenger::{Encoding, Filter};

use crate::harness::native::assert_ok;
use crate::harness::{Native, NativeSubscriber, PATIENCE, Server};

#[test]
fn bytes_text_and_archives_arrive_as_what_they_are() {
    let server = Server::start::<&str>(&[]);
    let publisher = server.client_options().connect().unwrap();
    let client = server.client();
    let mut subscription = client.subscription("greet").unwrap();

    publisher.message("greet", b"\x00\xff").send().unwrap();
    let message = subscription.recv_timeout(PATIENCE).unwrap();
    assert_eq!((message.encoding(), message.payload()), (Encoding::Bytes, &b"\x00\xff"[..]));
    assert_eq!(message.text(), None);

    publisher.message("greet", "grüß dich").ack().send().unwrap();
    let message = subscription.recv_timeout(PATIENCE).unwrap();
    assert_eq!((message.encoding(), message.text()), (Encoding::Text, Some("grüß dich")));
    assert!(message.requires_ack());
    assert_eq!(message.verify(), Some(true));

    let readings: Vec<(String, u32)> = vec![("a".into(), 1), ("b".into(), 2)];
    publisher.publish_archive("greet", &readings).unwrap().wait().unwrap();
    let message = subscription.recv_timeout(PATIENCE).unwrap();
    let archived = message.archive::<Vec<(String, u32)>>().unwrap();
    assert_eq!(archived.len(), 2);
    assert_eq!((archived[1].0.as_str(), archived[1].1.to_native()), ("b", 2));
}

#[test]
fn what_is_published_in_a_stream_arrives_in_order_and_once() {
    const MESSAGES: usize = 20_000;
    let server = Server::start::<&str>(&[]);
    let client = server.client();
    let mut subscription = client.subscription("count").unwrap();
    let publisher = server.client_options().connect().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..MESSAGES {
                publisher.publish("count", n.to_string()).unwrap();
            }
            publisher.flush().unwrap();
        });
        for n in 0..MESSAGES {
            let message = subscription.recv_timeout(PATIENCE).unwrap();
            assert_eq!(message.text(), Some(n.to_string().as_str()));
        }
    });
    assert_eq!(publisher.counters().published, MESSAGES as u64);
    assert_eq!(client.missed(), 0);
}

#[test]
fn a_frame_reaches_the_subscriber_with_the_bytes_it_left_with() {
    let server = Server::start::<&str>(&[]);
    let subscriber = NativeSubscriber::new(&server, "greet");
    let mut publisher = Native::connect(&server);
    let mut frame = mezzenger::wire::frame::v2_prefix("greet");
    for (encoding, payload) in [
        (WireEncoding::Bytes, &b"\x00"[..]),
        (WireEncoding::Text, b"text"),
        (WireEncoding::Archive, b"what only both ends know"),
        (WireEncoding::Bytes, b""),
    ] {
        publisher.append(&mut frame, "greet", encoding, payload, false);
    }
    assert_ok(&publisher.request(&frame));
    assert_eq!(crate::harness::native::receive(&subscriber.socket), [frame]);
}

#[test]
fn a_prefix_subscription_gets_every_name_that_begins_so() {
    let server = Server::start::<&str>(&[]);
    let client = server.client();
    let mut subscription = client.subscription_to(Filter::prefix("sensor/")).open().unwrap();
    let publisher = server.client();
    for name in ["sensor/1", "other", "sensor/2/x", "sensor"] {
        publisher.message(name, name).send().unwrap();
    }
    publisher.message("sensor/end", "end").send().unwrap();
    for name in ["sensor/1", "sensor/2/x", "sensor/end"] {
        assert_eq!(subscription.recv_timeout(PATIENCE).unwrap().name(), name);
    }
}
