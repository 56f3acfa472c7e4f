//! Each flag does what its help promises, seen from outside.

mod harness;

use serde_json::Value;

use harness::{check_usage, loadgen, run, run_all};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_count_is_published_to_the_message_and_measured_whole() {
    let report = run_all(&["--count", "1001", "--pubs", "3", "--subs", "2", "--rate", "5000"]);
    assert_eq!(report["published"], 1001);
    assert_eq!(report["latency_us"]["samples"], 2 * 1001);
    let report = run_all(&["--count", "7", "--pubs", "8"]);
    assert_eq!(report["published"], 7);
}

#[test]
fn a_ramp_sends_half_as_much_before_the_measured_time() {
    let flags = ["--rate", "1000", "--ramp", "1s", "--duration", "1s", "--warmup", "0"];
    let report = run_all(&flags);
    assert_eq!(report["published"], 500 + 1000);
    assert_eq!(report["latency_us"]["samples"], 1000);
}

#[test]
fn sizes_are_drawn_and_verified_at_each_subscriber() {
    let report = run(&["--size", "32..5000", "--subs", "2", "--names", "3"]);
    assert_eq!(report["config"]["size"], "32..5000");
    assert!(report["config"]["seed"].is_u64());
}

/// How many messages of 4000 were acknowledged.
fn settled(ratio: &str, seed: &str) -> u64 {
    let report = run_all(&["--count", "4000", "--ack-ratio", ratio, "--seed", seed]);
    assert_eq!(report["server"]["pending"], 0);
    report["server"]["settled"].as_u64().expect("a count")
}

#[test]
fn a_ratio_of_the_messages_is_acknowledged_and_the_seed_decides_which() {
    let quarter = settled("0.25", "7");
    // Seven standard deviations are 192.
    assert!((808..=1192).contains(&quarter), "{quarter}");
    assert_eq!(settled("0.25", "7"), quarter);
    assert_ne!(settled("0.25", "8"), quarter);
    assert_eq!(settled("1", "7"), 4000);
    assert_eq!(settled("0", "7"), 0);
}

#[test]
fn publishers_stay_within_the_window_of_a_slow_subscriber() {
    let slow = ["--subs", "2", "--slow-subs", "1", "--consumer-latency", "10ms"];
    let report = run(&[&slow[..], &["--inflight", "4"]].concat());
    assert_eq!(report["inflight"], 4);
    // 1.2 s at 10 ms a message, and what the window holds.
    let published = report["published"].as_u64().expect("a count");
    assert!((4..=124).contains(&published), "{published}");
}

