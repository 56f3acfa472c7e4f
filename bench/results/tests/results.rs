//! The real program, on records that are real runs of loadgen with their figures changed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

const RECORD: &str = "bench/record/2026-01-02";

/// What kind of run a workload is made of.
#[derive(Clone, Copy)]
enum Kind {
    FlatOut,
    OnSchedule,
    Acknowledged,
}

use Kind::{Acknowledged, FlatOut, OnSchedule};

/// A workspace with a template and a record.
struct Workspace {
    root: TempDir,
}

impl Workspace {
    fn new(template: &str) -> Self {
        let workspace = Self { root: tempfile::tempdir().expect("a folder") };
        workspace.write("bench/results/template.md", template);
        workspace.write(&format!("{RECORD}/.keep"), "");
        workspace
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).expect("read")
    }

    /// Adds the rounds of a target, whose main figure takes these values.
    fn add(&self, kind: Kind, workload: &str, target: &str, class: &str, figures: &[f64]) {
        for (round, figure) in (1..).zip(figures) {
            let mut run = run(kind);
            let name = if target.starts_with("mezzenger") { "mezzenger" } else { target };
            run["target"] = json!({"name": name, "version": "1.2", "durability": class});
            match kind {
                FlatOut => run["delivered_per_s"] = json!(figure),
                Acknowledged => run["server"]["settled_per_s"] = json!(figure),
                OnSchedule => {
                    run["latency_us"]["p50"] = json!(figure);
                    run["latency_us"]["p99"] = json!(figure * 2.0);
                    let hgrm = include_str!("fixture/on-schedule.hgrm");
                    self.write(&format!("{RECORD}/{workload}/{target}-{round}.hgrm"), hgrm);
                }
            }
            self.write(&format!("{RECORD}/{workload}/{target}-{round}.json"), &run.to_string());
        }
    }

    /// Runs the program: whether it succeeds, and what it says.
    fn run(&self, args: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mezzenger-results"));
        let output = command.args(args).current_dir(self.root.path()).output().expect("it runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Writes the page and returns it.
    #[track_caller]
    fn page(&self) -> String {
        let (is_written, said) = self.run(&[RECORD]);
        assert!(is_written, "{said}");
        self.read("RESULTS.md")
    }

    /// Expects that there is no page, and a text that says why.
    #[track_caller]
    fn refuses(&self, expected: &str) {
        let (is_written, said) = self.run(&[RECORD]);
        assert!(!is_written && !self.path("RESULTS.md").exists());
        assert!(said.contains(expected), "{expected:?} in {said}");
    }
}

fn run(kind: Kind) -> Value {
    let text = match kind {
        FlatOut => include_str!("fixture/flat-out.json"),
        OnSchedule => include_str!("fixture/on-schedule.json"),
        Acknowledged => include_str!("fixture/acknowledged.json"),
    };
    serde_json::from_str(text).expect("a run")
}

/// The row of a table that has all of these in it.
#[track_caller]
fn row<'a>(page: &'a str, parts: &[&str]) -> Vec<&'a str> {
    let is_row =
        |line: &&str| line.starts_with('|') && parts.iter().all(|part| line.contains(part));
    let rows: Vec<&str> = page.lines().filter(is_row).collect();
    let [row] = rows[..] else { panic!("rows with {parts:?}: {rows:#?} in\n{page}") };
    row.trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn a_table_has_medians_spreads_and_names_each_raw_file() {
    let workspace = Workspace::new("# T\n\n{{workload fan}}\n");
    workspace.add(FlatOut, "fan", "mezzenger", "memory", &[2e6, 9e6, 3e6]);
    workspace.add(FlatOut, "fan", "nats", "memory", &[1e6, 1e6, 1e6]);
    let page = workspace.page();
    assert!(page.starts_with("<!-- Written by `cargo run -p mezzenger-results -- bench/record/"));
    let ours = row(&page, &["mezzenger"]);
    assert_eq!(ours[..2], ["mezzenger 1.2", "memory"]);
    assert_eq!(ours[3], "3.00 M (2.00 M – 9.00 M)");
    let link = format!("[mezzenger-{{1..3}}.json]({RECORD}/fan)");
    assert_eq!(ours.last(), Some(&link.as_str()));
    assert_eq!(row(&page, &["nats"])[3], "1.00 M");
    assert!(page.contains("1 publisher, 1 subscriber, 128 bytes a message, as fast as possible"));
    assert!(page.contains("- nats: `loadgen --json --duration 1s"), "the command: {page}");
    assert!(page.contains("Fewer than 5 rounds"), "{page}");
}

