use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam::channel::unbounded;

use super::fake_server::{Answer, FakeServer, LONG};
use crate::client::{Blocked, Client, Failure, SendError};
use crate::limits::{
    CLIENT_BLOCKED_TOLD, CLIENT_EARLY_FRAMES_MAX, CLIENT_OWN_FRAME_BYTES, FRAME_BYTES_TARGET,
    KEPT_FRAME_SHARE_MAX, PENDING_COPY_BYTES_MAX,
};
use crate::wire::checksum;
use crate::wire::name::NameError;
use crate::wire::record::Encoding;
use crate::wire::reply::ErrorCode;

#[test]
fn a_message_leaves_at_once_when_few_are_on_their_way_and_gathers_beyond() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Hold);
    let client = server.patient().connect().unwrap();
    let first = client.publish("a", "early 0").unwrap();
    assert_eq!(server.next().payloads(), [b"early 0"]);
    for n in 1..CLIENT_EARLY_FRAMES_MAX {
        client.publish("a", format!("early {n}")).unwrap();
        assert_eq!(server.next().payloads(), [format!("early {n}").into_bytes()]);
    }
    for n in 1..=100 {
        client.publish("a", n.to_string()).unwrap();
    }
    let other = client.publish("b", "of another name").unwrap();
    // The other name has nothing on its way, and overtakes.
    assert_eq!(server.next().name, "b");
    assert!(!first.is_done() && server.requests.is_empty());
    server.release();
    first.wait().unwrap();
    let gathered = server.next();
    let expected: Vec<_> = (1..=100).map(|n| n.to_string().into_bytes()).collect();
    assert_eq!(gathered.payloads(), expected);
    for _ in 0..=CLIENT_EARLY_FRAMES_MAX {
        server.release();
    }
    other.wait().unwrap();
    client.flush().unwrap();
    assert_eq!(client.counters().published, 101 + CLIENT_EARLY_FRAMES_MAX as u64);
}

#[test]
fn sequences_and_ordinals_rise_without_a_gap_in_the_order_of_publishing() {
    let server = FakeServer::start();
    let client = server.patient().window(3).connect().unwrap();
    let count = 5000_u64;
    for n in 0..count {
        let name = if n % 7 == 0 { "b" } else { "a" };
        let payload = if n % 501 == 0 { vec![7; CLIENT_OWN_FRAME_BYTES] } else { vec![7; 100] };
        let message = client.message(name, payload);
        let message = if n % 2 == 0 { message.ack() } else { message };
        message.publish().unwrap();
    }
    client.flush().unwrap();
    let mut sequence = 0;
    let mut ordinals = [0, 0];
    let mut frames = 0;
    while sequence < count {
        let request = server.next();
        assert!(request.frame.len() <= FRAME_BYTES_TARGET);
        frames += 1;
        for record in request.records() {
            sequence += 1;
            let ordinal = &mut ordinals[usize::from(request.name == "b")];
            *ordinal += 1;
            assert_eq!((record.id.sequence, record.ordinal), (sequence, *ordinal));
            assert_eq!(record.id.publisher, client.publisher_id());
        }
    }
    assert!(frames < 2500, "{frames} frames for {count} messages");
}

#[test]
fn large_messages_have_their_checksums_however_many_wait() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Hold);
    let client = server.patient().target_delay(LONG).connect().unwrap();
    let count = 40;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..count {
                // Of several lengths, with small ones between, and under two names.
                let bytes = if n % 10 == 9 { 10 } else { CLIENT_OWN_FRAME_BYTES + n * 7 % 64 };
                client.publish(["a", "bc"][n % 2], vec![n as u8; bytes]).unwrap();
            }
        });
        let mut seen = HashSet::new();
        while seen.len() < count {
            let request = server.next();
            for record in request.records() {
                let expected = checksum::native(&request.name, record.payload, record.timestamp_ns);
                assert_eq!(record.checksum, expected, "message {}", record.payload[0]);
                assert!(seen.insert(record.payload[0]), "{} came twice", record.payload[0]);
            }
            server.release();
        }
    });
    client.flush().unwrap();
}

#[test]
fn the_frames_of_large_messages_that_the_server_keeps_stay_small() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Hold);
    let client = server.patient().connect().unwrap();
    // Larger than those that the server copies.
    let bytes = PENDING_COPY_BYTES_MAX + 1;
    for _ in 0..24 {
        client.message("a", vec![7; bytes]).ack().publish().unwrap();
    }
    let mut messages = 0;
    while messages < 24 {
        let request = server.next();
        assert!(request.frame.len() <= (bytes + 100) * KEPT_FRAME_SHARE_MAX);
        messages += request.records().count();
        server.release();
    }
    client.flush().unwrap();
}

