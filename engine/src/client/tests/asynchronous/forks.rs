//! The child of a fork, in which a client of its parent is used whose calls are futures.

use std::pin::pin;
use std::sync::Mutex;
use std::task::Poll;

use super::super::fake_server::LONG;
use super::super::forks::in_a_child;
use super::super::subscriptions::server;
use super::{options, poll_once};
use crate::client::asynchronous::Client;
use crate::client::waiting::block;
use crate::client::{AdminError, Filter, ReceiveError, RequestError, SendError, SubscribeError};

/// What a future is that waits for nobody; in the child nobody does what it would wait for.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match poll_once(pin!(future)) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// How it ends.
fn end<T, E>(future: impl Future<Output = Result<T, E>>) -> Option<Result<(), E>> {
    at_once(future).map(|result| result.map(drop))
}

#[test]
fn futures_of_a_client_fail_at_once_and_its_parent_notices_nothing() {
    let server = server();
    let parent = block(options(&server).connect_on_thread()).unwrap();
    let mut messages = block(parent.subscription("a")).unwrap();
    let unread = block(parent.subscription("b")).unwrap();
    let jobs = || parent.subscription_to(Filter::name("jobs")).group("g");
    let mut jobs = block(jobs().open()).unwrap();
    block(parent.message("jobs", "x").ack().reply_to("a").send()).unwrap();
    let job = block(jobs.recv()).unwrap();
    let receipt = block(parent.publish("other", "x")).unwrap();
    block(receipt.clone()).unwrap();
    let (inherited, port) = (parent.clone(), server.recv_addr().port());
    let held = Mutex::new(Some((unread, job, receipt)));
    in_a_child(move || {
        let (mut unread, job, mut receipt) = held.lock().unwrap().take().unwrap();
        let message = || inherited.message("a", "child's").ack();
        let sent = [
            end(message().send()),
            end(message().publish()),
            end(inherited.publish("a", "child's")),
            end(inherited.flush()),
            end(inherited.ping()),
            end(&mut receipt),
            end(job.reply("child's")),
            end(job.forward_to("a")),
            end(inherited.forward("a", job.message())),
            end(inherited.close()),
        ];
        let asked = end(message().request(LONG));
        let begin = || inherited.subscription_to(Filter::name("a"));
        let opened = [end(begin().open()), end(begin().group("g").open())];
        let read = [end(unread.recv()), Some(unread.try_recv().map(drop))];
        let managed = [
            end(inherited.groups().list()),
            end(inherited.dead_letters("").count()),
            end(inherited.retained().count()),
        ];
        // What is said and dropped here is said by nobody, and ends nothing.
        job.ack();
        drop((unread, receipt));
        let own = async {
            let own = Client::builder().port(port).connect_on_thread().await.ok()?;
            own.message("a", "own").send().await.ok()
        };
        sent.iter().all(|end| *end == Some(Err(SendError::Forked)))
            && asked == Some(Err(RequestError::Subscribe(SubscribeError::Forked)))
            && opened.iter().all(|end| *end == Some(Err(SubscribeError::Forked)))
            && read.iter().all(|end| *end == Some(Err(ReceiveError::Forked)))
            && managed.iter().all(|end| *end == Some(Err(AdminError::Send(SendError::Forked))))
            && block(own).is_some()
    });
    for text in ["own", "2", "3"] {
        if text != "own" {
            block(parent.message("a", text).send()).unwrap();
        }
        assert_eq!(block(messages.recv()).unwrap().text(), Some(text));
    }
    assert_eq!(server.metrics().pending_messages, 1);
    assert_eq!((parent.counters().failed, parent.counters().acknowledged), (0, 0));
}
