use super::fake_server::LONG;
use super::subscriptions::{MOMENT, builder, client, server, wait_for};
use crate::client::{AdminError, Filter, ReceiveError, SendError};
use crate::limits::RETAINED_LISTED_MAX;

#[test]
fn the_last_values_come_first_and_say_so() {
    let server = server();
    let client = client(&server);
    client.message("price.tea", "6").retain().send().unwrap();
    client.message("price.tea", "7").retain().ack().send().unwrap();
    client.message("price.milk", "1").retain().send().unwrap();
    let mut with_last =
        client.subscription_to(Filter::pattern("price.*")).observe().with_last().open().unwrap();
    let mut plain = client.subscription_to(Filter::prefix("price")).observe().open().unwrap();
    client.message("price.tea", "8").send().unwrap();
    let mut got = Vec::new();
    for _ in 0..3 {
        let message = with_last.recv_timeout(LONG).unwrap();
        assert_eq!(message.is_redelivered(), message.is_retained());
        let (name, text) = (message.name().to_owned(), message.text().unwrap().to_owned());
        got.push((name, text, message.is_retained()));
    }
    let place = |text| got.iter().position(|(_, it, _)| it == text).unwrap();
    assert!(place("7") < place("8"));
    got.sort();
    let expected = [("price.milk", "1", true), ("price.tea", "7", true), ("price.tea", "8", false)];
    let expected = expected.map(|(name, text, last)| (name.to_owned(), text.to_owned(), last));
    assert_eq!(got, expected);
    let message = plain.recv_timeout(LONG).unwrap();
    assert_eq!((message.text(), message.is_retained()), (Some("8"), false));
    assert_eq!(plain.recv_timeout(MOMENT).unwrap_err(), ReceiveError::TimedOut);
}

#[test]
fn values_are_listed_cleared_and_outlive_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let first = builder().persist_file(&journal).start().unwrap();
    let publisher = client(&first);
    let count = RETAINED_LISTED_MAX + 5;
    for n in 0..count {
        publisher.message(&format!("n.{n:03}"), n.to_string()).retain().publish().unwrap();
    }
    publisher.message("n.000", "last").retain().publish().unwrap();
    publisher.flush().unwrap();
    publisher.retained().clear("n.001").unwrap();
    first.shutdown().unwrap();
    let second = builder().persist_file(&journal).start().unwrap();
    let client = client(&second);
    let retained = client.retained();
    assert_eq!(retained.count(), Ok(count as u64 - 1));
    wait_for("the count", || second.metrics().retained == count as u64 - 1);
    let listed = retained.list(&Filter::prefix(""), usize::MAX).unwrap();
    let names: Vec<_> = listed.iter().map(|message| &*message.name).collect();
    assert_eq!((names.len(), names[0], names[1]), (count - 1, "n.000", "n.002"));
    assert!(names.is_sorted());
    assert_eq!(retained.list(&Filter::name("n.001"), 9), Ok(Vec::new()));
    assert_eq!(retained.list(&Filter::prefix("n.00"), 3).unwrap(), listed[..3]);
    let mut last = client.subscription_to(Filter::name("n.000")).with_last().open().unwrap();
    assert_eq!(last.recv_timeout(LONG).unwrap().text(), Some("last"));
    retained.clear("n.000").unwrap();
    retained.clear("n.000").unwrap();
    assert!(matches!(retained.clear("a|b"), Err(AdminError::Name(_))));
    assert!(matches!(retained.list(&Filter::pattern("a..b"), 1), Err(AdminError::Filter(_))));
    let delayed = client.message("a", "x").retain().deliver_in(LONG).send();
    assert!(matches!(delayed, Err(SendError::Malformed { .. })), "{delayed:?}");
}
