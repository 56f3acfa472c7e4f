//! The parts of the page that are made of figures.

use std::collections::BTreeSet;

use loadgen::report::number::short;
use loadgen::report::{Better, Durability, Environment, Figure, Run, Spread};
use serde_json::Value;

use crate::goals::ratio;
use crate::markdown::{spread, table};
use crate::record::{OLD, OURS, ROUNDS_MIN, Record, Target};

/// What stands where nothing was measured.
pub(crate) fn not_measured() -> String {
    "Not measured.".to_owned()
}

const ON_SCHEDULE: &[Figure] = &[
    Figure::Published,
    Figure::LatencyP50,
    Figure::LatencyP99,
    Figure::LatencyP999,
    Figure::LatencyMax,
    Figure::CpuPerMessage,
    Figure::ServerMemory,
    Figure::IdleMemory,
];

const SATURATED: &[Figure] = &[
    Figure::Connections,
    Figure::Published,
    Figure::Delivered,
    Figure::Settled,
    Figure::LatencyP50,
    Figure::LatencyP99,
    Figure::CpuPerMessage,
    Figure::ServerMemory,
];

/// The figures that say something about a workload, of those that some target has.
fn figures(targets: &[Target]) -> Vec<Figure> {
    let is_timed = targets[0].has_rate() || targets[0].has_requests();
    let figures = if is_timed { ON_SCHEDULE } else { SATURATED };
    let measured =
        |figure: &&Figure| targets.iter().any(|target| target.spread(**figure).is_some());
    figures.iter().filter(measured).copied().collect()
}

/// Where and with what was measured: what all runs share; where they differ, all values.
pub(crate) fn machine(record: &Record) -> String {
    let all = |value: fn(&Environment) -> String| {
        let values: BTreeSet<_> = record.runs().map(|run| value(&run.environment)).collect();
        Vec::from_iter(values).join("; ")
    };
    let started: BTreeSet<_> = record.runs().map(|run| &run.environment.started_at).collect();
    let disks = || record.runs().filter_map(|run| run.disk.as_ref());
    let file_systems: BTreeSet<_> = disks().map(|disk| disk.file_system.as_str()).collect();
    let syncs = spread(Spread::new(disks().map(|disk| disk.fdatasync_per_s)));
    let versions: BTreeSet<_> = record
        .runs()
        .filter(|run| run.target.name != OURS)
        .filter_map(|run| Some(format!("{} {}", run.target.name, run.target.version.as_ref()?)))
        .collect();
    let path = record.folder.join("results.jsonl");
    let lines = [
        ("Processor", all(|on| format!("{}, {} cores", on.cpu_model, on.cpu_cores))),
        ("Kernel", all(|on| format!("Linux {}", on.kernel))),
        ("TCP congestion control", all(|on| on.congestion_control.clone())),
        (
            "File system of the journals",
            format!(
                "{}, {syncs} `fdatasync` of 4 KiB a second",
                Vec::from_iter(file_systems).join("; ")
            ),
        ),
        ("Commit", all(|on| on.git_commit.clone())),
        ("Compiler", all(|on| on.rustc.clone())),
        ("Other targets", Vec::from_iter(versions).join(", ")),
        (
            "Measured",
            format!(
                "{} to {} (UTC)",
                started.first().map_or("never", |at| at.as_str()),
                started.last().map_or("never", |at| at.as_str())
            ),
        ),
        ("Raw file", format!("[{0}]({0}), one JSON object a line", path.display())),
    ];
    lines.map(|(what, value)| format!("- {what}: {value}")).join("\n")
}

