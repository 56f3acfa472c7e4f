use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam::channel::unbounded;

use super::fake_server::{FakeServer, LONG, frame};
use crate::client::{
    AdminError, Client, ClientBuilder, ConnectError, Failure, Filter, Missed, ReceiveError,
    RequestError, SendError, SubscribeError, Subscription,
};
use crate::wire::filter::FilterError;
use crate::wire::name::NameError;
use crate::{Server, ServerBuilder};

/// As long as nothing may come that must not.
pub(super) const MOMENT: Duration = Duration::from_millis(300);

pub(super) fn builder() -> ServerBuilder {
    Server::builder().pub_port(0).recv_port(0)
}

pub(in crate::client) fn server() -> Server {
    builder().start().unwrap()
}

pub(super) fn options(server: &Server) -> ClientBuilder {
    Client::builder().port(server.recv_addr().port())
}

pub(in crate::client) fn client(server: &Server) -> Client {
    options(server).connect().unwrap()
}

#[track_caller]
pub(super) fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_there() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_published_after_it_was_opened_arrives_and_is_done_when_it_is_acknowledged() {
    let server = server();
    let client = client(&server);
    let mut messages = client.subscription("a").unwrap();
    assert_eq!(messages.try_recv().unwrap_err(), ReceiveError::TimedOut);
    client.message("a", "x").ack().send().unwrap();
    client.message("b", "of another name").ack().send().unwrap();
    client.message("a", "y").send().unwrap();
    let first = messages.recv_timeout(LONG).unwrap();
    assert_eq!((first.name(), first.text(), first.attempt()), ("a", Some("x"), 0));
    assert!(first.requires_ack() && !first.is_redelivered());
    let kept = first.message().clone();
    let second = messages.next().unwrap();
    assert_eq!((second.text(), second.requires_ack()), (Some("y"), false));
    // Reading on acknowledges nothing.
    client.ping().unwrap();
    assert_eq!(server.metrics().pending_messages, 2);
    first.ack();
    second.ack();
    wait_for("the acknowledgement", || server.metrics().pending_messages == 1);
    wait_for("its answer", || client.counters().acknowledged == 1);
    assert_eq!(kept.text(), Some("x"));
}

#[test]
fn each_kind_of_filter_gets_what_fits() {
    let server = server();
    let client = client(&server);
    let mut prefix = client.subscription_to(Filter::prefix("or")).open().unwrap();
    let mut pattern = client.subscription_to(Filter::pattern("orders.*.paid")).open().unwrap();
    for name in ["orders.1.paid", "orders.1.sent", "bill.1.paid", "order", "orders.2.paid"] {
        client.message(name, name).send().unwrap();
    }
    for name in ["orders.1.paid", "orders.1.sent", "order", "orders.2.paid"] {
        assert_eq!(prefix.recv_timeout(LONG).unwrap().name(), name);
    }
    for name in ["orders.1.paid", "orders.2.paid"] {
        assert_eq!(pattern.recv_timeout(LONG).unwrap().name(), name);
    }
    assert_eq!(pattern.try_recv().unwrap_err(), ReceiveError::TimedOut);
}

#[test]
fn an_observer_acknowledges_nothing_and_gets_nothing_again() {
    let server = builder().retry_interval(Duration::from_millis(50)).start().unwrap();
    let client = client(&server);
    let mut observer = client.subscription_to(Filter::name("a")).observe().open().unwrap();
    client.message("a", "x").ack().send().unwrap();
    observer.recv_timeout(LONG).unwrap().ack();
    assert_eq!(observer.recv_timeout(MOMENT).unwrap_err(), ReceiveError::TimedOut);
    assert_eq!(server.metrics().pending_messages, 1);
    assert_eq!(client.counters().acknowledged, 0);
    // A subscription that takes part gets it, again and again.
    let mut broadcast = client.subscription("a").unwrap();
    for _ in 0..3 {
        assert!(broadcast.recv_timeout(LONG).unwrap().is_redelivered());
    }
    broadcast.recv_timeout(LONG).unwrap().ack();
    wait_for("the acknowledgement", || server.metrics().pending_messages == 0);
}

