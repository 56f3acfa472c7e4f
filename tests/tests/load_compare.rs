//! `loadgen compare` finds what became worse, and refuses what cannot be compared.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::load::loadgen;

/// A real run, which the tests change.
fn run() -> Value {
    static RUN: OnceLock<Value> = OnceLock::new();
    let measure = || {
        let args = ["--duration", "300ms", "--warmup", "100ms", "--json"];
        let output = loadgen(&args).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    RUN.get_or_init(measure).clone()
}

/// A run with this rate.
fn run_at(delivered_per_s: f64) -> Value {
    let mut run = run();
    run["delivered_per_s"] = delivered_per_s.into();
    run
}

fn runs_at(rates: &[f64]) -> Value {
    json!({"runs": rates.iter().map(|&rate| run_at(rate)).collect::<Vec<_>>()})
}

struct Files {
    folder: TempDir,
}

impl Files {
    fn new(before: &Value, after: &Value) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(files.path("a.json"), before.to_string()).unwrap();
        fs::write(files.path("b.json"), after.to_string()).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The exit code, and what was printed to both streams.
    fn compare(&self, args: &[&str]) -> (i32, String) {
        let mut command = loadgen(&["compare"]);
        command.args([self.path("a.json"), self.path("b.json")]).args(args);
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }
}

/// Compares two files and expects an exit code and a text.
#[track_caller]
fn check(before: &Value, after: &Value, args: &[&str], code: i32, expected: &str) {
    let (found, text) = Files::new(before, after).compare(args);
    assert_eq!(found, code, "{text}");
    assert!(text.contains(expected), "{expected:?} in {text}");
}

#[test]
fn what_is_slower_than_the_bound_allows_fails() {
    check(&run_at(1000.0), &run_at(960.0), &[], 0, "0.960");
    check(&run_at(1000.0), &run_at(940.0), &[], 1, "WORSE");
    check(&run_at(1000.0), &run_at(940.0), &["--fail-over", "10%"], 0, "not worse");
    check(&run_at(1000.0), &run_at(990.0), &["--fail-over", "0.5%"], 1, "WORSE");
    check(&run_at(1000.0), &run_at(3000.0), &[], 0, "3.000");
}

#[test]
fn what_takes_longer_than_the_bound_allows_fails() {
    let with = |p99| {
        let mut run = run();
        run["latency_us"]["p99"] = json!(p99);
        run
    };
    check(&with(100.0), &with(104.0), &[], 0, "1.040");
    check(&with(100.0), &with(106.0), &[], 1, "WORSE");
    check(&with(100.0), &with(50.0), &[], 0, "0.500");
}

#[test]
fn medians_count_and_overlapping_spreads_are_said() {
    let before = runs_at(&[1000.0, 1010.0, 5.0]);
    check(&before, &runs_at(&[1001.0, 1002.0, 2.0]), &[], 0, "no difference shown");
    check(&before, &runs_at(&[800.0, 900.0, 990.0]), &[], 1, "not shown");
    // One column for each file: median, then minimum and maximum.
    check(&before, &runs_at(&[4.0, 3.0, 2.0]), &[], 1, "3.00 (2.00 – 4.00)");
    let (_, text) = Files::new(&before, &runs_at(&[4.0, 3.0, 2.0])).compare(&[]);
    let row = text.lines().find(|line| line.starts_with("delivered/s")).unwrap();
    assert!(row.ends_with("WORSE"), "far apart, so shown: {row}");
}

#[test]
fn different_measurements_are_refused() {
    let refuse = |change: fn(&mut Value), expected: &str| {
        let mut other = run();
        change(&mut other);
        check(&run(), &other, &[], 2, expected);
    };
    refuse(|run| run["config"]["pubs"] = json!(7), "pubs differs: 1 in ");
    refuse(|run| run["config"]["rate"] = json!(500.0), "rate differs: null in ");
    refuse(|run| run["config"]["new_setting"] = json!(true), "new_setting differs");
    refuse(|run| run["target"]["durability"] = json!("fsync"), "durability class differs");
    refuse(|run| run["environment"]["cpu_cores"] = json!(512), "machine differs");
    refuse(|run| run["failures"] = json!(["1 deliveries were lost"]), "1 deliveries were lost");
    refuse(|run| *run = json!({}), "missing field");
    refuse(|run| *run = json!({"runs": []}), "no runs in it");
}

#[test]
fn places_chance_and_other_targets_are_not_in_the_way() {
    let accept = |change: fn(&mut Value)| {
        let mut other = run();
        change(&mut other);
        check(&run(), &other, &[], 0, "not worse");
    };
    accept(|run| run["config"]["persist_file"] = json!("elsewhere"));
    accept(|run| run["config"]["seed"] = json!(7));
    accept(|run| run["environment"]["git_commit"] = json!("another"));
    accept(|run| {
        run["target"]["name"] = json!("another broker");
        run["config"]["its_own_setting"] = json!(true);
    });
}

#[test]
fn a_bound_that_is_no_percentage_is_a_usage_error() {
    let (code, text) = Files::new(&run(), &run()).compare(&["--fail-over", "much"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("percentage"), "{text}");
}
