//! The real program, on records whose runs are real ones of loadgen with their figures changed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

const RECORD: &str = "bench/record/2026-01-02";

/// A workspace with a page and a record.
struct Workspace(TempDir);

impl Workspace {
    fn new(page: &str) -> Self {
        let workspace = Self(tempfile::tempdir().expect("a folder"));
        workspace.write("RESULTS.md", page);
        workspace
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).expect("written");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).expect("read")
    }

    /// Runs the program: whether it succeeds, and what it says.
    fn run(&self, args: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mezzenger-results"));
        let output = command.args(args).current_dir(self.0.path()).output().expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// The same, which has to succeed.
    #[track_caller]
    fn done(&self, args: &[&str]) -> String {
        let (is_done, said) = self.run(args);
        assert!(is_done, "{args:?}: {said}");
        said
    }

    /// Adds the rounds of a target, each changed.
    fn add(&self, workload: &str, target: &str, rounds: &[&dyn Fn(&mut Value)]) {
        for (round, change) in (1..).zip(rounds) {
            let mut run: Value =
                serde_json::from_str(include_str!("fixture/flat-out.json")).expect("a run");
            let name = if target.starts_with("mezzenger") { "mezzenger" } else { target };
            run["target"] = json!({"name": name, "version": "1.2", "durability": "memory"});
            change(&mut run);
            self.write("run.json", &run.to_string());
            self.write("run.hgrm", include_str!("fixture/on-schedule.hgrm"));
            let round = round.to_string();
            let mut args = vec!["add", RECORD, workload, target, &round, "run.json"];
            if run["config"]["rate"].is_number() || run["config"]["request"] == true {
                args.push("run.hgrm");
            }
            self.done(&args);
        }
    }

    /// Adds rounds that delivered so much.
    fn add_rates(&self, workload: &str, target: &str, rates: &[f64]) {
        let set = |rate: &f64| {
            let rate = *rate;
            move |run: &mut Value| run["delivered_per_s"] = json!(rate)
        };
        let rounds: Vec<_> = rates.iter().map(set).collect();
        let rounds: Vec<&dyn Fn(&mut Value)> = rounds.iter().map(|round| round as _).collect();
        self.add(workload, target, &rounds);
    }
}

fn page(parts: &[&str]) -> String {
    let part = |name: &&str| format!("Prose.\n<!-- figures: {name} -->\n<!-- end -->\nMore.\n");
    parts.iter().map(part).collect()
}

