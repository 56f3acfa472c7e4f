use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::{Receiver, unbounded};

use super::fake_server::{Answer, FakeServer, LONG, frame};
use crate::client::{Failure, Filter, Message, Missed, PayloadError, SubscribeError};
use crate::wire::filter::FilterError;
use crate::wire::name::NameError;

/// Sequences acknowledged, in order, until there are so many.
fn acked(server: &FakeServer, count: usize) -> Vec<u64> {
    let mut sequences = Vec::new();
    while sequences.len() < count {
        let request = server.next();
        sequences.extend(request.acked().iter().map(|id| id.sequence));
    }
    sequences
}

fn texts(messages: &Receiver<Message>, count: usize) -> Vec<String> {
    let next = |_| messages.recv_timeout(LONG).expect("a message should have come");
    (0..count).map(next).map(|message| message.text().unwrap().to_owned()).collect()
}

#[test]
fn what_is_published_after_subscribe_returned_arrives_whole() {
    let server = FakeServer::start();
    let client = server.patient().connect().unwrap();
    let (sender, messages) = unbounded();
    client
        .subscribe("greet", move |payload, message| {
            assert_eq!(payload, message.payload());
            sender.send(message.clone()).unwrap();
        })
        .unwrap();
    client.message("greetings", "of another name").send().unwrap();
    client.message("greet", "hello").send().unwrap();
    client.publish_archive("greet", &String::from("typed")).unwrap().wait().unwrap();
    let hello = messages.recv_timeout(LONG).unwrap();
    assert_eq!((hello.name(), hello.text(), hello.requires_ack()), ("greet", Some("hello"), false));
    assert_eq!((hello.id().publisher, hello.id().sequence), (client.publisher_id(), 2));
    assert_eq!((hello.ordinal(), hello.verify()), (1, Some(true)));
    assert!(hello.timestamp().elapsed().unwrap() < LONG);
    assert!(hello.archive::<String>().is_err());
    let typed = messages.recv_timeout(LONG).unwrap();
    assert_eq!(*typed.archive::<String>().unwrap(), *"typed");
    assert_eq!((typed.text(), typed.verify()), (None, Some(true)));
    assert!(matches!(typed.archive::<Vec<String>>(), Err(PayloadError::OtherType { .. })));
    assert!(matches!(typed.archive_untyped::<Vec<String>>(), Err(PayloadError::Invalid { .. })));
}

#[test]
fn the_acknowledgement_leaves_after_the_callback_returned() {
    let server = FakeServer::start();
    let client = server.patient().connect().unwrap();
    let (entered, inside) = unbounded();
    let (leave, may_leave) = unbounded::<()>();
    client
        .subscribe("a", move |_, _| {
            entered.send(()).unwrap();
            may_leave.recv_timeout(LONG).unwrap();
        })
        .unwrap();
    server.publish(frame("a", 7, &[(1, "x", true), (2, "no ack", false)]));
    inside.recv_timeout(LONG).unwrap();
    // The client answers other things meanwhile: an acknowledgement would have come first.
    client.message("other", "x").send().unwrap();
    assert_eq!(server.next().name, "other");
    assert!(server.requests.is_empty());
    leave.send(()).unwrap();
    assert_eq!(acked(&server, 1), [1001]);
    leave.send(()).unwrap();
    inside.recv_timeout(LONG).unwrap();
    client.message("other", "x").send().unwrap();
    assert_eq!(server.next().name, "other");
}

#[test]
fn acknowledgements_gather_while_one_is_on_its_way() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Hold);
    let client = server.patient().connect().unwrap();
    let (sender, messages) = unbounded();
    client.subscribe("a", move |_, m| sender.send(m.clone()).unwrap()).unwrap();
    server.publish(frame("a", 7, &[(1, "1", true)]));
    assert_eq!(server.next().acked().len(), 1);
    let more: Vec<_> = (2..=50).map(|n| (n, "more", true)).collect();
    for message in &more {
        server.publish(frame("a", 7, &[*message]));
    }
    texts(&messages, 50);
    // A frame behind them all, so that the last of them is through.
    server.publish(frame("a", 7, &[(51, "end", false)]));
    texts(&messages, 1);
    assert!(server.requests.is_empty());
    server.release();
    let gathered = server.next().acked();
    assert!(gathered.iter().map(|id| id.sequence).eq(1002..=1050));
    server.release();
}

