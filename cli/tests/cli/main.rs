//! The `mezzenger` command against a real server.

mod broker;
mod dead;
mod journal;
mod options;
mod terminal;
mod work;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};

use serde_json::Value;

use self::broker::{Broker, DEADLINE, check_ok, finish};

#[test]
fn what_is_published_is_printed_and_settled() {
    let broker = Broker::start();
    let subscriber = broker.subscribe(&["greet", "--count", "1"]);
    assert_eq!(check_ok(&broker.run(&["pub", "greet", "hello", "--ack"])), "");
    assert_eq!(check_ok(&finish(subscriber)), "hello\n");
    assert_eq!(broker.server.metrics().pending_messages, 0);
}

#[test]
fn bytes_from_stdin_and_files_arrive_as_they_are() {
    let broker = Broker::start();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), b"two\n\xff").expect("a file can be written");
    let file = file.path().to_str().expect("a path in UTF-8");
    check_ok(&broker.run_with(&["pub", "b", "-", "--ack"], b"one\xff"));
    check_ok(&broker.run(&["pub", "b", "--file", file, "--ack"]));
    let mut lines: Vec<_> = check_ok(&finish(broker.subscribe(&["b", "--count", "2"])))
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    assert_eq!(lines, ["one\\xff", "two\\n\\xff"]);
    check_ok(&broker.run_with(&["pub", "b", "-", "--ack"], b"\x1b\xff"));
    let raw = finish(broker.subscribe(&["b", "--count", "1", "--raw"]));
    assert_eq!(raw.stdout, b"\x1b\xff\n");
}

#[test]
fn the_servers_limit_is_the_only_one_for_the_size_of_a_message() {
    let broker = Broker::start_with(|server| server.max_message_bytes(65 * 1024 * 1024));
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let (large, larger) = (64 * 1024 * 1024 + 1, 65 * 1024 * 1024);
    let path = file.path().to_str().expect("a path in UTF-8");
    file.as_file().set_len(large).expect("a file can be made larger");
    check_ok(&broker.run(&["pub", "b", "--file", path, "--ack"]));
    let raw = finish(broker.subscribe(&["b", "--count", "1", "--raw"]));
    assert_eq!(raw.stdout.len() as u64, large + 1);
    file.as_file().set_len(larger).expect("a file can be made larger");
    let refused = broker.run(&["pub", "b", "--file", path]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(stderr.contains("raise the server's --max-message-size"), "{stderr}");
}

#[test]
fn a_wildcard_that_is_none_is_said() {
    let broker = Broker::start();
    let client = broker.client();
    for (name, filter) in [("jobs*", &["jobs*"][..]), ("jobs.*.a", &["jobs.*", "--prefix"])] {
        client.message(name, "x").ack().send().expect("the server takes it");
        let subscriber = broker.subscribe(&[filter, &["--count", "1"]].concat());
        let output = finish(subscriber);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("stands for itself"), "{stderr}");
        assert_eq!(output.stdout, b"x\n");
    }
}

