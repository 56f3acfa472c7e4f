//! Compaction keeps what is live, whatever happens meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use mezzenger::journal::storage::fault::Fault;
use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::{JournalOptions, LiveSet, Op, SeenRun, open};
use mezzenger::wire::id::MessageId;
use rustix::io::Errno;

use crate::harness::*;

#[test]
fn a_compacted_file_is_small_and_holds_what_is_live_and_what_was_seen() {
    let storage = MemoryStorage::new();
    let run =
        Run::start(&storage, JournalOptions { compact_min_bytes: 200_000, ..options() }).unwrap();
    let mut n = 0;
    while run.journal.stats().compactions < 3 {
        assert!(n < 100_000, "never compacted");
        run.append(n..n + 40);
        assert!(run.settled(run.settle((n..n + 40).filter(|n| n % 40 != 9))));
        n += 40;
        // However slow the thread that compacts is, it gets below.
        let deadline = Instant::now() + Duration::from_secs(60);
        while run.journal.stats().file_bytes > 350_000 {
            assert!(Instant::now() < deadline, "no compaction made the file small");
            std::thread::yield_now();
        }
    }
    let stats = run.journal.stats();
    assert!(stats.file_bytes < 400_000, "{} bytes", stats.file_bytes);
    run.journal.close().unwrap();
    let (kept, recovered) = recover(&storage, options()).unwrap();
    assert_eq!(kept, messages((0..n).filter(|n| n % 40 == 9)));
    let mut seen = recovered.seen;
    seen.sort_by_key(|run| run.publisher);
    let expected = [1, 2, 3].map(|publisher| SeenRun { publisher, first: 1, last: n / 4 });
    assert_eq!(seen, expected);
    assert_eq!(storage.read(Path::new("/data/journal.compact")), None);
}

#[test]
fn large_messages_that_are_settled_make_room_however_many_small_ones_stay() {
    let storage = MemoryStorage::new();
    let run =
        Run::start(&storage, JournalOptions { compact_min_bytes: 50_000, ..options() }).unwrap();
    // Those of 0 bytes stay, and those of 4 KiB are settled.
    let (small, large) = ((0..14_000).step_by(7), (14_000..).skip(6).step_by(7));
    run.append(small.clone());
    for n in large {
        if run.journal.stats().compactions > 0 {
            break;
        }
        assert!(n < 40_000, "never compacted: {:?}", run.journal.stats());
        run.append([n]);
        assert!(run.settled(run.settle([n])));
    }
    run.journal.close().unwrap();
    assert_eq!(recover(&storage, options()).unwrap().0, messages(small));
}

/// Says at each question that it was asked, and answers when told to.
struct Gate(Sender<()>, Receiver<()>, Arc<Set>);

impl LiveSet for Gate {
    fn is_live(&self, id: &MessageId) -> bool {
        let _ = self.0.send(());
        let _ = self.1.recv();
        self.2.is_live(id)
    }
}

#[test]
fn what_happens_during_a_compaction_is_in_the_new_file() {
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, options()).unwrap();
    run.append(0..20);
    run.settle(0..17);
    run.journal.close().unwrap();

    let (asked, asks) = unbounded();
    let (answer, answers) = bounded::<()>(0);
    let (told, tells) = unbounded();
    let live = Arc::new(Set::default());
    let (recovered, opened) = open(eager(), Arc::new(storage.clone())).unwrap();
    live.ids.write().unwrap().extend(recovered.messages.map(|m| m.unwrap().id));
    let gate = Gate(asked, answers, Arc::clone(&live));
    let journal =
        opened.start(Arc::new(gate), Box::new(move |_| told.send(()).unwrap_or_default())).unwrap();
    // The compaction is under way: it asks about the first message.
    asks.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    live.ids.write().unwrap().extend((20..30).map(id));
    journal.submit((20..30).map(|n| Op::Append(message(n))).collect()).unwrap();
    // 17 is settled before it is asked about, 20 was never there when it began, 18 goes unnoticed.
    live.ids.write().unwrap().retain(|kept| ![id(17), id(20)].contains(kept));
    let ticket =
        journal.submit([17, 18, 20].map(|n| Op::Settle(id(n))).into_iter().collect()).unwrap();
    while journal.durable() < ticket {
        tells.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    }
    assert_eq!(journal.stats().compactions, 0);
    drop(answer);
    while journal.stats().compactions == 0 {
        tells.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    }
    journal.close().unwrap();
    let expected = messages([19].into_iter().chain(21..30));
    assert_eq!(recover(&storage, options()).unwrap().0, expected);
}

#[test]
fn closing_stops_a_compaction_and_leaves_no_file_behind() {
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, options()).unwrap();
    run.append(0..20);
    run.settle(0..17);
    run.journal.close().unwrap();
    let (asked, asks) = unbounded();
    let (answer, answers) = bounded::<()>(0);
    let live = Arc::new(Set::default());
    let (_, opened) = open(eager(), Arc::new(storage.clone())).unwrap();
    let gate = Gate(asked, answers, live);
    let journal = opened.start(Arc::new(gate), Box::new(|_| {})).unwrap();
    asks.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    let answering = std::thread::spawn(move || drop(answer));
    journal.close().unwrap();
    answering.join().unwrap();
    assert_eq!(storage.read(Path::new("/data/journal.compact")), None);
}

#[test]
fn a_stale_new_file_is_removed_at_the_start() {
    let storage = disk(&sample(mezzenger::journal::FsyncPolicy::Always, true));
    storage.put(Path::new("/data/journal.compact"), b"half".to_vec());
    recover(&storage, options()).unwrap();
    assert_eq!(storage.read(Path::new("/data/journal.compact")), None);
}

#[test]
fn a_fault_while_copying_gives_up_and_while_replacing_is_final() {
    let (mut given_up, mut failed, mut done) = (0, 0, 0);
    for call in 0..14 {
        let storage = MemoryStorage::new();
        let run = Run::start(&storage, options()).unwrap();
        run.append(0..20);
        run.settle(0..17);
        run.journal.close().unwrap();
        let same = disk(&storage.read(Path::new(PATH)).unwrap());
        recover(&same, options()).unwrap();
        // Behind what opening takes, nothing but the compaction goes on.
        let opening = same.calls().len();
        storage.fail_call(storage.calls().len() + opening + call, Fault::Error(Errno::IO));
        let run = Run::start(&storage, eager()).unwrap();
        run.wait(|journal| {
            let stats = journal.stats();
            stats.compactions + stats.compactions_given_up > 0 || journal.failure().is_some()
        });
        let stats = run.journal.stats();
        given_up += stats.compactions_given_up;
        done += stats.compactions;
        failed += u64::from(run.journal.failure().is_some());
        let more = run.settled(run.append([50]));
        assert_eq!(more, run.journal.failure().is_none(), "call {call}");
        drop(run);
        let expected = messages((17..20).chain(more.then_some(50)));
        assert_eq!(recover(&storage, options()).unwrap().0, expected, "call {call}");
        let after = after_power_cut(&storage, &mut |_| 0);
        assert_eq!(recover(&after, options()).unwrap().0, expected, "call {call}");
    }
    assert!(given_up >= 3 && failed >= 2 && done >= 1, "{given_up} {failed} {done}");
}