#[test]
fn one_that_is_not_read_holds_up_nobody_but_its_publishers_and_loses_nothing() {
    const COUNT: usize = 40;
    let server = server();
    let subscriber = client(&server);
    let mut unread =
        subscriber.subscription_to(Filter::name("a")).credit(64 * 1024).open().unwrap();
    let mut other = subscriber.subscription("b").unwrap();
    let publisher = client(&server);
    std::thread::scope(|scope| {
        // Some of it waits at the server: credit and what may be beyond it are 8 MiB.
        scope.spawn(|| {
            for n in 0..COUNT {
                let mut payload = vec![0; 100_000];
                payload[0] = n as u8;
                publisher.publish("a", payload).unwrap();
            }
            publisher.flush().unwrap();
        });
        for n in 0..100 {
            subscriber.message("b", n.to_string()).send().unwrap();
            assert_eq!(other.recv_timeout(LONG).unwrap().text(), Some(&*n.to_string()));
        }
        for n in 0..COUNT {
            assert_eq!(unread.recv_timeout(LONG).unwrap().payload()[0], n as u8);
        }
    });
    assert_eq!(subscriber.missed(), 0);
}

#[test]
fn a_lossy_one_loses_what_does_not_fit_and_is_told() {
    let server = server();
    let (report, missed) = unbounded();
    let told = options(&server).on_missed(move |m: &Missed| report.send(m.messages).unwrap());
    let client = told.connect().unwrap();
    let mut messages = client.subscription_to(Filter::name("a")).lossy().credit(1).open().unwrap();
    for n in 0..10 {
        client.message("a", n.to_string()).send().unwrap();
    }
    let first = messages.recv_timeout(LONG).unwrap();
    assert_eq!(first.text(), Some("0"));
    assert_eq!(messages.recv_timeout(MOMENT).unwrap_err(), ReceiveError::TimedOut);
    drop(first);
    // Credit comes back some time later.
    wait_for("a message that fits", || {
        client.message("a", "fits").send().unwrap();
        messages.try_recv().is_ok_and(|message| message.text() == Some("fits"))
    });
    assert!(missed.try_iter().sum::<u64>() >= 9);
}

#[test]
fn what_cannot_be_subscribed_to_is_refused_with_the_rule_and_the_client_goes_on() {
    let server = server();
    let client = client(&server);
    let open = |filter| client.subscription_to(filter).open().map(drop).unwrap_err();
    let empty = FilterError::EmptyToken { at: 2 };
    assert_eq!(open(Filter::pattern("a..b")), SubscribeError::Filter(empty));
    let reserved = FilterError::Name(NameError::Reserved);
    assert_eq!(open(Filter::name("ping")), SubscribeError::Filter(reserved));
    let named = client.subscription_to(Filter::name("a")).group("a|b").open().map(drop);
    assert_eq!(named, Err(SubscribeError::Name(NameError::Separator)));
    let none = client.subscription_to(Filter::name("a")).credit(0).open().map(drop);
    assert!(matches!(none, Err(SubscribeError::Option { option: "credit", .. })), "{none:?}");
    let much = client.subscription_to(Filter::name("a")).credit(1 << 40).open().map(drop);
    let Err(SubscribeError::Refused { text }) = much else { panic!("{much:?}") };
    assert!(text.contains(&(1_u64 << 40).to_string()), "{text}");
    drop(client.subscription("a").unwrap());
}

#[test]
fn one_that_is_dropped_ends_at_the_server() {
    let server = server();
    let client = client(&server);
    // As many as a connection may have of this kind, and again.
    for _ in 0..3 {
        let open = || client.subscription_to(Filter::prefix("a")).open();
        let all: Vec<_> = (0..1024).map(|_| open().unwrap()).collect();
        assert!(matches!(open(), Err(SubscribeError::Refused { .. })));
        drop(all);
    }
}

