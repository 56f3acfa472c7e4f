use std::time::Duration;

use super::fake_server::LONG;
use super::subscriptions::{MOMENT, builder, client, server, wait_for};
use crate::client::{AdminError, Client, Filter, ReceiveError, SubscribeError, Subscription};

const WORKERS: &str = "workers";

fn jobs() -> Filter {
    Filter::prefix("jobs")
}

fn member(client: &Client) -> Subscription {
    client.subscription_to(jobs()).group(WORKERS).open().unwrap()
}

#[test]
fn messages_wait_for_a_group_that_is_there_until_it_is_deleted() {
    let server = server();
    let client = client(&server);
    let delays = [Duration::from_millis(20), Duration::from_secs(1)];
    let durable = || {
        let group = client.groups().durable(WORKERS, jobs()).ack_wait(Duration::from_secs(7));
        group.in_flight_max(5).attempts_max(4).backoff(&delays)
    };
    durable().create().unwrap();
    durable().create().unwrap();
    client.message("jobs.new", "one").ack().send().unwrap();
    client.message("jobs.new", "two").ack().send().unwrap();
    let listed = client.groups().list().unwrap();
    let [group] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((&*group.name, &group.filter, group.is_durable), (WORKERS, &jobs(), true));
    assert_eq!((group.ack_wait, group.in_flight_max), (Duration::from_secs(7), 5));
    assert_eq!((group.attempts_max, &group.backoff[..]), (4, &delays[..]));
    assert_eq!((group.members, group.waiting, group.in_flight, group.dead_letters), (0, 2, 0, 0));

    let mut member = member(&client);
    let job = member.recv_timeout(LONG).unwrap();
    assert_eq!(job.text(), Some("one"));
    job.ack();
    member.recv_timeout(LONG).unwrap().reject("no");
    let get = || client.groups().get(WORKERS).unwrap().unwrap();
    wait_for("the verdicts", || get().dead_letters == 1);
    assert_eq!((get().members, get().waiting, get().in_flight), (1, 0, 0));
    let refused = client.groups().delete(WORKERS).unwrap_err();
    assert!(refused.to_string().contains("'workers' has 1 member:"), "{refused}");
    drop(member);
    wait_for("the member's end", || get().members == 0);
    client.groups().delete(WORKERS).unwrap();
    assert_eq!(client.groups().get(WORKERS), Ok(None));
    assert_eq!(client.dead_letters(WORKERS).count(), Ok(1));
}

#[test]
fn what_cannot_be_says_why() {
    let server = server();
    let client = client(&server);
    let groups = client.groups();
    assert!(matches!(groups.durable("a|b", jobs()).create(), Err(AdminError::Name(_))));
    // The arguments changed places.
    let swapped = groups.durable("jobs.*", Filter::name("packers")).create();
    assert_eq!(swapped, Err(AdminError::Name(crate::NameError::Wildcard('*'))));
    assert!(matches!(groups.delete(""), Err(AdminError::Name(_))));
    let pattern = Filter::pattern("a..b");
    assert!(matches!(groups.durable("g", pattern).create(), Err(AdminError::Filter(_))));
    let many = [Duration::ZERO; 17];
    let refused = groups.durable("g", jobs()).backoff(&many).create();
    assert!(matches!(refused, Err(AdminError::Option { option: "backoff", .. })));
    groups.durable("g", jobs()).create().unwrap();
    let Err(AdminError::Refused { text }) = groups.durable("g", Filter::name("jobs")).create()
    else {
        panic!("it is another one")
    };
    assert!(text.contains("'g'") && text.contains("filter"), "{text}");
    let joined = client.subscription_to(Filter::name("jobs")).group("g").open();
    let Err(SubscribeError::Refused { text }) = joined else { panic!("it is another one") };
    assert!(text.contains("'g'") && text.contains("filter"), "{text}");
    assert!(matches!(groups.delete("nobody"), Err(AdminError::Refused { .. })));
    client.message("jobs.1", "one").ack().send().unwrap();
    let Err(AdminError::Refused { text }) = groups.delete("g") else { panic!("it has a message") };
    assert!(text.contains("'g' has 1 message that no member settled"), "{text}");
    groups.delete_with_messages("g").unwrap();
    assert_eq!(groups.list(), Ok(vec![]));
}

#[test]
fn a_member_is_told_how_long_it_may_take_and_extends_in_time() {
    // The server's interval, by which a member would go otherwise, is far longer.
    let server = builder().retry_interval(LONG).start().unwrap();
    let client = client(&server);
    let wait = Duration::from_millis(150);
    client.groups().durable(WORKERS, jobs()).ack_wait(wait).create().unwrap();
    let (mut one, mut other) = (member(&client), member(&client));
    client.message("jobs.new", "long").ack().send().unwrap();
    let job = one.recv_timeout(MOMENT).or_else(|_| other.recv_timeout(LONG)).unwrap();
    for member in [&mut one, &mut other] {
        assert_eq!(member.recv_timeout(wait * 3).unwrap_err(), ReceiveError::TimedOut);
    }
    assert_eq!(job.attempt(), 1);
    job.ack();
    wait_for("the acknowledgement", || server.metrics().settled == 1);
}
