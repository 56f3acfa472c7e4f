//! Metrics of the real server: what promtool says of them, and that they are what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use mezzenger::Filter;

use crate::harness::binaries::workspace;
use crate::harness::http::{self, get, request};
use crate::harness::{PATIENCE, Server, eventually, skipped};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";

/// The samples of a text, by their name with labels.
pub(crate) fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}")));
    pairs.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

/// What promtool does not like.
fn promtool(text: &str) -> Option<String> {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        skipped("metrics as promtool reads them", "promtool is not there (Debian's prometheus)");
        return None;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = [&output.stdout[..], &output.stderr].concat();
    let told = String::from_utf8(told).unwrap();
    (!output.status.success() || !told.is_empty()).then_some(told)
}

/// A server with a journal, hostile names and a group, on which known things happened.
struct Busy {
    server: Server,
    _directory: tempfile::TempDir,
}

const HOSTILE: &str = "a\"} 1\\ <script>alert(1)</script>";

fn busy() -> Busy {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("journal");
    let server = Server::start_with_journal(&file, &["--http", "127.0.0.1:0"]);
    // The names are counted from the moment that the server is ready.
    http::address(&server);
    let client = server.client();
    client.groups().durable("packers", Filter::name("orders")).create().unwrap();
    for _ in 0..5 {
        client.message("orders", "tea").ack().send().unwrap();
    }
    for _ in 0..3 {
        client.message(HOSTILE, "milk").ack().send().unwrap();
    }
    let mut jobs = client.subscription_to(Filter::name("orders")).group("packers").open().unwrap();
    jobs.recv_timeout(PATIENCE).unwrap().ack();
    drop(jobs);
    client.stop();
    Busy { server, _directory: directory }
}

#[test]
fn promtool_finds_nothing_wrong_and_values_are_what_happened() {
    let busy = busy();
    let at = http::address(&busy.server);
    let text = eventually("the end of the member", || {
        let answer = get(at, "/metrics");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "text/plain; version=0.0.4; charset=utf-8")
        );
        let found = samples(&answer.body);
        let is_done = found["mezzenger_messages_acknowledged_total"] == 1.0
            && found["mezzenger_group_members{group=\"packers\"}"] == 0.0
            && found["mezzenger_group_in_flight_messages{group=\"packers\"}"] == 0.0;
        is_done.then_some(answer.body)
    });
    let found = samples(&text);
    for (name, value) in [
        ("mezzenger_messages_accepted_total", 8.0),
        ("mezzenger_pending_messages", 7.0),
        ("mezzenger_groups", 1.0),
        ("mezzenger_group_waiting_messages{group=\"packers\"}", 4.0),
        ("mezzenger_group_waiting_messages{group=\"other\"}", 0.0),
        ("mezzenger_group_in_flight_messages{group=\"packers\"}", 0.0),
        ("mezzenger_group_members{group=\"packers\"}", 0.0),
        ("mezzenger_name_messages_accepted_total{name=\"orders\"}", 5.0),
        (
            "mezzenger_name_messages_accepted_total{name=\"a\\\"} 1\\\\ <script>alert(1)</script>\"}",
            3.0,
        ),
        ("mezzenger_name_messages_accepted_total{name=\"other\"}", 0.0),
        ("mezzenger_journal_messages_appended_total", 8.0),
        ("mezzenger_journal_failed", 0.0),
        ("mezzenger_draining", 0.0),
        ("mezzenger_requests_rejected_total{reason=\"malformed\"}", 0.0),
        ("mezzenger_dead_letters", 0.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name} in\n{text}");
    }
    for name in [
        "mezzenger_received_bytes_total",
        "mezzenger_sent_bytes_total",
        "mezzenger_journal_file_bytes",
        "mezzenger_journal_sync_duration_seconds_count",
        "mezzenger_turn_duration_seconds_count",
        "mezzenger_oldest_pending_age_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(found[name] > 0.0, "{name} in\n{text}");
    }
    let bucket = "mezzenger_turn_duration_seconds_bucket{le=\"+Inf\"}";
    assert_eq!(found[bucket], found["mezzenger_turn_duration_seconds_count"]);
    assert_eq!(promtool(&text), None, "{text}");
}

