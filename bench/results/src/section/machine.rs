//! What was measured, and where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use loadgen::report::number::short;
use loadgen::report::{Environment, Run, Spread};

use crate::markdown::link;
use crate::raw::Workload;

/// A list of what all runs have in common; where they differ, all values.
pub(crate) fn section(record: &Path, workloads: &BTreeMap<String, Workload>) -> String {
    let runs: Vec<&Run> = workloads.values().flat_map(Workload::runs).collect();
    let all = |value: fn(&Environment) -> String| {
        let values: BTreeSet<String> = runs.iter().map(|run| value(&run.environment)).collect();
        values.into_iter().collect::<Vec<_>>().join("; ")
    };
    let started: BTreeSet<&str> =
        runs.iter().map(|run| run.environment.started_at.as_str()).collect();
    let disks = || runs.iter().filter_map(|run| run.disk.as_ref());
    let file_systems: BTreeSet<&str> = disks().map(|disk| disk.file_system.as_str()).collect();
    let syncs = match Spread::new(disks().map(|disk| disk.fdatasync_per_s)) {
        Some(Spread { median, min, max }) => {
            let [median, min, max] = [median, min, max].map(short);
            let file_systems = Vec::from_iter(file_systems).join("; ");
            format!(
                "{file_systems}, {median} ({min} – {max}) `fdatasync` of 4 KiB a second, measured \
                 before each run with a journal"
            )
        }
        None => "not measured: no run kept messages in a file".to_owned(),
    };
    let lines = [
        ("Processor", all(|on| format!("{}, {} cores", on.cpu_model, on.cpu_cores))),
        ("Kernel", all(|on| format!("Linux {}", on.kernel))),
        ("File system of the journals", syncs),
        ("Commit", all(|on| on.git_commit.clone())),
        ("Compiler", all(|on| on.rustc.clone())),
        ("loadgen", all(|on| on.loadgen_version.clone())),
        (
            "Measured",
            format!(
                "{} to {} (UTC)",
                started.first().unwrap_or(&"never"),
                started.last().unwrap_or(&"never")
            ),
        ),
        ("Raw files", link(&record.display().to_string(), record)),
    ];
    let lines: Vec<_> = lines.iter().map(|(what, value)| format!("- {what}: {value}")).collect();
    lines.join("\n")
}
