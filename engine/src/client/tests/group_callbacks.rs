use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};

use super::fake_server::LONG;
use super::subscriptions::{client, options, server, wait_for};
use crate::client::{Client, DeadLetterCause, Failure, Filter, GroupBuilder, Verdict};

const SHORT: Duration = Duration::from_millis(1);

fn workers(client: &Client) -> GroupBuilder {
    client.subscription_to(Filter::pattern("jobs.*")).group("workers")
}

fn publish(client: &Client, texts: &[&str]) {
    for text in texts {
        client.message("jobs.new", *text).ack().publish().unwrap();
    }
    client.flush().unwrap();
}

#[track_caller]
fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(LONG).unwrap()
}

#[test]
fn what_a_callback_returns_settles_the_message() {
    let server = server();
    let (report, reported) = unbounded();
    let client =
        options(&server).on_error(move |f| report.send(f.clone()).unwrap()).connect().unwrap();
    let (called, calls) = unbounded();
    let group = workers(&client).retry_delay(SHORT).attempts_max(3);
    group
        .call(move |job| {
            let text = job.text().unwrap();
            called.send((text.to_owned(), job.attempt())).unwrap();
            match (text, job.attempt()) {
                ("later", 1) => Ok(Verdict::Nak(SHORT)),
                ("bad", _) => Ok(Verdict::Reject("no such thing".to_owned())),
                ("fails", _) => Err("it does"),
                ("panics", 1) => panic!("oh"),
                _ => Ok(Verdict::Ack),
            }
        })
        .unwrap();
    publish(&client, &["good", "later", "bad", "fails", "panics"]);
    let mut all: Vec<_> = (0..9).map(|_| next(&calls)).collect();
    let letters = client.dead_letters("workers");
    wait_for("the end", || letters.count() == Ok(2) && server.metrics().pending_messages == 2);
    assert!(calls.is_empty());
    all.sort();
    let expected = [
        ("bad", 1),
        ("fails", 1),
        ("fails", 2),
        ("fails", 3),
        ("good", 1),
        ("later", 1),
        ("later", 2),
        ("panics", 1),
        ("panics", 2),
    ];
    assert_eq!(all, expected.map(|(text, attempt)| (text.to_owned(), attempt)));
    let letters = letters.list(9).unwrap();
    let bad = letters.iter().find(|letter| letter.cause == DeadLetterCause::Rejected).unwrap();
    assert_eq!((bad.reason.as_deref(), bad.attempts), (Some("no such thing"), 1));
    assert!(letters.iter().any(|it| it.cause == DeadLetterCause::UsedUp && it.attempts == 3));
    let mut reasons: Vec<_> = (0..4)
        .map(|_| match next(&reported) {
            Failure::Callback { reason, .. } => reason,
            other => panic!("{other}"),
        })
        .collect();
    reasons.sort();
    assert_eq!(reasons, ["it does", "it does", "it does", "it panicked: oh"]);
}

/// A callback that says when it begins, and ends when it may.
fn held(begun: Sender<String>, may_end: Receiver<()>) -> impl FnMut(&crate::Delivery) + Send {
    move |job| {
        begun.send(job.text().unwrap().to_owned()).unwrap();
        may_end.recv_timeout(LONG).unwrap();
    }
}

#[test]
fn the_client_extends_while_a_callback_runs_unless_told_not_to() {
    for extends in [true, false] {
        let server = server();
        let client = client(&server);
        let ack_wait = Duration::from_millis(200);
        let (begun, begins) = unbounded();
        let (end, may_end) = unbounded();
        for _ in 0..2 {
            let group = workers(&client).ack_wait(ack_wait).extend_automatically(extends);
            group.call(held(begun.clone(), may_end.clone())).unwrap();
        }
        publish(&client, &["slow"]);
        assert_eq!(next(&begins), "slow");
        // Another member gets it when its time is over.
        assert_eq!(begins.recv_timeout(ack_wait * 5).is_err(), extends);
        (0..2).for_each(|_| end.send(()).unwrap());
        if extends {
            wait_for("the acknowledgement", || server.metrics().pending_messages == 0);
            assert_eq!(server.metrics().resent, 0);
        }
    }
}