#[test]
fn what_expired_is_printed_by_nobody() {
    let broker = Broker::start();
    check_ok(&broker.run(&["pub", "greet", "over", "--ack", "--expires", "1ms"]));
    check_ok(&broker.run(&["pub", "greet", "hello", "--ack", "--expires", "1h"]));
    assert_eq!(check_ok(&finish(broker.subscribe(&["greet", "--count", "1"]))), "hello\n");
    assert_eq!(broker.server.metrics().expired, 1);
    let output = broker.run(&["pub", "greet", "x", "--expires", "soon"]);
    assert_eq!(output.status.code(), Some(2));
    // Nobody would ever get it.
    let output = broker.run(&["pub", "greet", "x", "--expires", "1s", "--delay", "2s"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("over 1000 ms before its delivery"), "{stderr}");
}

#[test]
fn a_delayed_message_is_printed_behind_what_came_meanwhile() {
    let broker = Broker::start();
    check_ok(&broker.run(&["pub", "greet", "later", "--ack", "--delay", "2"]));
    assert_eq!(broker.server.metrics().pending_messages, 1);
    let subscriber = broker.subscribe(&["greet", "--count", "2"]);
    check_ok(&broker.run(&["pub", "greet", "now", "--ack", "--delay", "0"]));
    assert_eq!(check_ok(&finish(subscriber)), "now\nlater\n");
}

#[test]
fn the_last_value_of_a_name_is_printed_listed_and_cleared() {
    let broker = Broker::start();
    for text in ["6", "7"] {
        check_ok(&broker.run(&["pub", "price.tea", text, "--retain"]));
    }
    check_ok(&broker.run(&["pub", "price.milk", "1", "--retain"]));
    let last = &["sub", "price.*", "--last", "--count", "2"];
    assert_eq!(check_ok(&finish(broker.spawn(last))), "1\n7\n");
    let message = check_ok(&broker.run(&["sub", "price.tea", "--last", "--count", "1", "--json"]));
    let message: Value = serde_json::from_str(&message).expect("an object");
    assert_eq!(message["retained"], true);
    let listed = check_ok(&broker.run(&["retained", "list"]));
    let names: Vec<_> = listed.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["price.milk", "price.tea"]);
    let cleared = check_ok(&broker.run(&["retained", "clear", "price.milk", "--json"]));
    assert_eq!(cleared, "{\"cleared\":\"price.milk\"}\n");
    assert_eq!(check_ok(&broker.run(&["retained", "clear", "price.milk"])), "");
    let listed = check_ok(&broker.run(&["retained", "list", "price.>", "--json"]));
    let object: Value = serde_json::from_str(&listed).expect("an object");
    assert_eq!((&object["name"], object["bytes"].is_u64()), (&"price.tea".into(), true));
    assert_eq!(
        check_ok(&broker.run(&["retained", "list", "price", "--prefix", "--limit", "0"])),
        ""
    );
}

#[test]
fn what_is_published_again_under_a_key_is_published_once() {
    let broker = Broker::start();
    for _ in 0..2 {
        check_ok(&broker.run(&["pub", "greet", "hello", "--ack", "--key", "order-17"]));
    }
    assert_eq!(broker.server.metrics().pending_messages, 1);
}

#[test]
fn json_tells_everything() {
    let broker = Broker::start();
    check_ok(&broker.run(&["pub", "greet.de", "grüße", "--ack", "--header", "a=b=c"]));
    let output = broker.subscribe(&["greet", "--prefix", "--json", "--count", "1"]);
    let message: Value = serde_json::from_str(&check_ok(&finish(output))).expect("an object");
    let object = message.as_object().expect("an object");
    let mut keys: Vec<_> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "ack",
            "attempt",
            "checksum",
            "content_type",
            "encoding",
            "headers",
            "id",
            "name",
            "payload",
            "redelivered",
            "retained",
            "timestamp",
            "type"
        ]
    );
    assert_eq!(message["name"], "greet.de");
    assert_eq!(message["payload"], "grüße");
    assert_eq!(message["encoding"], "text");
    assert_eq!((&message["ack"], &message["retained"]), (&true.into(), &false.into()));
    assert_eq!(message["headers"], serde_json::json!([["a", "b=c"]]));
    assert_eq!(message["checksum"].as_str().map(str::len), Some(32));
}

#[test]
fn each_line_of_stdin_is_a_message() {
    let broker = Broker::start();
    let client = broker.client();
    let mut subscription = client.subscription("lines").expect("a subscription");
    check_ok(&broker.run_with(&["pub", "lines", "-", "--lines"], b"one\n\nthree"));
    for expected in ["one", "", "three"] {
        let message = subscription.recv_timeout(DEADLINE).expect("a message");
        assert_eq!(message.text(), Some(expected));
    }
}

#[test]
fn ping_prints_a_time() {
    let text = check_ok(&Broker::start().run(&["ping"]));
    assert!(text.contains("answered in") && text.ends_with(" µs\n"), "{text}");
}

#[test]
fn a_closed_output_and_a_signal_end_a_subscription_quietly() {
    let broker = Broker::start();
    let client = broker.client();
    let first_line = |child: &mut Child| {
        client.message("x", "1").ack().send().expect("the server takes it");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut line).expect("a line");
        assert_eq!(line, "1\n");
        stdout
    };

    let mut closed = broker.subscribe(&["x"]);
    drop(first_line(&mut closed));
    // A process that another test has just forked may hold the pipe open for a moment.
    while closed.try_wait().expect("it runs or has ended").is_none() {
        client.message("x", "1").send().expect("the server takes it");
    }
    assert_eq!(check_ok(&finish(closed)), "");

    let mut interrupted = broker.subscribe(&["x"]);
    let mut stdout = first_line(&mut interrupted);
    let pid = interrupted.id().to_string();
    let kill = Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
    assert!(kill.success());
    stdout.read_to_string(&mut String::new()).expect("the output ends");
    assert_eq!(check_ok(&finish(interrupted)), "");
}