/// What was run, a row for each target, what to know about it, and the commands.
pub(crate) fn workload(targets: &[Target]) -> String {
    let figures = figures(targets);
    let mut head = vec!["target", "survives"];
    head.extend(figures.iter().map(|figure| figure.name()));
    let row = |target: &Target| {
        let survives = target.durability().map_or("unknown", Durability::name);
        let mut row = vec![target.label(), survives.to_owned()];
        row.extend(figures.iter().map(|figure| spread(target.spread(*figure))));
        row
    };
    let rounds = targets[0].rounds.len();
    let mut text = format!("{}; {rounds} rounds.\n\n", settings(targets[0].first()));
    text.push_str(&table(&head, &targets.iter().map(row).collect::<Vec<_>>()));
    let mut notes: Vec<_> = targets.iter().flat_map(notes).collect();
    if rounds < ROUNDS_MIN {
        notes.push(format!("Fewer than {ROUNDS_MIN} rounds: a first look and no result."));
    }
    for (at, note) in notes.iter().enumerate() {
        text.push_str(if at == 0 { "\n\n- " } else { "\n- " });
        text.push_str(note);
    }
    text.push_str("\n\n<details><summary>Commands</summary>\n\n");
    for target in targets {
        text.push_str(&format!("- {}: `{}`\n", target.name, target.first().command));
    }
    text + "\n</details>"
}

/// What was run, in words.
fn settings(run: &Run) -> String {
    let text = |key: &str| match run.config.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "unknown".to_owned(),
    };
    let rate = match run.config.get("rate").and_then(Value::as_f64) {
        Some(rate) => format!("{rate} messages/s on schedule"),
        None => "saturated".to_owned(),
    };
    let is = |key: &str| run.config.get(key) == Some(&Value::Bool(true));
    let group = if is("group") { " of one group" } else { "" };
    let rate = if is("request") { "one request at a time each".to_owned() } else { rate };
    let encrypted = if is("curve") { ", encrypted" } else { "" };
    if run.is_of_connections() {
        return format!(
            "Clients: {}, one connection after the other each{encrypted}, {} s after {} s of warm-up",
            text("pubs"),
            text("duration_s"),
            text("warmup_s")
        );
    }
    let acknowledged = if run.is_acknowledged() { ", acknowledged" } else { "" };
    format!(
        "Publishers: {}, subscribers{group}: {}, payload: {} bytes, {rate}{acknowledged}{encrypted}, {} s after {} s of \
         warm-up",
        text("pubs"),
        text("subs"),
        text("size"),
        text("duration_s"),
        text("warmup_s")
    )
}

/// What to know of a target before believing its row.
fn notes(target: &Target) -> Vec<String> {
    let runs = || target.rounds.iter().map(|round| &round.result);
    let mut notes = Vec::new();
    for (what, count) in [
        ("lost", runs().map(|run| run.lost).sum::<u64>()),
        ("duplicated", runs().map(|run| run.duplicated).sum()),
        ("out of order", runs().map(|run| run.reordered).sum()),
    ] {
        if count > 0 {
            let delivered: u64 = runs().map(|run| run.delivered).sum();
            notes.push(format!("{}: {count} {what} of {delivered} delivered.", target.name));
        }
    }
    for (round, run) in (1..).zip(runs()) {
        let name = &target.name;
        notes.extend(
            run.failures.iter().map(|why| format!("{name}, round {round}, **failed**: {why}.")),
        );
        notes.extend(run.warnings.iter().map(|why| format!("{name}, round {round}: {why}.")));
    }
    notes
}

/// The target that an earlier build is compared with where none of ours is at its defaults.
const OURS_IN_PAGE_CACHE: &str = "mezzenger-never";

/// Our figures as ratios to those of an earlier build in the same turns, with the commits of both.
pub(crate) fn old(record: &Record) -> String {
    let mut rows = Vec::new();
    let mut missing = Vec::new();
    for (name, targets) in &record.workloads {
        let named = |name: &str| targets.iter().find(|target| target.name == name);
        let Some(ours) = named(OURS).or_else(|| named(OURS_IN_PAGE_CACHE)) else { continue };
        let Some(old) = named(OLD) else {
            missing.push(name.as_str());
            continue;
        };
        let rate = ours.rate();
        for figure in [rate, Figure::LatencyP50, Figure::LatencyP99] {
            let ratio = spread(ratio(figure, ours, old));
            let was = spread(old.spread(figure));
            let is = spread(ours.spread(figure));
            let rounds = old.rounds.len().to_string();
            let (then, now) = (commits(old), commits(ours));
            let figure = figure.name().to_owned();
            rows.push(vec![name.clone(), figure, was, is, ratio, rounds, then, now]);
        }
    }
    if rows.is_empty() {
        return not_measured();
    }
    let head = [
        "workload",
        "figure",
        "before",
        "now",
        "now / before",
        "rounds",
        "commit before",
        "commit now",
    ];
    let mut text = table(&head, &rows);
    if !missing.is_empty() {
        let missing = missing.join(", ");
        text.push_str(&format!("\n\n- Not measured with an earlier build: {missing}."));
    }
    text
}