#[test]
fn what_was_lost_and_warned_of_stands_below_the_table() {
    let workspace = Workspace::new("{{workload fan}}");
    workspace.add(FlatOut, "fan", "mezzenger", "memory", &[1.0; 5]);
    workspace.add(FlatOut, "fan", "forwarder", "memory", &[1.0; 5]);
    let mut run = run(FlatOut);
    run["target"]["name"] = json!("forwarder");
    run["config"]["pubs"] = json!(3);
    workspace.write(&format!("{RECORD}/fan/forwarder-1.json"), &run.to_string());
    run["lost"] = json!(70);
    run["failures"] = json!(["70 deliveries were lost"]);
    run["warnings"] = json!(["the rate was not reached"]);
    workspace.write(&format!("{RECORD}/fan/forwarder-2.json"), &run.to_string());
    let page = workspace.page();
    assert!(page.contains("- forwarder: 70 deliveries lost in all rounds, beside "), "{page}");
    assert!(page.contains("- forwarder, round 2: the rate was not reached."), "{page}");
    assert!(page.contains("- forwarder, round 2, **failed**: 70 deliveries were lost."), "{page}");
    assert!(page.contains("- forwarder ran otherwise: 3 publishers, "), "{page}");
    assert_eq!(row(&page, &["| forwarder"])[0], "forwarder (failed) 0.1.0");
    assert!(!page.contains("Fewer than"), "{page}");
}

#[test]
fn the_check_finds_every_change() {
    let workspace = Workspace::new("{{workload fan}}\n{{charts fan}}\n");
    workspace.add(FlatOut, "fan", "mezzenger", "memory", &[2e6]);
    workspace.add(FlatOut, "fan", "nats", "memory", &[1e6]);
    let check = |named: &str| {
        let (is_same, said) = workspace.run(&[RECORD, "--check"]);
        assert_eq!(is_same, named.is_empty(), "{said}");
        assert!(said.contains(named), "{said}");
    };
    check("RESULTS.md: not what the raw files give; run `cargo run -p mezzenger-results -- ");
    let page = workspace.page();
    check("");
    workspace.write("RESULTS.md", &page.replace("2.00 M", "2.50 M"));
    check("RESULTS.md");
    workspace.page();
    workspace.add(FlatOut, "fan", "nats", "memory", &[1.1e6]);
    check("RESULTS.md");
    workspace.page();
    let chart = format!("{RECORD}/charts/fan-rates-memory.svg");
    let svg = workspace.read(&chart);
    workspace.write(&chart, &svg.replace("nats", "gnat"));
    check("fan-rates-memory.svg");
    workspace.page();
    workspace.write(&format!("{RECORD}/charts/old.svg"), "<svg/>");
    check("old.svg");
    workspace.page();
    check("");
    assert!(!workspace.path(&format!("{RECORD}/charts/old.svg")).exists());
}

#[test]
fn durability_classes_never_share_a_chart() {
    let workspace = Workspace::new("{{workload keep}}\n{{charts keep}}\n");
    for (target, class) in
        [("mezzenger", "memory"), ("one", "memory"), ("two", "fsync"), ("three", "fsync")]
    {
        workspace.add(Acknowledged, "keep", target, class, &[10.0, 20.0, 30.0]);
    }
    workspace.add(Acknowledged, "keep", "alone", "page-cache", &[1.0, 2.0, 3.0]);
    let page = workspace.page();
    let charts: Vec<_> = page.lines().filter(|line| line.starts_with("![")).collect();
    assert_eq!(charts.len(), 2, "{charts:?}");
    let memory = workspace.read(&format!("{RECORD}/charts/keep-rates-memory.svg"));
    assert!(memory.contains("one") && memory.contains("settled/s") && !memory.contains("two"));
    let synced = workspace.read(&format!("{RECORD}/charts/keep-rates-fsync-before-ok.svg"));
    assert!(synced.contains("three") && !synced.contains("mezzenger"));
}

