//! Messages that expire, at the real server.

use std::time::Duration;

use mezzenger::Client;
use rustix::process::Signal;

use crate::check_journal;
use crate::harness::native::now_ns;
use crate::harness::{NativeSubscriber, Server};

#[test]
fn what_expired_while_the_server_was_away_is_given_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let mut server = Server::start_with_journal(&journal, &[]);
    let port = server.recv_addr.port();
    let client = Client::builder().port(port).connect().unwrap();
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(3600));
    client.message("greet", "short").ack().expires_in(short).send().unwrap();
    client.message("greet", "long").ack().expires_in(long).send().unwrap();
    let expired_ns = now_ns() + short.as_nanos() as u64;
    server.signal_and_wait(Signal::KILL);
    drop(client);
    while now_ns() < expired_ns {
        std::thread::yield_now();
    }
    let server = Server::start_with_journal(&journal, &[]);
    let mut subscriber = NativeSubscriber::new(&server, "greet");
    assert!(subscriber.next().payload.starts_with(b"long"));
    server.terminate();
    let report = check_journal::report(&journal, 0);
    assert!(report.contains("2 appended, 1 settled, 1 live\n"), "{report}");
}
