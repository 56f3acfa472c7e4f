//! Requests that are not whole take a bounded amount of memory, whatever they announce.

use std::time::Duration;

use crate::floods::Others;
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
    server.log_line("requests that are not whole take too much memory");
    drop(open);
}