#[test]
fn latency_charts_are_drawn_from_the_distributions() {
    let workspace = Workspace::new("{{workload rate-9}}\n{{charts rate-9}}\n");
    workspace.add(OnSchedule, "rate-9", "mezzenger", "memory", &[10.0, 11.0]);
    workspace.add(OnSchedule, "rate-9", "nats", "memory", &[20.0, 21.0]);
    let page = workspace.page();
    assert_eq!(row(&page, &["mezzenger"])[3], "10.5 (10.0 – 11.0)");
    let path = format!("{RECORD}/charts/rate-9-latency-memory.svg");
    assert!(page.contains(&format!("({path})")), "{page}");
    let svg = workspace.read(&path);
    assert!(svg.contains("nats") && svg.contains("99.9 %"), "{svg}");
    fs::remove_file(workspace.path(&format!("{RECORD}/rate-9/nats-2.hgrm"))).expect("removed");
    fs::remove_file(workspace.path("RESULTS.md")).expect("removed");
    workspace.refuses("nats-2.hgrm: ");
}

#[test]
fn losses_are_listed_against_peers_that_promise_as_much() {
    let workspace = Workspace::new("{{workload w}}\n# L\n{{losses}}");
    workspace.add(Acknowledged, "w", "mezzenger", "page-cache", &[100.0, 101.0, 102.0]);
    workspace.add(Acknowledged, "w", "slower", "page-cache", &[90.0, 95.0, 99.0]);
    let losses = |workspace: &Workspace| {
        workspace.page().split_once("# L\n").expect("the section").1.to_owned()
    };
    // The same in all other figures, which is no loss.
    assert_eq!(losses(&workspace), "In none of the comparisons above is a peer's median better.");
    workspace.add(Acknowledged, "w", "weaker", "memory", &[900.0; 3]);
    assert!(losses(&workspace).starts_with("In none"), "another promise is no comparison");
    workspace.add(Acknowledged, "w", "stronger", "fsync", &[202.0; 3]);
    workspace.add(Acknowledged, "w", "close", "page-cache", &[101.5, 100.5, 103.0]);
    workspace.add(Acknowledged, "w", "mezzenger-fsync", "fsync", &[300.0; 3]);
    let losses = losses(&workspace);
    let stronger = row(&losses, &["stronger"]);
    assert_eq!(stronger[..2], ["w", "settled/s"]);
    assert_eq!(stronger[2..5], ["mezzenger", "101 (100 – 102)", "stronger"]);
    assert_eq!(stronger[6], "0.50");
    assert_eq!(row(&losses, &["close"])[6], "1.00, spreads overlap");
    assert_eq!(losses.matches("| w |").count(), 2, "{losses}");
}

#[test]
fn on_schedule_only_who_does_not_keep_to_it_loses_in_throughput() {
    let workspace = Workspace::new("{{workload w}}\n# L\n{{losses}}");
    let set = |target: &str, published: [f64; 2]| {
        workspace.add(OnSchedule, "w", target, "memory", &[100.0; 2]);
        for (round, published) in [(1, published[0]), (2, published[1])] {
            let path = format!("{RECORD}/w/{target}-{round}.json");
            let mut run: Value = serde_json::from_str(&workspace.read(&path)).expect("a run");
            run["published_per_s"] = json!(published);
            workspace.write(&path, &run.to_string());
        }
    };
    let losses = || workspace.page().split_once("# L\n").expect("the section").1.to_owned();
    set("mezzenger", [999.0, 1000.0]);
    set("nats", [999.5, 1000.5]);
    assert!(!losses().contains("published/s"));
    set("nats", [1000.5, 1001.0]);
    assert_eq!(row(&losses(), &["published/s"])[..2], ["w", "published/s"]);
}