#[test]
fn promtool_would_find_what_is_wrong() {
    if let Some(told) = promtool("# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n") {
        assert!(told.contains("_total"), "{told}");
    }
}

#[test]
fn openmetrics_goes_to_those_who_accept_it_and_has_the_same_values() {
    let busy = busy();
    let at = http::address(&busy.server);
    let answer = request(at, "GET", "/metrics", &[("Accept", OPEN_METRICS)], "");
    assert_eq!(answer.header("content-type"), format!("{OPEN_METRICS}; charset=utf-8"));
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    assert!(answer.body.contains(
        "# TYPE mezzenger_received_bytes counter\n# UNIT mezzenger_received_bytes bytes\n"
    ));
    let (open, classic) = (samples(&answer.body), samples(&get(at, "/metrics").body));
    let names: BTreeSet<_> = classic.keys().collect();
    assert_eq!(open.keys().collect::<BTreeSet<_>>(), names);
    assert_eq!(open["mezzenger_messages_accepted_total"], 8.0);
}

#[test]
fn rejections_are_counted_by_their_reason() {
    let server = Server::start(&["--http", "127.0.0.1:0", "--max-pending-messages", "2"]);
    let (at, client) = (http::address(&server), server.client());
    for n in 0..3 {
        let sent = client.message("orders", "tea").ack().send();
        assert_eq!(sent.is_ok(), n < 2, "{sent:?}");
    }
    let found = samples(&get(at, "/metrics").body);
    assert_eq!(found["mezzenger_requests_rejected_total{reason=\"pending_full\"}"], 1.0);
    let rejected: f64 = found
        .iter()
        .filter(|(name, _)| name.starts_with("mezzenger_requests_rejected_total"))
        .map(|(_, value)| value)
        .sum();
    assert_eq!(rejected, 1.0);
    assert_eq!(found["mezzenger_pending_limit_messages"], 2.0);
}

/// What a scrape holds is bounded, whatever clients call their names.
#[test]
fn names_beyond_the_first_hundred_are_summed() {
    let server = Server::start(&["--http", "127.0.0.1:0"]);
    let (at, client) = (http::address(&server), server.client());
    for n in 0..250 {
        client.publish(&format!("name.{n}"), "x").unwrap();
    }
    client.flush().unwrap();
    let found = samples(&get(at, "/metrics").body);
    let of = "mezzenger_name_messages_accepted_total{";
    let names: Vec<_> = found.iter().filter(|(name, _)| name.starts_with(of)).collect();
    assert_eq!(names.len(), 101);
    assert_eq!(found["mezzenger_name_messages_accepted_total{name=\"other\"}"], 150.0);
}

/// Every metric that the dashboard asks for is one that the server has, and each panel asks for some.
#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    let file = workspace().join("packaging/grafana/mezzenger.json");
    let text = std::fs::read_to_string(file).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let busy = busy();
    let body = get(http::address(&busy.server), "/metrics").body;
    let exported: BTreeSet<_> =
        samples(&body).keys().map(|name| name.split('{').next().unwrap().to_owned()).collect();
    let (mut named, mut panels) = (BTreeSet::new(), 0);
    for panel in dashboard["panels"].as_array().unwrap() {
        if panel["type"] == "row" {
            continue;
        }
        panels += 1;
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        for target in targets {
            let query = target["expr"].as_str().unwrap();
            let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let metrics: Vec<_> = words
                .filter(|word| word.starts_with("mezzenger_") || word.starts_with("process_"))
                .collect();
            assert!(!metrics.is_empty(), "{query}");
            named.extend(metrics.into_iter().map(ToOwned::to_owned));
        }
    }
    // It has no sample while nobody is slow.
    let exported: BTreeSet<_> =
        exported.into_iter().chain(["mezzenger_slow_subscriber_age_seconds".to_owned()]).collect();
    let unknown: Vec<_> = named.difference(&exported).collect();
    assert!(unknown.is_empty(), "{unknown:?} of\n{body}");
    assert!(panels > 10 && named.len() > 20, "{panels} panels, {named:?}");
}
