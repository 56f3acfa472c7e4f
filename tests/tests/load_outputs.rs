//! What loadgen writes: each output says what the others say.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::load::loadgen;

/// Runs loadgen in a folder and returns what it printed.
#[track_caller]
fn run_in(folder: &Path, args: &[&str]) -> String {
    let output = loadgen(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const SHORT: &[&str] = &["--duration", "2s", "--warmup", "200ms", "--rate", "5000"];

#[test]
fn json_csv_hgrm_and_charts_agree() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["--json", "--csv", "run.csv", "--hgrm", "run.hgrm", "--svg", "charts"];
    let json = run_in(folder.path(), &[SHORT, &files].concat());
    let run: Value = serde_json::from_str(&json).unwrap();

    let csv = fs::read_to_string(folder.path().join("run.csv")).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let columns = "time_s,published_per_s,delivered_per_s,latency_p50_us,latency_p99_us,\
                   latency_max_us,server_cpu_cores,server_rss_kb";
    assert_eq!(rows[0].join(","), columns);
    assert_eq!(rows.len(), 3, "two seconds: {csv}");
    let number = |row: usize, column: usize| rows[row][column].parse::<f64>().unwrap();
    for row in [1, 2] {
        assert!((number(row, 0) - row as f64).abs() < 0.5, "whole seconds: {csv}");
        assert!((1000.0..9000.0).contains(&number(row, 1)), "published at 5000/s: {csv}");
        assert!(number(row, 3) <= number(row, 4) && number(row, 4) <= number(row, 5), "{csv}");
        assert!(number(row, 7) > 0.0, "{csv}");
    }
    // The run's rate is that of its seconds, each weighted with its length.
    let seconds = [number(1, 0), number(2, 0) - number(1, 0)];
    let mean = (number(1, 1) * seconds[0] + number(2, 1) * seconds[1]) / number(2, 0);
    let rate = run["published_per_s"].as_f64().unwrap();
    assert!((mean / rate - 1.0).abs() < 0.01, "{mean} {rate}: {csv}");

    let latency = &run["latency_us"];
    let hgrm = fs::read_to_string(folder.path().join("run.hgrm")).unwrap();
    let total = format!("Total count    = {:>12}]", latency["samples"].as_u64().unwrap());
    assert!(hgrm.contains(&total), "{total} in {hgrm}");
    let max = hgrm.split_once("#[Max     = ").unwrap().1.split(',').next().unwrap();
    let max: f64 = max.trim().parse().unwrap();
    assert!((max - latency["max"].as_f64().unwrap()).abs() < 0.1, "{max} {latency}");

    for (chart, texts) in [
        ("latency.svg", ["percentile of the messages", "latency (log scale)", "99 %"]),
        ("rates.svg", ["time, s", "messages/s", "published"]),
    ] {
        let svg = fs::read_to_string(folder.path().join("charts").join(chart)).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{chart}");
        for text in texts {
            assert!(svg.contains(text), "{chart} has no {text:?}");
        }
    }
}

#[test]
fn json_says_what_was_measured_where_and_how() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--duration", "300ms", "--warmup", "100ms", "--json"];
    let keeping = ["--ack", "--persist-file", "journal"];
    let json = run_in(folder.path(), &[&args[..], &keeping].concat());
    let run: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(run["command"], format!("loadgen {} {}", args.join(" "), keeping.join(" ")));
    assert_eq!(run["target"]["name"], "mezzenger");
    assert_eq!(run["target"]["durability"], "fsync");
    assert_eq!(run["config"]["persist_file"], "journal");
    assert_eq!(run["environment"]["loadgen_version"], env!("CARGO_PKG_VERSION"));
    for key in ["started_at", "git_commit", "rustc", "kernel", "cpu_model"] {
        assert!(run["environment"][key].is_string(), "{key}: {run}");
    }
    assert!(run["environment"]["cpu_cores"].as_u64().unwrap() > 0);
    assert!(run["disk"]["fdatasync_per_s"].as_f64().unwrap() > 0.0, "{run}");
    assert_ne!(run["disk"]["file_system"], "unknown");
    // It begins a little late on a busy machine, and never ends early.
    assert!((0.1..3.0).contains(&run["measured_s"].as_f64().unwrap()), "{run}");
}

#[test]
fn several_runs_are_each_kept_and_summed_up() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--runs", "3", "--duration", "300ms", "--warmup", "100ms", "--hgrm", "run.hgrm"];
    let json = run_in(folder.path(), &[&args[..], &["--json"]].concat());
    let record: Value = serde_json::from_str(&json).unwrap();
    let runs = record["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3);
    let mut rates: Vec<f64> =
        runs.iter().map(|run| run["delivered_per_s"].as_f64().unwrap()).collect();
    rates.sort_by(f64::total_cmp);
    let spread = &record["median"]["delivered_per_s"];
    let found = ["min", "median", "max"].map(|key| spread[key].as_f64().unwrap());
    assert_eq!(found[..], rates);
    for number in 1..=3 {
        assert!(folder.path().join(format!("run-{number}.hgrm")).exists(), "{number}");
    }

    let text = run_in(folder.path(), &args);
    assert_eq!(text.matches("as fast as possible").count(), 3, "a table for each run: {text}");
    let summary = text.split_once("3 runs").unwrap().1;
    for figure in ["median", "published/s", "latency p99", "server CPU"] {
        assert!(summary.contains(figure), "{figure}: {summary}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for args in [["--csv", "missing/run.csv"], ["--hgrm", "missing/run.hgrm"]] {
        let short = ["--duration", "100ms", "--warmup", "0"];
        let mut command = loadgen(&[&short[..], &args].concat());
        let output = command.current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(args[1]) && !stderr.contains("panicked"), "{stderr}");
    }
}
