//! The child of a fork, in which a client of its parent is used.
#![expect(unsafe_code, reason = "what is to run in the child")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::Ordering;

use super::fake_server::{FakeServer, LONG};
use super::subscriptions::{client, server, wait_for};
use crate::client::run::watchdog;
use crate::client::{Client, ReceiveError, RequestError, SendError, SubscribeError};

/// What a child says when all is as it should be.
const RIGHT: i32 = 111;

/// Runs this in the child of a fork, which ends then.
pub(super) fn in_a_child(check: impl Fn() -> bool + Send + Sync + 'static) {
    let mut command = Command::new("/nonexistent");
    let child = move || Err(io::Error::from_raw_os_error(if check() { RIGHT } else { 1 }));
    // SAFETY: the child uses what no other thread of the parent holds a lock of at this time, as the client promises.
    unsafe { command.pre_exec(child) };
    let told = command.spawn().expect_err("the child should have said something");
    assert_eq!(told.raw_os_error(), Some(RIGHT));
}

#[test]
fn a_client_fails_at_once_and_its_parent_notices_nothing() {
    let server = server();
    let parent = client(&server);
    let mut messages = parent.subscription("a").unwrap();
    let receipt = parent.message("a", "1").ack().publish().unwrap();
    receipt.wait().unwrap();
    messages.recv_timeout(LONG).unwrap().ack();
    wait_for("the acknowledgement", || server.metrics().pending_messages == 0);
    let (inherited, port) = (parent.clone(), server.recv_addr().port());
    let mut read = parent.subscription("b").unwrap();
    let reads = std::sync::Mutex::new(parent.subscription("c").unwrap());
    parent.subscribe("d", |_, _| ()).unwrap();
    in_a_child(move || {
        let refused = Err(SendError::Forked);
        let read = reads.lock().unwrap().recv().map(drop);
        let calls = [
            inherited.message("a", "child's").ack().send(),
            inherited.message("a", "child's").ack().publish().map(drop),
            inherited.flush(),
            inherited.ping().map(drop),
            receipt.wait(),
            receipt.clone().wait(),
        ];
        let asked = inherited.message("a", "child's").request(LONG).map(drop);
        let ended = inherited.unsubscribe("d");
        inherited.stop();
        calls.iter().all(|result| *result == refused)
            && inherited.subscribe("a", |_, _| ()) == Err(SubscribeError::Forked)
            && read == Err(ReceiveError::Forked)
            && asked == Err(RequestError::Subscribe(SubscribeError::Forked))
            && ended == Err(SubscribeError::Forked)
            // It can have a client of its own.
            && Client::builder().port(port).connect().is_ok_and(|own| own.message("b", "own").send() == Ok(()))
    });
    assert_eq!(read.recv_timeout(LONG).unwrap().text(), Some("own"));
    for text in ["2", "3"] {
        parent.message("a", text).ack().send().unwrap();
        // The end of the child's own client may have had copies sent.
        let mut own = messages.by_ref().filter(|delivery| !delivery.is_redelivered());
        let delivery = own.next().unwrap();
        assert_eq!(delivery.text(), Some(text));
        delivery.ack();
    }
    wait_for("the acknowledgements", || server.metrics().pending_messages == 0);
    assert_eq!(parent.counters().failed, 0);
}

/// What a parent keeps to make random numbers of is its children's, too.
#[test]
fn children_are_publishers_of_their_own() {
    let server = server();
    let parent = client(&server);
    let mut messages = parent.subscription("a").unwrap();
    let port = server.recv_addr().port();
    for n in 0..3 {
        in_a_child(move || {
            let own = Client::builder().port(port).connect();
            own.is_ok_and(|own| own.message("a", n.to_string()).ack().send() == Ok(()))
        });
    }
    client(&server).message("a", "3").ack().send().unwrap();
    for n in 0..4 {
        assert_eq!(messages.recv_timeout(LONG).unwrap().text(), Some(&*n.to_string()));
    }
}

/// Its locks may be held for ever in the child, by threads that are not there.
#[test]
fn a_child_that_was_forked_while_its_parent_was_busy_has_clients_of_its_own() {
    let server = FakeServer::start();
    server.confirms.store(false, Ordering::Release);
    let parent = server.patient().connect().unwrap();
    let own = super::subscriptions::server();
    let port = own.recv_addr().port();
    std::thread::scope(|scope| {
        // The first request waits for the subscription to answers, which is not confirmed.
        let asking = scope.spawn(|| parent.message("a", "x").request(LONG));
        wait_for("the request", || parent.requests_are_locked());
        let (inherited, lock) = (parent.clone(), watchdog::lock_here());
        in_a_child(move || {
            let asked = inherited.message("a", "child's").request(LONG).map(drop);
            let client = Client::builder().port(port).connect().unwrap();
            let (called, calls) = crossbeam::channel::unbounded();
            client.subscribe("a", move |_, _| called.send(()).unwrap()).unwrap();
            client.message("a", "child's").send().unwrap();
            asked == Err(RequestError::Subscribe(SubscribeError::Forked))
                && calls.recv_timeout(LONG).is_ok()
        });
        drop(lock);
        parent.stop();
        asking.join().unwrap().unwrap_err();
    });
}
