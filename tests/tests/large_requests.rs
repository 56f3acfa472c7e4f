//! A large request takes long to check, and only who sent it waits for that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::reply::ErrorCode;
use mezzenger::wire::{name, pickle};
use rustix::process::Signal;

use crate::floods::Others;
use crate::harness::native::{assert_ok, assert_refused, receive};
use crate::harness::pickles::{Dict, int};
use crate::harness::raw::{LONG, MORE, request};
use crate::harness::{Native, NativeSubscriber, Raw, Server, eventually};
use crate::stalled_subscriber::subscriber;

const LARGE_BYTES: usize = 60 << 20;
/// Large requests, one after the other.
const REQUESTS: usize = 3;
/// Frames of several messages with ack=1 that are sent meanwhile.
const FRAMES_BESIDE: usize = 50;
/// How long any other request may take meanwhile, on a machine that has other work.
const SERVED_WITHIN: Duration = Duration::from_millis(150);

/// A message of the original format that takes long to check: bytes of which each takes four characters in
/// Python's spelling, and a checksum that no spelling has.
pub(crate) fn dear_pickle(bytes: usize) -> Vec<u8> {
    let length = u32::try_from(bytes).unwrap().to_le_bytes();
    let payload = [b"B", &length[..], &vec![0xff; bytes]].concat();
    Dict::message("large", payload).with("ack", int(1)).frame("large")
}

/// Checks that small requests are served while large ones are sent, each once the one before is answered.
#[track_caller]
fn check_served_beside(server: &Server, mut exchange: impl FnMut()) {
    let mut others = Others::new(server);
    let over = AtomicBool::new(false);
    let mut longest = Duration::ZERO;
    std::thread::scope(|scope| {
        let small = scope.spawn(|| {
            let mut rounds = 0;
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                others.publisher.ping();
                if rounds < FRAMES_BESIDE {
                    // Their checksums are checked by the same thread, if it is free.
                    let frame = others.publisher.frame_of("tasks", &vec![[7; 1000]; 100], true);
                    assert_ok(&others.publisher.request(&frame));
                }
                longest = longest.max(start.elapsed()).max(others.rounds(1).0);
                rounds += 1;
            }
            rounds
        });
        (0..REQUESTS).for_each(|_| exchange());
        over.store(true, Ordering::Relaxed);
        let rounds = small.join().unwrap();
        println!("{rounds} rounds beside large requests");
        assert!(rounds > 10, "{rounds}");
    });
    println!("the longest {longest:?}");
    assert!(longest < SERVED_WITHIN, "{longest:?}");
}

#[test]
fn a_large_pickle_with_a_wrong_checksum_holds_up_nobody_else() {
    let server = Server::start::<&str>(&[]);
    let (publisher, frame) = (Native::connect(&server), dear_pickle(LARGE_BYTES));
    check_served_beside(&server, || assert_eq!(publisher.request(&frame), b""));
}

#[test]
fn a_large_record_holds_up_nobody_else_whether_its_checksum_is_right_or_wrong() {
    let server = Server::start(&["--verify", "always"]);
    let mut publisher = Native::connect(&server);
    let payload = vec![0xff; LARGE_BYTES];
    let right = publisher.frame("large", &payload, false);
    let mut wrong = publisher.frame("large", &payload, false);
    wrong[100] ^= 1;
    // The same one again is no message, and is checked all the same.
    check_served_beside(&server, || assert_ok(&publisher.request(&right)));
    check_served_beside(&server, || {
        assert_refused(&publisher.request(&wrong), ErrorCode::ChecksumMismatch);
    });
}

#[test]
fn a_large_message_in_the_other_format_holds_up_nobody_else() {
    let server = Server::start(&["--verify", "never"]);
    let mut originals = subscriber(server.pub_addr, b"large|");
    let mut natives = subscriber(server.pub_addr, &v2_prefix("large"));
    let mut publisher = Native::connect(&server);
    // Each takes twice as many bytes in the original format, and all must fit in what may wait for subscribers.
    let payload = vec![0xff; LARGE_BYTES / 2];
    let half = pickle::Plain::Bytes(&payload[..LARGE_BYTES / 4]);
    let (dict, _) = pickle::write("large", half, false, 1);
    let original = [b"large|", &dict[..]].concat();
    std::thread::scope(|scope| {
        // Each gets both kinds.
        scope.spawn(|| (0..2 * REQUESTS).for_each(|_| drop(originals.hear().unwrap())));
        scope.spawn(|| (0..2 * REQUESTS).for_each(|_| drop(natives.hear().unwrap())));
        check_served_beside(&server, || {
            let native = publisher.frame("large", &payload, false);
            assert_ok(&publisher.request(&native));
            assert_ok(&publisher.request(&original));
        });
    });
}

