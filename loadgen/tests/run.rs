//! Runs the real program: each run must be faultless, and its figures must agree with each other.

mod harness;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mezzenger::{Client, Server};

use harness::{check_usage, loadgen, run};

/// Bound on what a test waits for.
const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn a_saturated_run_loses_nothing() {
    let report = run(&["--pubs", "2", "--subs", "3"]);
    assert_eq!((&report["duplicated"], &report["reordered"]), (&0.into(), &0.into()));
    assert!(report["server"]["rss_kb"].as_u64() > Some(0));
    assert!(report["server"]["cpu_s"].as_f64().is_some());
}

#[test]
fn a_run_on_schedule_publishes_at_its_rate_and_measures_each_message() {
    let report = run(&["--pubs", "3", "--subs", "2", "--rate", "1000", "--names", "4"]);
    // 1.2 s at 1000/s; the end of the schedule is exact.
    assert_eq!(report["published"], 1200);
    assert_eq!(report["latency_us"]["samples"], 2 * 1000);
    assert_eq!(report["service_time_us"]["samples"], 2 * 1000);
    assert_eq!(report["send_delay_us"]["samples"], 1000);
}

#[test]
fn a_durable_run_settles_every_message() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let journal = directory.path().join("journal");
    let journal = journal.to_str().expect("a path in UTF-8");
    let keeping = ["--ack", "--persist-file", journal, "--inflight", "1000"];
    let report = run(&[&["--pubs", "2", "--subs", "2"], &keeping[..]].concat());
    let server = &report["server"];
    assert_eq!(server["accepted"], report["published"]);
    assert_eq!(server["settled"], report["published"]);
    assert_eq!(server["pending"], 0);
    assert_eq!(report["target"]["durability"], "fsync");
    assert!(fs::metadata(journal).is_ok_and(|file| file.len() > 0));
}

#[test]
fn what_earlier_runs_left_in_the_file_is_no_failure() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = directory.path().join("journal");
    let builder = Server::builder().pub_port(0).recv_port(0).persist_file(&journal);
    let server = builder.start().expect("a server");
    let port = server.recv_addr().port();
    let client = Client::builder().port(port).connect();
    client.expect("a client").message("left", "over").ack().send().expect("it is taken");
    server.shutdown().expect("an end");
    let report = run(&["--ack", "--persist-file", journal.to_str().expect("UTF-8")]);
    assert_eq!(report["server"]["pending"], 1);
}

#[test]
fn a_slow_schedule_is_measured_to_its_end() {
    let start = Instant::now();
    let output = loadgen(&["--rate", "1", "--duration", "900ms", "--warmup", "0"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
}

#[test]
fn the_table_names_every_figure() {
    let output = loadgen(&["--duration", "200ms", "--warmup", "0", "--size", "32"]);
    let table = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for figure in ["published", "delivered", "lost", "latency", "p99.9", "server", "RSS"] {
        assert!(table.contains(figure), "no {figure} in\n{table}");
    }
}

/// A run that is not over before the test.
fn start_long_run() -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(["--duration", "10m"]).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("loadgen starts")
}

/// Waits until the run has started its server; the server's process id.
fn server_of(run: &Child) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", run.id());
    let end = Instant::now() + DEADLINE;
    loop {
        let child = fs::read_to_string(&children).expect("a list of child processes");
        if let Ok(server) = child.trim().parse() {
            return server;
        }
        assert!(Instant::now() < end, "no server was started");
        std::thread::yield_now();
    }
}

