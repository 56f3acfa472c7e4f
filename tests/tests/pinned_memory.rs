//! What is held in memory is about what is counted: a small part that stays does not hold all it came with.

use std::time::Duration;

use mezzenger::limits::BATCH_BYTES_MAX;
use mezzenger::wire::frame::{v1_prefix, v2_prefix};
use mezzenger::wire::record::Encoding;
use mezzenger::wire::reply::ErrorCode;

use crate::floods::Others;
use crate::harness::native::{assert_ok, assert_refused};
use crate::harness::raw::request;
use crate::harness::{Native, Server};
use crate::interference::flood_until_held;
use crate::stalled_subscriber::subscriber;

const MIB: usize = 1 << 20;

/// Bytes of a record beyond its payload, its length included.
const RECORD_BYTES: usize = 62;

/// A request with a kept message of this size first, and one that is not kept that fills the rest.
fn with_one_kept(publisher: &mut Native, kept_bytes: usize, bytes: usize) -> Vec<u8> {
    let mut frame = v2_prefix("task");
    publisher.append(&mut frame, "task", Encoding::Bytes, &vec![1; kept_bytes], true);
    let rest = bytes - (kept_bytes + RECORD_BYTES) - RECORD_BYTES;
    publisher.append(&mut frame, "task", Encoding::Bytes, &vec![2; rest], false);
    frame
}

/// Sends so many requests of two kinds in turn, all of them taken; how many bytes the server's memory grew
/// by.
#[track_caller]
fn growth(count: usize, mut make: impl FnMut(&mut Native) -> Vec<Vec<u8>>) -> usize {
    let server = Server::start(&["--retry-interval", "1h"]);
    let mut publisher = Native::connect(&server);
    let mut raw = publisher.raw(&server);
    let before = server.process.memory_bytes();
    for _ in 0..count {
        let requests = make(&mut publisher);
        raw.say(&requests.iter().flat_map(|body| request(body)).collect::<Vec<_>>());
        for _ in requests {
            assert_ok(&raw.hear().unwrap());
        }
    }
    server.process.memory_bytes().saturating_sub(before)
}

#[test]
fn a_kept_message_does_not_hold_the_frame_that_it_came_in() {
    const COUNT: usize = 120;
    // 120 MiB of frames each. The sizes lie around those from which the server might not copy.
    for kept_bytes in [2100, 33 * 1024] {
        let grown =
            growth(COUNT, |publisher| vec![with_one_kept(publisher, kept_bytes, BATCH_BYTES_MAX)]);
        let counted = COUNT * kept_bytes;
        println!("{kept_bytes} bytes kept of each: {} KiB for {}", grown / 1024, counted / 1024);
        assert!(grown < 4 * counted + 40 * MIB, "{} MiB for {} KiB", grown / MIB, counted / 1024);
    }
}

#[test]
fn a_kept_message_does_not_hold_what_was_received_with_it() {
    const COUNT: usize = 1000;
    const KEPT_BYTES: usize = 4096;
    // 115 MiB, each of a message that is kept and a larger one that is not.
    let grown = growth(COUNT, |publisher| {
        let kept = publisher.frame("task", &[1; KEPT_BYTES], true);
        vec![kept, publisher.frame("task", &[2; 115 * 1024], false)]
    });
    let counted = COUNT * KEPT_BYTES;
    println!("{} KiB for {}", grown / 1024, counted / 1024);
    assert!(grown < 4 * counted + 40 * MIB, "{} MiB for {} KiB", grown / MIB, counted / 1024);
}

#[test]
fn a_large_frame_of_several_is_refused_and_leaves_nothing() {
    let server = Server::start(&["--retry-interval", "1h"]);
    let mut others = Others::new(&server);
    let mut publisher = Native::connect(&server);
    let frame = with_one_kept(&mut publisher, 2_000_000, 63_000_000);
    let before = server.process.memory_bytes();
    for _ in 0..5 {
        let why = assert_refused(&publisher.request(&frame), ErrorCode::TooLarge);
        assert!(why.contains("1048576"), "{why}");
    }
    others.rounds(10);
    let grown = server.process.memory_max_bytes() - before;
    assert!(grown < 150 * MIB, "{} MiB", grown / MIB);
}

/// The largest requests of empty messages, for half a million of them, none of which is kept.
fn many_empty(publisher: &mut Native) -> Vec<Vec<u8>> {
    let each = BATCH_BYTES_MAX / RECORD_BYTES;
    let payloads = vec![b""; each];
    (0..500_000 / each).map(|_| request(&publisher.frame_of("flood", &payloads, false))).collect()
}

#[test]
fn many_empty_messages_for_an_original_subscriber_stop_nobody() {
    let server = Server::start::<&str>(&[]);
    let mut others = Others::new(&server);
    let mut reader = subscriber(server.pub_addr, &v1_prefix("flood"));
    let mut publisher = Native::connect(&server);
    let requests = many_empty(&mut publisher);
    let mut raw = publisher.raw(&server);
    let before = server.process.memory_bytes();
    let messages = requests.len() * (BATCH_BYTES_MAX / RECORD_BYTES);
    let mut rounds = std::thread::scope(|scope| {
        scope.spawn(|| requests.iter().for_each(|request| raw.say(request)));
        let reading = scope.spawn(move || (0..messages).all(|_| reader.hear().is_some()));
        let mut rounds = Vec::new();
        while !reading.is_finished() {
            rounds.push(others.rounds(1).0);
        }
        assert!(reading.join().unwrap(), "not all came");
        rounds
    });
    rounds.sort_unstable();
    let (p90, longest) = (rounds[rounds.len() * 90 / 100], rounds[rounds.len() - 1]);
    let grown = server.process.memory_max_bytes() - before;
    println!("{} rounds, p90 {p90:?}, the longest {longest:?}; {} MiB", rounds.len(), grown / MIB);
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    assert!(grown < 100 * MIB, "{} MiB", grown / MIB);
}

#[test]
fn empty_messages_for_an_original_subscriber_that_sips_are_held_back() {
    let server = Server::start::<&str>(&[]);
    let mut others = Others::new(&server);
    let slow = subscriber(server.pub_addr, &v1_prefix("flood"));
    let mut publisher = Native::connect(&server);
    let requests = many_empty(&mut publisher).concat();
    let mut raw = publisher.raw(&server);
    let before = server.process.memory_bytes();
    let (said, longest) = flood_until_held(&mut raw, &requests, slow, &mut others);
    let grown = server.process.memory_max_bytes() - before;
    println!("{said} of {} bytes, {} MiB, {longest:?}", requests.len(), grown / MIB);
    assert!(grown < 100 * MIB, "{} MiB", grown / MIB);
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    server.log_line("does not keep up");
}
