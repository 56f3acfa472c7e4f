//! Subscriptions take a bounded amount of memory and time, as they come, stay and leave.

use std::time::{Duration, Instant};

use mezzenger::wire::frame::v2_prefix;

use crate::floods::Others;
use crate::harness::native::assert_ok;
use crate::harness::raw::{cancellation, request, subscription};
use crate::harness::{Raw, Server};

const MIB: usize = 1 << 20;

#[test]
fn long_ones_take_what_they_are_and_leave_without_a_freeze() {
    const SUBSCRIPTIONS: usize = 108_000;
    let server = Server::start::<&str>(&[]);
    let mut others = Others::new(&server);
    let before = server.process.memory_bytes();
    let mut raw = Raw::connect(server.pub_addr, "SUB");
    let mut longest = Duration::ZERO;
    for thousand in 0..SUBSCRIPTIONS / 1000 {
        let prefixes = (0..1000).map(|n| format!("{:07}{}", thousand * 1000 + n, "x".repeat(1016)));
        raw.say(&prefixes.flat_map(|name| subscription(name.as_bytes())).collect::<Vec<_>>());
        longest = longest.max(others.rounds(1).0);
    }
    raw.confirm();
    let grown = server.process.memory_max_bytes() - before;
    println!("{} bytes each, the longest round {longest:?}", grown / SUBSCRIPTIONS);
    assert!(grown < SUBSCRIPTIONS * 2500, "{} MiB", grown / MIB);
    drop(raw);
    let (leaving, _) = others.rounds(500);
    println!("the longest round while they left {leaving:?}");
    assert!(longest.max(leaving) < Duration::from_millis(500), "{longest:?} {leaving:?}");
}

#[test]
fn beyond_their_bytes_the_connection_is_closed() {
    let server = Server::start::<&str>(&[]);
    let mut others = Others::new(&server);
    let mut raw = Raw::connect(server.pub_addr, "SUB");
    // 256 MiB are allowed to one connection.
    let said = (0..300).all(|thousand| {
        let prefixes = (0..1000).map(|n| format!("{:07}{}", thousand * 1000 + n, "x".repeat(1016)));
        raw.try_say(&prefixes.flat_map(|name| subscription(name.as_bytes())).collect::<Vec<_>>())
    });
    assert!(!said, "the connection stayed");
    raw.wait_for_the_end();
    let (longest, _) = others.rounds(100);
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    server.log_line("its subscriptions take");
}

#[test]
fn one_that_comes_and_goes_leaves_memory_as_it_is() {
    let server = Server::start::<&str>(&[]);
    let mut others = Others::new(&server);
    let mut raw = Raw::connect(server.pub_addr, "SUB");
    let topic = v2_prefix("flood");
    let thousand = [subscription(&topic), cancellation(&topic)].concat().repeat(1000);
    let churn = |raw: &mut Raw| {
        for _ in 0..200 {
            raw.say(&thousand);
        }
        raw.confirm();
    };
    churn(&mut raw);
    let before = server.process.memory_bytes();
    churn(&mut raw);
    let (longest, _) = others.rounds(10);
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    let grown = server.process.memory_bytes().saturating_sub(before);
    assert!(grown < 4 * MIB, "{} KiB", grown / 1024);
}

#[test]
fn prefixes_of_many_names_that_wait_block_nobody() {
    const NAMES: usize = 100_000;
    // With its number, the longest name that may be.
    const SHARED: usize = 249;
    let server = Server::start(&["--retry-interval", "1h"]);
    let mut others = Others::new(&server);
    let mut raw = others.publisher.raw(&server);
    let mut hearing = Raw { stream: raw.stream.try_clone().unwrap() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..NAMES {
                assert_ok(&hearing.hear().unwrap());
            }
        });
        let shared = "w".repeat(SHARED);
        for thousand in 0..NAMES / 1000 {
            let names = (0..1000).map(|n| format!("{shared}{:06}", thousand * 1000 + n));
            let frames = names.map(|name| others.publisher.frame(&name, b"x", true));
            raw.say(&frames.flat_map(|frame| request(&frame)).collect::<Vec<_>>());
        }
    });
    let mut sub = Raw::connect(server.pub_addr, "SUB");
    let mut saying = Raw { stream: sub.stream.try_clone().unwrap() };
    std::thread::scope(|scope| {
        let hearing = scope.spawn(move || (0..NAMES).all(|_| sub.hear().is_some()));
        let mut pings = Vec::new();
        let mut ping = || {
            let start = Instant::now();
            others.publisher.ping();
            pings.push(start.elapsed());
        };
        // Prefixes of many lengths, which fit no name.
        for bytes in 1..=SHARED {
            saying.say(&subscription(&[b"\x01", &vec![b'w'; bytes][..], b"x"].concat()));
            ping();
        }
        // One that fits all of them: they come.
        saying.say(&subscription(b"\x01w"));
        while !hearing.is_finished() {
            ping();
        }
        pings.sort_unstable();
        let (p95, longest) = (pings[pings.len() * 95 / 100], pings[pings.len() - 1]);
        println!("p95 {p95:?}, the longest ping {longest:?}");
        assert!(p95 < Duration::from_millis(100), "{p95:?}");
        assert!(longest < Duration::from_millis(500), "{longest:?}");
        assert!(hearing.join().unwrap());
    });
}