#[test]
fn a_callback_that_fails_or_panics_is_reported_not_acknowledged_and_stops_nothing() {
    let server = FakeServer::start();
    let (report, reported) = unbounded();
    let client =
        server.patient().on_error(move |f| report.send(f.clone()).unwrap()).connect().unwrap();
    client
        .subscribe("a", |_, message| match message.text() {
            Some("fail") => Err("no good"),
            Some("panic") => panic!("at the disco"),
            _ => Ok(()),
        })
        .unwrap();
    let texts = ["fail", "fine", "panic", "fine"];
    let messages: Vec<_> = (1..).zip(texts).map(|(n, text)| (n, text, true)).collect();
    server.publish(frame("a", 7, &messages));
    assert_eq!(acked(&server, 2), [1002, 1004]);
    let reasons: Vec<_> = reported
        .try_iter()
        .map(|failure| match failure {
            Failure::Callback { name, id, reason } => (name, id.sequence, reason),
            other => panic!("{other}"),
        })
        .collect();
    let expected = [("a", 1001, "no good"), ("a", 1003, "it panicked: at the disco")];
    assert_eq!(reasons, expected.map(|(name, n, text)| (name.to_owned(), n, text.to_owned())));
    assert_eq!(client.counters().callback_failures, 2);
}

#[test]
fn unsubscribing_ends_it_and_needs_a_subscription() {
    let server = FakeServer::start();
    let client = server.patient().connect().unwrap();
    let missing = |name: &str| SubscribeError::NotSubscribed { name: name.to_owned() };
    assert_eq!(client.unsubscribe("a"), Err(missing("a")));
    let (sender, messages) = unbounded();
    let other = sender.clone();
    client.subscribe("a", move |_, m| sender.send(m.clone()).unwrap()).unwrap();
    client.subscribe("b", move |_, m| other.send(m.clone()).unwrap()).unwrap();
    assert_eq!(client.unsubscribe_prefix("a"), Err(missing("a")));
    client.unsubscribe("a").unwrap();
    assert_eq!(client.unsubscribe("a"), Err(missing("a")));
    server.publish(frame("a", 7, &[(1, "not wanted", true)]));
    server.publish(frame("b", 7, &[(1, "wanted", false)]));
    assert_eq!(texts(&messages, 1), ["wanted"]);
    assert_eq!(
        client.subscribe("ack", |_, _| ()),
        Err(SubscribeError::Filter(FilterError::Name(NameError::Reserved)))
    );
}

#[test]
fn a_call_that_takes_a_name_rejects_a_pattern_and_says_what_takes_one() {
    let server = FakeServer::start();
    let client = server.patient().connect().unwrap();
    for text in ["orders.*", "*.new", "orders.>", ">", "*"] {
        let expected = SubscribeError::Pattern { text: text.to_owned() };
        assert_eq!(client.subscribe(text, |_, _| ()).unwrap_err(), expected);
        assert_eq!(client.subscription(text).map(drop).unwrap_err(), expected);
        assert_eq!(client.unsubscribe(text).unwrap_err(), expected);
        let said = expected.to_string();
        for call in ["subscription_to", "Filter::pattern(\"", "Filter::name(\""] {
            assert!(said.contains(call), "{said}");
        }
    }
    // What is a name beyond doubt, and a name that somebody says to be one.
    for name in ["orders*", "a->b"] {
        client.subscribe(name, |_, _| ()).unwrap();
        client.unsubscribe(name).unwrap();
    }
    let literal = Filter::name("orders.*");
    client.subscription_to(literal.clone()).call(|_| ()).unwrap();
    client.unsubscribe_from(&literal).unwrap();
}

#[test]
fn subscribe_fails_without_a_confirmation_and_takes_the_subscription_back() {
    let server = FakeServer::start();
    let client = server.options().connect().unwrap();
    server.confirms.store(false, Ordering::Release);
    let error = client.subscribe("a", |_, _| ()).unwrap_err();
    let timeout = Duration::from_millis(200);
    assert_eq!(error, SubscribeError::NotConfirmed { tries: 3, timeout });
    assert!(matches!(client.unsubscribe("a"), Err(SubscribeError::NotSubscribed { .. })));
    server.confirms.store(true, Ordering::Release);
    client.subscribe("a", |_, _| ()).unwrap();
}

