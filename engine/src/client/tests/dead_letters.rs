use std::time::{Duration, SystemTime};

use super::fake_server::LONG;
use super::subscriptions::{MOMENT, client, server, wait_for};
use crate::client::{
    AdminError, Client, Filter, GroupBuilder, ReceiveError, SendError, SubscribeError,
};
use crate::wire::id::MessageId;
use crate::wire::pickle::{Plain, write};

fn jobs(client: &Client) -> GroupBuilder {
    client.subscription_to(Filter::prefix("jobs")).group("workers")
}

#[test]
fn what_a_member_rejects_is_kept_with_its_reason_and_done_again_when_it_is_replayed() {
    let server = server();
    let client = client(&server);
    let mut member = jobs(&client).open().unwrap();
    let letters = client.dead_letters("workers");
    client.message("jobs.new", "poison").ack().header("k", "v").send().unwrap();
    client.message("jobs.new", "fine").ack().send().unwrap();
    let poison = member.recv_timeout(LONG).unwrap();
    let id = poison.id();
    poison.reject(&"reasons ".repeat(100));
    member.recv_timeout(LONG).unwrap().ack();
    wait_for("the letter", || letters.count() == Ok(1));
    wait_for("the acknowledgement", || server.metrics().settled == 1);

    let listed = letters.list(10).unwrap();
    assert_eq!(client.dead_letters("").list(10), Ok(listed.clone()));
    let [letter] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((letter.id, &*letter.name, &*letter.group), (id, "jobs.new", "workers"));
    assert_eq!((&letter.filter, letter.attempts), (&Filter::prefix("jobs"), 1));
    let reason = "reasons ".repeat(100);
    assert_eq!(letter.reason.as_deref(), Some(&reason[..255]));
    let published = letter.published.unwrap();
    assert!(published <= letter.died && letter.died <= SystemTime::now());
    let (shown, message) = letters.show(id).unwrap();
    assert_eq!((&shown, message.text(), message.header("k")), (letter, Some("poison"), Some("v")));
    assert_eq!((message.id(), message.name(), message.requires_ack()), (id, "jobs.new", true));

    assert_eq!(letters.replay(&[id]), Ok(1));
    let again = member.recv_timeout(LONG).unwrap();
    assert_eq!((again.id(), again.attempt(), again.header("k")), (id, 1, Some("v")));
    again.ack();
    assert_eq!(letters.count(), Ok(0));
    wait_for("the acknowledgement", || server.metrics().pending_messages == 0);
}

#[test]
fn what_fails_so_often_is_given_up_after_exactly_its_attempts() {
    let server = server();
    let client = client(&server);
    let (first, later) = (Duration::from_millis(20), Duration::from_millis(60));
    let mut member = jobs(&client).attempts_max(3).backoff(&[first, later]).open().unwrap();
    client.message("jobs.new", "poison").ack().send().unwrap();
    let start = std::time::Instant::now();
    for attempt in 1..=3 {
        let job = member.recv_timeout(LONG).unwrap();
        assert_eq!(job.attempt(), attempt);
        job.nak(Duration::ZERO);
    }
    assert!(start.elapsed() >= first + later, "{:?}", start.elapsed());
    let letters = client.dead_letters("workers");
    wait_for("the letter", || letters.count() == Ok(1));
    assert_eq!(member.recv_timeout(MOMENT).unwrap_err(), ReceiveError::TimedOut);
    let letter = letters.list(1).unwrap().remove(0);
    assert_eq!((letter.attempts, letter.reason), (3, None));
}

