//! What the log looks like: plain on a pipe, in colours on a terminal, with priorities for journald, as JSON.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::server::command;
use crate::harness::{Native, Server, binaries};

/// Causes lines, one of them about bytes that a terminal would obey.
fn cause_lines(server: &Server) {
    let mut publisher = Native::connect(server);
    publisher.request(b"greet\x1b[31m\r\n|no pickle");
    publisher.publish("greet", b"hello", true);
}

#[test]
fn json_is_one_object_a_line_with_typed_fields() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let args = ["--log-format", "json", "--log-level", "debug"];
    let server = Server::start_with_journal(&journal, &args);
    cause_lines(&server);
    server.terminate();
    let server = Server::start_with_journal(&journal, &args);
    cause_lines(&server);
    let log = server.terminate();
    let mut messages = Vec::new();
    for line in log.lines() {
        let object: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(!line.contains('\x1b'), "{line}");
        let text = |key: &str| object[key].as_str().unwrap_or_else(|| panic!("no {key}: {line}"));
        assert!(text("timestamp").ends_with('Z'));
        assert!(["ERROR", "WARN", "INFO", "DEBUG"].contains(&text("level")), "{line}");
        assert!(text("target").starts_with("mezzenger"));
        if text("message").starts_with("recovered the journal") {
            assert_eq!((&object["messages"], &object["names"]), (&1.into(), &1.into()), "{line}");
            assert!(object["bytes"].as_u64().unwrap() > 5, "{line}");
        }
        messages.push(text("message").to_owned());
    }
    for begins in ["recovered the journal", "rejected a request", "ended in"] {
        assert!(messages.iter().any(|message| message.starts_with(begins)), "{begins}: {log}");
    }
}

#[test]
fn the_reason_of_an_end_is_json_too() {
    let refused = command().args(["--log-format", "json", "--bind", "0.0.0.0"]).output().unwrap();
    let stderr = String::from_utf8(refused.stderr).unwrap();
    let object: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!(object["level"], "ERROR");
    assert!(object["message"].as_str().unwrap().starts_with("0.0.0.0 can be reached"), "{stderr}");
}

#[test]
fn a_pipe_gets_plain_lines_with_a_time() {
    let server = Server::start::<&str>(&[]);
    cause_lines(&server);
    let log = server.terminate();
    assert!(!log.contains('\x1b'), "{log}");
    for line in log.lines() {
        assert!(
            line.starts_with("20") && line.contains("Z ") && line.contains(" mezzenger"),
            "{line}"
        );
    }
}

#[test]
fn journald_gets_priorities_and_no_time_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let file = fs::File::create(&path).unwrap();
    let about = file.metadata().unwrap();
    let run = |stream: String| {
        let mut server = command();
        server.env("JOURNAL_STREAM", stream).args(["--pub-port", "0", "--recv-port", "0"]);
        // What is opened to append keeps its inode; the harness keeps stderr, so a shell moves it.
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"exec "$0" --pub-port 0 --recv-port 0 2>>"$LOG""#]);
        shell.arg(binaries::path("mezzenger-server")).env("LOG", &path);
        shell.env_remove("RUST_LOG");
        for (key, value) in server.get_envs() {
            if let Some(value) = value {
                shell.env(key, value);
            }
        }
        let mut server = Server::started(&mut shell);
        cause_lines(&server);
        assert_eq!(server.signal_and_wait(Signal::TERM).code(), Some(0));
        let log = fs::read_to_string(&path).unwrap();
        fs::write(&path, "").unwrap();
        log
    };
    let log = run(format!("{}:{}", about.dev(), about.ino()));
    assert!(log.lines().count() >= 2, "{log}");
    for line in log.lines() {
        assert!(
            ["<4>mezzenger", "<6>mezzenger"].iter().any(|head| line.starts_with(head)),
            "{line}"
        );
    }
    assert!(log.contains("<4>"), "{log}");
    // stderr leads elsewhere than the service manager said.
    let log = run(format!("{}:{}", about.dev(), about.ino() + 1));
    assert!(log.starts_with("20"), "{log}");
}

#[test]
fn a_terminal_gets_colours_and_a_pipe_can_have_text_as_well() {
    let server = binaries::path("mezzenger-server");
    let line = format!("{} --pub-port 0 --recv-port 0", server.display());
    let mut script = Command::new("script");
    // Its stdout is the terminal's: the ready line and the log.
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_remove("RUST_LOG");
    if Command::new("script").arg("--version").output().is_err() {
        return crate::harness::skipped("colours", "there is no script(1)");
    }
    let mut process = crate::harness::process::Process::start(&mut script);
    assert!(process.line().unwrap().contains("ready pub="));
    let children = format!("/proc/{0}/task/{0}/children", process.id());
    let children = fs::read_to_string(children).unwrap();
    let server = children.split_whitespace().next().unwrap().parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(server).unwrap(), Signal::TERM)
        .unwrap();
    process.wait();
    let log = process.lines_so_far().join("\n");
    assert!(log.contains("\x1b[32m") && log.contains("ended in"), "{log:?}");
}
