//! The clock on the wall may say what it likes: it only stamps messages.

use mezzenger::wire::checksum;
use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::id::MessageId;
use mezzenger::wire::record::{Encoding, Record};

use crate::harness::native::assert_ok;
use crate::harness::pickles::{Dict, float, int};
use crate::harness::{Native, NativeSubscriber, Server, skipped};

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

#[test]
fn a_wall_clock_that_jumps_back_and_ahead_changes_no_interval() {
    if !std::path::Path::new(FAKETIME).exists() {
        skipped("a wall clock that jumps, libfaketime", &format!("there is no {FAKETIME}"));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (clock, journal) = (directory.path().join("clock"), directory.path().join("journal"));
    let jump = |offset: &str| {
        // In one step, so that no half of it is read.
        let next = directory.path().join("next");
        std::fs::write(&next, offset).unwrap();
        std::fs::rename(next, &clock).unwrap();
    };
    jump("+0");
    let mut command = crate::harness::server::command();
    command
        .args(["--pub-port", "0", "--recv-port", "0", "--retry-interval", "200ms"])
        .arg("--persist-file")
        .arg(&journal)
        .env("LD_PRELOAD", FAKETIME)
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let server = Server::started(&mut command);
    let mut publisher = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    for offset in ["+0", "-10y", "+10y", "-1h", "+1h"] {
        jump(offset);
        // Before the server has it, so that whatever happens here makes no interval look shorter.
        let started = std::time::Instant::now();
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
