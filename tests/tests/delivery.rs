//! What groups and subscriptions promise at size: the program that measures it, with bounds that hold on any machine. What
//! it measures on a quiet one stands in RESULTS.md.

use std::process::Command;

use serde_json::Value;

use crate::harness::binaries;

/// What the program measures. It fails by itself when a message is lost, comes too often, or is no dead letter that has to be
/// one.
#[track_caller]
fn measure(args: &[&str]) -> Value {
    let output = Command::new(binaries::path("mezzenger-delivery")).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn a_thousand_messages_of_a_killed_worker_are_with_another_one_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let journal =
        format!("--server-arg=--persist-file={}", folder.path().join("journal").display());
    let worker_death = ["worker-death", "--rounds=3", "--in-flight=1000"];
    for more in [&[][..], &["--durable", journal.as_str()]] {
        let measured = measure(&[&worker_death[..], more].concat());
        assert_eq!(measured["rounds_ms"].as_array().map(Vec::len), Some(3), "{measured:#}");
        assert!(measured["max_ms"].as_f64().unwrap() < 1000.0, "{measured:#}");
    }
}

#[test]
fn poison_is_a_dead_letter_after_exactly_its_attempts_and_all_others_come_once() {
    let poison = ["poison", "--rounds=1", "--phase=1s", "--rate=1000", "--one-in=100"];
    let measured = measure(&[&poison[..], &["--attempts=4"]].concat());
    assert_eq!(measured["dead_letters"], 10, "{measured:#}");
}

#[test]
fn many_subscriptions_take_little_and_cost_a_message_that_fits_few_of_them_little() {
    // A pattern has a level of its own for each token.
    for (filter, bytes_max) in [("name", 300.0), ("prefix", 300.0), ("pattern", 1000.0)] {
        let subscriptions = ["subscriptions", "--count=50000", "--connections=50", "--rounds=9"];
        let filter = format!("--filter={filter}");
        let measured = measure(&[&subscriptions[..], &["--messages=50", &filter]].concat());
        assert!(measured["bytes_each"].as_f64().unwrap() < bytes_max, "{measured:#}");
        assert!(measured["ratio"].as_f64().unwrap() < 10.0, "{measured:#}");
    }
}
