//! Prints the resident memory that each pending 128-byte message takes: the map, the wheel, the
//! message's parts and its body of 190 bytes.
//!
//! `cargo run --release -p mezzenger-bench --example pending_memory -- 1000000`

use std::time::Duration;

use arcstr::ArcStr;
use bytes::Bytes;
use mezzenger::message::{Body, Format};
use mezzenger::pending::{Entry, Limits, PendingMap};
use mezzenger::retry::{Retrier, Token};
use mezzenger_bench::id;
use mezzenger_bench::server::resident_bytes;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RECORD_BYTES: usize = 190;

fn main() {
    let count: u64 = std::env::args().nth(1).map_or(1_000_000, |n| n.parse().expect("a count"));
    let (interval, now) = (Duration::from_secs(5), Duration::ZERO);
    let name: ArcStr = "greet".into();
    let mut map = PendingMap::new(Limits { messages: usize::MAX, bytes: usize::MAX });
    let mut retrier = Retrier::new(interval, now);
    let record = Bytes::from(vec![7; RECORD_BYTES]);
    let before = resident_bytes("self");
    let report = |what: &str, each: u64| {
        let bytes = resident_bytes("self").saturating_sub(before);
        println!(
            "{what:50} {:6.1} MB {:6.1} B each",
            bytes as f64 / 1e6,
            bytes as f64 / each as f64
        );
    };
    let add = |map: &mut PendingMap, retrier: &mut Retrier, n: u64| {
        let token = retrier.schedule(id(n), now);
        let body = Body::keep(&record, &record);
        let entry = Entry::new(name.clone(), Format::V2, body, token.to_bits());
        assert!(map.insert(id(n), entry));
    };
    for n in 0..count {
        add(&mut map, &mut retrier, n);
    }
    report(&format!("{count} pending"), count);
    for n in 0..count {
        let token = map.remove(&id(n)).expect("it is there").token;
        assert!(retrier.cancel(Token::from_bits(token), &id(n)));
        add(&mut map, &mut retrier, n + count);
    }
    report("each of them replaced once", count);
    let mut read = 0;
    for n in count..2 * count {
        read += map.view().get(&id(n)).expect("it is there").body.len();
    }
    assert_eq!(read as u64, count * RECORD_BYTES as u64);
    report("each taken out once since, as for a resend", count);
    for n in count..2 * count {
        let token = map.remove(&id(n)).expect("it is there").token;
        assert!(retrier.cancel(Token::from_bits(token), &id(n)));
    }
    assert!(map.view().is_empty() && retrier.is_empty());
    report("all acknowledged", count);
    for n in 2 * count..2 * count + 100_000 {
        add(&mut map, &mut retrier, n);
        let token = map.remove(&id(n)).expect("it is there").token;
        assert!(retrier.cancel(Token::from_bits(token), &id(n)));
    }
    report("after 100,000 more, one at a time", count);
}
