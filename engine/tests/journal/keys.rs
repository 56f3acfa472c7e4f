//! Keys come back as long as they may count, also after compactions.

use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::{JournalOptions, Op};
use mezzenger::message::MessageKey;

use crate::harness::*;

fn key(n: u64) -> MessageKey {
    MessageKey {
        name: "a".into(),
        key: format!("order-{n}").into(),
        at_ms: 1000 + n,
        until_ms: 1000 + n + 100,
    }
}

#[test]
fn those_of_the_last_window_come_back_also_after_compactions() {
    let storage = MemoryStorage::new();
    let run =
        Run::start(&storage, JournalOptions { compact_min_bytes: 20_000, ..options() }).unwrap();
    let mut n = 0;
    while run.journal.stats().compactions < 3 {
        assert!(n < 1_000_000, "never compacted");
        run.live.ids.write().unwrap().insert(id(n));
        let ops = vec![Op::Append(message(n)), Op::Key(key(n))];
        let ticket = run.journal.submit(ops).ok();
        assert!(run.settled(ticket) && run.settled(run.settle([n])));
        n += 1;
    }
    run.journal.close().unwrap();
    let (_, recovered) = recover(&storage, options()).unwrap();
    let mut found: Vec<u64> = recovered.keys.iter().map(|key| key.at_ms - 1000).collect();
    found.sort();
    assert_eq!(found, (n.saturating_sub(100)..n).collect::<Vec<_>>());
    assert!(recovered.keys.iter().all(|found| *found == key(found.at_ms - 1000)));
}