#[test]
fn a_large_message_that_is_sent_again_in_the_other_format_holds_up_nobody_else() {
    let server = Server::start(&["--retry-interval", "500ms"]);
    // They read, and acknowledge nothing.
    let mut originals = subscriber(server.pub_addr, b"native|");
    let mut natives = subscriber(server.pub_addr, &v2_prefix("original"));
    let mut publisher = Native::connect(&server);
    let payload = vec![0xff; LARGE_BYTES / 4];
    let (dict, _) = pickle::write("original", pickle::Plain::Bytes(&payload), true, 1);
    let native = publisher.frame("native", &payload, true);
    assert_ok(&publisher.request(&native));
    assert_ok(&publisher.request(&[b"original|", &dict[..]].concat()));
    check_served_beside(&server, || {
        originals.hear().unwrap();
        natives.hear().unwrap();
    });
}

#[test]
fn what_follows_a_large_request_on_its_connection_stays_behind_it() {
    let server = Server::start(&["--verify", "always"]);
    let mut subscriber = NativeSubscriber::new(&server, "task");
    let mut publisher = Native::connect(&server);
    let payload = vec![0xff; LARGE_BYTES];
    let mut wrong = publisher.frame("task", &payload, false);
    wrong[100] ^= 1;
    // Its number is still free.
    let mut publisher = publisher.again(&server);
    let frames = [
        wrong,
        publisher.frame("task", b"first", false),
        publisher.frame("task", &payload, false),
        publisher.frame("task", b"third", false),
        v2_prefix(name::PING),
    ];
    for (at, frame) in frames.iter().enumerate() {
        publisher.socket.send_multipart([&[at as u8][..], b"", frame], 0).unwrap();
    }
    for at in 0..frames.len() {
        let parts = receive(&publisher.socket);
        assert_eq!(parts[0], [at as u8], "answers in the order of their requests");
        if at == 0 {
            assert_refused(&parts[2], ErrorCode::ChecksumMismatch);
        } else {
            assert_ok(&parts[2]);
        }
    }
    for payload in [&b"first"[..], &payload, b"third"] {
        assert!(subscriber.next().payload == payload, "messages in the order of their requests");
    }
}

#[test]
fn what_waits_to_be_checked_takes_bounded_memory_also_when_its_senders_are_gone() {
    // 960 MB if all of it stayed.
    const PEERS: usize = 16;
    let server = Server::start::<&str>(&[]);
    let mut others = Others::new(&server);
    let large = request(&dear_pickle(LARGE_BYTES));
    let mut staying = Vec::new();
    for at in 0..PEERS {
        let mut peer = Raw::connect(server.recv_addr, "DEALER");
        // The server may hang up in the middle. Nothing else is asked of it between them, which might wait
        // until those before are checked.
        if peer.try_say(&large) && at % 2 == 0 {
            staying.push(peer);
        }
    }
    let memory = server.process.memory_max_bytes();
    println!("{} MiB", memory >> 20);
    assert!(memory < 600 << 20, "{} MiB", memory >> 20);
    others.rounds(1);
}

#[test]
fn a_large_body_with_more_announced_behind_it_takes_no_memory() {
    // 600 MB if all of it stayed, and nothing would ever end it: who sends a PING now and then is not late.
    const PEERS: usize = 10;
    let server = Server::start::<&str>(&[]);
    let mut others = Others::new(&server);
    let delimiter = [MORE, 0];
    let head = [&[MORE | LONG][..], &(LARGE_BYTES as u64).to_be_bytes()].concat();
    let begun = [&delimiter[..], &head, &vec![0; LARGE_BYTES]].concat();
    let staying: Vec<_> = (0..PEERS)
        .map(|_| {
            let mut peer = Raw::connect(server.recv_addr, "DEALER");
            peer.say(&begun);
            others.rounds(1);
            peer
        })
        .collect();
    let memory = server.process.memory_max_bytes();
    println!("{} MiB for {} peers", memory >> 20, staying.len());
    assert!(memory < 400 << 20, "{} MiB", memory >> 20);
}

#[test]
fn what_is_being_checked_does_not_hold_up_the_end_and_is_answered() {
    const PEERS: usize = 4;
    let mut server = Server::start(&["--drain-timeout", "1s"]);
    let others = Native::connect(&server);
    let large = request(&dear_pickle(LARGE_BYTES));
    let mut peers: Vec<_> = (0..PEERS).map(|_| Raw::connect(server.recv_addr, "DEALER")).collect();
    std::thread::scope(|scope| {
        for peer in &mut peers {
            scope.spawn(|| peer.say(&large));
        }
    });
    eventually("large requests", || {
        (server.process.memory_max_bytes() > PEERS * LARGE_BYTES * 9 / 10).then_some(())
    });
    others.ping();
    server.process.signal(Signal::TERM);
    let status = server.process.wait_at_most(Duration::from_millis(1500));
    assert_eq!(status.code(), Some(0));
    for peer in &mut peers {
        assert_eq!(peer.hear().as_deref(), Some(&b""[..]), "a refusal");
    }
}