#[test]
fn a_lost_reply_makes_the_client_send_the_same_bytes_again() {
    let server = FakeServer::start();
    let mut tries = 0;
    server.answer(move |_| {
        tries += 1;
        if tries < 3 { Answer::Silence } else { Answer::Ok }
    });
    let client = server.options().connect().unwrap();
    client.message("a", "once").ack().send().unwrap();
    let frames: Vec<_> = (0..3).map(|_| server.next().frame).collect();
    assert_eq!(frames[0], frames[1]);
    assert_eq!(frames[0], frames[2]);
    assert_eq!(client.counters().resent_frames, 2);
    assert_eq!(client.counters().published, 1);
}

#[test]
fn frames_on_their_way_are_sent_again_in_order() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Silence);
    let client = server.options().connection_retries(20).connect().unwrap();
    let receipts = ["a", "b", "c"].map(|name| client.publish(name, "x").unwrap());
    let first = [(); 3].map(|()| server.next().frame);
    let again = [(); 3].map(|()| server.next().frame);
    assert_eq!(first, again);
    server.answer(|_| Answer::Ok);
    for receipt in receipts {
        receipt.wait().unwrap();
    }
}

#[test]
fn without_any_reply_the_fate_is_unknown_after_all_tries() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Silence);
    let client = server.options().connect().unwrap();
    let start = Instant::now();
    let error = client.message("a", "x").send().unwrap_err();
    assert_eq!(error, SendError::TimedOut { tries: 3, timeout: Duration::from_millis(200) });
    assert!(error.to_string().contains("not known"));
    assert!(start.elapsed() >= Duration::from_millis(600) && start.elapsed() < LONG / 2);
    assert_eq!(server.requests.len(), 3);
    // It goes on with the next.
    server.answer(|_| Answer::Ok);
    client.message("a", "y").send().unwrap();
}

#[test]
fn each_refusal_has_its_variant() {
    let text = || "because".to_owned();
    let cases = [
        (ErrorCode::Malformed, SendError::Malformed { text: text() }),
        (ErrorCode::TooLarge, SendError::RefusedAsTooLarge { text: text() }),
        (ErrorCode::NotYours, SendError::NotYours { text: text() }),
        (ErrorCode::UnsupportedVersion, SendError::UnsupportedVersion { text: text() }),
        (ErrorCode::PendingFull, SendError::PendingFull { text: text() }),
        (ErrorCode::JournalFailed, SendError::JournalFailed { text: text() }),
        (ErrorCode::ChecksumMismatch, SendError::ChecksumMismatch { text: text() }),
    ];
    let server = FakeServer::start();
    let client = server.patient().connect().unwrap();
    for (code, expected) in cases {
        server.answer(move |_| Answer::Refuse(code));
        assert_eq!(client.message("a", "x").ack().send(), Err(expected.clone()));
        assert!(expected.to_string().contains("because"));
    }
    // Nothing was published, so the next message is the first of its name: no subscriber sees a gap.
    server.answer(|_| Answer::Ok);
    client.message("a", "x").ack().send().unwrap();
    let last = server.requests.try_iter().last().unwrap();
    let record = last.records().next().unwrap();
    assert_eq!((record.ordinal, record.id.sequence), (1, 8));
    assert_eq!(client.counters().failed, 7);
    client.flush().unwrap();
}

#[test]
fn what_a_server_does_not_take_because_it_ends_goes_to_the_next_one() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Refuse(ErrorCode::ShuttingDown));
    let client = server.options().send_timeout(LONG).connect().unwrap();
    let receipts = ["a", "b", "c"].map(|name| client.publish(name, "x").unwrap());
    let first = [(); 3].map(|()| server.next().frame);
    let port = server.port;
    drop(server);
    let next = FakeServer::start_on(port);
    assert_eq!(first, [(); 3].map(|()| next.next().frame));
    for receipt in receipts {
        receipt.wait().unwrap();
    }
    client.flush().unwrap();
    let counters = client.counters();
    assert_eq!((counters.failed, counters.resent_frames), (0, 0), "none was taken before");
}

#[test]
fn a_server_that_ends_without_another_one_is_told_after_all_tries() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Refuse(ErrorCode::ShuttingDown));
    let client = server.options().connect().unwrap();
    let error = client.message("a", "x").send().unwrap_err();
    assert_eq!(error, SendError::ShuttingDown { text: "because".to_owned() });
    assert_eq!(server.requests.len(), 3);
    // A client that stops does not wait for another server.
    let receipt = client.publish("a", "y").unwrap();
    client.stop();
    assert_eq!(receipt.wait(), Err(SendError::ShuttingDown { text: "because".to_owned() }));
}

