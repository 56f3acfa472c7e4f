//! Nobody waits for the log, and nothing ends because of it: what cannot be written is dropped and counted.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::process::Process;
use crate::harness::{Native, PATIENCE, Server, binaries, eventually};

/// More lines than a pipe and the server's own queue hold together.
const MANY: usize = 20_000;

/// How soon a server answers that does not wait for its log.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Its default is 5 s.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Starts a server from a shell script that says where its log goes: `$0` is `file`, `$@` the server.
#[track_caller]
fn start(script: &str, file: &Path) -> Server {
    let mut command = Command::new("sh");
    command.env_remove("RUST_LOG").args(["-c", script]).arg(file);
    command.arg(binaries::path("mezzenger-server"));
    command.args(["--verbose", "--pub-port", "0", "--recv-port", "0"]);
    Server::run(&mut command).unwrap_or_else(|refused| panic!("the server ended: {refused:#?}"))
}

/// A place for a pipe with a name.
fn pipe(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("log")
}

/// Expects answers to refused requests, to a message that is kept, and a clean end.
#[track_caller]
fn check_serves_and_drains(mut server: Server, refused: usize) {
    let mut publisher = Native::connect(&server);
    for _ in 0..refused {
        publisher.request(b"greet|no pickle");
    }
    let start = Instant::now();
    server.client().ping().unwrap();
    publisher.publish("greet", b"hello", true);
    assert!(start.elapsed() < AT_ONCE, "answered after {:?}", start.elapsed());
    server.process.signal(Signal::TERM);
    let status = server.process.wait_at_most(DRAIN_MAX);
    assert_eq!(status.code(), Some(0), "{}", server.process.stderr());
}

#[test]
fn a_log_on_a_full_disk_costs_no_answer_and_no_drain() {
    check_serves_and_drains(start(r#"exec "$@" 2>"$0""#, Path::new("/dev/full")), 3);
}

#[test]
fn a_log_whose_reader_is_gone_costs_no_answer_and_no_drain() {
    let folder = tempfile::tempdir().unwrap();
    // The pipe has a reader while it is opened for writing, and none when the server runs.
    let script = r#"mkfifo "$0" && exec 3<>"$0" && exec "$@" 2>"$0" 3<&-"#;
    check_serves_and_drains(start(script, &pipe(&folder)), 3);
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    // Opened for both, the pipe has a reader that never reads.
    check_serves_and_drains(start(r#"mkfifo "$0" && exec "$@" 2<>"$0""#, &pipe(&folder)), MANY);
}

#[test]
fn lost_lines_are_counted_when_the_log_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = pipe(&folder);
    let server = start(r#"mkfifo "$0" && exec "$@" 2<>"$0""#, &pipe);
    let publisher = Native::connect(&server);
    for _ in 0..MANY {
        publisher.request(b"greet|no pickle");
    }
    let (send, lines) = channel();
    let log = BufReader::new(File::open(&pipe).unwrap());
    let reader = thread::spawn(move || {
        let lines = log.lines().map_while(Result::ok);
        // Ends with the server, which holds the pipe's other end, or with the test.
        lines.take_while(|line| send.send(line.clone()).is_ok()).count()
    });
    let mut read = 0;
    let lost: usize = loop {
        let line = lines.recv_timeout(PATIENCE).unwrap();
        if let Some((before, _)) = line.split_once(" log lines lost") {
            break before.rsplit(' ').next().unwrap().parse().unwrap();
        }
        read += 1;
    };
    // Each request is a line; a few further ones tell of refusals, at most one a second.
    assert!(read + lost >= MANY, "{read} lines read, {lost} lost");
    assert!(lost > 0 && read > 0, "{read} lines read, {lost} lost");
    server.terminate();
    drop(lines);
    reader.join().unwrap();
}

#[test]
fn nobody_has_to_read_where_the_server_listens() {
    let [pub_port, recv_port] = mezzenger_torture::ports::pair(&mut fastrand::Rng::new());
    let folder = tempfile::tempdir().unwrap();
    // The pipe is full before the server writes its line.
    let script =
        r#"mkfifo "$0" && exec 3<>"$0" && dd if=/dev/zero bs=4096 count=16 >&3 && exec "$@" >&3"#;
    let mut command = Command::new("sh");
    command.env_remove("RUST_LOG").args(["-c", script]).arg(pipe(&folder));
    command.arg(binaries::path("mezzenger-server"));
    command.args(["--pub-port", &pub_port.to_string(), "--recv-port", &recv_port.to_string()]);
    let mut process = Process::start(&mut command);
    let client = mezzenger::Client::builder().port(recv_port);
    eventually("an answer", || client.clone().connect().ok());
    process.signal(Signal::TERM);
    assert_eq!(process.wait_at_most(DRAIN_MAX).code(), Some(0), "{}", process.stderr());
}

#[test]
fn a_filter_that_nobody_can_read_is_refused() {
    let mut command = Command::new(binaries::path("mezzenger-server"));
    command.env("RUST_LOG", "mezzenger=loud").args(["--pub-port", "0", "--recv-port", "0"]);
    let mut process = Process::start(&mut command);
    assert_eq!(process.wait().code(), Some(2));
    assert!(process.stderr().contains("mezzenger=loud"), "{}", process.stderr());
}