#[test]
fn bad_records_and_templates_are_refused() {
    let workspace = |template| {
        let workspace = Workspace::new(template);
        workspace.add(FlatOut, "fan", "mezzenger", "memory", &[2e6, 2e6]);
        workspace.add(FlatOut, "fan", "nats", "memory", &[1e6, 1e6]);
        workspace
    };
    let good = "{{workload fan}}";
    workspace("\n{{workload fan}} {{nonsense}}").refuses("template.md:2: there is no placeholder");
    workspace("{{workload fan}}{{goals now}}").refuses("no placeholder \"goals now\"");
    workspace("{{workload fan}}\n{{workload other}}").refuses("template.md:2: no raw files of");
    workspace("{{charts fan}}").refuses("\"fan\" is in the record and not shown");
    workspace("{{workload fan").refuses("line 1 of the template");
    workspace("{{workload fan}}{{criterion}}").refuses("criterion.json: this raw file is missing");
    workspace("{{workload fan}}{{measures}}").refuses("idle.json: this raw file is missing");
    workspace("{{workload fan}}{{torture}}").refuses("torture.json: this raw file is missing");

    let missing = workspace(good);
    fs::remove_file(missing.path(&format!("{RECORD}/fan/nats-1.json"))).expect("removed");
    missing.refuses("fan/nats-1.json: this raw file is missing");
    let without_us = workspace(good);
    for round in [1, 2] {
        let path = format!("{RECORD}/fan/mezzenger-{round}.json");
        fs::remove_file(without_us.path(&path)).expect("removed");
    }
    without_us.refuses("fan: no runs of mezzenger are here");

    let refuses = |file: &str, content: &Value, expected| {
        let workspace = workspace(good);
        workspace.write(&format!("{RECORD}/fan/{file}"), &content.to_string());
        workspace.refuses(expected);
    };
    refuses("nats.json", &run(FlatOut), "nats.json: a raw file is named TARGET-ROUND.json");
    refuses("nats-0.json", &run(FlatOut), "nats-0.json: a raw file is named");
    refuses("nats-1.json", &json!({}), "missing field");
    refuses("nats-1.json", &json!({"runs": [run(FlatOut), run(FlatOut)]}), "holds one run");
    let mut failed = run(FlatOut);
    failed["failures"] = json!(["7 deliveries were lost"]);
    refuses("mezzenger-1.json", &failed, "mezzenger-1.json: the run failed: 7 deliveries");
}

/// Adds what the goals and the other sections need, and every workload of the real template.
fn complete(workspace: &Workspace) {
    for (workload, peers) in [
        ("8-to-32", &["nats", "redis", "zmq-forwarder"][..]),
        ("1-to-1", &["nats", "zmq-forwarder", "mqtt-qos1"]),
        ("64KiB", &["nats", "redis"]),
    ] {
        workspace.add(FlatOut, workload, "mezzenger", "memory", &[2.4e6, 2.5e6, 2.6e6]);
        for peer in peers {
            workspace.add(FlatOut, workload, peer, "memory", &[1.2e6, 1e6, 1e6]);
        }
    }
    for (workload, class, peer) in [
        ("ack-memory", "memory", "jetstream-memory"),
        ("ack-page-cache", "page-cache", "jetstream-file"),
        ("ack-fsync", "fsync", "redis-streams-always"),
    ] {
        workspace.add(Acknowledged, workload, "mezzenger", class, &[5e5, 5e5, 5e5]);
        workspace.add(Acknowledged, workload, peer, class, &[1e5, 1e5, 1e5]);
    }
    for workload in ["rate-1k", "rate-10k", "rate-100k"] {
        workspace.add(OnSchedule, workload, "mezzenger", "memory", &[100.0, 110.0, 120.0]);
        workspace.add(OnSchedule, workload, "nats", "memory", &[110.0, 110.0, 110.0]);
    }
    let environment = run(FlatOut)["environment"].clone();
    for file in ["idle", "pending", "recovery"] {
        let goal =
            if file == "recovery" { json!({"at_least": 2e6}) } else { json!({"at_most": 10}) };
        let measures = json!({
            "command": "cargo run --release -p mezzenger-results -- footprint",
            "environment": environment,
            "measures": [
                {"name": format!("{file} with a goal"), "value": 11, "unit": "MB",
                 "min": 10.5, "max": 12, "goal": goal},
                {"name": format!("{file} without"), "value": 1234.6, "unit": "ms",
                 "min": null, "max": null, "goal": null},
            ],
        });
        workspace.write(&format!("{RECORD}/{file}.json"), &measures.to_string());
    }
    let criterion = json!({
        "command": "cargo bench -p mezzenger-bench",
        "environment": environment,
        "benchmarks": [{"id": "wire/read", "mean_ns": 2500.0, "low_ns": 2400.0,
                        "high_ns": 2600.0, "elements": 100, "bytes": null}],
    });
    workspace.write(&format!("{RECORD}/criterion.json"), &criterion.to_string());
    workspace.write(&format!("{RECORD}/torture.json"), &torture().to_string());
}