#[test]
fn who_looks_on_takes_no_job_and_a_pattern_fits_several_names() {
    let broker = Broker::start();
    let client = broker.client();
    let mut child = broker.spawn(&["sub", "orders.>", "--count", "2"]);
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    // It gets what is published once it is there; each time another one, so that it does not wait for this one.
    let there = std::thread::spawn(move || {
        stdout.read_line(&mut line).expect("a line");
        stdout.read_line(&mut line).expect("a line");
        line
    });
    while !there.is_finished() {
        client.message("orders.new", "tea").ack().send().expect("the server takes it");
    }
    assert_eq!(there.join().expect("two lines"), "tea\ntea\n");
    assert_eq!(check_ok(&finish(child)), "");
    let metrics = broker.server.metrics();
    assert_eq!((metrics.pending_messages > 1, metrics.settled), (true, 0));
}

#[test]
fn what_fails_too_often_is_a_dead_letter_that_is_listed_shown_replayed_and_purged() {
    let broker = Broker::start();
    let client = broker.client();
    client.message("jobs.bad", "poi\u{1b}son").ack().send().expect("the server takes it");
    client.message("jobs.bad", "fine").ack().send().expect("the server takes it");
    let work = ["work", "jobs.*", "--group", "g", "--retry-delay", "1ms", "--max-attempts", "2"];
    let script = r#"read -r text; [ "$text" = fine ]"#;
    let mut child = broker.spawn(&[&work[..], &["--", "sh", "-c", script]].concat());
    let letters = client.dead_letters("g");
    while letters.count() != Ok(1) || broker.server.metrics().settled != 1 {
        std::thread::yield_now();
    }
    let listed = check_ok(&broker.run(&["dead", "list"]));
    let (id, rest) = listed.split_once(' ').expect("an id");
    assert!(rest.contains("attempts 2  g  jobs.bad  its attempts were used up\n"), "{listed}");
    assert_eq!(listed.lines().count(), 1);
    let json = check_ok(&broker.run(&["dead", "show", "g", id, "--json"]));
    let letter: Value = serde_json::from_str(&json).expect("an object");
    assert_eq!(letter["filter"], serde_json::json!({ "pattern": "jobs.*" }));
    assert_eq!(
        (&letter["id"], &letter["message"]["payload"]),
        (&id.into(), &"poi\u{1b}son".into())
    );
    // It fails twice again.
    assert_eq!(check_ok(&broker.run(&["dead", "replay", "g", "--all"])), "1 replayed\n");
    while letters.count() != Ok(1) {
        std::thread::yield_now();
    }
    let again = broker.run(&["dead", "replay", "g", "--name", "jobs.none", "--json"]);
    assert_eq!(check_ok(&again), "{\"replayed\":0}\n");
    assert_eq!(check_ok(&broker.run(&["dead", "purge", "g", id])), "1 purged\n");
    let again = broker.run(&["dead", "purge", "g", "--all", "--json"]);
    assert_eq!(check_ok(&again), "{\"purged\":0}\n");
    assert_eq!(check_ok(&broker.run(&["dead", "list", "g", "--json"])), "");
    let gone = broker.run(&["dead", "show", "g", id]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains(id));
    child.kill().expect("it runs");
    let worked = finish(child);
    let stderr = String::from_utf8_lossy(&worked.stderr);
    assert!(stderr.contains("attempt 2; it becomes a dead letter"), "{stderr}");
}

