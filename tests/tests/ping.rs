//! A ping is answered and goes no further.

use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::name;

use crate::harness::native::assert_ok;
use crate::harness::{Native, NativeSubscriber, Python, Server};

#[test]
fn both_kinds_of_client_are_answered() {
    let server = Server::start::<&str>(&[]);
    let mut original = Python::connect(&server);
    assert_eq!(original.ping(), Some(vec![b"OK".to_vec()]));
    // Whatever stands behind the name.
    assert_eq!(original.request(b"ping|no pickle at all"), Some(vec![b"OK".to_vec()]));
    let native = Native::connect(&server);
    native.ping();
    assert_ok(&native.request(b"\x01ping|anything"));
    let client = server.client();
    client.ping().unwrap();
}

#[test]
fn subscribers_to_everything_do_not_see_it() {
    let server = Server::start::<&str>(&[]);
    let mut original = Python::connect(&server);
    let mut publisher = Native::connect(&server);
    let mut subscriber =
        NativeSubscriber::to_prefixes(&server, &[v2_prefix(name::PING), v2_prefix("after")]);
    publisher.ping();
    original.ping();
    let id = publisher.publish("after", b"", false);
    assert_eq!(subscriber.next().id, id);
}
