//! Options that change what is printed, or what a group is.

use mezzenger::{Filter, Group};
use serde_json::{Value, json};

use crate::broker::{Broker, DEADLINE, check_ok, finish};

/// Bytes that are no text, and do something to a terminal.
const BYTES: &[u8] = b"\x1b\xff";

/// The bytes, as they are printed for people.
const ESCAPED: &str = "\\x1b\\xff\n";

#[test]
fn an_answer_is_printed_for_people_for_programs_or_byte_for_byte() {
    let broker = Broker::start();
    let answerer = broker.client();
    let requests = answerer.subscription("ask").expect("a subscription");
    let answering = std::thread::spawn(move || {
        for request in requests.take(3) {
            request.reply(BYTES).expect("the server takes it");
        }
        answerer.flush().expect("the server takes it");
    });
    assert_eq!(check_ok(&broker.run(&["request", "ask", "?"])), ESCAPED);
    let raw = broker.run(&["request", "ask", "?", "--raw"]);
    assert_eq!(raw.stdout, [BYTES, b"\n"].concat());
    let answer = check_ok(&broker.run(&["request", "ask", "?", "--json"]));
    let answer: Value = serde_json::from_str(&answer).expect("an object");
    assert_eq!((&answer["payload"], &answer["encoding"]), (&json!("G/8="), &json!("bytes")));
    assert_eq!((&answer["ack"], &answer["attempt"]), (&json!(false), &json!(0)));
    answering.join().expect("three answers");
    let both = broker.run(&["request", "ask", "?", "--raw", "--json"]);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn so_many_dead_letters_are_listed_and_one_is_shown_byte_for_byte() {
    let broker = Broker::start();
    let client = broker.client();
    let mut jobs = client.subscription_to(Filter::name("jobs")).group("g").open().expect("a group");
    for _ in 0..3 {
        client.message("jobs", BYTES).ack().send().expect("the server takes it");
        jobs.recv_timeout(DEADLINE).expect("a job").reject("no");
    }
    while client.dead_letters("g").count() != Ok(3) {
        std::thread::yield_now();
    }
    let all = check_ok(&broker.run(&["dead", "list", "g"]));
    let lines: Vec<_> = all.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 3);
    for limit in [0, 2] {
        let some = broker.run(&["dead", "list", "g", "--limit", &limit.to_string()]);
        assert_eq!(check_ok(&some), lines[..limit].concat());
    }
    let (id, _) = lines[1].split_once(' ').expect("an id");
    let shown = broker.run(&["dead", "show", "g", id]);
    assert_eq!(check_ok(&shown), [lines[1], ESCAPED].concat());
    let raw = broker.run(&["dead", "show", "g", id, "--raw"]);
    assert_eq!(raw.stdout, [lines[1].as_bytes(), BYTES, b"\n"].concat());
}

#[test]
fn a_group_that_is_created_is_printed_for_programs() {
    let broker = Broker::start();
    let create = ["group", "create", "jobs", "g", "--ack-wait", "7s", "--json"];
    let expected = json!({
        "name": "g",
        "durable": true,
        "filter": { "name": "jobs" },
        "ack_wait_ms": 7000,
        "in_flight_max": 8192,
        "attempts_max": 0,
        "backoff_ms": [],
        "keeps_expired": false,
        "members": 0,
        "waiting": 0,
        "in_flight": 0,
        "dead_letters": 0,
    });
    let group: Value = serde_json::from_str(&check_ok(&broker.run(&create))).expect("an object");
    assert_eq!(group, expected);
}

#[test]
fn a_worker_makes_its_group_what_it_asks_for() {
    let broker = Broker::start();
    let client = broker.client();
    for durable in [&[][..], &["--durable"]] {
        let terms = ["--ack-wait", "7s", "--keep-expired", "--count", "1"];
        let work = [&["work", "jobs", "--group", "g"], durable, &terms, &["--", "cat"]].concat();
        let mut working = broker.spawn(&work);
        let get = || client.groups().get("g").expect("an answer");
        let group = loop {
            if let Some(group @ Group { members: 1, .. }) = get() {
                break group;
            }
            assert!(working.try_wait().expect("it can be asked").is_none(), "it has ended");
            std::thread::yield_now();
        };
        assert_eq!(group.is_durable, !durable.is_empty());
        assert_eq!((group.ack_wait.as_secs(), group.keeps_expired), (7, true));
        client.message("jobs", "done").ack().send().expect("the server takes it");
        assert_eq!(check_ok(&finish(working)), "done");
        // A worker that asks for something else is told so.
        while get().is_some_and(|group| group.members > 0) {
            std::thread::yield_now();
        }
    }
    let other = ["work", "jobs", "--group", "g", "--ack-wait", "8s", "--", "cat"];
    let refused = broker.run(&other);
    assert_eq!(refused.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(stderr.contains("7s, not 8s"), "{stderr}");
}