/// What a torture writes, as far as it is shown.
fn torture() -> Value {
    json!({
        "command": "mezzenger-torture --rounds 1000 --seed 7",
        "rounds": 1000, "seconds": 1234.4, "lost": 0, "failures": [],
        "kills": {"servers": 700, "between_write_and_sync": 210, "in_write": 11, "in_compaction": 12,
                  "starting": 13, "owing": 14, "owed_max": 15, "publishers": 16, "subscribers": 17},
        "account": {"sent": 5000, "ok": 4900, "delivered": 4950, "duplicated": 33},
    })
}

#[test]
fn a_torture_is_shown_with_its_command_and_with_what_it_lost() {
    let workspace = Workspace::new("# T\n{{torture}}\n");
    let write = |torture: Value| {
        workspace.write(&format!("{RECORD}/torture.json"), &torture.to_string());
        workspace.page()
    };
    let page = write(torture());
    assert!(page.contains("`mezzenger-torture --rounds 1000 --seed 7`, 1234 s."), "{page}");
    let figure = |page: &str, what: &str| row(page, &[what])[1].to_owned();
    assert_eq!(figure(&page, "– between a write of the journal and its sync"), "210");
    assert_eq!(figure(&page, "| answered OK |"), "4900");
    assert_eq!(figure(&page, "**lost**"), "**0**");
    assert!(!page.contains("It failed"));
    let mut bad = torture();
    bad["lost"] = json!(null);
    bad["failures"] = json!(["nothing goes on", "two more"]);
    let page = write(bad);
    assert_eq!(figure(&page, "**lost**"), "**not known**");
    assert!(page.contains("**It failed**: nothing goes on; two more"), "{page}");
}

#[test]
fn goals_are_ratios_of_medians_and_say_whether_they_are_met() {
    let workspace = Workspace::new(include_str!("../template.md"));
    complete(&workspace);
    let page = workspace.page();
    // 2.5 M / 1.0 M; by rounds 2.4 / 1.2, 2.5 / 1.0, 2.6 / 1.0.
    let row_of = |parts: &[&str]| row(&page, parts)[1..4].to_vec();
    let fan = row_of(&["8 publishers → 32"]);
    assert_eq!(fan, ["≥ 2.5 × nats: delivered/s", "2.50 (2.00 – 2.60) ×", "yes"]);
    let kept = row_of(&["acknowledged, synced"]);
    assert_eq!(kept, ["≥ 5 × redis-streams-always: settled/s", "5.00 ×", "yes"]);
    assert_eq!(row_of(&["acknowledged, in memory"])[1..], ["5.00 ×", "**no**"]);
    let latency = row_of(&["1,000/s on schedule", "p50"]);
    assert_eq!(latency[1..], ["1.00 (0.909 – 1.09) ×", "yes"]);
    assert_eq!(row_of(&["idle with a goal", "≤ 10 MB"])[1..], ["11.0 MB", "**no**"]);
    assert_eq!(row_of(&["recovery with a goal", "≥ 2 M MB"])[2], "**no**");
}