#[test]
fn one_that_nobody_confirms_fails_in_time_and_is_taken_back() {
    let server = FakeServer::start();
    let client = server.options().connect().unwrap();
    server.confirms.store(false, Ordering::Release);
    let error = client.subscription("a").map(drop).unwrap_err();
    let timeout = Duration::from_millis(200);
    assert_eq!(error, SubscribeError::NotConfirmed { tries: 3, timeout });
    server.confirms.store(true, Ordering::Release);
    drop(client.subscription("a").unwrap());
}

#[test]
fn one_that_is_refused_on_a_new_connection_ends_and_says_why() {
    let first = FakeServer::start();
    let (report, reported) = unbounded();
    let told = first.options().connection_retries(100);
    let told = told.on_error(move |failure| report.send(failure.clone()).unwrap());
    let client = told.connect().unwrap();
    let mut messages = client.subscription("a").unwrap();
    let port = first.port;
    first.publish(frame("a", 7, &[(1, "read", false)]));
    wait_for("the message", || client.counters().received == 1);
    drop(first);
    let second = FakeServer::start_on(port);
    second.refuses.store(true, Ordering::Release);
    assert_eq!(messages.recv_timeout(LONG).unwrap().text(), Some("read"));
    let because = SubscribeError::Refused { text: "because".to_owned() };
    // Unless it was confirmed in the moment before it was to be refused; then it is on the next connection.
    let error = messages.recv_timeout(LONG).unwrap_err();
    assert_eq!(error, ReceiveError::Refused(because.clone()));
    let filter = "the name 'a'".to_owned();
    let expected = Failure::Subscription { filter, error: because };
    assert_eq!(reported.try_iter().last(), Some(expected));
}

#[test]
fn garbage_is_reported_and_what_is_sound_of_it_is_delivered() {
    let server = FakeServer::start();
    let (report, reported) = unbounded();
    let told = server.patient().on_error(move |failure| report.send(failure.clone()).unwrap());
    let client = told.connect().unwrap();
    let mut messages = client.subscription("a").unwrap();
    let mut torn = frame("a", 7, &[(1, "whole", false), (2, "torn", false)]);
    torn.pop();
    let bytes = torn.len();
    server.publish(torn);
    server.publish(frame("a", 7, &[(3, "next", false)]));
    for text in ["whole", "next"] {
        assert_eq!(messages.recv_timeout(LONG).unwrap().text(), Some(text));
    }
    assert_eq!(reported.try_iter().collect::<Vec<_>>(), [Failure::BadFrame { bytes }]);
}

#[test]
fn a_checksum_that_does_not_match_keeps_a_message_away_when_asked_to() {
    let server = FakeServer::start();
    let client = server.patient().verify_checksums(true).connect().unwrap();
    let mut messages = client.subscription("a").unwrap();
    let mut damaged = frame("a", 7, &[(1, "damaged", true), (2, "sound", true)]);
    damaged[7] ^= 1;
    server.publish(damaged);
    assert_eq!(messages.recv_timeout(LONG).unwrap().text(), Some("sound"));
}
#[test]
fn forged_ordinals_are_counted_told_to_nobody_and_hide_no_gap() {
    let server = FakeServer::start();
    let (report, reported) = unbounded();
    let client =
        server.patient().on_missed(move |m| report.send(m.clone()).unwrap()).connect().unwrap();
    let mut messages = client.subscription("a").unwrap();
    for ordinal in [1, 1 << 50, 2, 6] {
        server.publish(frame("a", 7, &[(ordinal, "x", false)]));
        messages.recv_timeout(LONG).unwrap();
    }
    let missed: Vec<_> = reported.try_iter().map(|missed: Missed| missed.messages).collect();
    assert_eq!(missed, [3]);
    assert_eq!((client.missed(), client.counters().implausible), (3, 1));
}

