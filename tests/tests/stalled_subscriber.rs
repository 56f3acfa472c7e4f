//! A subscriber that does not read cannot stop the others.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mezzenger::Client;
use rustix::process::Signal;

use crate::harness::native::{connect, receive};
use crate::harness::pickles::{Dict, text};
use crate::harness::raw::subscription;
use crate::harness::{PATIENCE, Python, Raw, Server, eventually};

const FRAME_BYTES: usize = 64 * 1024;
/// Together far more than the server and the kernel hold for one subscriber.
const FRAMES: usize = 1500;

/// Subscribes to frames that begin so, and reads when its test does.
#[track_caller]
pub(crate) fn subscriber(address: SocketAddr, prefix: &[u8]) -> Raw {
    let mut raw = Raw::connect(address, "SUB");
    raw.say(&subscription(prefix));
    raw.confirm();
    raw
}

/// A client that only publishes. The server holds publishers back for the grace, so requests take as long.
#[track_caller]
pub(crate) fn patient_publisher(server: &Server) -> Client {
    let options = server.client_options();
    options.send_timeout(Duration::from_secs(10)).connect().unwrap()
}

#[test]
fn the_others_get_everything_and_it_comes_back() {
    let server = Server::start::<&str>(&[]);
    let mut stalled = Python::connect(&server);
    stalled.subscribe("flood");
    stalled.subscribe("afterwards");
    stalled.process.signal(Signal::STOP);

    let client = server.client();
    let mut subscription = client.subscription("flood").unwrap();
    let publisher = patient_publisher(&server);
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut payload = vec![b'x'; FRAME_BYTES];
            for n in 0..FRAMES as u64 {
                payload[..8].copy_from_slice(&n.to_le_bytes());
                publisher.publish("flood", &payload).unwrap();
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
        publisher.message("afterwards", "welcome back").send().unwrap();
        loop {
            let received = stalled.try_receive(Duration::from_millis(50)).0?;
            if received.name == "afterwards" {
                return Some(());
            }
        }
    });
}

const HEALTHY: usize = 31;
/// More than the server and the kernel hold for one subscriber.
const CROWD_FRAMES: usize = 1000;
const IN_FLIGHT: usize = 16;

/// A numbered message of the original format, which costs nobody much to make or to read.
fn numbered(n: usize) -> Vec<u8> {
    Dict::message("flood", text(&format!("{n:08}{}", "x".repeat(FRAME_BYTES)))).frame("flood")
}

/// Publishes to a crowd that reads, and returns how long it took until all had everything, and the longest
/// time that anybody waited for the next message.
fn flood(server: &Server) -> (Duration, Duration) {
    let publisher = connect(zmq::DEALER, &server.recv_endpoint());
    let crowd: Vec<_> = (0..HEALTHY).map(|_| subscriber(server.pub_addr, b"flood|")).collect();
    let start = Instant::now();
    let longest = std::thread::scope(|scope| {
        let readers: Vec<_> = crowd
            .into_iter()
            .map(|mut raw| {
                scope.spawn(move || {
                    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
                    for n in 0..CROWD_FRAMES {
                        assert!(raw.hear().unwrap() == numbered(n), "not message {n}");
                        longest = longest.max(last.elapsed());
                        last = Instant::now();
                    }
                    longest
                })
            })
            .collect();
        for n in 0..CROWD_FRAMES + IN_FLIGHT {
            if n < CROWD_FRAMES {
                publisher.send_multipart([&b""[..], &numbered(n)], 0).unwrap();
            }
            if n >= IN_FLIGHT {
                assert_eq!(receive(&publisher), [&b""[..], b"OK"]);
            }
        }
        readers.into_iter().map(|reader| reader.join().unwrap()).max().unwrap()
    });
    (start.elapsed(), longest)
}

#[test]
fn beside_31_that_read_it_costs_them_one_grace_once() {
    let server = Server::start::<&str>(&[]);
    let (alone, _) = flood(&server);
    let stalled = subscriber(server.pub_addr, b"flood|");
    let (beside, longest) = flood(&server);
    let memory = server.process.memory_max_bytes();
    let (afterwards, _) = flood(&server);
    println!(
        "alone {alone:?}, beside a stalled one {beside:?} (longest wait {longest:?}), afterwards \
         {afterwards:?}, memory {} MiB",
        memory >> 20
    );
    let line = server.log_line("disconnected a subscriber");
    let address = stalled.stream.local_addr().unwrap().to_string();
    assert!(line.contains(&address), "{line}");
    // A grace of a second, found out at its end, and a machine that is busy.
    assert!(beside < alone * 3 + Duration::from_secs(3), "{beside:?}");
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    assert!(afterwards < alone * 3 + Duration::from_secs(1), "{afterwards:?}");
    // What may be unsent, what publishers may have on their way, and the program.
    assert!(memory < 200 << 20, "{} MiB", memory >> 20);
}
