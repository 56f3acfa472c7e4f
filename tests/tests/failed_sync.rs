//! A sync that fails, in the real server: `strace` lets the system call return an error.

use std::fs;
use std::path::Path;
use std::process::Command;

use mezzenger::wire::reply::ErrorCode;

use crate::harness::native::assert_refused;
use crate::harness::{Native, NativeSubscriber, Server, binaries, eventually, skipped};

/// Syncs of the journal's thread that succeed.
const SYNCS: usize = 3;

/// Whether `strace` is there and may trace; a line on stderr tells if not.
pub(crate) fn may_trace() -> bool {
    let traced = Command::new("strace").args(["-qq", "-e", "trace=none", "true"]).output();
    let why = match traced {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    skipped("the test of a failed sync, strace", &why);
    false
}

/// A server on free ports on whose syncs this fault is inflicted, as strace writes it. The log of its syncs goes to a file.
pub(crate) fn traced(fault: &str, log: &Path) -> Command {
    let mut command = Command::new("strace");
    // As a grandchild: the server is the child, as it is without.
    command.args([
        "--daemonize",
        "--follow-forks",
        "--quiet=attach",
        "--signal=none",
        "--trace=fsync,fdatasync",
    ]);
    // Each thread counts for itself.
    command.arg(format!("--inject={fault}"));
    command.arg("--output").arg(log).arg(binaries::path("mezzenger-server"));
    command.args(["--pub-port", "0", "--recv-port", "0"]).env_remove("RUST_LOG");
    command
}

/// A server with a journal one sync of which fails.
fn start(journal: &Path, log: &Path) -> Server {
    // What follows would succeed, if it were tried.
    let mut command = traced(&format!("fdatasync:error=EIO:when={}", SYNCS + 1), log);
    Server::started(command.arg("--persist-file").arg(journal))
}

#[test]
fn a_failed_sync_is_final() {
    if !may_trace() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (journal, log) = (directory.path().join("journal"), directory.path().join("log"));
    let mut server = start(&journal, &log);
    let mut publisher = Native::connect(&server);
    let stored: Vec<_> = (0..SYNCS).map(|_| publisher.publish("task", b"stored", true)).collect();
    let unsynced = publisher.frame("task", b"not synced", true);
    let text = assert_refused(&publisher.request(&unsynced), ErrorCode::JournalFailed);
    assert!(text.contains("failed to sync") && text.contains("os error 5"), "{text}");
    // Neither it nor another is taken from now on; what need not be stored is.
    assert_refused(&publisher.request(&unsynced), ErrorCode::JournalFailed);
    let other = publisher.frame("task", b"another", true);
    assert_refused(&publisher.request(&other), ErrorCode::JournalFailed);
    let mut subscriber = NativeSubscriber::new(&server, "news");
    publisher.publish("news", b"not kept", false);
    assert_eq!(subscriber.next().payload, b"not kept");
    server.log_line("the journal failed");
    let status = server.signal_and_wait(rustix::process::Signal::TERM);
    assert_eq!(status.code(), Some(1), "{}", server.process.stderr());

    let log = eventually("the end of strace's log", || {
        fs::read_to_string(&log).ok().filter(|log| log.contains("+++ exited with 1 +++"))
    });
    let (_, behind) = log.split_once("(INJECTED)").unwrap();
    assert!(!behind.contains("sync("), "a sync behind the failed one:\n{log}");

    let server = Server::start_with_journal(&journal, &[]);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let found: Vec<_> = stored.iter().map(|_| subscriber.next().id).collect();
    assert_eq!(found, stored);
    server.terminate();
}
