//! The clock on the wall may say what it likes: it only stamps messages.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use mezzenger::wire::checksum;
use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::id::MessageId;
use mezzenger::wire::record::{Encoding, Record};

use serde_json::Value;

use crate::harness::native::assert_ok;
use crate::harness::pickles::{Dict, float, int};
use crate::harness::process::Process;
use crate::harness::{Native, NativeSubscriber, Server, binaries, eventually, skipped};
use crate::load::loadgen;

/// A kept message of this time.
fn frame_at(publisher: u64, sequence: u64, timestamp_ns: u64) -> Vec<u8> {
    let payload = b"x";
    let mut frame = v2_prefix("task");
    let record = Record {
        id: MessageId { publisher, sequence },
        ordinal: sequence,
        timestamp_ns,
        checksum: checksum::native("task", payload, timestamp_ns),
        ack: true,
        has_properties: false,
        encoding: Encoding::Bytes,
        payload,
    };
    record.append_to(&mut frame).unwrap();
    frame
}

#[test]
fn messages_of_any_time_are_kept_sent_again_and_recovered_in_the_order_they_came() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let arguments = ["--retry-interval", "100ms", "--verify", "never"];
    let server = Server::start_with_journal(&journal, &arguments);
    let publisher = Native::connect(&server);
    // Now, and jumps back and ahead: 1970, 2554, yesterday.
    let now = crate::harness::native::now_ns();
    let times = [now, 0, u64::MAX, now - 86_400_000_000_000, 1, now + 86_400_000_000_000];
    for (n, time) in times.into_iter().enumerate() {
        assert_ok(&publisher.request(&frame_at(publisher.publisher, n as u64 + 1, time)));
    }
    for (n, seconds) in [0.0, 18_446_744_072.0, 1e-9, 1_763_866_000.25].into_iter().enumerate() {
        let hex = checksum::to_hex((n as u128 + 1).to_le_bytes());
        let message = Dict::message("task", int(1))
            .with("ack", int(1))
            .with("timestamp", float(seconds))
            .with("checksum", crate::harness::pickles::text(&hex));
        assert_ok(&publisher.request(&message.frame("task")));
    }
    let total = times.len() + 4;
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let ids: Vec<_> = (0..total).map(|_| subscriber.next().id).collect();
    let native: Vec<_> = ids.iter().filter(|id| !id.is_v1()).map(|id| id.sequence).collect();
    assert_eq!(native, [1, 2, 3, 4, 5, 6]);
    // Each comes again after the interval, none earlier than another.
    for _ in 0..3 {
        let again: Vec<_> = (0..total).map(|_| subscriber.next().id).collect();
        assert_eq!(again, ids);
    }
    server.terminate();
    let server = Server::start_with_journal(&journal, &arguments);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let recovered: Vec<_> = (0..total).map(|_| subscriber.next().id).collect();
    assert_eq!(recovered, ids);
}

/// Where Debian's package libfaketime puts the library that lies about the time.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// A wall clock of its own for some programs. The clock that intervals are measured by stays as it is.
struct WallClock {
    directory: tempfile::TempDir,
}

impl WallClock {
    /// A clock that goes right; `None`, and a line on stderr, without the library.
    fn new() -> Option<Self> {
        if !Path::new(FAKETIME).exists() {
            skipped("a wall clock that jumps, libfaketime", &format!("there is no {FAKETIME}"));
            return None;
        }
        let clock = Self { directory: tempfile::tempdir().unwrap() };
        clock.jump("+0");
        Some(clock)
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("clock")
    }

    /// Sets it this far off the system's.
    fn jump(&self, offset: &str) {
        // In one step, so that no half of it is read.
        let next = self.directory.path().join("next");
        std::fs::write(&next, offset).unwrap();
        std::fs::rename(next, self.file()).unwrap();
    }

    /// Lets a program read this clock.
    fn show_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("LD_PRELOAD", FAKETIME)
            .env("FAKETIME_TIMESTAMP_FILE", self.file())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }
}