/// The commits that a target's rounds were built from.
fn commits(target: &Target) -> String {
    let commits = target.rounds.iter().map(|round| round.result.environment.git_commit.as_str());
    Vec::from_iter(commits.collect::<BTreeSet<_>>()).join("; ")
}

/// Every figure in which the median of a target that promises as much is better than ours.
pub(crate) fn losses(record: &Record) -> String {
    let mut rows = Vec::new();
    for (name, targets) in &record.workloads {
        let peers = || targets.iter().filter(|target| !target.is_ours() && target.name != OLD);
        let pairs = targets.iter().filter(|target| target.is_ours());
        let pairs = pairs.flat_map(|ours| peers().map(move |peer| (ours, peer)));
        for (ours, peer) in pairs.filter(|(ours, peer)| peer.durability() >= ours.durability()) {
            for figure in figures(targets) {
                let (Some(our), Some(its)) = (ours.spread(figure), peer.spread(figure)) else {
                    continue;
                };
                let is_better = match figure.better() {
                    Better::Higher => its.median > our.median,
                    Better::Lower => its.median < our.median,
                };
                // On schedule both keep to the rate.
                let kept = ours.has_rate() && figure == Figure::Published;
                if !is_better || kept {
                    continue;
                }
                let overlap = if our.overlaps(&its) { ", spreads overlap" } else { "" };
                let ratio = format!("{:.2}{overlap}", our.median / its.median);
                let (our, its) = (spread(Some(our)), spread(Some(its)));
                let figure = figure.name().to_owned();
                rows.push(vec![name.clone(), figure, ours.label(), our, peer.label(), its, ratio]);
            }
        }
    }
    if rows.is_empty() {
        return "In none of the comparisons above is another target's median better.".to_owned();
    }
    table(&["workload", "figure", "ours", "its figure", "other", "its figure", "ratio"], &rows)
}

/// Figures that are no rates of messages, and the commands.
pub(crate) fn measures(record: &Record) -> String {
    if record.measures.is_empty() {
        return not_measured();
    }
    let row = |of: &crate::record::Measure| {
        vec![of.name.clone(), spread(Some(of.of)), of.unit.clone(), format!("`{}`", of.command)]
    };
    let rows: Vec<_> = record.measures.iter().map(row).collect();
    table(&["measure", "value", "unit", "command"], &rows)
}

/// What is shown of the crash torture, and where it stands in its outcome.
const TORTURE: [(&str, &str); 14] = [
    ("rounds", "/rounds"),
    ("kills of the server", "/kills/servers"),
    ("kills of publishers", "/kills/publishers"),
    ("kills of subscribers", "/kills/subscribers"),
    ("messages answered OK", "/account/ok"),
    ("delivered", "/account/delivered"),
    ("**lost**", "/lost"),
    ("kills of workers of durable groups", "/kills/workers"),
    ("of these, with jobs in flight", "/kills/workers_holding"),
    ("jobs that groups had to work at", "/jobs/owed"),
    ("of these, done", "/jobs/done"),
    ("of these, dead letters", "/jobs/dead"),
    ("**jobs lost**", "/jobs/lost"),
    ("failures", "/failures"),
];

/// What `mezzenger-torture --json` says.
pub(crate) fn torture(outcome: &Value) -> String {
    // Older outcomes tell of no jobs.
    let row = |(what, path): &(&str, &str)| {
        outcome.pointer(path).map(|count| vec![(*what).to_owned(), count.to_string()])
    };
    let rows: Vec<_> = TORTURE.iter().filter_map(row).collect();
    let seconds = outcome.get("seconds").and_then(Value::as_f64).map_or("–".to_owned(), short);
    let command = outcome.get("command").and_then(Value::as_str).unwrap_or("unknown");
    format!("{}\n\n`{command}`, {seconds} s.", table(&["what", "how many"], &rows))
}
