//! Restarts one after the other, clean ones and crashes: the journal goes through all of them.

use std::collections::HashSet;
use std::time::Instant;

use rustix::process::Signal;

use crate::harness::{Native, NativeSubscriber, Server};

#[test]
fn a_hundred_quick_restarts_lose_nothing_and_forget_what_was_settled() {
    const RESTARTS: usize = 100;
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let arguments = ["--retry-interval", "1h"];
    let start = Instant::now();
    let mut kept = HashSet::new();
    for restart in 0..RESTARTS {
        let mut server = Server::start_with_journal(&journal, &arguments);
        let mut publisher = Native::connect(&server);
        let ids = [0; 3].map(|_| publisher.publish("task", b"x", true));
        publisher.ack(&ids[..1]);
        // One that was kept by an earlier server.
        if restart % 2 == 0
            && let Some(id) = kept.iter().next().copied()
        {
            publisher.ack(&[id]);
            kept.remove(&id);
        }
        kept.extend(&ids[1..]);
        // A settlement is stored before what is stored later.
        kept.insert(publisher.publish("task", b"y", true));
        match restart % 3 {
            0 => server.process.kill(),
            1 => drop(server.terminate()),
            _ => assert_eq!(server.signal_and_wait(Signal::INT).code(), Some(0)),
        }
    }
    println!("{RESTARTS} restarts took {:?}", start.elapsed());
    let server = Server::start_with_journal(&journal, &arguments);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let received: HashSet<_> = kept.iter().map(|_| subscriber.next().id).collect();
    assert_eq!(received, kept);
    // And nothing else.
    let last = Native::connect(&server).publish("task", b"the last", false);
    assert_eq!(subscriber.next().id, last);
}
