//! Runs the real program, and checks what every faultless run has in common.

use std::process::{Command, Output};

use serde_json::Value;

const KEYS: [&str; 25] = [
    "published",
    "published_per_s",
    "delivered",
    "delivered_per_s",
    "lost",
    "duplicated",
    "reordered",
    "latency_us",
    "service_time_us",
    "send_delay_us",
    "inflight",
    "churn",
    "idle",
    "server_kills",
    "search",
    "server",
    "loadgen_cpu_s",
    "measured_s",
    "target",
    "config",
    "command",
    "environment",
    "disk",
    "failures",
    "warnings",
];

/// Runs loadgen to its end.
pub(crate) fn loadgen(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen")).args(args).output().expect("loadgen starts")
}

/// A short run, whose result must be faultless.
#[track_caller]
pub(crate) fn run(args: &[&str]) -> Value {
    run_all(&[args, &["--duration", "1s", "--warmup", "200ms"]].concat())
}

/// A run with these flags and no others, whose result must be faultless.
#[track_caller]
pub(crate) fn run_all(args: &[&str]) -> Value {
    let output = loadgen(&[args, &["--json"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let object = report.as_object().expect("an object");
    assert_eq!(object.keys().map(String::as_str).collect::<Vec<_>>(), sorted(KEYS));
    assert_eq!(report["lost"], 0);
    let is_group = report["config"]["group"] == true;
    let copies = if is_group { Some(1) } else { report["config"]["subs"].as_u64() };
    let copies = copies.expect("a count");
    let published = report["published"].as_u64().expect("a count");
    assert_eq!(report["delivered"], published * copies);
    assert!(published > 0);
    assert!(report["delivered_per_s"].as_f64() > Some(0.0));
    for key in ["p50", "p90", "p99", "p99_9", "p99_99", "max"] {
        assert!(report["latency_us"][key].as_f64() > Some(0.0), "{key}");
    }
    assert!(report["latency_us"]["samples"].as_u64() > Some(0));
    report
}

/// Objects come out in the order of their keys.
fn sorted<const N: usize>(mut keys: [&str; N]) -> Vec<&str> {
    keys.sort_unstable();
    keys.to_vec()
}

/// Expects a usage error that mentions `text`.
#[track_caller]
pub(crate) fn check_usage(args: &[&str], text: &str) {
    let output = loadgen(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains(text), "{stderr}");
}
