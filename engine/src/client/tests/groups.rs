use std::time::Duration;

use crossbeam::channel::unbounded;

use super::fake_server::{FakeServer, LONG, frame};
use super::subscriptions::{MOMENT, builder, client, options, server, wait_for};
use crate::client::{Client, Failure, Filter, GroupBuilder, ReceiveError, SubscribeError};
use crate::limits::MEMBERSHIPS_MAX_EACH;

fn jobs(client: &Client) -> GroupBuilder {
    client.subscription_to(Filter::pattern("jobs.*")).group("workers")
}

/// No time for what comes again.
const SHORT: Duration = Duration::from_millis(100);

#[test]
fn each_message_goes_to_one_member_and_is_done_when_that_acknowledges() {
    let server = server();
    let workers = [client(&server), client(&server)];
    let mut members = workers.each_ref().map(|client| jobs(client).credit(1).open().unwrap());
    let publisher = client(&server);
    for n in 0..2 {
        publisher.message("jobs.new", n.to_string()).ack().send().unwrap();
    }
    // Nobody has room for a second one, so each has one.
    let mut texts = members.each_mut().map(|member| {
        let job = member.recv_timeout(LONG).unwrap();
        assert_eq!((job.attempt(), job.is_redelivered()), (1, false));
        let text = job.text().unwrap().to_owned();
        job.ack();
        text
    });
    texts.sort();
    assert_eq!(texts, ["0", "1"]);
    wait_for("the acknowledgements", || server.metrics().pending_messages == 0);
    let acknowledged = || workers.iter().map(|client| client.counters().acknowledged).sum::<u64>();
    wait_for("their answers", || acknowledged() == 2);
}

#[test]
fn what_is_given_back_comes_again_after_its_delay_with_its_attempt() {
    let server = server();
    let client = client(&server);
    let mut member = jobs(&client).open().unwrap();
    client.message("jobs.new", "x").ack().send().unwrap();
    let start = std::time::Instant::now();
    member.recv_timeout(LONG).unwrap().nak(SHORT);
    let again = member.recv_timeout(LONG).unwrap();
    assert!(start.elapsed() >= SHORT, "{:?}", start.elapsed());
    assert_eq!((again.text(), again.attempt(), again.is_redelivered()), (Some("x"), 2, true));
    again.nak(Duration::ZERO);
    let last = member.recv_timeout(LONG).unwrap();
    assert_eq!(last.attempt(), 3);
    last.ack();
    wait_for("the acknowledgement", || server.metrics().pending_messages == 0);
}

#[test]
fn what_is_dropped_without_a_word_comes_again_when_its_time_is_over() {
    let server = server();
    let client = client(&server);
    let mut member = jobs(&client).ack_wait(SHORT).open().unwrap();
    client.message("jobs.new", "x").ack().send().unwrap();
    drop(member.recv_timeout(LONG).unwrap());
    let again = member.recv_timeout(LONG).unwrap();
    assert_eq!(again.attempt(), 2);
    again.ack();
}

#[test]
fn what_takes_long_is_extended_and_nobody_else_gets_it() {
    let server = server();
    let clients = [client(&server), client(&server)];
    let [mut busy, mut idle] = clients
        .each_ref()
        .map(|client| jobs(client).ack_wait(MOMENT * 2).credit(1).open().unwrap());
    clients[0].message("jobs.new", "x").ack().send().unwrap();
    wait_for("the job", || {
        clients.iter().map(|client| client.counters().received).sum::<u64>() == 1
    });
    if clients[1].counters().received == 1 {
        std::mem::swap(&mut busy, &mut idle);
    }
    let job = busy.recv_timeout(LONG).unwrap();
    assert_eq!(idle.recv_timeout(MOMENT * 5).unwrap_err(), ReceiveError::TimedOut);
    job.ack();
    wait_for("the acknowledgement", || server.metrics().pending_messages == 0);
}

#[test]
fn without_extensions_its_time_is_over_and_the_late_acknowledgement_is_told() {
    let server = server();
    let (report, reported) = unbounded();
    let told = options(&server).on_error(move |failure| report.send(failure.clone()).unwrap());
    let client = told.connect().unwrap();
    let other = super::subscriptions::client(&server);
    let open = |client| {
        let member = jobs(client).ack_wait(MOMENT * 2).credit(1);
        member.extend_automatically(false).open().unwrap()
    };
    let mut member = open(&client);
    client.message("jobs.new", "x").ack().send().unwrap();
    let late = member.recv_timeout(LONG).unwrap();
    let mut second = open(&other);
    let again = second.recv_timeout(LONG).unwrap();
    assert_eq!(again.attempt(), 2);
    late.ack();
    let refused = reported.recv_timeout(LONG).unwrap();
    assert!(matches!(refused, Failure::Refused { .. }), "{refused}");
    again.ack();
    wait_for("the acknowledgement", || server.metrics().pending_messages == 0);
}