#[test]
fn local_mistakes_are_told_at_once() {
    let server = FakeServer::start();
    let client = server.patient().max_message_size(100).connect().unwrap();
    let publish = |name: &str, payload: &[u8]| client.publish(name, payload).unwrap_err();
    assert_eq!(publish("a|b", b""), SendError::Name(NameError::Separator));
    assert_eq!(publish("ping", b""), SendError::Name(NameError::Reserved));
    assert_eq!(publish("a", &[0; 36]), SendError::TooLarge { bytes: 101, bytes_max: 100 });
    client.publish("a", [0; 35]).unwrap().wait().unwrap();
    assert_eq!(server.requests.len(), 1);
}

#[test]
fn what_the_server_does_not_take_fails_at_once_and_alone() {
    let server = FakeServer::start();
    server.limit.store(1000, std::sync::atomic::Ordering::Release);
    let client = server.patient().connect().unwrap();
    let error = client.publish("a", vec![0; 1000]).unwrap_err();
    let too_large = SendError::TooLargeForServer { bytes: 1065, bytes_max: 1000 };
    assert_eq!(error, too_large);
    assert!(error.to_string().contains("--max-message-size"));
    // Others share frames no larger than it takes.
    server.answer(|_| Answer::Hold);
    for _ in 0..50 {
        client.publish("a", [0; 100]).unwrap();
    }
    let mut messages = 0;
    while messages < 50 {
        let request = server.next();
        assert!(request.frame.len() <= 1000, "{}", request.frame.len());
        messages += request.records().count();
        server.release();
    }
    client.flush().unwrap();
}

#[test]
fn a_full_window_and_buffer_block_the_publisher_until_patience_ends() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Silence);
    let builder = server.options().window(2).buffer_bytes(10_000);
    let client = builder.connect().unwrap();
    let patience = Duration::from_millis(600);
    let mut taken = 0;
    // On a slow machine the first ones are given up meanwhile, and make room.
    let held = |taken: u64| taken - client.counters().failed;
    let (error, start) = loop {
        let start = Instant::now();
        match client.publish("a", [0; 1000]) {
            Ok(_) => taken += 1,
            Err(error) => break (error, start),
        }
        assert!(held(taken) < 100, "nothing bounds the client");
    };
    assert!(matches!(error, SendError::Full { waited } if waited >= patience), "{error}");
    assert!(start.elapsed() >= patience && start.elapsed() < LONG);
    // About 9 kB wait, and one frame is on its way.
    assert!(taken >= 5 && held(taken) < 30, "{taken}");
    assert!(client.flush().is_err());
    assert!(client.counters().failed >= 1);
}

#[test]
fn a_publisher_waits_once_the_oldest_message_has_waited_for_the_target_delay() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Silence);
    let target = Duration::from_millis(50);
    let options = server.options().target_delay(target);
    let client = options.connect().unwrap();
    let (start, mut taken) = (Instant::now(), 0);
    // Far less than the bytes that may wait: a frame each, and two may be in flight.
    let error = loop {
        match client.publish("a", vec![0; 20_000]) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100 && start.elapsed() < LONG, "nothing bounds the delay");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(matches!(error, SendError::Full { .. }), "{error}");
    assert!(start.elapsed() >= target && taken > 2, "{taken}");
    assert!(client.counters().blocked > 0);
}

#[test]
fn a_blocked_publisher_goes_on_when_there_is_room() {
    let server = FakeServer::start();
    let client = server.patient().window(1).buffer_bytes(2000).connect().unwrap();
    for _ in 0..200 {
        client.publish("a", [0; 1000]).unwrap();
    }
    client.flush().unwrap();
    assert_eq!(client.counters().published, 200);
    assert!(client.counters().blocked > 0);
}

#[test]
fn a_publisher_is_told_when_it_is_held_back_and_when_it_goes_on() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Hold);
    let (told, events) = unbounded();
    let options = server.patient().window(1).buffer_bytes(2000);
    let options = options.on_blocked(move |blocked| told.send(blocked).unwrap());
    let client = options.connect().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10 {
                client.publish("a", [0; 1000]).unwrap();
            }
        });
        assert_eq!(events.recv_timeout(LONG), Ok(Blocked::Began));
        // One before it may have waited for a moment, until the first frame left.
        assert!((1..=2).contains(&client.counters().blocked));
        server.answer(|_| Answer::Ok);
        server.release();
        match events.recv_timeout(LONG) {
            Ok(Blocked::Ended { after }) => assert!(after >= CLIENT_BLOCKED_TOLD && after < LONG),
            other => panic!("{other:?}"),
        }
    });
    client.flush().unwrap();
    let counters = client.counters();
    assert!(counters.blocked_time >= CLIENT_BLOCKED_TOLD, "{counters:?}");
}

