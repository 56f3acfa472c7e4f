//! How many threads clients have. Alone in its process, whose threads it counts.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use mezzenger::{Client, Server};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(30);

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Waits until there are no more threads than so many.
#[track_caller]
fn settle(count: usize) {
    let end = Instant::now() + LONG;
    while threads() > count {
        assert!(Instant::now() < end, "{} threads, and not {count}", threads());
        std::thread::yield_now();
    }
}

#[test]
fn a_client_has_one_thread_with_or_without_callbacks() {
    const CLIENTS: usize = 100;
    let server = Server::builder().pub_port(0).recv_port(0).start().unwrap();
    let before = threads();
    let connect = || Client::builder().port(server.recv_addr().port()).connect().unwrap();
    let clients: Vec<_> = (0..CLIENTS).map(|_| connect()).collect();
    let mut read = clients[0].subscription("a").unwrap();
    let (sender, called) = channel();
    for client in &clients {
        let sender = sender.clone();
        client.subscribe("a", move |_, _| sender.send(()).unwrap()).unwrap();
    }
    assert_eq!(threads(), before + CLIENTS);
    for n in 0..50 {
        clients[0].message("a", n.to_string()).send().unwrap();
        read.recv_timeout(LONG).unwrap();
        for _ in 0..CLIENTS {
            called.recv_timeout(LONG).unwrap();
        }
    }
    // One thread watches all callbacks. Of those that a busy machine made in between, none stays.
    settle(before + CLIENTS + 1);
    drop(clients);
    drop(read);
    settle(before);
}