#[test]
fn a_goal_without_figures_is_refused() {
    let workspace = Workspace::new("{{goals}}");
    complete(&workspace);
    for round in 1..=3 {
        let path = format!("{RECORD}/64KiB/redis-{round}.json");
        fs::remove_file(workspace.path(&path)).expect("removed");
    }
    workspace.refuses("needs delivered/s of mezzenger and of redis in the workload 64KiB");
}

#[test]
fn the_real_template_shows_every_section() {
    let workspace = Workspace::new(include_str!("../template.md"));
    complete(&workspace);
    let page = workspace.page();
    assert!(!page.contains("{{"), "{page}");
    assert!(page.contains("- Processor: "), "{page}");
    assert!(page.contains("`fdatasync` of 4 KiB a second"), "{page}");
    let criterion = row(&page, &["wire/read"]);
    assert_eq!(criterion[1..3], ["2.50 µs (2.40 µs – 2.60 µs)", "40.0 M/s"]);
    assert_eq!(row(&page, &["idle without"])[1..3], ["1235", "ms"]);
    assert_eq!(row(&page, &["idle with a goal", "idle.json)", "(10.5 –"])[1], "11.0 (10.5 – 12.0)");
    assert!(page.contains("No baseline is recorded."), "{page}");
    // What the workspace's own test asks of every table.
    for line in page.lines().filter(|line| line.starts_with('|') && !line.contains("---")) {
        let prose: String = line.split('`').step_by(2).collect();
        let figures = prose.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() >= 3);
        assert!(!figures || line.contains(".json"), "no raw file: {line}");
    }
}

#[test]
fn the_gates_counts_are_shown_whatever_they_are() {
    let workspace = Workspace::new("{{workload w}}\n{{gate}}");
    workspace.add(FlatOut, "w", "mezzenger", "memory", &[1.0]);
    let baseline = json!({"fingerprint": "x", "scenarios": {
        "publish_128": {"instructions_per_message": 1234, "allocations_per_message": 0.5,
                        "note": "text"},
        "publish_64k": {"payload_bytes_copied_per_message": 0},
    }});
    workspace.write("bench/gate/baseline.json", &baseline.to_string());
    let page = workspace.page();
    let head = row(&page, &["scenario"]);
    assert_eq!(
        head[1..4],
        ["allocations per message", "instructions per message", "payload bytes copied per message"]
    );
    let link = "[baseline.json](bench/gate/baseline.json)";
    assert_eq!(row(&page, &["publish_128"])[1..], ["0.5", "1234", "–", link]);
    assert_eq!(row(&page, &["publish_64k"])[1..], ["–", "–", "0", link]);
}

#[test]
fn the_goal_of_no_copies_is_judged_by_the_worst_flow_of_the_server() {
    let workspace = Workspace::new(include_str!("../template.md"));
    complete(&workspace);
    let copied = |bytes: f64| json!({"payload_bytes_copied_per_message": bytes});
    let mut scenarios = json!({
        "native-4KiB-ack0/server": copied(0.0),
        "native-4KiB-ack0/publisher": copied(4096.0),
        "native-128B-ack1/server": copied(256.0),
    });
    let write = |scenarios: &serde_json::Value| {
        workspace.write("bench/gate/baseline.json", &json!({"scenarios": scenarios}).to_string());
    };
    write(&scenarios);
    let goal = "payload that the server copies";
    assert_eq!(row(&workspace.page(), &[goal])[1..4], ["≤ 0 B", "0 B", "yes"]);
    scenarios["native-64KiB-ack1/server"] = copied(17.0);
    write(&scenarios);
    assert_eq!(row(&workspace.page(), &[goal])[1..4], ["≤ 0 B", "17.0 B", "**no**"]);
}