#[test]
fn what_is_published_where_room_is_made_does_not_wait_for_it() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Hold);
    let (told, outcomes) = unbounded();
    let client = Arc::new(OnceLock::<Client>::new());
    let options = server.patient().window(1).buffer_bytes(2000);
    // The client owns the callback.
    let inner = Arc::downgrade(&client);
    let options = options.on_blocked(move |blocked| {
        let Some(client) = inner.upgrade() else { return };
        let client = client.get().unwrap();
        let outcome = client.publish("alarm", [0; 1000]).map(drop);
        told.send((blocked, outcome)).unwrap();
    });
    let client = client.get_or_init(|| options.connect().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10 {
                client.publish("a", [0; 1000]).unwrap();
            }
        });
        let full = Err(SendError::Full { waited: Duration::ZERO });
        assert_eq!(outcomes.recv_timeout(LONG), Ok((Blocked::Began, full)));
        server.answer(|_| Answer::Ok);
        server.release();
    });
    client.flush().unwrap();
    client.stop();
}

#[test]
fn flush_returns_the_first_error_once_and_dropped_receipts_are_reported() {
    let server = FakeServer::start();
    server.answer(|request| match &*request.name {
        "bad" => Answer::Refuse(ErrorCode::PendingFull),
        _ => Answer::Ok,
    });
    let (report, reported) = crossbeam::channel::unbounded();
    let builder = server.patient();
    let client = builder.on_error(move |failure| report.send(failure.clone()).unwrap()).connect();
    let client = client.unwrap();
    client.publish("good", "x").unwrap();
    drop(client.message("bad", "x").ack().publish().unwrap());
    client.publish("good", "x").unwrap();
    let error = SendError::PendingFull { text: "because".to_owned() };
    assert_eq!(client.flush(), Err(error.clone()));
    assert_eq!(client.flush(), Ok(()));
    let failure = Failure::Publish { name: "bad".to_owned(), messages: 1, error };
    assert_eq!(reported.try_iter().collect::<Vec<_>>(), [failure]);
}

#[test]
fn a_receipt_can_be_waited_for_so_long() {
    let server = FakeServer::start();
    server.answer(|_| Answer::Hold);
    let client = server.patient().connect().unwrap();
    let receipt = client.publish("a", "x").unwrap();
    server.next();
    assert_eq!(receipt.wait_timeout(Duration::from_millis(20)), None);
    assert!(!receipt.is_done());
    server.release();
    assert_eq!(receipt.wait_timeout(LONG), Some(Ok(())));
    assert!(receipt.is_done());
}

#[test]
fn many_threads_publish_and_each_message_leaves_once() {
    let server = FakeServer::start();
    let client = server.patient().connect().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let client = &client;
            scope.spawn(move || {
                for n in 0..2000 {
                    client.publish("a", format!("{thread} {n}")).unwrap();
                }
                client.flush().unwrap();
            });
        }
    });
    let payloads: Vec<_> = server.requests.try_iter().flat_map(|r| r.payloads()).collect();
    assert_eq!(payloads.len(), 8000);
    assert_eq!(payloads.iter().collect::<HashSet<_>>().len(), 8000);
    for thread in 0..4 {
        let of_thread = payloads.iter().filter(|p| p[0] == b'0' + thread);
        let expected = (0..2000).map(|n| format!("{thread} {n}").into_bytes());
        assert!(of_thread.cloned().eq(expected));
    }
}

#[test]
fn payloads_keep_their_kinds() {
    let server = FakeServer::start();
    let client = server.patient().connect().unwrap();
    client.message("a", b"bytes").send().unwrap();
    client.message("a", "text").ack().send().unwrap();
    client.publish_archive("a", &7_u32).unwrap().wait().unwrap();
    let seen = [(); 3].map(|()| server.next());
    let kinds: Vec<_> =
        seen.iter().map(|r| r.records().map(|r| (r.encoding, r.ack)).next().unwrap()).collect();
    let expected = [(Encoding::Bytes, false), (Encoding::Text, true), (Encoding::Archive, false)];
    assert_eq!(kinds, expected);
}