/// Back and ahead, by more and by less than anything waits.
const JUMPS: [&str; 5] = ["+0", "-10y", "+10y", "-1h", "+1h"];

#[test]
fn a_wall_clock_that_jumps_back_and_ahead_changes_no_interval() {
    let Some(clock) = WallClock::new() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut command = crate::harness::server::command();
    command
        .args(["--pub-port", "0", "--recv-port", "0", "--retry-interval", "200ms"])
        .arg("--persist-file")
        .arg(directory.path().join("journal"));
    let server = Server::started(clock.show_to(&mut command));
    let mut publisher = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    for offset in JUMPS {
        clock.jump(offset);
        // Before the server has it, so that whatever happens here makes no interval look shorter.
        let started = Instant::now();
        let id = publisher.publish("task", offset.as_bytes(), true);
        // Not before the interval is over, and not much later.
        let times: Vec<_> = (0..4)
            .map(|_| {
                assert_eq!(subscriber.next().id, id, "{offset}");
                started.elapsed()
            })
            .collect();
        assert!((600..10_000).contains(&times[3].as_millis()), "{offset}: {times:?}");
        publisher.ack(&[id]);
        // What was sent again meanwhile.
        let end = publisher.publish("task", b"end", false);
        while subscriber.next().id != end {}
    }
    server.terminate();
}

#[test]
fn such_a_clock_disturbs_the_command_neither_as_publisher_nor_as_subscriber() {
    let Some(clock) = WallClock::new() else { return };
    let server = Server::start::<&str>(&[]);
    let port = server.recv_addr.port().to_string();
    let mezzenger = |args: &[&str]| {
        let mut command = Command::new(binaries::path("mezzenger"));
        command.args(args).args(["--port", &port]);
        Process::start(clock.show_to(&mut command))
    };
    let count = JUMPS.len().to_string();
    // Whenever it is subscribed: a message with ack=1 waits for it.
    let mut subscriber = mezzenger(&["sub", "task", "--ack", "--json", "--count", &count]);
    let mut years = Vec::new();
    for offset in JUMPS {
        clock.jump(offset);
        let text = format!("at {offset}");
        let mut publisher = mezzenger(&["pub", "task", &text, "--ack"]);
        assert!(publisher.wait().success(), "{offset}: {}", publisher.stderr());
        let line = subscriber.line().unwrap_or_else(|| panic!("{offset}: {}", subscriber.stderr()));
        let message: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(message["payload"], *text);
        let timestamp = message["timestamp"].as_str().unwrap();
        years.push(
            timestamp[..4].parse::<i32>().unwrap_or_else(|error| panic!("{message}: {error}")),
        );
    }
    // The clock did jump: it stands on the messages.
    assert!(years[1] < years[0] - 5 && years[2] > years[0] + 5, "{years:?}");
    assert!(subscriber.wait().success(), "{}", subscriber.stderr());
    server.terminate();
}

#[test]
fn such_a_clock_changes_no_figure_of_loadgen() {
    let Some(clock) = WallClock::new() else { return };
    let mut command =
        loadgen(&["--rate", "200", "--duration", "3s", "--warmup", "500ms", "--ack", "--json"]);
    let mut run = Process::start(clock.show_to(&mut command));
    let mut offsets = JUMPS.iter().cycle();
    eventually("the end of the run", || {
        clock.jump(offsets.next().unwrap());
        (!run.is_running()).then_some(())
    });
    assert!(run.wait().success(), "{}", run.stderr());
    let report: Value = serde_json::from_str(&run.lines_so_far().join("\n")).unwrap();
    assert_eq!([&report["lost"], &report["duplicated"]], [&Value::from(0), &Value::from(0)]);
    assert!(
        report["measured_s"].as_f64().is_some_and(|time| (2.0..30.0).contains(&time)),
        "{report}"
    );
    for times in ["latency_us", "service_time_us", "send_delay_us"] {
        let max = report[times]["max"].as_f64().unwrap();
        assert!((0.0..60e6).contains(&max), "{times}: {report}");
    }
}
