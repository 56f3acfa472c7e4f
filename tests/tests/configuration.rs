//! The configuration file: where settings come from, what it refuses, and what changes when it is read again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use mezzenger::SendError;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::Server;
use crate::harness::server::command;

/// A configuration file with this text.
fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mezzenger.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

/// Starts a server with this file.
#[track_caller]
fn start(path: &Path, more: &[&str]) -> Server {
    let args = [&["--config", path.to_str().unwrap()], more].concat();
    Server::start(&args)
}

/// Has the server read its file again, in which this stands now.
fn reload(server: &Server, path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    server.process.signal(Signal::HUP);
}

fn output(args: &[&str], variables: &[(&str, &str)]) -> Output {
    command().args(args).envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn the_file_counts_and_variables_and_flags_before_it() {
    let (_folder, path) = file("bind = \"127.0.0.3\"\nmax-pending-messages = 1\n");
    let server = start(&path, &[]);
    assert_eq!(server.recv_addr.ip().to_string(), "127.0.0.3");
    let client = server.client();
    client.message("jobs", "tea").ack().send().unwrap();
    let error = client.message("jobs", "tea").ack().send().unwrap_err();
    assert!(matches!(error, SendError::PendingFull { .. }), "{error}");
    let server = start(&path, &["--bind", "127.0.0.2"]);
    assert_eq!(server.recv_addr.ip().to_string(), "127.0.0.2");
    let mut by_variables = command();
    by_variables.env("MEZZENGER_CONFIG", &path).env("MEZZENGER_BIND", "127.0.0.4");
    by_variables.envs([("MEZZENGER_PUB_PORT", "0"), ("MEZZENGER_RECV_PORT", "0")]);
    let server = Server::started(&mut by_variables);
    assert_eq!(server.recv_addr.ip().to_string(), "127.0.0.4");
}

#[test]
fn what_is_printed_is_what_counts() {
    let (folder, path) = file("retry-interval = \"7s\"\ninsecure = true\n");
    let path = path.to_str().unwrap();
    let variables = [("MEZZENGER_MAX_CONNECTIONS", "77")];
    let printed = output(&["--config", path, "--pub-port", "7300", "--print-config"], &variables);
    assert!(printed.status.success() && printed.stderr.is_empty(), "{printed:?}");
    let printed = String::from_utf8(printed.stdout).unwrap();
    for line in
        ["retry-interval = \"7s\"", "insecure = true", "max-connections = 77", "pub-port = 7300"]
    {
        assert!(printed.lines().any(|found| found == line), "no {line} in {printed}");
    }
    assert!(printed.lines().any(|line| line == "#recv-port = 7202"), "{printed}");
    // A file like any other.
    let again = folder.path().join("again.toml");
    fs::write(&again, &printed).unwrap();
    let again = output(&["--config", again.to_str().unwrap(), "--print-config"], &[]);
    assert_eq!(String::from_utf8(again.stdout).unwrap(), printed);
}

#[test]
fn what_cannot_be_used_ends_the_start_with_one_line_that_says_where() {
    for (text, says) in [
        ("pub-prot = 1", ":1: there is no setting \"pub-prot\"; did you mean pub-port?"),
        ("\nverify = 5", ":2: verify is \"5\": '5' is none of never, stored, always"),
        ("pub-port = 7300\nrecv-port = 7300", "recv-port is set at "),
        ("retry-interval = \"0s\"", "--retry-interval must be between 1ms and 1 year, not 0s"),
        ("bind = \"0.0.0.0\"", "can be reached from other machines"),
        ("curve-secret = \"server.key_secret\"", "--curve-secret needs --authorized-keys"),
        ("fsync = \"never\"", "--fsync needs a journal"),
        ("repair = true", "--repair needs a journal"),
        ("http = \"0.0.0.0:7280\"", "--http 0.0.0.0:7280 can be reached from other machines"),
        ("= 5", ":1: this is no TOML: "),
    ] {
        let (_folder, path) = file(text);
        for also in [&[][..], &["--check-config"]] {
            let refused = output(&[&["--config", path.to_str().unwrap()], also].concat(), &[]);
            let stderr = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(refused.status.code(), Some(2), "{text}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
            assert!(stderr.starts_with("mezzenger-server: ") && stderr.contains(says), "{stderr}");
            // An error that names settings says where each of them stands.
            let named = [":1: ", ":2: ", "is set at "].iter().any(|place| stderr.contains(place));
            assert!(named || !stderr.contains("--") || says.contains("can be reached"), "{stderr}");
        }
    }
    let missing = output(&["--config", "/no/such/file"], &[]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such/file"), "{missing:?}");
    let variable = output(&[], &[("MEZZENGER_PUB_PORT", "x")]);
    assert_eq!(variable.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&variable.stderr);
    assert!(stderr.contains("MEZZENGER_PUB_PORT: pub-port is \"x\": invalid digit"), "{stderr}");
}

#[test]
fn settings_that_can_be_used_pass_the_check() {
    let (_folder, path) = file("retry-interval = \"7s\"\n");
    let checked = output(&["--config", path.to_str().unwrap(), "--check-config"], &[]);
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
}

#[test]
fn sighup_changes_what_can_change_and_says_what_takes_a_restart() {
    let before = "max-pending-messages = 1\nretry-interval = \"1h\"\ndrain-timeout = \"3s\"\n";
    let (_folder, path) = file(before);
    let server = start(&path, &[]);
    let client = server.client();
    client.message("jobs", "tea").ack().send().unwrap();
    client.message("jobs", "tea").ack().send().unwrap_err();
    let after = "max-pending-messages = 5\nretry-interval = \"20ms\"\ndrain-timeout = \"3s\"\nfsync = \"always\"\nverify = \"always\"\nbind = \"127.0.0.2\"\n";
    reload(&server, &path, after);
    server.log_line("max-pending-messages changed from 1 to 5");
    server.log_line("retry-interval changed from 1h to 20ms");
    server.log_line("verify changed from stored to always");
    server.log_line("bind stays 127.0.0.1; 127.0.0.2 counts after a restart of the server");
    let log = server.process.stderr();
    for same in ["drain-timeout", "fsync", "max-connections"] {
        assert!(!log.contains(same), "{log}");
    }
    let mut jobs = client.subscription("new").unwrap();
    client.message("new", "tea").ack().send().unwrap();
    for _ in 0..2 {
        jobs.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    // The same file once more: what takes a restart is said again, the others have changed.
    server.process.signal(Signal::HUP);
    let stays = || server.process.stderr().matches("bind stays 127.0.0.1").count();
    crate::harness::eventually("the second reload", || (stays() == 2).then_some(()));
    assert_eq!(server.process.stderr().matches("retry-interval changed").count(), 1);
    reload(&server, &path, &after.replace("bind = \"127.0.0.2\"\n", ""));
    server.log_line("nothing changed");
    server.terminate();
}

#[test]
fn with_an_error_in_the_file_everything_stays_as_it_is() {
    let (_folder, path) = file("max-pending-messages = 1\n");
    let server = start(&path, &[]);
    for (text, says) in [
        ("max-pending-messages = 5\nno-such-key = 1\n", "no-such-key"),
        ("max-pending-messages = 0\n", "--max-pending-messages must be at least 1"),
        ("max-pending-messages = 5\nbind = \"0.0.0.0\"\n", "can be reached from other machines"),
    ] {
        reload(&server, &path, text);
        let line = server.log_line(says);
        assert!(line.contains("all settings stay as they are: "), "{line}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
    reload(&server, &path, "max-pending-messages = 5\n");
    server.log_line(&format!("run chmod go-w {}", path.display()));
    fs::remove_file(&path).unwrap();
    server.process.signal(Signal::HUP);
    server.log_line("cannot read the configuration file");
    let client = server.client();
    client.message("jobs", "tea").ack().send().unwrap();
    client.message("jobs", "tea").ack().send().unwrap_err();
}

#[test]
fn a_reload_changes_what_is_logged() {
    let (_folder, path) = file("");
    let server = start(&path, &[]);
    let refuse = || crate::harness::Native::connect(&server).request(b"greet|no pickle");
    refuse();
    assert!(!server.process.stderr().contains("DEBUG"), "{}", server.process.stderr());
    reload(&server, &path, "log-level = \"debug\"\n");
    server.log_line("log-level changed from info to debug");
    refuse();
    server.log_line("DEBUG");
    reload(&server, &path, "log-level = \"error\"\n");
    crate::harness::eventually("the last level", || {
        let before = server.process.stderr().len();
        refuse();
        // A line of its own level would be there before the end.
        (server.process.stderr().len() == before).then_some(())
    });
    let log = server.terminate();
    assert!(!log.contains("ended in"), "{log}");
}