#[test]
fn a_server_that_is_away_is_one_line_and_exit_1() {
    // The discard port: nothing listens there.
    for args in [&["ping"][..], &["pub", "a", "b"], &["sub", "a"], &["sub", "ping", "--prefix"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_mezzenger"))
            .args(args)
            .args(["--port", "9", "--timeout", "200ms"])
            .output()
            .expect("mezzenger starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains("could not connect to 127.0.0.1:9"), "{stderr}");
    }
}

#[test]
fn a_file_that_is_not_there_is_exit_1_and_its_name_does_nothing_to_a_terminal() {
    let output = Command::new(env!("CARGO_BIN_EXE_mezzenger"))
        .args(["pub", "a", "--file", "/nowhere/at/all\u{1b}[2J\u{9b}"])
        .output()
        .expect("mezzenger starts");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("/nowhere/at/all\\u{1b}[2J\\u{9b} could not be read"), "{stderr}");
}

#[test]
fn json_has_no_control_characters() {
    let broker = Broker::start();
    check_ok(&broker.run(&["pub", "a", "\u{1b}[2J\u{7f}\u{9b}ü", "--ack"]));
    let printed = check_ok(&finish(broker.subscribe(&["a", "--json", "--count", "1"])));
    assert!(printed.contains(r#""\u001b[2J\u007f\u009bü""#), "{printed}");
}

#[test]
fn what_nobody_got_and_nobody_keeps_is_said() {
    let broker = Broker::start();
    let client = broker.client();
    let output = broker.run(&["pub", "a", "1", "--json"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"{\"receivers\":0}\n"[..]));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("nobody got the message") && stderr.contains("--ack"), "{stderr}");
    let lines = broker.run_with(&["pub", "a", "-", "--lines"], b"1\n2\n");
    let stderr = String::from_utf8_lossy(&lines.stderr);
    assert_eq!(lines.status.code(), Some(0));
    assert!(stderr.contains("nobody got 2 of 2 messages"), "{stderr}");
    // Those are kept, or may have been published before.
    for option in [&["--ack"][..], &["--retain"], &["--delay", "1h"], &["--key", "k"]] {
        check_ok(&broker.run(&[&["pub", "a", "1"], option].concat()));
    }
    let _messages = client.subscription("a").expect("a subscription");
    let heard = check_ok(&broker.run(&["pub", "a", "1", "--json"]));
    assert_eq!(heard, "{\"receivers\":1}\n");
}

#[test]
fn a_durable_group_is_created_listed_worked_for_and_deleted() {
    let broker = Broker::start();
    let create = ["group", "create", "jobs.*", "g", "--max-attempts", "2", "--backoff", "1ms,2ms"];
    let line = |members, waiting| {
        format!(
            "g  durable  the pattern 'jobs.*'  members {members}  waiting {waiting}  in flight 0  dead letters 0\n"
        )
    };
    for _ in 0..2 {
        assert_eq!(check_ok(&broker.run(&create)), line(0, 0));
    }
    check_ok(&broker.run(&["pub", "jobs.new", "one", "--ack"]));
    assert_eq!(check_ok(&broker.run(&["group", "list"])), line(0, 1));
    let json = check_ok(&broker.run(&["group", "list", "--json"]));
    let group: Value = serde_json::from_str(&json).expect("an object");
    assert_eq!(group["filter"], serde_json::json!({ "pattern": "jobs.*" }));
    assert_eq!((&group["attempts_max"], &group["waiting"]), (&2.into(), &1.into()));
    assert_eq!(group["backoff_ms"], serde_json::json!([1, 2]));
    // It is as it is, and another one is refused.
    let other = broker.run(&["group", "create", "jobs.*", "g", "--in-flight", "7"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("in flight are at most 8192, not 7"));
    // Whoever joins it takes its terms.
    let sub = ["sub", "jobs.*", "--group", "g", "--durable", "--count", "1"];
    assert_eq!(check_ok(&broker.run(&sub)), "one\n");
    check_ok(&broker.run(&["pub", "jobs.new", "two", "--ack"]));
    let kept = broker.run(&["group", "delete", "g"]);
    assert_eq!(kept.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&kept.stderr);
    assert!(stderr.contains("has 1 waiting message:") && stderr.contains("--discard"), "{stderr}");
    let work = ["work", "jobs.*", "--group", "g", "--count", "1", "--", "cat"];
    assert_eq!(check_ok(&broker.run(&work)), "two");
    assert_eq!(broker.server.metrics().pending_messages, 0);
    // One that is not there is created.
    let work = ["work", "jobs.*", "--group", "h", "--durable", "--count", "1", "--", "cat"];
    let child = broker.spawn(&work);
    let client = broker.client();
    while client.groups().get("h").expect("an answer").is_none_or(|group| group.members == 0) {
        std::thread::yield_now();
    }
    check_ok(&broker.run(&["pub", "jobs.new", "three", "--ack"]));
    assert_eq!(check_ok(&finish(child)), "three");
    for group in ["g", "h"] {
        while client.groups().get(group).expect("an answer").is_some_and(|it| it.members > 0) {
            std::thread::yield_now();
        }
    }
    check_ok(&broker.run(&["pub", "jobs.new", "four", "--ack"]));
    assert_eq!(check_ok(&broker.run(&["group", "delete", "g", "--discard"])), "g deleted\n");
    assert_eq!(check_ok(&broker.run(&["sub", "jobs.*", "--group", "h", "--count", "1"])), "four\n");
    while client.groups().get("h").expect("an answer").is_some_and(|it| it.members > 0) {
        std::thread::yield_now();
    }
    assert_eq!(check_ok(&broker.run(&["group", "delete", "h", "--json"])), "{\"deleted\":\"h\"}\n");
    assert_eq!(check_ok(&broker.run(&["group", "list"])), "");
    let gone = broker.run(&["group", "delete", "g"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("there is no group 'g'"));
}

#[test]
fn what_expires_in_a_group_that_keeps_it_is_a_dead_letter() {
    let broker = Broker::start();
    check_ok(&broker.run(&["group", "create", "jobs.*", "g", "--keep-expired"]));
    check_ok(&broker.run(&["pub", "jobs.new", "late", "--ack", "--expires", "1ms"]));
    while broker.server.metrics().dead_letters == 0 {
        std::thread::yield_now();
    }
    assert!(check_ok(&broker.run(&["dead", "list", "g"])).ends_with("jobs.new  expired\n"));
    let json = check_ok(&broker.run(&["dead", "list", "g", "--json"]));
    assert!(json.contains(r#""cause":"expired""#), "{json}");
    check_ok(&broker.run(&["dead", "replay", "g", "--all"]));
    assert_eq!(check_ok(&broker.run(&["sub", "jobs.*", "--group", "g", "--count", "1"])), "late\n");
}

/// Expects a usage error that mentions `text`.
#[track_caller]
fn check_usage(args: &[&str], text: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_mezzenger"))
        .args(args)
        .output()
        .expect("mezzenger starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains(text), "{stderr}");
}

#[test]
fn usage_errors_are_exit_2_and_say_what_is_wrong() {
    check_usage(&[], "Usage");
    check_usage(&["pub", "a"], "required");
    check_usage(&["pub", "a", "b", "--file", "c"], "--file");
    check_usage(&["pub", "a|b", "c"], "a|b");
    check_usage(&["pub", "ping", "c"], "ping");
    check_usage(&["pub", "jobs.*", "c"], "published under one name");
    check_usage(&["request", "jobs.>", "c"], "published under one name");
    check_usage(&["pub", "a", "b", "--expires", "0"], "at least 1ms");
    check_usage(&["group", "create", "packers", "jobs.*"], "a group's name must not hold '*'");
    check_usage(&["work", "jobs", "--group", "jobs.>", "--", "cat"], "must not hold '>'");
    check_usage(&["pub", "a", "b", "--lines"], "--lines");
    check_usage(&["sub", ""], "name");
    check_usage(&["sub", "ping"], "ping");
    check_usage(&["sub", "ack"], "ack");
    check_usage(&["sub", "a..>"], "token 2 of a pattern is empty");
    check_usage(&["sub", "a", "--count", "0"], "'--count <N>': give 1 or more");
    check_usage(&["pub", "a", "b", "--deliver-at", "tomorrow"], "such as 2027-01-31T08:00:00Z");
    check_usage(&["sub", "a", "--ack", "--group", "g"], "--group");
    check_usage(&["pub", "a", "b", "--header", "c"], "KEY=VALUE");
    check_usage(&["request", "ping", "b"], "ping");
    check_usage(
        &["dead", "replay", "g"],
        "dead replay [OPTIONS] <GROUP> <IDS...|--name <NAME>|--all>",
    );
    check_usage(&["dead", "purge"], "dead purge [OPTIONS] <GROUP> <IDS...|--name <NAME>|--all>");
    check_usage(&["dead", "show", "g", "1"], "16 hexadecimal digits");
    check_usage(&["work", "a", "--", "cat"], "--group");
    check_usage(&["sub", "a", "--durable"], "--group");
    check_usage(&["group", "create", "a", "a|b"], "a|b");
    check_usage(&["group", "create", "a", "g", "--backoff", "1s,soon"], "--backoff");
    check_usage(&["work", "a", "--group", "g"], "COMMAND");
    check_usage(&["ping", "--timeout", "soon"], "--timeout");
}
