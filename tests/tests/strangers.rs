//! What strangers ask for, each no more than is allowed, leaves room and time to others.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mezzenger::wire::frame::v2_prefix;

use crate::floods::Others;
use crate::harness::native::assert_ok;
use crate::harness::raw::request;
use crate::harness::{Native, Raw, Server};
use crate::large_requests::dear_pickle;
use crate::stalled_subscriber::subscriber;

const MIB: usize = 1 << 20;

#[test]
fn requests_that_wait_to_be_checked_have_nobody_else_closed() {
    // One is being checked; the others take nearly all that there is for requests that wait.
    const STRANGERS: usize = 5;
    let server = Server::start::<&str>(&[]);
    let mut publisher = Native::connect(&server);
    let frame = publisher.frame("large", &vec![7; 30 * MIB], false);
    let large = request(&dear_pickle(60 * MIB));
    let strangers: Vec<_> = (0..STRANGERS)
        .map(|_| {
            let mut raw = Raw::connect(server.recv_addr, "DEALER");
            raw.try_say(&large);
            raw
        })
        .collect();
    assert_ok(&publisher.request(&frame));
    server.log_line("take too much memory, and its own takes most");
    drop(strangers);
}

#[test]
fn new_publishers_do_not_add_to_what_waits_for_a_slow_subscriber() {
    // 600 MiB if all of it were taken at once.
    const PUBLISHERS: usize = 20;
    /// Requests of another one behind each MiB that is read: what is published comes in several times as fast.
    const PINGS: usize = 300;
    let server = Server::start::<&str>(&[]);
    let mut slow = subscriber(server.pub_addr, &v2_prefix("large"));
    let other = Native::connect(&server);
    let publishers: Vec<_> = (0..PUBLISHERS).map(|_| Native::connect(&server)).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for mut publisher in publishers {
                let frame = publisher.frame("large", &vec![7; 30 * MIB], false);
                assert_ok(&publisher.request(&frame));
            }
        });
        scope.spawn(move || {
            let (mut buffer, mut read) = (vec![0; MIB], 0);
            while read < PUBLISHERS * 30 * MIB {
                read += slow.stream.read(&mut buffer).unwrap();
                (0..PINGS).for_each(|_| other.ping());
            }
        });
    });
    let memory = server.process.memory_max_bytes();
    println!("{} MiB", memory / MIB);
    assert!(memory < 350 * MIB, "{} MiB", memory / MIB);
}

#[test]
fn requests_that_cost_much_keep_no_small_one_waiting_for_all_of_them() {
    const STRANGERS: usize = 96;
    let server = Server::start::<&str>(&[]);
    let mut others = Others::new(&server);
    // As much as the broker's thread checks by itself.
    let dear = request(&dear_pickle(60_000));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..STRANGERS {
            scope.spawn(|| {
                let mut raw = Raw::connect(server.recv_addr, "DEALER");
                while !over.load(Ordering::Relaxed) {
                    raw.say(&dear.repeat(4));
                    (0..4).for_each(|_| drop(raw.hear().unwrap()));
                }
            });
        }
        others.rounds(5);
        let (longest, all) = others.rounds(50);
        over.store(true, Ordering::Relaxed);
        println!("the longest {longest:?} of {all:?}");
        assert!(longest < Duration::from_millis(250), "{longest:?}");
    });
}