#[test]
fn one_comes_after_the_other_and_other_subscriptions_run_meanwhile() {
    let server = server();
    let client = client(&server);
    let (begun, begins) = unbounded();
    let (end, may_end) = unbounded();
    workers(&client).call(held(begun, may_end)).unwrap();
    let (other, others) = unbounded();
    let group = client.subscription_to(Filter::name("jobs.new")).group("others");
    group.call(move |job| other.send(job.text().unwrap().to_owned()).unwrap()).unwrap();
    let texts = ["1", "2", "3"];
    publish(&client, &texts);
    assert_eq!(next(&begins), "1");
    // Nothing that runs holds up what others are called for, nor what the client asks for.
    assert_eq!([(); 3].map(|()| next(&others)), texts);
    client.ping().unwrap();
    assert!(begins.is_empty());
    for text in ["2", "3"] {
        end.send(()).unwrap();
        assert_eq!(next(&begins), text);
    }
    end.send(()).unwrap();
    wait_for("the acknowledgements", || server.metrics().pending_messages == 0);
}

#[test]
fn what_a_callback_ran_for_is_settled_before_its_subscription_ends() {
    const JOBS: usize = 5000;
    let server = server();
    let client = client(&server);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    workers(&client).call(move |_| _ = counted.fetch_add(1, Ordering::Relaxed)).unwrap();
    publish(&client, &["x"; JOBS]);
    wait_for("some calls", || calls.load(Ordering::Relaxed) > 0);
    let filter = Filter::pattern("jobs.*");
    client.unsubscribe_from(&filter).unwrap();
    let done = calls.load(Ordering::Relaxed);
    wait_for("its end", || client.groups().get("workers").unwrap().is_none());
    assert_eq!(server.metrics().pending_messages, (JOBS - done) as u64);
    assert_eq!(calls.load(Ordering::Relaxed), done);
    assert!(client.unsubscribe_from(&filter).is_err());
}

#[test]
fn of_a_client_that_is_stopped_in_a_callback_another_member_has_all_that_is_not_done() {
    let server = server();
    let (stopped, publisher) = (client(&server), client(&server));
    let stopping = stopped.clone();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    workers(&stopped)
        .call(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            stopping.stop();
        })
        .unwrap();
    publish(&publisher, &["1", "2"]);
    wait_for("the call", || calls.load(Ordering::Relaxed) > 0);
    let (called, again) = unbounded();
    workers(&publisher)
        .call(move |job| called.send((job.text().unwrap().to_owned(), job.attempt())).unwrap())
        .unwrap();
    let mut all = [next(&again), next(&again)];
    all.sort();
    assert_eq!(all.map(|(text, _)| text), ["1", "2"]);
    wait_for("the acknowledgements", || server.metrics().pending_messages == 0);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn a_failure_waits_as_the_group_says_or_a_second() {
    const ATTEMPTS: u16 = 30;
    let server = server();
    let client = client(&server);
    // A member that says nothing of delays takes those of the group that is there.
    let filter = Filter::pattern("jobs.*");
    client.groups().durable("workers", filter).backoff(&[SHORT]).create().unwrap();
    let (called, calls) = unbounded();
    let failing = move |job: &crate::Delivery| {
        called.send((job.attempt(), Instant::now())).unwrap();
        if job.attempt() < ATTEMPTS { Err("not yet") } else { Ok(()) }
    };
    workers(&client).call(failing.clone()).unwrap();
    publish(&client, &["x"]);
    let times: Vec<_> = (1..=ATTEMPTS).map(|attempt| (attempt, next(&calls))).collect();
    assert!(times.iter().all(|(attempt, (found, _))| attempt == found));
    let took = times[ATTEMPTS as usize - 1].1.1 - times[0].1.1;
    assert!(took < Duration::from_secs(ATTEMPTS.into()) / 2, "{took:?}");

    let group = client.subscription_to(Filter::name("others")).group("others");
    group.call(failing).unwrap();
    client.message("others", "x").ack().send().unwrap();
    let (first, second) = (next(&calls), next(&calls));
    assert_eq!((first.0, second.0), (1, 2));
    let took = second.1 - first.1;
    assert!(took > Duration::from_millis(900), "{took:?}");
}

#[test]
fn observers_and_broadcasts_are_called_with_deliveries_too() {
    let server = server();
    let client = client(&server);
    let (called, calls) = unbounded();
    let builder = || client.subscription_to(Filter::prefix("a"));
    let looked = called.clone();
    builder().observe().call(move |it| looked.send((0, it.attempt())).unwrap()).unwrap();
    builder()
        .call(move |it| {
            called.send((1, it.attempt())).unwrap();
            it.reply("answer").map(drop)
        })
        .unwrap();
    let answer = client.message("a", "x").ack().request(LONG).unwrap();
    assert_eq!(answer.text(), Some("answer"));
    let mut all = [next(&calls), next(&calls)];
    all.sort_unstable();
    assert_eq!(all, [(0, 0), (1, 0)]);
    wait_for("the acknowledgement", || server.metrics().pending_messages == 0);
}