#[test]
fn all_or_those_of_a_name_are_replayed_and_purged_and_what_dies_again_is_not_replayed_for_ever() {
    let server = server();
    let client = client(&server);
    let mut member = jobs(&client).open().unwrap();
    let letters = client.dead_letters("workers");
    let mut reject = |count| {
        for _ in 0..count {
            member.recv_timeout(LONG).unwrap().reject("no");
        }
    };
    const EACH: u64 = 600;
    for n in 0..2 * EACH {
        client
            .message(["jobs.a", "jobs.b"][(n % 2) as usize], n.to_string())
            .ack()
            .publish()
            .unwrap();
    }
    client.flush().unwrap();
    reject(2 * EACH);
    wait_for("the letters", || letters.count() == Ok(2 * EACH));
    let listed = letters.list(usize::MAX).unwrap();
    // A page follows the other.
    let mut ids: Vec<_> = listed.iter().map(|letter| letter.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len() as u64, 2 * EACH);
    assert_eq!(letters.list(300).unwrap(), listed[..300]);
    std::thread::scope(|scope| {
        let dying = scope.spawn(|| reject(EACH));
        assert_eq!(letters.replay_named("jobs.a"), Ok(EACH));
        dying.join().unwrap();
    });
    wait_for("the letters", || letters.count() == Ok(2 * EACH));
    assert_eq!(letters.purge_named("jobs.a"), Ok(EACH));
    assert_eq!(letters.count(), Ok(EACH));
    let ids: Vec<_> = letters.list(2).unwrap().iter().map(|letter| letter.id).collect();
    assert_eq!(letters.purge(&ids), Ok(2));
    std::thread::scope(|scope| {
        let dying = scope.spawn(|| reject(EACH - 2));
        assert_eq!(letters.replay_all(), Ok(EACH - 2));
        dying.join().unwrap();
    });
    wait_for("the letters", || letters.count() == Ok(EACH - 2));
    assert_eq!(letters.purge_all(), Ok(EACH - 2));
    assert_eq!(letters.purge_all(), Ok(0));
    assert_eq!(server.metrics().pending_messages, 0);
}

#[test]
fn what_cannot_be_is_refused_and_nothing_is_lost() {
    let server = server();
    let client = client(&server);
    let letters = client.dead_letters("workers");
    let id = MessageId { publisher: 1, sequence: 1 };
    for error in [
        letters.show(id).map(drop),
        letters.replay(&[id]).map(drop),
        letters.purge(&[id]).map(drop),
    ] {
        assert!(matches!(error, Err(AdminError::Refused { .. })), "{error:?}");
    }
    let mut member = jobs(&client).open().unwrap();
    client.message("jobs.new", "x").ack().send().unwrap();
    member.recv_timeout(LONG).unwrap().reject("no");
    wait_for("the letter", || letters.count() == Ok(1));
    drop(member);
    // Nobody is there to get it.
    let refused = || matches!(letters.replay_all(), Err(AdminError::Refused { .. }));
    wait_for("the member's end", refused);
    assert_eq!(letters.count(), Ok(1));
    let delays = vec![Duration::from_secs(1); 17];
    let error = jobs(&client).backoff(&delays).open().map(drop).unwrap_err();
    assert!(matches!(error, SubscribeError::Option { option: "backoff", .. }), "{error}");
    client.stop();
    assert_eq!(letters.count(), Err(AdminError::Send(SendError::Stopped)));
}

#[test]
fn a_name_or_a_group_that_is_none_does_nothing() {
    let server = server();
    let client = client(&server);
    let mut member = jobs(&client).open().unwrap();
    client.message("jobs.new", "x").ack().send().unwrap();
    member.recv_timeout(LONG).unwrap().reject("no");
    let letters = client.dead_letters("workers");
    wait_for("the letter", || letters.count() == Ok(1));
    for name in ["", "a|b", &*"a".repeat(256)] {
        for done in [letters.purge_named(name), letters.replay_named(name)] {
            assert!(matches!(done, Err(AdminError::Name(_))), "{name}: {done:?}");
        }
    }
    let done = client.dead_letters(&"a".repeat(256)).purge_all();
    assert!(matches!(done, Err(AdminError::Name(_))), "{done:?}");
    assert_eq!(client.dead_letters("others").list(9), Ok(Vec::new()));
    assert_eq!(letters.count(), Ok(1));
}

#[test]
fn a_message_of_an_original_client_is_shown_as_it_is_delivered() {
    let server = server();
    let client = client(&server);
    let mut member = jobs(&client).open().unwrap();
    let request = zmq::Context::new().socket(zmq::DEALER).unwrap();
    request.set_linger(0).unwrap();
    request.connect(&format!("tcp://{}", server.recv_addr())).unwrap();
    let mut frame = b"jobs|".to_vec();
    frame.extend(write("jobs", Plain::Text("hello"), true, 1_763_866_000_000_000_000).0);
    request.send_multipart([&b""[..], &frame], 0).unwrap();
    let job = member.recv_timeout(LONG).unwrap();
    let delivered = job.message().clone();
    job.reject("no");
    let letters = client.dead_letters("workers");
    wait_for("the letter", || letters.count() == Ok(1));
    let (letter, message) = letters.show(delivered.id()).unwrap();
    assert_eq!(letter.published, None);
    assert_eq!(message.value(), delivered.value());
    assert_eq!((message.timestamp(), message.requires_ack()), (delivered.timestamp(), true));
}
