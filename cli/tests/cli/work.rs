//! `mezzenger work` and `mezzenger reply`: what becomes of a message, and of the command that works at it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::broker::{Broker, DEADLINE, check_ok, finish};

/// A command that says who it is, and then runs another one that never ends.
const ENDLESS: &str = "echo $$; tail -f /dev/null; true";

/// Runs `kill` with these arguments.
fn kill(args: &[&str]) {
    let output = Command::new("kill").args(args).output().expect("kill runs");
    assert!(output.status.success(), "{output:?}");
}

/// The output of a child, and its first line without the line feed.
fn first_line(child: &mut Child) -> (BufReader<ChildStdout>, String) {
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    (stdout, line.trim_end().to_owned())
}

/// Whether all that can write to a pipe end in time.
fn all_end(mut pipe: impl Read + Send + 'static) -> bool {
    let (tells, told) = mpsc::channel();
    thread::spawn(move || tells.send(pipe.read_to_end(&mut Vec::new())));
    told.recv_timeout(DEADLINE).is_ok()
}

/// A pipe with a name, at which a command waits for its end.
fn gate(directory: &Path) -> String {
    let path = directory.join("gate").to_str().expect("a path in UTF-8").to_owned();
    let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
    assert!(made.success());
    path
}

#[test]
fn a_command_works_for_a_group_and_its_exit_code_decides() {
    let broker = Broker::start();
    let client = broker.client();
    for text in ["fine", "later", "broken"] {
        client.message("jobs.new", text).ack().send().expect("the server takes it");
    }
    // What fails at its first attempt succeeds at its second one.
    let script = r#"
        read -r text
        echo "$MEZZENGER_NAME $MEZZENGER_GROUP $MEZZENGER_ENCODING $text $MEZZENGER_ATTEMPT"
        if [ "$MEZZENGER_ATTEMPT" = 1 ]; then
            case $text in later) exit 75 ;; broken) exit 3 ;; esac
        fi
    "#;
    let work = ["work", "jobs.*", "--group", "g", "--retry-delay", "10ms", "--count", "3"];
    let output = broker.run(&[&work[..], &["--", "sh", "-c", script]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let mut lines: Vec<_> = str::from_utf8(&output.stdout).expect("text").lines().collect();
    lines.sort_unstable();
    let expected = ["broken 1", "broken 2", "fine 1", "later 1", "later 2"];
    assert!(lines.into_iter().eq(expected.map(|end| format!("jobs.new g text {end}"))));
    // Only what failed is said.
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("sh: exit status: 3") && stderr.contains("attempt 1"), "{stderr}");
    assert_eq!(broker.server.metrics().pending_messages, 0);
}

#[test]
fn json_tells_each_attempt_and_what_the_command_prints_is_not_in_it() {
    let broker = Broker::start();
    broker.client().message("jobs.new", "x").ack().send().expect("the server takes it");
    let script = r#"echo printed; [ "$MEZZENGER_ATTEMPT" = 2 ]"#;
    let work =
        ["work", "jobs.new", "--group", "g", "--retry-delay", "10ms", "--count", "1", "--json"];
    let output = broker.run(&[&work[..], &["--", "sh", "-c", script]].concat());
    assert_eq!(output.status.code(), Some(0));
    let attempts: Vec<serde_json::Value> = str::from_utf8(&output.stdout)
        .expect("text")
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    let [failed, done] = &attempts[..] else { panic!("{attempts:?}") };
    let expected = |id, attempt: u32, verdict, error: Option<&str>| {
        serde_json::json!({
            "name": "jobs.new", "id": id, "attempt": attempt, "verdict": verdict, "error": error
        })
    };
    let id = &done["id"];
    assert_eq!(failed, &expected(id, 1, "nak", Some("exit status: 1")));
    assert_eq!(done, &expected(id, 2, "ack", None));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.lines().filter(|line| *line == "printed").count(), 2, "{stderr}");
}

#[test]
fn a_later_attempt_that_there_is_not_is_said() {
    let broker = Broker::start();
    let client = broker.client();
    client.message("jobs.new", "x").ack().send().expect("the server takes it");
    let work = ["work", "jobs.new", "--group", "g", "--retry-delay", "1ms", "--count", "1"];
    let script = r#"read -r text; [ "$text" = fine ] || exit 75"#;
    let twice = ["--max-attempts", "2", "--", "sh", "-c", script];
    let child = broker.spawn(&[&work[..], &twice].concat());
    while client.dead_letters("g").count() != Ok(1) {
        std::thread::yield_now();
    }
    client.message("jobs.new", "fine").ack().send().expect("the server takes it");
    let output = finish(child);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(0), 1), "{stderr}");
    assert!(stderr.contains("exit status: 75") && stderr.contains("attempt 2"), "{stderr}");
    assert!(stderr.contains("it becomes a dead letter"), "{stderr}");
}

