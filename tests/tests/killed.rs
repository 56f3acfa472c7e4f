//! What outlives `kill -9` of the real server beside messages: times, last values, keys.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use mezzenger::{Client, Filter, MessageId, Subscription};
use rustix::process::Signal;

use crate::check_journal;
use crate::harness::native::now_ns;
use crate::harness::{PATIENCE, Server, eventually};

/// A server that has synced what it answers, and delivers nothing twice by itself.
fn start(journal: &Path) -> Server {
    Server::start_with_journal(journal, &["--fsync", "always", "--retry-interval", "1h"])
}

/// Kills a server, and starts the next one.
fn killed(mut server: Server, journal: &Path) -> Server {
    server.signal_and_wait(Signal::KILL);
    start(journal)
}

/// The text and id of the next message, which is acknowledged.
#[track_caller]
fn next(messages: &mut Subscription) -> (String, MessageId) {
    let message = messages.recv_timeout(PATIENCE).unwrap();
    let read = (message.text().unwrap().to_owned(), message.id());
    message.ack();
    read
}

#[test]
fn a_message_that_is_held_for_later_comes_at_its_time_and_not_before() {
    const DELAY: Duration = Duration::from_secs(2);
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let server = start(&journal);
    let client = server.client();
    let due_ns = now_ns() + DELAY.as_nanos() as u64;
    let due = UNIX_EPOCH + Duration::from_nanos(due_ns);
    client.message("greet", "far").ack().deliver_in(DELAY * 1000).send().unwrap();
    client.message("greet", "later").ack().deliver_at(due).send().unwrap();
    // Also by one that only recovered it.
    let server = killed(killed(server, &journal), &journal);
    client.stop();
    let client = server.client();
    let mut messages = client.subscription("greet").unwrap();
    client.message("greet", "now").ack().send().unwrap();
    assert_eq!(next(&mut messages).0, "now");
    assert_eq!(next(&mut messages).0, "later");
    // The wire has whole milliseconds.
    let early_ms = (due_ns / 1_000_000).saturating_sub(now_ns() / 1_000_000);
    assert_eq!(early_ms, 0, "it came {early_ms} ms too early");
    client.stop();
    server.terminate();
    let report = check_journal::report(&journal, 0);
    assert!(report.contains("3 appended, 2 settled, 1 live\n"), "{report}");
}

#[test]
fn the_last_value_that_was_answered_is_kept_and_a_cleared_one_stays_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let mut server = start(&journal);
    for round in 0..5 {
        let client = server.client();
        client.message("price.milk", "1").retain().send().unwrap();
        for value in 0..=round {
            client.message("price.tea", format!("{round}.{value}")).retain().send().unwrap();
        }
        client.retained().clear("price.milk").unwrap();
        let value = client.message("price.rice", format!("{round}")).retain();
        // The last thing that it answers is one time a value, and the next time that one is gone.
        let rice = match round % 2 {
            0 => value.send().map(|()| Some(("price.rice", format!("{round}")))).unwrap(),
            _ => {
                value.send().unwrap();
                client.retained().clear("price.rice").unwrap();
                None
            }
        };
        server = killed(server, &journal);
        client.stop();

        let client = server.client();
        let prices = Filter::pattern("price.*");
        let mut last = client.subscription_to(prices).observe().with_last().open().unwrap();
        let mut got = BTreeMap::new();
        for _ in 0..client.retained().count().unwrap() {
            let message = last.recv_timeout(PATIENCE).unwrap();
            assert!(message.is_retained());
            got.insert(message.name().to_owned(), message.text().unwrap().to_owned());
        }
        let tea = ("price.tea", format!("{round}.{round}"));
        let expected = [Some(tea), rice].into_iter().flatten();
        let expected: BTreeMap<_, _> = expected.map(|(name, it)| (name.to_owned(), it)).collect();
        assert_eq!(got, expected, "round {round}");
    }
}

#[test]
fn what_a_publisher_that_was_started_anew_sends_again_under_its_keys_is_published_once() {
    const KEYS: usize = 20;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let mut server = start(&journal);
    for round in 0..6 {
        let publish = |client: &Client, n: usize| {
            let (key, text) = (format!("{round}-{n}"), n.to_string());
            client.message("orders", text).ack().idempotency_key(&key).publish().unwrap()
        };
        // It waits for no answer behind the kill.
        let options = server.client_options().send_timeout(Duration::from_millis(50));
        let first = options.connection_retries(1).connect().unwrap();
        let mut messages = first.subscription("orders").unwrap();
        publish(&first, 0).wait().unwrap();
        // One that is done when the server dies counts, too: its end is stored before the next answer.
        assert_eq!(next(&mut messages).0, "0");
        eventually("the acknowledgement", || (first.counters().acknowledged > 0).then_some(()));
        drop(messages);
        let receipts: Vec<_> = (1..KEYS).map(|n| publish(&first, n)).collect();
        let answered = random.usize(1..KEYS);
        for receipt in receipts.into_iter().take(answered) {
            receipt.wait().unwrap();
        }
        server = killed(server, &journal);
        first.stop();

        let again = server.client();
        for receipt in (0..KEYS).map(|n| publish(&again, n)).collect::<Vec<_>>() {
            receipt.wait().unwrap();
        }
        again.message("orders", "end").ack().send().unwrap();
        let mut messages = again.subscription("orders").unwrap();
        let mut got: BTreeMap<String, Vec<MessageId>> = BTreeMap::new();
        // What the first one sent is not in the order of the second one.
        for _ in 0..KEYS {
            let (text, id) = next(&mut messages);
            got.entry(text).or_default().push(id);
        }
        let ids = |text: &str| got.get(text).map_or(&[][..], Vec::as_slice);
        let twice: Vec<_> = got.iter().filter(|(_, ids)| ids.len() > 1).collect();
        assert!(twice.is_empty(), "round {round}: published twice: {twice:?}");
        assert!(ids("0").is_empty(), "round {round}: what was done came again");
        for n in 1..=answered {
            let [id] = ids(&n.to_string()) else { panic!("round {round}: {n} is lost") };
            assert_eq!(id.publisher, first.publisher_id(), "round {round}: {n}");
        }
        assert_eq!((ids("end").len(), got.len()), (1, KEYS), "round {round}");
        again.stop();
    }
    server.terminate();
    let report = check_journal::report(&journal, 0);
    assert!(report.contains(" 0 live\n"), "{report}");
}
