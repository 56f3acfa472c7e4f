//! A native message reaches original subscribers as a pickle that both Pythons load.

use crate::harness::{Native, PATIENCE, Python, Server};

#[track_caller]
fn check(payload: &impl mezzenger::Payload, expected_type: &str, expected_repr: &str) {
    let server = Server::start::<&str>(&[]);
    let mut subscriber = Python::connect(&server);
    subscriber.subscribe("greet");
    let client = server.client_options().connect().unwrap();
    for ack in [false, true] {
        let message = client.message("greet", payload);
        let message = if ack { message.ack() } else { message };
        message.send().unwrap();
        let received = subscriber.receive();
        assert_eq!(received.name, "greet");
        assert_eq!(received.payload_type, expected_type);
        assert_eq!(received.payload, expected_repr);
        assert_eq!(received.ack, i64::from(ack));
        assert_eq!(received.keys, ["ack", "checksum", "name", "payload", "timestamp"]);
        // Equal for bytes only where Python 2 computes it: there str(payload) is the bytes themselves.
        if expected_type == "str" {
            assert_eq!(received.checksum, received.expected_checksum);
        }
        assert_eq!(received.checksum.len(), 32);
        assert!(received.timestamp > 1.7e9, "{}", received.timestamp);
        // Protocol 2: what Python 2 reads, too.
        assert!(received.frame.starts_with(b"greet|\x80\x02"), "{:?}", &received.frame[..10]);
        subscriber.ack(&received.checksum);
    }
}

#[test]
fn headers_are_left_out() {
    let server = Server::start::<&str>(&[]);
    let mut subscriber = Python::connect(&server);
    subscriber.subscribe("greet");
    let client = server.client_options().connect().unwrap();
    client.message("greet", "hello").header("shop", "7").reply_to("answers").send().unwrap();
    let received = subscriber.receive();
    assert_eq!((&*received.payload, &*received.payload_type), ("'hello'", "str"));
    assert_eq!(received.checksum, received.expected_checksum);
}

#[test]
fn text_arrives_as_str() {
    check(&"hello", "str", "'hello'");
    check(&"", "str", "''");
    check(&"grüß dich 🦀", "str", "'grüß dich 🦀'");
}

#[test]
fn bytes_arrive_as_bytes() {
    check(&b"hello", "bytes", "b'hello'");
    check(&b"", "bytes", "b''");
    check(&b"\x00\x7f\x80\xff", "bytes", "b'\\x00\\x7f\\x80\\xff'");
}

#[test]
fn large_payloads_arrive_whole() {
    let server = Server::start::<&str>(&[]);
    let mut subscriber = Python::connect(&server);
    subscriber.subscribe("large");
    let client = server.client();
    client.message("large", "ä".repeat(1 << 19)).send().unwrap();
    let received = subscriber.receive();
    assert_eq!(received.payload.chars().filter(|&c| c == 'ä').count(), 1 << 19);
}

#[test]
fn the_acknowledgement_of_an_original_client_settles_a_native_message() {
    // Long enough that the first copy is acknowledged before a second one could leave, short enough to
    // see that no second one does.
    let server = Server::start(&["--retry-interval", "300ms"]);
    let mut subscriber = Python::connect(&server);
    subscriber.subscribe("task");
    let mut publisher = Native::connect(&server);
    publisher.publish("task", b"first", true);
    let first = subscriber.receive();
    assert_eq!(first.payload, "b'first'");
    subscriber.ack(&first.checksum);
    // Was taken after the first was settled, so that its second copy leaves after any of the first's.
    publisher.publish("task", b"second", true);
    let mut copies = 0;
    while copies < 3 {
        let received = subscriber.try_receive(PATIENCE).0.unwrap();
        // A copy of the first may have left before its acknowledgement came in on a busy machine; after
        // the second's first copy, none may.
        match received.payload.as_str() {
            "b'second'" => copies += 1,
            other => assert_eq!((copies, other), (0, "b'first'")),
        }
    }
}

#[test]
fn every_record_of_a_frame_is_a_message_of_its_own_and_their_order_stays() {
    let server = Server::start::<&str>(&[]);
    let mut subscriber = Python::connect(&server);
    subscriber.subscribe("many");
    let mut publisher = Native::connect(&server);
    let payloads: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let slices: Vec<&[u8]> = payloads.iter().map(String::as_bytes).collect();
    let frame = publisher.frame_of("many", &slices, false);
    crate::harness::native::assert_ok(&publisher.request(&frame));
    for payload in payloads {
        assert_eq!(subscriber.receive().payload, format!("b'{payload}'"));
    }
}