#[test]
fn a_command_that_cannot_be_run_gives_the_message_back() {
    let broker = Broker::start();
    broker.client().message("jobs", "x").ack().send().expect("the server takes it");
    for command in ["/nowhere/at/all", "no-such-program", "/etc/passwd", "/tmp"] {
        for what in [&["work", "jobs", "--group", "g"][..], &["reply", "jobs"]] {
            let output = broker.run(&[what, &["--", command]].concat());
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            assert!(
                stderr.contains(&format!("no program '{command}' that can be run")),
                "{stderr}"
            );
        }
    }
    // One that is gone when it is wanted.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = folder.path().join("once");
    std::fs::write(&program, "#!/bin/sh\nrm \"$0\"\n").expect("a script");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).expect("its mode");
    broker.client().message("jobs", "x").ack().send().expect("the server takes it");
    let program = program.to_str().expect("a path in UTF-8");
    let output = broker.run(&["work", "jobs", "--group", "g", "--", program]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("{program} could not be run")), "{stderr}");
    let subscriber = broker.subscribe(&["jobs", "--count", "1"]);
    assert_eq!(check_ok(&finish(subscriber)), "x\n");
}

#[test]
fn a_request_is_answered_by_a_command_and_one_to_nobody_fails_at_once() {
    let broker = Broker::start();
    let output = broker.run(&["request", "sum", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("nobody takes requests under 'sum' now"), "{stderr}");
    let script = r#"read -r text; echo "$MEZZENGER_HEADERS"; cat > /dev/null; [ "$text" != no ]"#;
    let reply = ["reply", "sum", "--count", "1", "--", "sh", "-c", script];
    let replying = broker.spawn(&reply);
    let failed = loop {
        let stderr = broker.run(&["request", "sum", "no"]).stderr;
        if !String::from_utf8_lossy(&stderr).contains("nobody takes requests") {
            break stderr;
        }
    };
    let failed = String::from_utf8_lossy(&failed);
    assert!(failed.contains("the request under 'sum' failed: sh: exit status: 1"), "{failed}");
    // What is no request ends nobody.
    check_ok(&broker.run(&["pub", "sum", "no request", "--ack"]));
    let asked = broker.run_with(&["request", "sum", "-", "--header", "k=v"], &[b'x'; 300_000]);
    assert_eq!(check_ok(&asked), "[[\"k\",\"v\"]]\n");
    let replied = finish(replying);
    assert_eq!(replied.status.code(), Some(0));
    let stderr = String::from_utf8_lossy(&replied.stderr);
    assert!(stderr.contains("exit status: 1") && stderr.contains("gets no answer"), "{stderr}");
}

#[test]
fn requests_under_several_names_are_answered_at_once_without_names_for_groups() {
    let broker = Broker::start();
    let reply =
        |name, says| broker.spawn(&["reply", name, "--count", "1", "--json", "--", "echo", says]);
    let replying = [reply("tea", "hot"), reply("ice.>", "cold")];
    for (name, answer) in [("tea", "hot\n"), ("ice.cream", "cold\n")] {
        let asked = loop {
            let asked = broker.run(&["request", name, "x"]);
            if !String::from_utf8_lossy(&asked.stderr).contains("nobody takes requests") {
                break asked;
            }
        };
        assert_eq!(check_ok(&asked), answer);
    }
    for (replied, (name, bytes)) in replying.into_iter().zip([("tea", 3), ("ice.cream", 4)]) {
        let told = check_ok(&finish(replied));
        let told: serde_json::Value = serde_json::from_str(&told).expect("an object");
        assert_eq!((&told["name"], &told["bytes"]), (&name.into(), &bytes.into()), "{told}");
        assert!(told["error"].is_null() && told["id"].is_string(), "{told}");
    }
}

#[test]
fn the_second_signal_ends_the_command_with_all_that_it_started() {
    let broker = Broker::start();
    broker.client().message("jobs", "x").ack().send().expect("the server takes it");
    let mut child = broker.spawn(&["work", "jobs", "--group", "g", "--", "sh", "-c", ENDLESS]);
    let (stdout, leader) = first_line(&mut child);
    let pid = child.id().to_string();
    kill(&["-INT", &pid]);
    kill(&["-TERM", &pid]);
    let ended = all_end(stdout);
    if !ended {
        kill(&["-KILL", "--", &format!("-{leader}")]);
    }
    let output = finish(child);
    assert!(ended && matches!(output.status.code(), Some(130 | 143)), "{ended} {output:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_ends_with_its_parent_however_that_ends() {
    let broker = Broker::start();
    broker.client().message("jobs", "x").ack().send().expect("the server takes it");
    let script = "echo $$; exec tail -f /dev/null";
    let mut child = broker.spawn(&["work", "jobs", "--group", "g", "--", "sh", "-c", script]);
    let (stdout, leader) = first_line(&mut child);
    child.kill().expect("it runs");
    let ended = all_end(stdout);
    if !ended {
        kill(&["-KILL", "--", &format!("-{leader}")]);
    }
    finish(child);
    assert!(ended, "the command goes on");
}

#[test]
fn a_hang_up_ends_the_wait_for_further_messages_and_not_the_work_at_one() {
    let broker = Broker::start();
    let directory = tempfile::tempdir().expect("a directory");
    let gate = gate(directory.path());
    for is_ignored in [false, true] {
        // The second time, one is left.
        for text in if is_ignored { &["3"][..] } else { &["1", "2"] } {
            broker.client().message("jobs", text).ack().send().expect("the server takes it");
        }
        let script = "echo begun; read -r end < \"$1\"";
        let work = ["work", "jobs", "--group", "g", "--count", "2", "--", "sh", "-c", script, "sh"];
        let command = broker.command(&[&work[..], &[&gate]].concat());
        // As nohup does it.
        let ignore = if is_ignored { "trap '' HUP; exec \"$@\"" } else { "exec \"$@\"" };
        let mut shell = Command::new("sh");
        shell.args(["-c", ignore, "sh"]).arg(command.get_program()).args(command.get_args());
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = shell.spawn().expect("sh starts");
        let (mut stdout, _) = first_line(&mut child);
        kill(&["-HUP", &child.id().to_string()]);
        std::fs::write(&gate, "\n").expect("the command waits");
        if is_ignored {
            stdout.read_line(&mut String::new()).expect("the second one begins");
            std::fs::write(&gate, "\n").expect("the command waits");
        }
        check_ok(&finish(child));
        let left = if is_ignored { 0 } else { 1 };
        assert_eq!(broker.server.metrics().pending_messages, left);
    }
}

#[test]
fn a_command_that_has_ended_is_not_waited_for_although_others_hold_its_pipes() {
    let broker = Broker::start();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let path = file.path().to_str().expect("a path in UTF-8");
    let script = r#"exec 3<&0; tail -f /dev/null <&3 2> /dev/null & echo $! > "$1"; echo yes"#;
    let reply = ["reply", "sum", "--count", "1", "--", "sh", "-c", script, "sh", path];
    let replying = broker.spawn(&reply);
    let asked = loop {
        let asked = broker.run_with(&["request", "sum", "-"], &[b'x'; 300_000]);
        if !String::from_utf8_lossy(&asked.stderr).contains("nobody takes requests") {
            break asked;
        }
    };
    let other = std::fs::read_to_string(path).expect("a number");
    kill(&[other.trim()]);
    check_ok(&finish(replying));
    assert_eq!(check_ok(&asked), "yes\n");
}

#[test]
fn nobody_has_to_read_the_complaints() {
    let broker = Broker::start();
    broker.client().message("jobs", "x").ack().send().expect("the server takes it");
    let script = r#"[ "$MEZZENGER_ATTEMPT" = 3 ]"#;
    let work = ["work", "jobs", "--group", "g", "--retry-delay", "1ms", "--count", "1"];
    let mut child = broker.spawn(&[&work[..], &["--", "sh", "-c", script]].concat());
    drop(child.stderr.take());
    let output = finish(child);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(broker.server.metrics().pending_messages, 0);
}

#[test]
fn a_message_that_no_command_can_take_becomes_a_dead_letter_at_once() {
    let broker = Broker::start();
    let client = broker.client();
    // Six bytes each in JSON: more than Linux takes as one text.
    let header = "\u{1}".repeat(30_000);
    let message = client.message("jobs", "large").ack().header("k", &header);
    message.send().expect("the server takes it");
    client.message("jobs", "fine").ack().send().expect("the server takes it");
    let work = ["work", "jobs", "--group", "g", "--count", "1", "--", "cat"];
    let output = broker.run(&work);
    assert_eq!(output.stdout, b"fine", "{output:?}");
    let letters = client.dead_letters("g").list(2).expect("an answer");
    let reasons: Vec<_> = letters.iter().map(|letter| letter.reason.as_deref()).collect();
    let [Some(reason)] = reasons[..] else { panic!("{reasons:?}") };
    assert!(reason.contains("cat could not be run: Argument list too long"), "{reason}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("it becomes a dead letter"), "{stderr}");
}

#[test]
fn a_groups_own_limit_is_said_as_it_is() {
    let broker = Broker::start();
    check_ok(&broker.run(&["group", "create", "jobs", "g", "--max-attempts", "1"]));
    broker.client().message("jobs", "x").ack().send().expect("the server takes it");
    let mut child = broker.spawn(&["work", "jobs", "--group", "g", "--", "false"]);
    let mut line = String::new();
    let stderr = child.stderr.take().expect("a pipe");
    BufReader::new(stderr).read_line(&mut line).expect("a line");
    child.kill().expect("it runs");
    finish(child);
    assert!(line.ends_with("attempt 1; it becomes a dead letter\n"), "{line}");
}