/// The cells of the row that has all of these in it.
#[track_caller]
fn row(text: &str, parts: &[&str]) -> Vec<String> {
    let is_row =
        |line: &&str| line.starts_with('|') && parts.iter().all(|part| line.contains(part));
    let rows: Vec<&str> = text.lines().filter(is_row).collect();
    let [row] = rows[..] else { panic!("rows with {parts:?}: {rows:#?} in\n{text}") };
    row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn the_page_keeps_its_prose_and_gets_medians_and_commands() {
    let workspace = Workspace::new(&page(&["machine", "workload fan"]));
    workspace.add_rates("fan", "mezzenger", &[2e6, 9e6, 3e6]);
    workspace.add_rates("fan", "nats", &[1e6, 1e6, 1e6]);
    workspace.done(&["write", RECORD]);
    let page = workspace.read("RESULTS.md");
    assert_eq!((page.matches("Prose.").count(), page.matches("More.").count()), (2, 2));
    assert_eq!(row(&page, &["| mezzenger |"])[3], "3.00 M (2.00 M – 9.00 M)");
    assert_eq!(row(&page, &["| nats |"])[3], "1.00 M");
    assert!(page.contains("- nats: `loadgen --json --duration 1s"), "{page}");
    assert!(page.contains("nats 1.2") && page.contains("Fewer than 5 rounds"), "{page}");
    let svg = workspace.read(&format!("{RECORD}/charts/fan-rates-memory.svg"));
    assert!(svg.contains("nats"), "{svg}");
    workspace.done(&["write", RECORD]);
    assert_eq!(workspace.read("RESULTS.md"), page, "written again it is the same");
}

#[test]
fn the_check_finds_every_change() {
    let workspace = Workspace::new(&page(&["workload fan"]));
    workspace.add_rates("fan", "mezzenger", &[2e6]);
    workspace.add_rates("fan", "nats", &[1e6]);
    let check = |named: &str| {
        let (is_same, said) = workspace.run(&["write", RECORD, "--check"]);
        assert_eq!(is_same, named.is_empty(), "{said}");
        assert!(said.contains(named), "{said}");
    };
    check(&format!("cargo run -p mezzenger-results -- write {RECORD}"));
    workspace.done(&["write", RECORD]);
    check("");
    workspace.write("RESULTS.md", &workspace.read("RESULTS.md").replace("2.00 M", "2.50 M"));
    check("RESULTS.md: not what the record gives");
    workspace.done(&["write", RECORD]);
    let chart = format!("{RECORD}/charts/fan-rates-memory.svg");
    workspace.write(&chart, &workspace.read(&chart).replace("nats", "gnat"));
    check("fan-rates-memory.svg");
}

#[test]
fn goals_are_ratios_within_one_record_and_say_what_is_missing() {
    let workspace = Workspace::new("");
    workspace.add_rates("8-to-32", "mezzenger", &[1.1e7, 9e6]);
    workspace.add_rates("8-to-32", "nats", &[1e6, 1e6]);
    workspace.add_rates("8-to-32", "relay", &[2e7, 2e7]);
    workspace.done(&["add-measure", RECORD, "pending-1M", "B", "measure it", "a message", "270"]);
    let goals = workspace.done(&["goals", RECORD]);
    let nats = row(&goals, &["delivered/s", "≥ 10 × nats"]);
    assert_eq!(nats[3..], ["10.0 (9.00 – 11.0)", "yes, 2 rounds"]);
    assert_eq!(row(&goals, &["0.8 × relay"])[4], "**no**, 2 rounds");
    assert_eq!(row(&goals, &["| 1-to-1 ", "delivered/s", "× nats |"])[3..], ["–", "not measured"]);
    assert_eq!(row(&goals, &["a message"])[2..], ["≤ 280 B", "270", "yes, 1 value"]);
    let idle = row(&goals, &["idle-100k", "idle connection"]);
    assert!(idle[4].starts_with("not measured: each connection is an open file"), "{idle:?}");
}

#[test]
fn only_enough_rounds_and_values_are_a_plain_yes() {
    let workspace = Workspace::new("");
    workspace.add_rates("1-to-1", "mezzenger", &[9e6; 5]);
    workspace.add_rates("1-to-1", "nats", &[1e6; 5]);
    let add = |key: &str, values: &[&str]| {
        let args = ["add-measure", RECORD, key, "B", "measure it", key];
        workspace.done(&[&args, values].concat());
    };
    add("start", &["4", "5", "4", "5", "4"]);
    add("recovery", &["3e6", "4e6"]);
    let goals = workspace.done(&["goals", RECORD]);
    assert_eq!(row(&goals, &["| 1-to-1 ", "delivered/s", "× nats |"])[4], "yes");
    assert_eq!(row(&goals, &["| start |"])[4], "yes");
    assert_eq!(row(&goals, &["| recovery |"])[4], "yes, 2 values");
    // As lines were before they said how many values they are of.
    let record = format!("{RECORD}/results.jsonl");
    workspace.write(&record, &workspace.read(&record).replace(",\"values\":2", ""));
    let goals = workspace.done(&["goals", RECORD]);
    assert_eq!(row(&goals, &["| recovery |"])[4], "yes, number of values not recorded");
}

#[test]
fn what_the_gate_counts_is_read_from_its_baseline() {
    let workspace = Workspace::new(&page(&["counts"]));
    workspace.done(&["add-measure", RECORD, "start", "ms", "measure it", "start", "4"]);
    let copies = |goals: &str| row(goals, &["native-4KiB-ack0/server", "copied"])[3..].to_vec();
    assert_eq!(copies(&workspace.done(&["goals", RECORD])), ["–", "not measured"]);
    fs::create_dir_all(workspace.path("bench/gate")).expect("a folder");
    let counts = |allocations: f64, copied: f64| json!({"allocations_per_message": allocations, "payload_bytes_copied_per_message": copied});
    let baseline = json!({"date": "2026-01-01", "scenarios": {
        "native-128B-ack0/server": counts(0.5, 4.0),
        "native-4KiB-ack0/server": counts(0.25, 0.0),
        "native-4KiB-ack0/publisher": counts(7.0, 7.0),
    }});
    workspace.write("bench/gate/baseline.json", &baseline.to_string());
    let goals = workspace.done(&["goals", RECORD]);
    assert_eq!(copies(&goals), ["0", "yes"]);
    assert_eq!(row(&goals, &["native-128B-ack0/server"])[3..], ["0.500", "**no**"]);
    workspace.done(&["write", RECORD]);
    let page = workspace.read("RESULTS.md");
    assert_eq!(row(&page, &["native-4KiB-ack0/server"])[1..], ["0.250", "0"]);
    assert!(!page.contains("publisher"), "{page}");
}

#[test]
fn the_interop_matrix_has_a_row_for_each_client() {
    let workspace = Workspace::new(&page(&["interop"]));
    let step = |step: &str, result: &str| json!({"step": step, "result": result});
    let matrix = json!({"date": "2026-01-01", "commit": "0123456789ab", "clients": [
        {"title": "away", "skipped": "there is\nnone"},
        {"title": "one", "version": "1.2", "steps": [
            step("publish", "pass"), step("ping", "lacks: pings"), step("ack", "FAIL: no"),
        ]},
    ]});
    workspace.write("interop.json", &matrix.to_string());
    workspace.done(&["add-interop", RECORD, "interop.json"]);
    workspace.done(&["write", RECORD]);
    let page = workspace.read("RESULTS.md");
    assert_eq!(row(&page, &["| one |"])[1..], ["1.2", "yes", "lacks", "**no**", "1 of 3"]);
    assert_eq!(row(&page, &["| away |"])[1..], ["–", "–", "–", "–", "0 of 3"]);
    assert!(page.contains("- away: not run: there is none\n- one, ping: lacks: pings"), "{page}");
    assert!(page.contains("2026-01-01 at 0123456789ab"), "{page}");
}

#[test]
fn latencies_are_drawn_losses_listed_and_the_earlier_build_compared() {
    let workspace = Workspace::new(&page(&["workload rate-9", "workload fan", "losses", "old"]));
    workspace.add_rates("fan", "mezzenger", &[1.0]);
    for (target, us) in [("mezzenger", 20.0), ("nats", 10.0), ("mezzenger-old", 40.0)] {
        let change = |run: &mut Value| {
            run["config"]["rate"] = json!(9);
            run["latency_us"]["p50"] = json!(us);
            run["environment"]["git_commit"] = json!(format!("built-{us}"));
        };
        workspace.add("rate-9", target, &[&change]);
    }
    workspace.done(&["write", RECORD]);
    let page = workspace.read("RESULTS.md");
    let svg = workspace.read(&format!("{RECORD}/charts/rate-9-latency-memory.svg"));
    assert!(svg.contains("nats") && svg.contains("99.9 %"), "{svg}");
    let loss = row(&page, &["latency p50", "| nats |"]);
    assert_eq!((loss[3].as_str(), loss[6].as_str()), ("20.0", "2.00"));
    let old = row(&page, &["latency p50", "| 40.0 |"]);
    assert_eq!(old[4..], ["0.500", "1", "built-40", "built-20"]);
    assert!(page.contains("- Not measured with an earlier build: fan."), "{page}");
}

#[test]
fn requests_are_about_latency_and_what_has_a_goal_may_be_missing() {
    let workspace = Workspace::new(&page(&["workload request-1", "workload group-8", "losses"]));
    for (target, us) in [("mezzenger", 20.0), ("nats", 30.0)] {
        let change = |run: &mut Value| {
            run["config"]["request"] = json!(true);
            run["latency_us"]["p50"] = json!(us);
        };
        workspace.add("request-1", target, &[&change]);
    }
    let goals = workspace.done(&["goals", RECORD]);
    let half = row(&goals, &["| request-1 ", "latency p50"]);
    assert_eq!(half[2..], ["≤ 0.8 × nats", "0.667", "yes, 1 rounds"]);
    assert_eq!(row(&goals, &["| group-8 "])[4], "not measured");
    workspace.done(&["write", RECORD]);
    let page = workspace.read("RESULTS.md");
    assert!(page.contains("one request at a time each, ") && page.contains("Not measured."));
    let svg = workspace.read(&format!("{RECORD}/charts/request-1-latency-memory.svg"));
    assert!(svg.contains("requests to their answers") && svg.contains("nats"), "{svg}");
}

#[test]
fn encrypted_workloads_and_connections_are_shown_as_such() {
    let parts = ["workload 8-to-32-curve", "workload connections-curve", "workload connections"];
    let workspace = Workspace::new(&page(&parts));
    workspace.add_rates("8-to-32-curve", "nats-tls", &[2e6]);
    for (workload, target, rate) in [
        ("8-to-32-curve", "mezzenger", 3e6),
        ("8-to-32-curve", "libzmq", 1e6),
        ("connections-curve", "mezzenger", 500.0),
        ("connections-curve", "libzmq", 400.0),
    ] {
        let change = |run: &mut Value| {
            run["config"]["curve"] = json!(true);
            run["config"]["connections"] = json!(workload == "connections-curve");
            run["published_per_s"] = json!(rate);
            run["delivered_per_s"] = json!(rate);
        };
        workspace.add(workload, target, &[&change]);
    }
    let goals = workspace.done(&["goals", RECORD]);
    assert_eq!(row(&goals, &["8-to-32-curve", "≥ 2 × libzmq"])[3], "3.00");
    assert_eq!(row(&goals, &["8-to-32-curve", "≥ 1 × nats-tls"])[3], "1.50");
    assert_eq!(row(&goals, &["1-to-1-curve", "≥ 2 × libzmq"])[4], "not measured");
    workspace.done(&["write", RECORD]);
    let page = workspace.read("RESULTS.md");
    assert!(page.contains("saturated, encrypted, "), "{page}");
    assert!(page.contains("one connection after the other each, encrypted, "), "{page}");
    let head = row(&page, &["connections/s"]);
    assert!(!head.contains(&"delivered/s".to_owned()), "{head:?}");
    assert_eq!(row(&page, &["| libzmq |", "| 400 |"])[2], "400");
    assert!(page.contains("connections -->\n\nNot measured."), "{page}");
    let svg = workspace.read(&format!("{RECORD}/charts/connections-curve-rates-memory.svg"));
    assert!(svg.contains("connections/s") && svg.contains("libzmq"), "{svg}");
}

#[test]
fn a_soak_is_drawn_and_its_charts_are_checked() {
    let workspace = Workspace::new("");
    fs::create_dir_all(workspace.path(RECORD)).expect("a folder");
    let samples = format!("{RECORD}/samples.csv");
    let with_memory = |kb: u32| {
        format!(
            "time_s,rss_kb,descriptors,latency_p99_us\n10,{kb},40,500\n20,{kb},41,\n30,{kb},40,600\n"
        )
    };
    workspace.write(&samples, &with_memory(15_000));
    workspace.done(&["soak", RECORD]);
    for (file, text) in [
        ("memory", "resident memory, MB"),
        ("descriptors", "open descriptors"),
        ("latency", "latency p99, µs"),
    ] {
        let svg = workspace.read(&format!("{RECORD}/charts/{file}.svg"));
        assert!(svg.contains(text) && svg.contains("time, s"), "{svg}");
    }
    workspace.done(&["soak", RECORD, "--check"]);
    workspace.write(&samples, &with_memory(30_000));
    let (is_same, said) = workspace.run(&["soak", RECORD, "--check"]);
    assert!(!is_same && said.contains("charts/memory.svg") && said.contains("soak"), "{said}");
    workspace.write(&samples, "time_s,rss_kb\n10,15000\n");
    let (is_drawn, said) = workspace.run(&["soak", RECORD]);
    assert!(!is_drawn && said.contains("nothing to draw"), "{said}");
}

#[test]
fn what_makes_no_page_is_told() {
    let workspace = Workspace::new(&page(&["workload fan", "workload other"]));
    let refuses = |text: &str| {
        let (is_done, said) = workspace.run(&["write", RECORD]);
        assert!(!is_done && said.contains(text), "{text:?} in {said}");
    };
    refuses("results.jsonl: No such file");
    workspace.add_rates("fan", "mezzenger", &[1.0, 2.0]);
    refuses("workload other --> is not known");
    workspace.write("RESULTS.md", "");
    refuses("the workload fan is in the record and not shown");
    workspace.write("RESULTS.md", "<!-- figures: workload fan -->\n");
    refuses("there is no \"<!-- end -->\"");
    workspace.add_rates("fan", "nats", &[1.0]);
    refuses("fan/nats: round 2 is missing");
    let fail = |run: &mut Value| run["failures"] = json!(["7 messages were lost"]);
    workspace.add("fan", "nats", &[&fail, &fail]);
    workspace.add("fan", "mezzenger", &[&fail]);
    refuses("fan/mezzenger, round 1 failed: 7 messages were lost");
}