#[test]
fn what_is_extended_stays_with_its_member_while_others_come_again() {
    let server = server();
    let client = client(&server);
    let member = jobs(&client).ack_wait(MOMENT).extend_automatically(false);
    let mut member = member.open().unwrap();
    for text in ["extended", "left alone"] {
        client.message("jobs.new", text).ack().send().unwrap();
    }
    let (extended, left) = (member.recv_timeout(LONG).unwrap(), member.recv_timeout(LONG).unwrap());
    // The other one tells when the time of both would be over.
    let start = std::time::Instant::now();
    let again = loop {
        assert!(start.elapsed() < LONG, "its time should have been over");
        extended.extend();
        match member.recv_timeout(MOMENT / 15) {
            Ok(job) => break job,
            Err(error) => assert_eq!(error, ReceiveError::TimedOut),
        }
    };
    assert_eq!((again.text(), again.attempt()), (Some("left alone"), 2));
    drop(left);
    extended.ack();
    again.ack();
    wait_for("the acknowledgements", || server.metrics().pending_messages == 0);
    wait_for("their answers", || client.counters().acknowledged == 2);
}

#[test]
fn what_is_said_of_an_attempt_that_is_over_does_not_count_for_the_next_one() {
    let server = FakeServer::start();
    let (report, reported) = unbounded();
    let told = server.patient().on_error(move |failure| report.send(failure.clone()).unwrap());
    let client = told.connect().unwrap();
    let mut member = jobs(&client).open().unwrap();
    let frame = frame("jobs.new", 7, &[(1, "x", true)]);
    let [first, second, third] = [1, 2, 3].map(|attempt| {
        server.deliver(frame.clone(), attempt);
        let delivery = member.recv_timeout(LONG).unwrap();
        assert_eq!(delivery.attempt(), attempt);
        delivery
    });
    first.nak(Duration::ZERO);
    second.extend();
    second.ack();
    assert_eq!(reported.recv_timeout(LONG).unwrap(), Failure::AcksDropped { messages: 1 });
    third.reject("no");
    let said = server.settled.recv_timeout(LONG).unwrap();
    assert!(said.contains("Reject"), "{said}");
    client.ping().unwrap();
    assert_eq!(server.settled.try_iter().collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn what_a_member_had_goes_to_another_one_at_once_when_it_goes() {
    let server = builder().retry_interval(LONG * 10).start().unwrap();
    let clients = [client(&server), client(&server)];
    let mut leaving = jobs(&clients[0]).open().unwrap();
    for n in 0..100 {
        clients[0].message("jobs.new", n.to_string()).ack().send().unwrap();
    }
    let held = leaving.recv_timeout(LONG).unwrap();
    let mut staying = jobs(&clients[1]).open().unwrap();
    clients[0].stop();
    assert_eq!(leaving.recv_timeout(LONG).unwrap_err(), ReceiveError::Closed);
    drop(held);
    for n in 0..100 {
        let job = staying.recv_timeout(LONG).unwrap();
        assert_eq!(job.text(), Some(&*n.to_string()));
        job.ack();
    }
    wait_for("the acknowledgements", || server.metrics().pending_messages == 0);
}

#[test]
fn a_member_that_says_nothing_takes_what_the_group_has() {
    let server = server();
    let client = client(&server);
    let ack_wait = Duration::from_millis(300);
    let mut first = jobs(&client).ack_wait(ack_wait).attempts_max(1).open().unwrap();
    let mut second = jobs(&client).open().unwrap();
    let group = client.groups().get("workers").unwrap().unwrap();
    assert_eq!((group.members, group.attempts_max, group.ack_wait), (2, 1, ack_wait));
    // It asks for more time as often as the group's needs, which no one told it.
    client.message("jobs.new", "x").ack().publish().unwrap();
    client.message("jobs.new", "y").ack().publish().unwrap();
    let held = (first.recv_timeout(LONG).unwrap(), second.recv_timeout(LONG).unwrap());
    assert_eq!(first.recv_timeout(ack_wait * 4).unwrap_err(), ReceiveError::TimedOut);
    assert_eq!(client.dead_letters("workers").count(), Ok(0));
    drop(held);
    let letters = client.dead_letters("workers");
    wait_for("the letters", || letters.count() == Ok(2));
}

#[test]
fn members_that_say_otherwise_of_the_policy_are_refused() {
    let server = server();
    let client = client(&server);
    let _member = jobs(&client).open().unwrap();
    let error = jobs(&client).in_flight_max(7).open().map(drop).unwrap_err();
    let SubscribeError::Refused { text } = &error else { panic!("{error}") };
    assert!(text.contains('7'), "{text}");
    drop(jobs(&client).open().unwrap());
}

#[test]
fn what_is_said_before_a_subscription_ends_counts() {
    const JOBS: usize = 5000;
    let server = server();
    let client = client(&server);
    let mut member = jobs(&client).open().unwrap();
    for _ in 0..JOBS {
        client.message("jobs.new", "x").ack().publish().unwrap();
    }
    client.flush().unwrap();
    for n in 0..JOBS {
        let job = member.recv_timeout(LONG).unwrap();
        if n % 2 == 0 { job.ack() } else { job.reject("odd") }
    }
    drop(member);
    wait_for("its end", || client.groups().get("workers").unwrap().is_none());
    assert_eq!(client.dead_letters("workers").count(), Ok(JOBS as u64 / 2));
    assert_eq!(server.metrics().pending_messages, JOBS as u64 / 2);
}

#[test]
fn a_thousand_jobs_are_settled_each_once_by_several_readers() {
    const JOBS: usize = 1000;
    let server = server();
    let publisher = client(&server);
    let clients: Vec<_> = (0..4).map(|_| client(&server)).collect();
    let (seen, done) = unbounded();
    std::thread::scope(|scope| {
        for client in &clients {
            let (mut member, seen) = (jobs(client).open().unwrap(), seen.clone());
            scope.spawn(move || {
                while let Ok(job) = member.recv() {
                    seen.send(job.text().unwrap().parse::<usize>().unwrap()).unwrap();
                    job.ack();
                }
            });
        }
        for n in 0..JOBS {
            publisher.message("jobs.new", n.to_string()).ack().publish().unwrap();
        }
        publisher.flush().unwrap();
        wait_for("the acknowledgements", || server.metrics().pending_messages == 0);
        clients.iter().for_each(Client::stop);
    });
    let mut all: Vec<_> = done.try_iter().collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..JOBS));
}

