//! `/readyz` says why no clients should be sent here: what is kept is still being read, or the journal failed. That the server
//! ends is in `http_bounds`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use mezzenger::wire::reply::ErrorCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::failed_sync::{may_trace, traced};
use crate::harness::http::{self, get, get_json, try_get};
use crate::harness::native::assert_refused;
use crate::harness::process::Process;
use crate::harness::{Native, Server, eventually};
use crate::http_commands::command;

/// A server with a journal in this directory, on one of whose calls for a sync this is inflicted.
fn server(directory: &Path, fault: &str, http: SocketAddr) -> Command {
    let mut command = traced(fault, &directory.join("log"));
    command.args(["--persist-file"]).arg(directory.join("journal"));
    command.args(["--http", &http.to_string()]);
    command
}

#[test]
fn a_server_that_recovers_is_alive_and_not_ready() {
    if !may_trace() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // What opens the journal, beside the thread that answers, waits for longer than the test takes.
    let fault = "fdatasync,fsync:delay_enter=3600000000:when=1";
    // A port that was free a moment ago.
    let at = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let process = Process::start(&mut server(directory.path(), fault, at));
    let tracer = Tracer(eventually("strace", || tracer_of(process.id())));
    let answer = eventually("the listener", || try_get(at, "/readyz"));
    let expected =
        json!({ "ready": false, "reason": "the server is recovering what its journal keeps" });
    assert_eq!((answer.status, answer.json()), (503, expected));
    assert_eq!(get(at, "/healthz").status, 200);
    assert_eq!(get(at, "/api/v1/status").status, 503);
    let output = command(&["status", "--http", &at.to_string()]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("is recovering what its journal keeps"), "{text}");
    // Without it, the call is made.
    drop(tracer);
    eventually("the end of the recovery", || (get(at, "/readyz").status == 200).then_some(()));
}

/// The process that traces this one.
fn tracer_of(process: u32) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    Pid::from_raw(tracer.trim().parse().ok()?)
}

/// Ends with the test: what it keeps waiting could not even be killed.
struct Tracer(Pid);

impl Drop for Tracer {
    fn drop(&mut self) {
        kill_process(self.0, Signal::KILL).unwrap();
    }
}

#[test]
fn a_server_whose_journal_failed_is_not_ready_and_says_why() {
    if !may_trace() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let fault = "fdatasync:error=EIO:when=2";
    let server = Server::started(&mut server(directory.path(), fault, any));
    let at = http::address(&server);
    let mut publisher = Native::connect(&server);
    let mut last = Vec::new();
    assert_eq!(get(at, "/readyz").status, 200);
    eventually("a sync that fails", || {
        let frame = publisher.frame("task", b"x", true);
        last = publisher.request(&frame);
        (!last.starts_with(b"OK")).then_some(())
    });
    assert_refused(&last, ErrorCode::JournalFailed);
    let answer = get(at, "/readyz");
    let expected = json!({
        "ready": false, "reason": "the journal failed: messages with ack=1 are rejected",
    });
    assert_eq!((answer.status, answer.json()), (503, expected));
    assert_eq!(get(at, "/healthz").status, 200);
    let failure = get_json(at, "/api/v1/status")["journal"]["failure"].clone();
    let output = command(&["status", "--http", &at.to_string()]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(failure.as_str().unwrap()) && !text.contains(", ready, "), "{text}");
}
