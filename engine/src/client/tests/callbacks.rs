//! Callbacks: which run at the same time, what they may do, and what does not wait for them.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};

use super::fake_server::LONG;
use super::subscriptions::{MOMENT, builder, client, options, server, wait_for};
use crate::client::{Client, Filter, Message, SendError, SubscribeError};

/// A callback that says that it runs, and goes on when it is told to.
fn gated(client: &Client, name: &str) -> (Receiver<String>, Sender<()>) {
    let (entered, inside) = unbounded();
    let (leave, may_leave) = unbounded::<()>();
    client
        .subscribe(name, move |_, message| {
            entered.send(message.text().unwrap_or_default().to_owned()).unwrap();
            let _ = may_leave.recv_timeout(LONG);
        })
        .unwrap();
    (inside, leave)
}

#[test]
fn those_of_different_subscriptions_run_at_the_same_time_and_hold_up_nothing_else() {
    let server = server();
    let slow = client(&server);
    let gates = ["a", "b", "c"].map(|name| gated(&slow, name));
    let (quick, seen) = unbounded();
    slow.subscribe("d", move |_, _| quick.send(()).unwrap()).unwrap();
    let mut read = slow.subscription("e").unwrap();
    for (name, (inside, _)) in ["a", "b", "c"].into_iter().zip(&gates) {
        slow.message(name, "x").send().unwrap();
        inside.recv_timeout(LONG).unwrap();
    }
    slow.message("d", "x").send().unwrap();
    seen.recv_timeout(LONG).unwrap();
    slow.message("e", "x").send().unwrap();
    read.recv_timeout(LONG).unwrap();
    slow.ping().unwrap();
    slow.subscribe("f", |_, _| ()).unwrap();
}

#[test]
fn no_more_run_at_the_same_time_than_asked_for_and_each_has_its_turn() {
    let server = server();
    let slow = options(&server).callback_threads(2).connect().unwrap();
    let gates = ["a", "b", "c"].map(|name| gated(&slow, name));
    for name in ["a", "b", "c"] {
        slow.message(name, "x").send().unwrap();
    }
    for (inside, _) in &gates[..2] {
        inside.recv_timeout(LONG).unwrap();
    }
    slow.ping().unwrap();
    assert!(gates[2].0.recv_timeout(MOMENT).is_err(), "a third one runs");
    gates[0].1.send(()).unwrap();
    gates[2].0.recv_timeout(LONG).unwrap();
}

#[test]
fn one_subscription_calls_in_order_and_one_at_a_time() {
    let server = server();
    let slow = client(&server);
    let (inside, leave) = gated(&slow, "a");
    for n in 0..5 {
        slow.message("a", n.to_string()).ack().send().unwrap();
    }
    for n in 0..5 {
        assert_eq!(inside.recv_timeout(LONG).unwrap(), n.to_string());
        slow.ping().unwrap();
        assert!(inside.is_empty());
        leave.send(()).unwrap();
    }
    wait_for("the acknowledgements", || server.metrics().pending_messages == 0);
}

#[test]
fn a_callback_may_do_everything_and_wait_for_it() {
    let server = server();
    let client = client(&server);
    let (inside, outcomes) = (client.clone(), unbounded());
    let (sender, letters) = (outcomes.0, outcomes.1);
    client
        .subscribe("a", move |payload, _| {
            let sent: Result<(), SendError> = inside.message("b", payload).ack().send();
            let receipt = inside.publish("b", payload).and_then(|receipt| receipt.wait());
            let subscribed = inside.subscribe("c", |_, _| ());
            let dead = inside.dead_letters("").count();
            let flushed = inside.flush();
            // Its own end does not wait for itself.
            let ended = inside.unsubscribe("a");
            sender.send((sent, receipt, subscribed, dead, flushed, ended)).unwrap();
        })
        .unwrap();
    client.message("a", "x").send().unwrap();
    let (sent, receipt, subscribed, dead, flushed, ended) = letters.recv_timeout(LONG).unwrap();
    assert_eq!((sent, receipt, flushed), (Ok(()), Ok(()), Ok(())));
    assert_eq!((subscribed, ended, dead), (Ok(()), Ok(()), Ok(0)));
    client.unsubscribe("c").unwrap();
    assert!(matches!(client.unsubscribe("a"), Err(SubscribeError::NotSubscribed { .. })));
}