#[test]
fn the_unread_jobs_of_a_frame_are_not_handed_out_once_they_are_others() {
    let server = server();
    let clients = [client(&server), client(&server)];
    let publisher = client(&server);
    for n in 0..10 {
        publisher.message("jobs.new", n.to_string()).ack().publish().unwrap();
    }
    publisher.flush().unwrap();
    let mut leaving = jobs(&clients[0]).open().unwrap();
    wait_for("the jobs", || clients[0].counters().received == 10);
    let first = leaving.recv_timeout(LONG).unwrap();
    assert_eq!(first.text(), Some("0"));
    clients[0].stop();
    assert_eq!(leaving.recv().unwrap_err(), ReceiveError::Closed);
    let mut staying = jobs(&clients[1]).open().unwrap();
    for n in 0..10 {
        assert_eq!(staying.recv_timeout(LONG).unwrap().text(), Some(&*n.to_string()));
    }
}

#[test]
fn verdicts_of_many_kinds_are_said_without_waiting_for_each_other() {
    const JOBS: u64 = 2000;
    let server = server();
    let client = client(&server);
    let mut member = jobs(&client).open().unwrap();
    for n in 0..JOBS {
        client.message("jobs.new", n.to_string()).ack().publish().unwrap();
    }
    for n in 0..JOBS {
        let job = member.recv_timeout(LONG).unwrap();
        if n % 2 == 0 { job.ack() } else { job.reject(["odd", "very odd"][(n % 4 / 2) as usize]) }
    }
    let letters = client.dead_letters("workers");
    wait_for("the letters", || letters.count() == Ok(JOBS / 2));
    wait_for("the acknowledgements", || client.counters().acknowledged == JOBS / 2);
}

#[test]
fn a_connection_has_so_many_memberships_and_another_one_has_its_own() {
    let server = server();
    let [full, other] = [client(&server), client(&server)];
    let members: Vec<_> = (0..MEMBERSHIPS_MAX_EACH).map(|_| jobs(&full).open().unwrap()).collect();
    let error = jobs(&full).open().map(drop).unwrap_err();
    let SubscribeError::Refused { text } = &error else { panic!("{error}") };
    assert!(text.contains("1000 subscriptions in groups"), "{text}");
    drop(jobs(&other).open().unwrap());
    drop(members);
    drop(jobs(&full).open().unwrap());
}
