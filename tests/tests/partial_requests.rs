//! Requests that are not whole take a bounded amount of memory, whatever they announce.

use std::time::{Duration, Instant};

use mezzenger::wire::reply::ErrorCode;

use crate::floods::Others;
use crate::harness::native::assert_refused;
use crate::harness::raw::{announce, part};
use crate::harness::{Raw, Server};

const MIB: usize = 1 << 20;
const FRAME_BYTES: usize = 60 * MIB;

#[test]
fn frames_that_lack_a_byte_take_no_more_than_all_may_take_together() {
    // 1,200 MB if all of it stayed.
    const PEERS: usize = 20;
    let server = Server::start::<&str>(&[]);
    let mut others = Others::new(&server);
    let body = vec![7; FRAME_BYTES - 1];
    let open: Vec<_> = (0..PEERS)
        .map(|_| {
            let mut raw = Raw::connect(server.recv_addr, "DEALER");
            raw.say(&[part(b"", true), announce(FRAME_BYTES as u64)].concat());
            // The server may hang up in the middle.
            raw.try_say(&body);
            raw
        })
        .collect();
    let (longest, _) = others.rounds(100);
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    let memory = server.process.memory_max_bytes();
    println!("{} MiB", memory / MIB);
    assert!(memory < 600 * MIB, "{} MiB", memory / MIB);
    server.log_line("take too much memory, and its own takes most");
    drop(open);
}

#[test]
fn a_frame_of_any_announced_size_is_answered_at_once_and_closed_in_time() {
    let server = Server::start::<&str>(&[]);
    let sizes = [u64::MAX / 2, 1 << 63, u64::MAX];
    let start = Instant::now();
    let open = sizes.map(|bytes| {
        let mut raw = Raw::connect(server.recv_addr, "DEALER");
        raw.say(&[part(b"", true), announce(bytes), vec![1; 1000]].concat());
        let why = assert_refused(&raw.hear().unwrap(), ErrorCode::TooLarge);
        assert!(why.contains(&bytes.to_string()), "{why}");
        raw
    });
    server.log_line(&sizes[0].to_string());
    for bytes in sizes {
        let mut raw = Raw::connect(server.pub_addr, "SUB");
        raw.try_say(&[announce(bytes), vec![1; 1000]].concat());
        raw.wait_for_the_end();
    }
    server.log_line("a subscription is too long");
    // The rest of none of them comes.
    for mut raw in open {
        raw.wait_for_the_end();
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    server.log_line("less than 64 KiB in 10 s");
}