#[test]
fn a_callback_that_reports_and_would_wait_for_the_server_fails_at_once() {
    let server = server();
    let (sender, outcomes) = unbounded();
    let handle = std::sync::Arc::new(std::sync::OnceLock::<Client>::new());
    let inside = std::sync::Arc::clone(&handle);
    let unread = std::sync::Arc::new(std::sync::Mutex::new(None));
    let reads = std::sync::Arc::clone(&unread);
    let told = options(&server).on_missed(move |_: &Missed| {
        let client = inside.get().unwrap();
        let receipt = client.publish("b", "without waiting").unwrap();
        let reads =
            reads.lock().unwrap().as_mut().map(|unread: &mut Subscription| unread.recv().map(drop));
        sender
            .send((
                [client.message("b", "x").ack().send(), client.message("b", "x").ack().send()],
                client.message("b", "x").ack().request(LONG).map(drop),
                reads,
                Client::connect("127.0.0.1").map(drop).map_err(|error| error.to_string()),
                receipt.wait(),
                client.ping().map(drop),
                client.subscription("c").map(drop),
                client.dead_letters("").count().map(drop),
            ))
            .unwrap();
    });
    let client = handle.get_or_init(|| told.connect().unwrap());
    *unread.lock().unwrap() = Some(client.subscription("unread").unwrap());
    let mut messages = client.subscription_to(Filter::name("a")).lossy().credit(1).open().unwrap();
    client.message("a", "read").send().unwrap();
    let read = messages.recv_timeout(LONG).unwrap();
    client.message("a", "lost").send().unwrap();
    drop(read);
    wait_for("a message that fits", || {
        client.message("a", "fits").send().unwrap();
        messages.try_recv().is_ok()
    });
    let (sent, asked, read, connected, waited, ping, subscribed, letters) =
        outcomes.recv_timeout(LONG).unwrap();
    let refused = Err(SendError::InCallback);
    assert_eq!(sent, [refused.clone(), refused.clone()]);
    assert_eq!(asked, Err(RequestError::Send(SendError::InCallback)));
    assert_eq!(read, Some(Err(ReceiveError::InCallback)));
    assert_eq!(connected, Err(ConnectError::InCallback.to_string()));
    // What would have been waited for was not published.
    client.flush().unwrap();
    assert_eq!(server.metrics().pending_messages, 0);
    assert_eq!((waited, ping), (refused.clone(), refused));
    assert_eq!(subscribed, Err(SubscribeError::InCallback));
    assert_eq!(letters, Err(AdminError::Send(SendError::InCallback)));
}

#[test]
fn what_waited_for_credit_and_came_after_all_was_not_missed() {
    let server = server();
    let clients = [client(&server), client(&server)];
    let mut slow = clients[0].subscription_to(Filter::name("a")).lossy().credit(1).open().unwrap();
    let mut quick = clients[1].subscription("a").unwrap();
    let publisher = client(&server);
    for n in 1..=5 {
        publisher.message("a", n.to_string()).ack().send().unwrap();
    }
    let seen: Vec<_> = (0..5).map(|_| quick.recv_timeout(LONG).unwrap()).collect();
    for n in 1..=5 {
        assert_eq!(slow.recv_timeout(LONG).unwrap().ordinal(), n);
    }
    publisher.message("a", "6").ack().send().unwrap();
    assert_eq!(slow.recv_timeout(LONG).unwrap().ordinal(), 6);
    assert_eq!(clients[0].missed(), 0);
    drop(seen);
}

#[test]
fn what_was_published_before_a_late_one_came_was_not_missed() {
    let server = builder().retry_interval(Duration::from_millis(50)).start().unwrap();
    let publisher = client(&server);
    // The even ones are gone when it comes, and the others wait for it.
    for n in 1..=5 {
        let message = publisher.message("a", n.to_string());
        if n % 2 == 1 { message.ack() } else { message }.send().unwrap();
    }
    let late = client(&server);
    let mut messages = late.subscription("a").unwrap();
    let mut waited = [1, 3, 5].to_vec();
    while !waited.is_empty() {
        let message = messages.recv_timeout(LONG).unwrap();
        assert!(message.is_redelivered());
        waited.retain(|&n| n != message.ordinal());
        message.ack();
    }
    for n in 6..=7 {
        publisher.message("a", n.to_string()).send().unwrap();
        let mut new = messages.by_ref().filter(|message| !message.is_redelivered());
        assert_eq!(new.next().unwrap().ordinal(), n);
    }
    assert_eq!(late.missed(), 0);
}