#[test]
fn the_server_ends_with_the_run_even_if_the_run_is_killed() {
    let mut run = start_long_run();
    let server = server_of(&run);
    run.kill().expect("a process of ours");
    run.wait().expect("it ended");
    let process = PathBuf::from(format!("/proc/{server}/exe"));
    let end = Instant::now() + DEADLINE;
    // What nobody waited for keeps its directory, but not its program.
    while fs::read_link(&process).is_ok() {
        assert!(Instant::now() < end, "the server still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_server_that_dies_is_exit_1() {
    let run = start_long_run();
    let server = server_of(&run);
    let kill = Command::new("kill").args(["-KILL", &server.to_string()]).status();
    assert!(kill.is_ok_and(|status| status.success()));
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn nobody_to_send_to_is_one_line_and_exit_1() {
    // The discard port: nothing listens there.
    let output = loadgen(&["--server", "127.0.0.1", "--port", "9"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("could not connect to 127.0.0.1:9"), "{stderr}");
}

#[test]
fn a_journal_that_cannot_be_opened_is_exit_1() {
    let output = loadgen(&["--ack", "--persist-file", "/nowhere/at/all"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("/nowhere/at/all"), "{stderr}");
}

#[test]
fn usage_errors_are_exit_2_and_say_what_is_wrong() {
    check_usage(&["--size", "31"], "at least 32");
    check_usage(&["--pubs", "0"], "--pubs");
    check_usage(&["--rate", "0"], "above 0");
    check_usage(&["--duration", "0"], "longer than zero");
    check_usage(&["--duration", "soon"], "--duration");
    check_usage(&["--persist-file", "journal"], "--ack");
    check_usage(&["--port", "7202"], "--server");
    check_usage(&["--ack", "--persist-file", "j", "--server", "h"], "--server");
    check_usage(&["--publishers", "2"], "--publishers");
}

#[test]
fn a_group_receives_each_message_once_in_all() {
    let load = ["--group", "--pubs", "2", "--subs", "4", "--names", "2"];
    let report = run(&load);
    assert_eq!(report["config"]["group"], true);
    assert!(report["inflight"].as_u64() > Some(0), "what has no credit would be lost");
    let report = run(&[&load[..], &["--rate", "1000", "--size", "40..4000"]].concat());
    assert_eq!(report["delivered"], 1200);
    assert_eq!(report["latency_us"]["samples"], 1000);
}

#[test]
fn the_members_of_a_group_settle_every_message_explicitly() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = directory.path().join("journal");
    let load = ["--group", "--pubs", "2", "--subs", "4", "--ack"];
    let keeping = ["--persist-file", journal.to_str().expect("UTF-8")];
    for flags in [&[][..], &keeping] {
        let report = run(&[&load[..], flags].concat());
        assert_eq!((&report["duplicated"], &report["server"]["pending"]), (&0.into(), &0.into()));
        assert_eq!(report["server"]["settled"], report["published"]);
        assert!(report["server"]["settled_per_s"].as_f64() > Some(0.0));
    }
}

#[test]
fn requests_are_measured_to_their_answers_one_by_one() {
    let flags = ["--request", "--pubs", "3", "--names", "2"];
    for more in [&[][..], &["--target", "relay"], &["--group", "--subs", "2"]] {
        let report = run(&[&flags[..], more].concat());
        // All of the measured time, and those under way at its ends.
        let samples = report["latency_us"]["samples"].as_u64().expect("a count");
        let measured = report["published_per_s"].as_f64().expect("a rate");
        let measured = measured * report["measured_s"].as_f64().expect("a time");
        assert!((samples as f64 - measured).abs() <= 6.0 + measured / 10.0, "{report}");
    }
    let slow = ["--slow-subs", "1", "--consumer-latency", "20ms"];
    let report = run(&[&["--request", "--pubs", "2"], &slow[..]].concat());
    // Two of them take turns at one that takes 20 ms for each.
    assert!(report["latency_us"]["p50"].as_f64() > Some(35_000.0), "{report}");
    assert!(report["published"].as_u64() <= Some(62), "{report}");
    let report = run(&["--request", "--pubs", "2", "--rate", "500"]);
    assert_eq!(report["latency_us"]["samples"], 500);
    assert_eq!(report["service_time_us"]["samples"], 500);
}

#[test]
fn what_groups_and_requests_cannot_have_is_a_usage_error() {
    check_usage(&["--group", "--churn", "1"], "without --churn");
    check_usage(&["--group", "--target", "relay"], "leave --group out");
    check_usage(&["--request", "--ack"], "without --ack");
    check_usage(&["--request", "--churn", "1"], "--churn");
    check_usage(&["--request", "--subs", "2"], "--group");
}
