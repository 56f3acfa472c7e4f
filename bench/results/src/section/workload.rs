//! The table of one workload: a row for each target.

use loadgen::report::{Durability, Figure, Run};
use serde_json::Value;

use crate::markdown::{Table, cell, raw_files};
use crate::raw::Workload;

/// Rounds that it takes for a median to be worth something.
const ROUNDS_MIN: usize = 5;

/// With a schedule, how long messages take.
const ON_SCHEDULE: &[Figure] = &[
    Figure::Published,
    Figure::LatencyP50,
    Figure::LatencyP99,
    Figure::LatencyP999,
    Figure::LatencyMax,
    Figure::CpuPerMessage,
    Figure::ServerMemory,
];

/// Flat out, how many there are. Latencies then say how long queues are, and are left out.
const FLAT_OUT: &[Figure] = &[
    Figure::Published,
    Figure::Delivered,
    Figure::Settled,
    Figure::CpuPerMessage,
    Figure::ServerMemory,
];

/// The figures that say something about a workload, of those that some target has.
pub(crate) fn figures(workload: &Workload) -> Vec<Figure> {
    let figures = if workload.has_rate() { ON_SCHEDULE } else { FLAT_OUT };
    let measured =
        |figure: &Figure| workload.targets.iter().any(|target| target.spread(*figure).is_some());
    figures.iter().copied().filter(measured).collect()
}

/// What was run, the table, what to know about it, and the commands.
pub(crate) fn section(workload: &Workload) -> String {
    let rounds = workload.targets[0].rounds.len();
    let mut text = format!(
        "{}. Median (minimum – maximum) of {rounds} {}.\n\n",
        settings(workload.first()),
        if rounds == 1 { "round" } else { "rounds" }
    );
    let figures = figures(workload);
    let mut head = vec!["target", "durability"];
    head.extend(figures.iter().map(|figure| figure.name()));
    head.push("raw files");
    let mut table = Table::new(&head);
    for target in &workload.targets {
        let durability = target.durability().map_or("unknown", Durability::name).to_owned();
        let mut cells = vec![target.title(), durability];
        cells.extend(figures.iter().map(|figure| cell(target.spread(*figure))));
        cells.push(raw_files(target));
        table.row(&cells);
    }
    text.push_str(&table.finish());
    let notes = notes(workload);
    if !notes.is_empty() {
        text.push_str("\n\n");
        text.push_str(&notes.join("\n"));
    }
    text.push_str("\n\n<details><summary>Commands</summary>\n\n");
    for target in &workload.targets {
        text.push_str(&format!("- {}: `{}`\n", target.name, target.first().command));
    }
    text.push_str("\n</details>");
    text
}

/// What was run, in words.
fn settings(run: &Run) -> String {
    let number = |key| run.config.get(key).and_then(Value::as_f64);
    let count = |key, what: &str| match number(key) {
        Some(1.0) => format!("1 {what}"),
        Some(count) => format!("{count} {what}s"),
        None => format!("unknown {what}s"),
    };
    let mut parts = vec![count("pubs", "publisher"), count("subs", "subscriber")];
    if number("names") != Some(1.0) {
        parts.push(count("names", "name"));
    }
    parts.push(match number("size") {
        Some(bytes) if bytes >= 1024.0 && bytes % 1024.0 == 0.0 => {
            format!("{} KiB a message", bytes / 1024.0)
        }
        Some(_) => format!("{} a message", count("size", "byte")),
        None => {
            let range = run.config.get("size").and_then(Value::as_str).unwrap_or("unknown");
            format!("{range} bytes a message")
        }
    });
    parts.push(match number("rate") {
        Some(rate) => format!("{rate} messages/s on schedule"),
        None => "as fast as possible".to_owned(),
    });
    if run.is_acknowledged() {
        parts.push("acknowledged".to_owned());
    }
    parts.push(format!(
        "{} after {} of warm-up",
        count("duration_s", "second"),
        count("warmup_s", "second")
    ));
    parts.join(", ")
}

/// What to know before believing the table, as a list.
fn notes(workload: &Workload) -> Vec<String> {
    let mut notes = Vec::new();
    let common = settings(workload.first());
    for target in &workload.targets {
        let own = settings(target.first());
        if own != common {
            notes.push(format!("- {} ran otherwise: {own}.", target.name));
        }
        let sum = |count: fn(&Run) -> u64| {
            target.rounds.iter().map(|round| count(&round.run)).sum::<u64>()
        };
        for (what, count) in [
            ("lost", sum(|run| run.lost)),
            ("duplicated", sum(|run| run.duplicated)),
            ("reordered", sum(|run| run.reordered)),
        ] {
            if count > 0 {
                let delivered = sum(|run| run.delivered);
                notes.push(format!(
                    "- {}: {count} deliveries {what} in all rounds, beside {delivered} delivered.",
                    target.name
                ));
            }
        }
        for (number, round) in (1..).zip(&target.rounds) {
            for failure in &round.run.failures {
                notes.push(format!("- {}, round {number}, **failed**: {failure}.", target.name));
            }
            for warning in &round.run.warnings {
                notes.push(format!("- {}, round {number}: {warning}.", target.name));
            }
        }
    }
    if workload.targets[0].rounds.len() < ROUNDS_MIN {
        notes.push(format!("- Fewer than {ROUNDS_MIN} rounds: a first look and no result."));
    }
    notes
}
