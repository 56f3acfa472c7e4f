//! A subscriber that does not read cannot stop the others.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{PATIENCE, Python, Server, eventually};

const FRAME_BYTES: usize = 64 * 1024;
/// Together far more than the server and the kernel hold for one subscriber.
const FRAMES: usize = 3000;

#[test]
fn the_others_get_everything_and_it_comes_back() {
    let server = Server::start::<&str>(&[]);
    let mut stalled = Python::connect(&server);
    stalled.subscribe("flood");
    stalled.subscribe("afterwards");
    stalled.process.signal(Signal::STOP);

    let client = server.client();
    let mut subscription = client.subscription("flood").unwrap();
    let publisher = server
        .client_options()
        .auto_start(false)
        // The server holds publishers back for the grace, so requests take as long.
        .send_timeout(Duration::from_secs(10))
        .connect()
        .unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut payload = vec![b'x'; FRAME_BYTES];
            for n in 0..FRAMES as u64 {
                payload[..8].copy_from_slice(&n.to_le_bytes());
                publisher.publish("flood", &payload, false).unwrap();
            }
            publisher.flush().unwrap();
        });
        for n in 0..FRAMES as u64 {
            let message = subscription.recv_timeout(PATIENCE).unwrap();
            assert_eq!(message.payload()[..8], n.to_le_bytes());
        }
    });
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert_eq!(client.missed(), 0);
    eventually("the log line about the disconnected subscriber", || {
        server.process.stderr().contains("disconnected a subscriber").then_some(())
    });

    stalled.process.signal(Signal::CONT);
    // It reconnects by itself; until then what is published passes it by.
    eventually("a message at the subscriber that came back", || {
        publisher.send_message("afterwards", "welcome back", false).unwrap();
        loop {
            let received = stalled.try_receive(Duration::from_millis(50)).0?;
            if received.name == "afterwards" {
                return Some(());
            }
        }
    });
}