#[test]
fn a_gap_is_counted_and_told_and_a_copy_is_delivered_without_one() {
    let server = FakeServer::start();
    let (report, reported) = unbounded();
    let client =
        server.patient().on_missed(move |m| report.send(m.clone()).unwrap()).connect().unwrap();
    let (sender, messages) = unbounded();
    client.subscribe("a", move |_, m| sender.send(m.clone()).unwrap()).unwrap();
    server.publish(frame("a", 7, &[(4, "4", false), (5, "5", true)]));
    server.publish(frame("a", 7, &[(9, "9", false)]));
    server.publish(frame("a", 7, &[(5, "5 again", true)]));
    server.publish(frame("a", 7, &[(0, "uncounted", true)]));
    server.publish(frame("a", 7, &[(10, "10", false)]));
    assert_eq!(texts(&messages, 6), ["4", "5", "9", "5 again", "uncounted", "10"]);
    let missed: Vec<Missed> = reported.try_iter().collect();
    assert_eq!(missed.len(), 1);
    assert_eq!((&*missed[0].name, missed[0].publisher, missed[0].messages), ("a", 7, 3));
    assert_eq!(client.missed(), 3);
}

#[test]
fn a_checksum_that_does_not_match_keeps_a_message_away_when_asked_to() {
    let server = FakeServer::start();
    let client = server.patient().verify_checksums(true).connect().unwrap();
    let (sender, messages) = unbounded();
    client.subscribe("a", move |_, m| sender.send(m.clone()).unwrap()).unwrap();
    let mut damaged = frame("a", 7, &[(1, "damaged", true)]);
    damaged[7] ^= 1;
    server.publish(damaged);
    server.publish(frame("a", 7, &[(2, "sound", true)]));
    assert_eq!(texts(&messages, 1), ["sound"]);
    assert_eq!(acked(&server, 1), [1002]);
}

#[test]
fn garbage_from_the_server_is_reported_and_goes_no_further() {
    let server = FakeServer::start();
    let (report, reported) = unbounded();
    let client =
        server.patient().on_error(move |f| report.send(f.clone()).unwrap()).connect().unwrap();
    let (sender, messages) = unbounded();
    client.subscribe("a", move |_, m| sender.send(m.clone()).unwrap()).unwrap();
    let mut torn = frame("a", 7, &[(1, "whole", false), (2, "torn", false)]);
    torn.pop();
    server.publish(torn.clone());
    server.publish(frame("a", 7, &[(3, "next", false)]));
    assert_eq!(texts(&messages, 2), ["whole", "next"]);
    let bytes = torn.len();
    assert_eq!(reported.try_iter().collect::<Vec<_>>(), [Failure::BadFrame { bytes }]);
}

#[test]
fn what_is_forwarded_keeps_payload_encoding_and_properties() {
    let server = super::subscriptions::server();
    let client = super::subscriptions::client(&server);
    let mut from = client.subscription("from").unwrap();
    let mut to = client.subscription("to").unwrap();
    let message = client.message("from", "text").ack().header("k", "v").content_type("text/plain");
    message.reply_to("answers").send().unwrap();
    client.publish_archive("from", &String::from("typed")).unwrap().wait().unwrap();
    let first = from.recv_timeout(LONG).unwrap();
    first.forward_to("to").unwrap().wait().unwrap();
    let second = from.recv_timeout(LONG).unwrap();
    client.forward("to", second.message()).unwrap().wait().unwrap();
    let moved = to.recv_timeout(LONG).unwrap();
    assert_eq!((moved.text(), moved.header("k")), (Some("text"), Some("v")));
    assert_eq!((moved.content_type(), moved.reply_to()), (Some("text/plain"), Some("answers")));
    assert!(moved.requires_ack() && moved.verify() == Some(true));
    let typed = to.recv_timeout(LONG).unwrap();
    assert_eq!(*typed.archive::<String>().unwrap(), *"typed");
    assert!(!typed.requires_ack());
}
