//! loadgen's own run is a test: it verifies every message at every subscriber.

use std::process::Command;

use serde_json::Value;

use crate::harness::Server;
use crate::harness::binaries;

/// A call of loadgen.
pub(crate) fn loadgen(args: &[&str]) -> Command {
    let mut command = Command::new(binaries::path("loadgen"));
    command.args(args);
    command
}

/// Runs loadgen and checks that nothing was lost, doubled or reordered.
#[track_caller]
fn check(args: &[&str]) -> Value {
    let args = [&["--duration", "2s", "--warmup", "500ms", "--json"], args].concat();
    let output = loadgen(&args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)));
    for key in ["lost", "duplicated", "reordered"] {
        assert_eq!(report[key].as_u64(), Some(0), "{key} with {args:?}: {report}");
    }
    for key in ["published", "delivered"] {
        assert!(report[key].as_u64().unwrap() > 0, "{key} with {args:?}: {report}");
    }
    for key in ["published_per_s", "delivered_per_s"] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key} with {args:?}: {report}");
    }
    let latency = &report["latency_us"];
    let quantiles: Vec<_> = ["p50", "p90", "p99", "p99_9", "p99_99", "max"]
        .iter()
        .map(|key| latency[key].as_f64().unwrap_or_else(|| panic!("no {key}: {report}")))
        .collect();
    assert!(quantiles.is_sorted(), "{report}");
    assert!(latency["samples"].as_u64().unwrap() > 0);
    assert!(report["config"].is_object());
    report
}

#[test]
fn several_publishers_and_subscribers_with_its_own_server() {
    let report = check(&["--pubs", "4", "--subs", "8"]);
    assert_eq!(
        report["delivered"].as_u64().unwrap(),
        8 * report["published"].as_u64().unwrap(),
        "{report}"
    );
    assert!(report["server"]["rss_kb"].as_u64().unwrap() > 0);
    assert!(report["server"]["cpu_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn acknowledged_messages_with_a_journal() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    check(&["--pubs", "2", "--subs", "2", "--ack", "--persist-file", journal.to_str().unwrap()]);
    assert!(journal.exists());
}

#[test]
fn at_a_fixed_rate_with_large_messages_and_several_names() {
    check(&["--pubs", "2", "--subs", "2", "--rate", "2000", "--size", "16384", "--names", "3"]);
}

#[test]
fn against_a_server_that_runs_already() {
    let server = Server::start::<&str>(&[]);
    check(&[
        "--pubs",
        "1",
        "--subs",
        "1",
        "--server",
        "127.0.0.1",
        "--port",
        &server.recv_addr.port().to_string(),
    ]);
    server.terminate();
}

#[test]
fn without_a_server_it_fails_and_says_so() {
    let elsewhere = ["--server", "127.0.0.1", "--port", "1"];
    let output = loadgen(&elsewhere).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("could not connect") && !stderr.contains("panicked"), "{stderr}");
}