#[test]
fn a_rate_that_is_not_reached_is_told_and_latencies_count_from_when_messages_were_due() {
    let slow = ["--slow-subs", "1", "--consumer-latency", "50ms", "--inflight", "1"];
    let time = ["--rate", "100", "--duration", "1s", "--warmup", "0", "--json"];
    let output = loadgen(&[&slow[..], &time[..]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("the rate was not reached"), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    // At 20/s of 100/s the messages of the end are 800 ms late.
    assert!(number(&report["latency_us"]["max"]) > 400_000.0, "{report}");
    assert!(number(&report["send_delay_us"]["max"]) > 400_000.0, "{report}");
    assert!(number(&report["service_time_us"]["p50"]) < 100_000.0, "{report}");
}

#[test]
fn subscribers_that_come_and_go_get_what_is_sent_while_they_are_there() {
    let report = run_all(&[
        "--churn",
        "3",
        "--pubs",
        "2",
        "--names",
        "2",
        "--rate",
        "2000",
        "--duration",
        "3s",
        "--warmup",
        "0",
    ]);
    let churn = &report["churn"];
    assert!(churn["sessions"].as_u64() > Some(3), "each came back: {churn}");
    assert!(churn["delivered"].as_u64() > Some(0), "{churn}");
    assert_eq!(churn["lost"], 0);
}

#[test]
fn acknowledged_messages_outlive_killed_servers() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = directory.path().join("journal");
    let journal = journal.to_str().expect("UTF-8");
    let report = run_all(&[
        "--kill-server-every",
        "1s",
        "--ack",
        "--persist-file",
        journal,
        "--retry-interval",
        "1s",
        "--rate",
        "500",
        "--pubs",
        "2",
        "--duration",
        "4s",
        "--warmup",
        "0",
        "--seed",
        "1",
    ]);
    assert!(report["server_kills"].as_u64() >= Some(2), "{report}");
    assert_eq!(report["server"]["pending"], 0);
}

#[test]
fn the_highest_rate_is_found_in_a_bounded_number_of_runs() {
    let time = ["--duration", "200ms", "--warmup", "100ms"];
    let search = ["--find-max", "--p99-under", "500ms", "--rate", "500", "--size", "10000"];
    let report = run_all(&[&search[..], &time[..]].concat());
    let steps = report["search"].as_array().expect("the runs");
    assert!((1..=16).contains(&steps.len()));
    let holds = steps.iter().filter(|step| step["holds"] == true).map(|step| number(&step["rate"]));
    assert_eq!(number(&report["config"]["rate"]), holds.fold(0.0, f64::max));
    assert!(steps.iter().any(|step| step["holds"] == false) || steps.len() == 16, "{steps:?}");
}

#[test]
fn a_search_that_finds_nothing_is_exit_1() {
    let time = ["--duration", "100ms", "--warmup", "0"];
    let search = ["--find-max", "--p99-under", "1ns", "--rate", "4"];
    let output = loadgen(&[&search[..], &time[..]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("not even 1 messages/s"), "{stderr}");
}

#[test]
fn the_relay_loses_nothing_saturated_and_on_schedule() {
    let report = run(&["--target", "relay", "--pubs", "8", "--subs", "32"]);
    assert_eq!(report["target"]["name"], "relay");
    assert_eq!(report["target"]["durability"], "memory");
    assert!(report["server"]["frames_published"].as_u64() > Some(0));
    let report = run(&["--target", "relay", "--size", "65536", "--names", "3"]);
    // A frame holds several messages, and leaves as it came.
    let frames = report["server"]["frames_published"].as_u64().expect("a count");
    assert!((1..=report["published"].as_u64().expect("a count")).contains(&frames), "{report}");
    run(&["--target", "relay", "--rate", "1000", "--size", "40..40000", "--subs", "3"]);
}

#[test]
fn the_relay_holds_publishers_back_for_a_slow_subscriber() {
    let slow = ["--subs", "2", "--slow-subs", "1", "--consumer-latency", "1ms"];
    let report = run(&[&["--target", "relay", "--size", "65536"], &slow[..]].concat());
    // 8 MiB, and what the system takes beside them.
    assert!(report["server"]["rss_kb"].as_u64() < Some(64 * 1024), "{report}");
}

#[test]
fn subscribers_of_the_relay_come_and_go() {
    let load = ["--churn", "3", "--rate", "2000", "--duration", "3s", "--warmup", "0"];
    let report = run_all(&[&["--target", "relay"], &load[..]].concat());
    assert_eq!(report["churn"]["lost"], 0);
}

#[cfg(feature = "libzmq")]
#[test]
fn the_bare_forwarder_loses_nothing() {
    let report = run(&["--target", "zmq-forwarder", "--pubs", "4", "--subs", "8"]);
    assert_eq!(report["target"]["name"], "zmq-forwarder");
    assert!(report["server"]["frames_published"].as_u64() > Some(0));
    run(&["--target", "zmq-forwarder", "--size", "65536"]);
}

/// A run of connections, which must be faultless.
#[track_caller]
fn connections(flags: &[&str]) {
    let time =
        ["--connections", "--pubs", "4", "--duration", "500ms", "--warmup", "100ms", "--json"];
    let output = loadgen(&[flags, &time].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{flags:?}: {stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(report["config"]["connections"], true);
    assert!(report["published_per_s"].as_f64() > Some(0.0), "{report}");
    assert!(report["latency_us"]["samples"].as_u64() > Some(0), "{report}");
    assert_eq!((&report["delivered"], &report["lost"]), (&Value::from(0), &Value::from(0)));
}

#[test]
fn connections_are_opened_and_closed_and_counted() {
    for flags in [&[][..], &["--curve"], &["--target", "relay"]] {
        connections(flags);
    }
    check_usage(&["--connections", "--ack"], "--ack");
    check_usage(&["--connections", "--subs", "2"], "--subs");
}

#[test]
fn an_encrypted_run_loses_nothing() {
    let report = run(&["--curve", "--pubs", "4", "--subs", "8", "--names", "2"]);
    assert_eq!(report["config"]["curve"], true);
    let directory = tempfile::tempdir().expect("a directory");
    let journal = directory.path().join("journal");
    let journal = journal.to_str().expect("UTF-8");
    run(&["--curve", "--ack", "--persist-file", journal, "--fsync", "never", "--rate", "500"]);
    check_usage(&["--curve", "--server", "h"], "--server");
    check_usage(&["--curve", "--target", "relay"], "has no CURVE");
    check_usage(&["--tls", "folder"], "--tls is for nats://");
}

#[cfg(feature = "libzmq")]
#[test]
fn sockets_of_libzmq_lose_nothing() {
    for curve in [&[][..], &["--curve"]] {
        let target = [&["--target", "libzmq"], curve].concat();
        if !curve.is_empty() && zmq::has("curve") != Some(true) {
            check_usage(&target, "has no CURVE");
            continue;
        }
        let report = run(&[&target[..], &["--pubs", "4", "--subs", "8", "--names", "2"]].concat());
        assert_eq!(report["target"]["name"], "libzmq");
        assert_eq!(report["target"]["version"], "4.3.4");
        run(&[&target[..], &["--size", "65536"]].concat());
        run(&[&target[..], &["--rate", "1000", "--size", "40..4000"]].concat());
        connections(&target);
    }
    check_usage(&["--target", "libzmq", "--request"], "leave --request out");
}

#[test]
fn idle_connections_stay_open_and_show_their_cost() {
    for target in ["mezzenger", "relay"] {
        let report = run(&["--target", target, "--idle", "500", "--rate", "1000"]);
        let idle = &report["idle"];
        assert_eq!((idle["connections"].as_u64(), idle["closed"].as_u64()), (Some(500), Some(0)));
        let each = number(&idle["server_bytes_each"]);
        assert!(each > 0.0 && each < 1e6, "{each}");
    }
    check_usage(&["--server-pid", "1"], "starts one");
}

#[test]
fn the_class_of_durability_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = directory.path().join("journal");
    let journal = journal.to_str().expect("UTF-8");
    let keeping = ["--ack", "--persist-file", journal, "--inflight", "1000"];
    let report = run(&[&keeping[..], &["--fsync", "never"]].concat());
    assert_eq!(report["target"]["durability"], "page-cache");
    assert_eq!(report["target"]["name"], "mezzenger");
    assert_eq!(report["config"]["fsync"], "never");
}

#[test]
fn flags_that_do_not_go_together_are_usage_errors() {
    check_usage(&["--size", "9..3"], "at least 32");
    check_usage(&["--size", "99..33"], "smaller number");
    check_usage(&["--ack", "--ack-ratio", "0.5"], "--ack");
    check_usage(&["--ack-ratio", "2"], "from 0 to 1");
    check_usage(&["--count", "9", "--duration", "1s"], "--duration");
    check_usage(&["--ramp", "1s"], "--rate");
    check_usage(&["--slow-subs", "2", "--consumer-latency", "1ms"], "--subs");
    check_usage(&["--consumer-latency", "1ms"], "--slow-subs");
    check_usage(&["--find-max"], "--p99-under");
    check_usage(&["--kill-server-every", "1s", "--ack"], "--persist-file");
    check_usage(
        &["--kill-server-every", "1s", "--ack-ratio", "0.5", "--persist-file", "j"],
        "--ack",
    );
    check_usage(&["--target", "kafka://h:1"], "nats+js://");
    check_usage(&["--target", "relay", "--ack"], "no acknowledgement");
    check_usage(&["--target", "relay", "--persist-file", "j", "--ack"], "own server");
    if cfg!(not(feature = "libzmq")) {
        check_usage(&["--target", "zmq-forwarder"], "--features libzmq");
        check_usage(&["--target", "libzmq"], "--features libzmq");
    }
    check_usage(&["--durability", "paper"], "page-cache");
}
