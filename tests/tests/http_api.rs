//! The API of the real server: what it tells is what happened, its description describes it, and what it changes is changed.

use std::collections::BTreeSet;

use mezzenger::Filter;
use serde_json::{Value, json};

use crate::harness::binaries::workspace;
use crate::harness::http::{self, get, get_json, post};
use crate::harness::python::http_script;
use crate::harness::{PATIENCE, Server, eventually};

fn items(of: &Value) -> &[Value] {
    of["items"].as_array().unwrap()
}

/// A field of each item.
fn all<'a>(of: &'a Value, field: &str) -> Vec<&'a str> {
    items(of).iter().map(|item| item[field].as_str().unwrap()).collect()
}

#[test]
fn what_is_told_is_what_happened() {
    let server = Server::start(&["--http", "127.0.0.1:0"]);
    let (at, client) = (http::address(&server), server.client());
    let delayed = std::time::Duration::from_secs(3600);
    client.message("nobody", "1").ack().send().unwrap();
    client.message("later", "22").ack().deliver_in(delayed).send().unwrap();
    client.message("price", "333").retain().send().unwrap();
    let mut jobs = client.subscription_to(Filter::name("orders")).group("packers").open().unwrap();
    let _listener = client.subscription("listened").unwrap();
    client.message("listened", "4444").ack().send().unwrap();
    client.message("orders", "55555").ack().send().unwrap();
    let job = jobs.recv_timeout(PATIENCE).unwrap();

    let status = get_json(at, "/api/v1/status");
    assert_eq!(status["messages"]["accepted"], 5, "{status}");
    assert_eq!(status["messages"]["retained"], 1);
    assert_eq!(status["messages"]["delayed"], 1);
    assert_eq!(status["pending"]["messages"], 4);
    assert!(status["pending"]["oldest_seconds"].as_f64().unwrap() < 60.0);
    assert_eq!(
        status["groups"],
        json!({ "count": 1, "members": 1, "unsettled": 1, "in_flight": 1, "redelivered": 0 })
    );
    assert_eq!(status["journal"], Value::Null);
    assert!(status["process"]["resident_bytes"].as_u64().unwrap() > 1 << 20);

    let pending = get_json(at, "/api/v1/pending");
    let mut found = Vec::new();
    let mut from = String::new();
    loop {
        let page = get_json(at, &format!("/api/v1/pending?limit=1&from={from}"));
        assert!(items(&page).len() <= 1);
        found.extend(items(&page).iter().map(|item| {
            let text = |field: &str| item[field].as_str().unwrap_or("-").to_owned();
            assert!(
                item["bytes"].as_u64().unwrap() > 0 && item["age_seconds"].as_f64().unwrap() < 60.0
            );
            (text("name"), text("state"), text("group"))
        }));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut from),
            None => break,
        }
    }
    let told: BTreeSet<_> = found.into_iter().collect();
    let of = |name: &str, state: &str, group: &str| {
        (name.to_owned(), state.to_owned(), group.to_owned())
    };
    let expected = [
        of("nobody", "waiting", "-"),
        of("listened", "delivered", "-"),
        of("orders", "group", "packers"),
        of("later", "delayed", "-"),
    ];
    assert_eq!(told, BTreeSet::from(expected), "{pending}");

    let groups = get_json(at, "/api/v1/groups");
    let group = &items(&groups)[0];
    assert_eq!(
        (&group["name"], &group["filter"], &group["members"]),
        (&json!("packers"), &json!("the name 'orders'"), &json!(1))
    );
    assert_eq!(
        (&group["waiting"], &group["in_flight"], &group["durable"]),
        (&json!(0), &json!(1), &json!(false))
    );
    let names = get_json(at, "/api/v1/names");
    let listened = items(&names).iter().find(|item| item["name"] == "listened").unwrap();
    assert_eq!((&listened["messages"], &listened["subscribers"]), (&json!(1), &json!(1)));
    assert_eq!(all(&get_json(at, "/api/v1/retained"), "name"), ["price"]);
    let connections = get_json(at, "/api/v1/connections");
    let own = items(&connections).iter().find(|item| item["publisher"].is_string()).unwrap();
    assert_eq!(
        (&own["port"], &own["open"], &own["held"]),
        (&json!("requests"), &json!(true), &json!(false))
    );
    assert!(own["received_bytes"].as_u64().unwrap() > 0 && own["sent_bytes"].as_u64().unwrap() > 0);
    assert_eq!(own["subscriptions"], 2);
    job.ack();
    eventually("the acknowledgement", || {
        (get_json(at, "/api/v1/status")["messages"]["acknowledged"] == 1).then_some(())
    });
}

