//! The crash torture, short enough for every change; and that it finds what it is there to find.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::binaries;

/// Where the journals lie: in the build directory, since a system's temporary files may be in memory.
const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");

/// Runs a torture; what it said, and its result.
fn torture(args: &[&str]) -> (Output, Value) {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("torture.json");
    let output = Command::new(binaries::path("mezzenger-torture"))
        .args(["--folder", FOLDER, "--json"])
        .arg(&json)
        .args(args)
        .output()
        .unwrap();
    let text = std::fs::read(json).unwrap_or_default();
    let result =
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output, result)
}

#[test]
fn thirty_rounds_of_kills_lose_nothing_that_was_answered() {
    let (output, result) = torture(&["--rounds", "30"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}\n{result:#}");
    let count = |group: &str, what: &str| result[group][what].as_u64().unwrap();
    assert_eq!((result["rounds"].as_u64(), result["lost"].as_u64()), (Some(30), Some(0)));
    assert_eq!(result["unacknowledged"], 0);
    assert_eq!(count("account", "sent"), count("account", "ok") + count("account", "unanswered"));
    // The torture did hurt.
    assert!(count("account", "ok") > 1000, "{result:#}");
    for kills in ["servers", "publishers", "subscribers", "owing", "workers_holding"] {
        assert!(count("kills", kills) >= 3, "{kills}: {result:#}");
    }
    // Each job of each group ended in one of these ways, and all of them came up.
    let jobs = |what| count("jobs", what);
    let ends = ["done", "dead", "expired", "held", "pending", "lost"].map(jobs);
    assert_eq!(jobs("owed"), ends.iter().sum::<u64>(), "{result:#}");
    assert_eq!(ends[4..], [0, 0], "{result:#}");
    assert!(jobs("done") > 1000 && ends[1..4].iter().all(|end| *end >= 3), "{result:#}");
    assert!(jobs("owed") > jobs("ok"), "no job was one of both groups: {result:#}");
    assert!(jobs("taken") > jobs("done") / 2, "{result:#}");
    let wrong = ["again", "early", "late", "forged", "damaged", "attempts_beyond", "wrong_letters"];
    assert_eq!(wrong.map(jobs), [0; 7], "{result:#}");
    let in_syncs = count("kills", "between_write_and_sync");
    assert!(in_syncs > 0, "no kill fell into a sync; is {FOLDER} in memory? {result:#}");
}

#[test]
fn a_server_that_answers_before_it_writes_is_found_out() {
    let (output, result) = torture(&["--rounds", "12", "--seed", "1", "--broken-storage"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}\n{result:#}");
    assert!(result["lost"].as_u64().unwrap() > 0, "{result:#}");
    assert!(stderr.contains("answered OK and never delivered"), "{stderr}");
    assert!(result["jobs"]["lost"].as_u64().unwrap() > 0, "{result:#}");
    assert!(stderr.contains("neither done, dead nor expired: job "), "{stderr}");
    // It says how to repeat it, and keeps the files.
    assert!(stderr.contains("mezzenger-torture --folder"), "{stderr}");
    assert!(result["command"].as_str().unwrap().contains("--seed 1"), "{result:#}");
    let kept = stderr.split_once("are kept in ").unwrap().1.lines().next().unwrap();
    assert!(Path::new(kept).join("journal").exists(), "{kept}");
    std::fs::remove_dir_all(kept).unwrap();
}
