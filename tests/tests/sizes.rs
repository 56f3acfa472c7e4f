//! A request over the limit is refused; the limit is `--max-message-size`.

use mezzenger::wire::reply::ErrorCode;

use crate::harness::native::{assert_ok, assert_refused};
use crate::harness::pickles::{Dict, text};
use crate::harness::{Native, NativeSubscriber, PATIENCE, Server, eventually};

const LIMIT: usize = 1 << 20;

fn server() -> Server {
    Server::start(&["--max-message-size", "1MiB"])
}

/// A native frame of exactly this many bytes.
fn native_of(publisher: &mut Native, bytes: usize) -> Vec<u8> {
    let overhead = publisher.frame("large", b"", false).len();
    let frame = publisher.frame("large", &vec![7; bytes - overhead], false);
    assert_eq!(frame.len(), bytes);
    frame
}

/// An original frame of exactly this many bytes.
fn original_of(bytes: usize) -> Vec<u8> {
    let overhead = Dict::message("large", text("")).frame("large").len();
    let frame = Dict::message("large", text(&"x".repeat(bytes - overhead))).frame("large");
    assert_eq!(frame.len(), bytes);
    frame
}

#[test]
fn the_limit_itself_is_taken_and_one_byte_more_is_refused() {
    let server = server();
    let mut client = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "large");
    let frame = native_of(&mut client, LIMIT);
    assert_ok(&client.request(&frame));
    assert_eq!(subscriber.next().id, client.last_id());
    assert_ok(&client.request(&original_of(LIMIT)));
    assert!(subscriber.next().id.is_v1());

    let frame = native_of(&mut client, LIMIT + 1);
    let why = assert_refused(&client.request(&frame), ErrorCode::TooLarge);
    assert!(why.contains("--max-message-size"), "{why}");
    assert_eq!(client.request(&original_of(LIMIT + 1)), b"");
    client.ping();
}

#[test]
fn the_client_library_reports_it() {
    let server = server();
    let client = server.client();
    let error = client.send_message("large", vec![0; LIMIT], false).unwrap_err();
    assert!(matches!(error, mezzenger::SendError::TooLargeForServer { .. }), "{error:?}");
    client.send_message("large", b"small", false).unwrap();
}

#[test]
fn far_beyond_the_limit_the_connection_ends_and_the_server_goes_on() {
    let server = server();
    let mut good = Native::connect(&server);
    let mut bad = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "small");
    bad.send(&vec![b'x'; 16 * LIMIT]);
    let id = good.publish("small", b"served all the while", false);
    assert_eq!(subscriber.next().id, id);
    // The connection is made anew by itself, and what is sent then is answered.
    let frame = bad.frame("small", b"afterwards", false);
    eventually("the new connection", || {
        bad.send(&frame);
        let reply = crate::harness::native::try_receive(&bad.socket, PATIENCE / 60);
        (reply? == [&b""[..], b"OK"]).then_some(())
    });
}

#[test]
fn the_default_limit_takes_tens_of_megabytes() {
    let server = Server::start::<&str>(&[]);
    let mut client = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "large");
    let frame = native_of(&mut client, 64 << 20);
    assert_ok(&client.request(&frame));
    assert_eq!(subscriber.next().payload.len() + 58 + 4 + "\x01large|".len(), 64 << 20);
    let frame = native_of(&mut client, (64 << 20) + 1);
    assert_refused(&client.request(&frame), ErrorCode::TooLarge);
}