#[test]
fn waits_in_callbacks_take_no_longer_than_elsewhere() {
    let server = server();
    let client = client(&server);
    let (inside, (sender, answers)) = (client.clone(), unbounded());
    client
        .subscribe("a", move |payload, _| {
            inside.message("b", payload).send().unwrap();
            sender.send(()).unwrap();
        })
        .unwrap();
    let begin = std::time::Instant::now();
    for _ in 0..200 {
        client.publish("a", "x").unwrap();
    }
    for _ in 0..200 {
        answers.recv_timeout(LONG).unwrap();
    }
    // Each would wait for 10 ms before another thread takes over by itself.
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[test]
fn a_callback_that_is_ended_runs_no_more_and_what_it_captured_goes() {
    let server = server();
    let client = client(&server);
    let (inside, leave) = gated(&client, "a");
    client.message("a", "1").send().unwrap();
    inside.recv_timeout(LONG).unwrap();
    thread::scope(|scope| {
        let ending = scope.spawn(|| client.unsubscribe("a"));
        // It waits for the call that runs.
        client.ping().unwrap();
        assert!(!ending.is_finished());
        leave.send(()).unwrap();
        assert_eq!(ending.join().unwrap(), Ok(()));
    });
    client.message("a", "2").send().unwrap();
    assert!(inside.recv_timeout(LONG).is_err_and(|error| error.is_disconnected()));
}

/// Messages of 1.5 s at an interval of 1 s, of which a client with one thread ran each four times.
#[test]
fn copies_of_what_was_acknowledged_late_are_acknowledged_without_a_call() {
    let retry = Duration::from_millis(40);
    let server = builder().retry_interval(retry).start().unwrap();
    let client = client(&server);
    let (inside, leave) = gated(&client, "a");
    for n in 0..5 {
        client.message("a", n.to_string()).ack().publish().unwrap();
    }
    client.flush().unwrap();
    for n in 0..5 {
        assert_eq!(inside.recv_timeout(LONG).unwrap(), n.to_string());
        // Copies of it come meanwhile.
        let resent = server.metrics().resent;
        wait_for("a copy", || server.metrics().resent > resent + 5);
        leave.send(()).unwrap();
    }
    wait_for("the acknowledgements", || server.metrics().pending_messages == 0);
    client.message("a", "last").send().unwrap();
    assert_eq!(inside.recv_timeout(LONG).unwrap(), "last");
}

#[test]
fn a_slow_callback_grants_credit_as_it_goes_and_loses_nothing() {
    let server = server();
    let slow = client(&server);
    let (sender, seen) = unbounded();
    let (leave, may_leave) = unbounded::<()>();
    slow.subscribe("a", move |payload, _| {
        // As slow as its publisher is, for what is beyond the credit.
        let _ = may_leave.recv_timeout(Duration::from_millis(5));
        sender.send(payload[0]).unwrap();
    })
    .unwrap();
    let publisher = client(&server);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..=255 {
                let mut payload = vec![0; 100_000];
                payload[0] = n;
                publisher.publish("a", payload).unwrap();
            }
            publisher.flush().unwrap();
        });
        for n in 0..=255 {
            assert_eq!(seen.recv_timeout(LONG).unwrap(), n);
        }
    });
    drop(leave);
    let metrics = server.metrics();
    assert_eq!((slow.missed(), metrics.slow_subscribers), (0, 0));
}

#[test]
fn thousands_of_callbacks_end_in_no_time_while_messages_come() {
    const COUNT: usize = 4_000;
    let server = server();
    let subscriber = client(&server);
    let (sender, seen) = unbounded();
    subscriber.subscribe("stays", move |_, _| sender.send(()).unwrap()).unwrap();
    for n in 0..COUNT {
        subscriber.subscribe(&format!("name {n}"), |_, _| ()).unwrap();
        subscriber.publish(&format!("name {n}"), "x").unwrap();
    }
    subscriber.flush().unwrap();
    let begin = std::time::Instant::now();
    for n in 0..COUNT {
        subscriber.unsubscribe(&format!("name {n}")).unwrap();
        if n % 100 == 0 {
            subscriber.message("stays", "x").send().unwrap();
            seen.recv_timeout(LONG).unwrap();
        }
    }
    assert!(begin.elapsed() < LONG / 4, "{:?}", begin.elapsed());
    drop(subscriber.subscription_to(Filter::name("later")).open().unwrap());
}

/// Each is held back for want of the other's credit, which comes behind what it publishes itself.
#[test]
fn clients_that_publish_to_each_other_faster_than_they_read_do_not_wait_for_ever() {
    const COUNT: u64 = 400;
    let server = server();
    let clients = [client(&server), client(&server)];
    let (sender, seen) = unbounded();
    for (at, client) in clients.iter().enumerate() {
        let (mut last, sender) = (0, sender.clone());
        let (kept, never) = unbounded::<()>();
        client
            .subscribe(&format!("to {at}"), move |_, message| {
                let _ = &kept;
                assert_eq!(message.ordinal(), last + 1);
                last += 1;
                // Slower than it is published.
                let _ = never.recv_timeout(Duration::from_millis(3));
                if last == COUNT {
                    sender.send(()).unwrap();
                }
            })
            .unwrap();
    }
    thread::scope(|scope| {
        for (at, client) in clients.iter().enumerate() {
            scope.spawn(move || {
                for _ in 0..COUNT {
                    client.publish(&format!("to {}", 1 - at), vec![0; 100_000]).unwrap();
                }
                client.flush().unwrap();
            });
        }
        for _ in &clients {
            seen.recv_timeout(LONG).unwrap();
        }
    });
    let metrics = server.metrics();
    assert_eq!((metrics.slow_subscribers, metrics.messages_dropped), (0, 0));
    assert!(metrics.held_back > 0, "nobody had to wait");
}

#[test]
fn one_may_end_itself_in_its_first_call_however_soon_that_is() {
    let server = server();
    let client = Arc::new(client(&server));
    for _ in 0..100 {
        // It is there when the subscription begins, and comes right behind the answer.
        client.message("a", "x").ack().send().unwrap();
        let (inside, (ended, outcome)) = (Arc::clone(&client), unbounded());
        let once = move |_: &[u8], _: &Message| ended.send(inside.unsubscribe("a")).unwrap();
        client.subscribe("a", once).unwrap();
        assert_eq!(outcome.recv_timeout(LONG).unwrap(), Ok(()));
    }
}