#[test]
fn long_lists_come_in_parts_without_gaps_or_repeats() {
    let server = Server::start(&["--http", "127.0.0.1:0"]);
    let (at, client) = (http::address(&server), server.client());
    for n in 0..300 {
        client.message(&format!("name.{n:03}"), "x").ack().retain().send().unwrap();
    }
    for n in 0..9 {
        client.groups().durable(format!("group {n}"), Filter::name("x")).create().unwrap();
    }
    for (what, field, expected) in [
        ("pending", "name", 300),
        ("retained", "name", 300),
        ("names", "name", 301),
        ("groups", "name", 9),
    ] {
        let (mut found, mut from, mut parts) = (Vec::new(), String::new(), 0);
        loop {
            let page =
                get_json(at, &format!("/api/v1/{what}?limit=7&from={}", from.replace(' ', "%20")));
            assert!(items(&page).len() <= 7);
            found.extend(items(&page).iter().map(|item| item[field].to_string()));
            parts += 1;
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut from),
                None => break,
            }
        }
        let different: BTreeSet<_> = found.iter().collect();
        assert_eq!((found.len(), different.len()), (expected, expected), "{what}");
        assert!(parts > 1, "{what}");
    }
}

/// A server with dead letters of a group, whose member goes on rejecting what it gets.
fn with_dead_letters() -> (Server, std::net::SocketAddr) {
    let server = Server::start(&["--http", "127.0.0.1:0"]);
    let at = http::address(&server);
    let client = server.client();
    client.groups().durable("packers", Filter::name("orders")).create().unwrap();
    for _ in 0..3 {
        client.message("orders", "tea").ack().send().unwrap();
    }
    let mut jobs = client.subscription_to(Filter::name("orders")).group("packers").open().unwrap();
    for _ in 0..3 {
        jobs.recv_timeout(PATIENCE).unwrap().reject("no such \"tea\" <b>");
    }
    eventually("the dead letters", || {
        (items(&get_json(at, "/api/v1/dead")).len() == 3).then_some(())
    });
    drop(jobs);
    client.stop();
    (server, at)
}

#[test]
fn dead_letters_are_listed_replayed_and_purged() {
    let (_server, at) = with_dead_letters();
    let dead = get_json(at, "/api/v1/dead?group=packers");
    let first = &items(&dead)[0];
    assert_eq!(
        (&first["cause"], &first["reason"], &first["attempts"]),
        (&json!("rejected"), &json!("no such \"tea\" <b>"), &json!(1))
    );
    let replayed =
        post(at, "/api/v1/dead/replay", &json!({ "group": "packers", "ids": [first["id"]] }));
    assert_eq!((replayed.status, replayed.json()), (200, json!({ "done": 1, "next": null })));
    let again =
        post(at, "/api/v1/dead/replay", &json!({ "group": "packers", "ids": [first["id"]] }));
    assert_eq!(again.status, 409, "{again:?}");
    let groups = get_json(at, "/api/v1/groups");
    let group = &items(&groups)[0];
    assert_eq!(
        (&group["waiting"], &group["dead_letters"], &group["given_up"]),
        (&json!(1), &json!(2), &json!(3))
    );
    let purged = post(at, "/api/v1/dead/purge", &json!({ "group": "packers", "all": true }));
    assert_eq!((purged.status, purged.json()), (200, json!({ "done": 2, "next": null })));
    assert!(items(&get_json(at, "/api/v1/dead")).is_empty());
    for body in [
        json!({}),
        json!({ "group": "packers" }),
        json!({ "group": "packers", "ids": [] }),
        json!({ "group": "packers", "ids": ["x"] }),
        json!({ "group": "packers", "all": true, "ids": [first["id"]] }),
        json!({ "group": "packers", "all": true, "more": 1 }),
        json!([]),
    ] {
        assert_eq!(post(at, "/api/v1/dead/purge", &body).status, 400, "{body}");
    }
    let unknown = post(at, "/api/v1/dead/purge", &json!({ "group": "nobody", "all": true }));
    assert_eq!(unknown.status, 409);
    assert!(unknown.json()["error"].as_str().unwrap().contains("nobody"), "{unknown:?}");
}

#[test]
fn a_connection_is_closed_and_its_client_comes_again() {
    let server = Server::start(&["--http", "127.0.0.1:0"]);
    let (at, client) = (http::address(&server), server.client());
    client.message("orders", "tea").send().unwrap();
    let connections = get_json(at, "/api/v1/connections");
    let own = items(&connections).iter().find(|item| item["publisher"].is_string()).unwrap();
    let path = format!("/api/v1/connections/{}/close", own["id"].as_str().unwrap());
    assert_eq!(get(at, &path).status, 405);
    let closed = post(at, &path, &json!({}));
    assert_eq!((closed.status, closed.json()), (200, json!({ "closed": true })));
    assert_eq!(post(at, &path, &json!({})).status, 404);
    client.message("orders", "milk").send().unwrap();
    assert!(server.process.stderr().contains("an operator asked for that"));
}

/// The description is held against the server by schemathesis, which sends what it allows and what it does not, and reads
/// each answer by it.
#[test]
fn the_description_of_the_api_describes_it() {
    let (_server, at) = with_dead_letters();
    let served = get(at, "/api/v1/openapi.json");
    let file = workspace().join("server/src/http/openapi.json");
    assert_eq!(served.body, std::fs::read_to_string(file).unwrap());
    let output = http_script("api.py").arg(format!("http://{at}")).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{told}");
}
