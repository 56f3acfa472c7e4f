//! A request over the limit is refused; the limit is `--max-message-size`.

use mezzenger::wire::reply::ErrorCode;

use crate::harness::native::{assert_ok, assert_refused};
use crate::harness::pickles::{Dict, text};
use crate::harness::raw::request;
use crate::harness::{Native, NativeSubscriber, Server};

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
    let error = client.message("large", vec![0; LIMIT]).send().unwrap_err();
    assert!(matches!(error, mezzenger::SendError::TooLargeForServer { .. }), "{error:?}");
    client.message("large", b"small").send().unwrap();
}

#[test]
fn far_beyond_the_limit_it_is_refused_on_the_same_connection_with_the_limit_that_was_set() {
    let server = Server::start(&["--max-message-size", "100000"]);
    // By hand: libzmq would hide a connection made anew.
    let mut publisher = Native::connect(&server);
    let mut raw = publisher.raw(&server);
    for bytes in [1_160_000, 16 << 20] {
        raw.say(&request(&publisher.frame("large", &vec![7; bytes], false)));
        let why = assert_refused(&raw.hear().unwrap(), ErrorCode::TooLarge);
        assert!(why.contains(" 100000;"), "{why}");
        raw.say(&request(&original_of(bytes)));
        assert_eq!(raw.hear().unwrap(), b"");
    }
    raw.say(&request(&publisher.frame("large", b"small", false)));
    assert_ok(&raw.hear().unwrap());
    assert!(server.process.memory_max_bytes() < 30 << 20);
    // The log says whose request it was, how large, and what the limit is.
    let peer = raw.stream.local_addr().unwrap().to_string();
    let line = server.log_line("rejected a request");
    assert!(line.contains(&peer) && line.contains("message too large: 1160"), "{line}");
    assert!(line.contains("the server's limit is 100000;"), "{line}");
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
