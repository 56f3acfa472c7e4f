//! The power goes at every moment, and the disk keeps any part of what was not synced.

use mezzenger::journal::storage::memory::{Event, MemoryStorage};
use mezzenger::journal::{FsyncPolicy, JournalOptions};

use crate::harness::*;

/// A run over two starts: what each ticket appended, and what was ever settled.
struct History {
    storage: MemoryStorage,
    appended: Vec<(u64, Vec<u64>)>,
    settled: Vec<u64>,
    compactions: u64,
}

fn history(compact: bool) -> History {
    let storage = MemoryStorage::new();
    let options = if compact { eager() } else { options() };
    let mut history =
        History { storage: storage.clone(), appended: vec![], settled: vec![], compactions: 0 };
    let run = Run::start(&storage, options).unwrap();
    let mut n = 0;
    for round in 0..24 {
        let numbers: Vec<u64> = (n..n + 1 + round % 4).collect();
        n += 1 + round % 4;
        let ticket = run.append(numbers.clone()).unwrap();
        history.appended.push((ticket, numbers));
        let settled: Vec<u64> = (n.saturating_sub(12)..n.saturating_sub(6)).collect();
        run.settle(settled.iter().copied()).unwrap();
        history.settled.extend(settled);
        if round % 3 == 0 {
            assert!(run.settled(Some(ticket)));
        }
        if compact && round == 16 {
            run.wait(|journal| journal.stats().compactions > 0);
        }
    }
    history.compactions = run.journal.stats().compactions;
    run.journal.close().unwrap();
    history
}

impl History {
    /// Cuts the power at each event, with several disks for each.
    fn check(&self) {
        let events = self.storage.events();
        let everything = messages(self.appended.iter().flat_map(|(_, numbers)| numbers.clone()));
        let mut random = Random(1);
        for cut in 0..=events.len() {
            let events = &events[..cut];
            let durable = events.iter().rev().find_map(|event| match event {
                Event::Note(ticket) => Some(*ticket),
                _ => None,
            });
            let promised = messages(
                self.appended
                    .iter()
                    .filter(|(ticket, _)| durable.is_some_and(|durable| *ticket <= durable))
                    .flat_map(|(_, numbers)| numbers)
                    .filter(|n| !self.settled.contains(n))
                    .copied(),
            );
            for order in 0..8 {
                let mut choose = |n: usize| match order {
                    0 => 0,
                    1 => n - 1,
                    2 => usize::from(random.below(8) == 0) * (n - 1),
                    3 => usize::from(random.below(8) != 0) * (n - 1),
                    _ => random.below(n),
                };
                let disk = MemoryStorage::after_power_cut(events, &mut choose);
                let (kept, recovered) = recover(&disk, options())
                    .unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
                for (id, message) in &promised {
                    assert_eq!(kept.get(id), Some(message), "lost, cut at {cut}, order {order}");
                }
                for (id, message) in &kept {
                    assert_eq!(everything.get(id), Some(message), "forged, cut at {cut}");
                }
                assert!(recovered.damage.is_empty());
                // What recovery left must be as good a start.
                assert_eq!(recover(&disk, options()).unwrap().0, kept);
            }
        }
    }
}

#[test]
fn what_was_reported_durable_survives() {
    history(false).check();
}

#[test]
fn what_was_reported_durable_survives_a_compaction_cut_anywhere() {
    let history = history(true);
    assert!(history.compactions > 0);
    history.check();
}

#[test]
fn recovery_itself_may_be_cut() {
    for fsync in [FsyncPolicy::Always, FsyncPolicy::Never] {
        let mut bytes = sample(fsync, true);
        let expected = fold(&naive(&bytes));
        bytes.extend_from_slice(&[7; 1000]);
        bytes[10] ^= 1;
        let storage = disk(&bytes);
        // A disk whose history starts with the file, durable.
        let base = [
            Event::Create { path: PATH.into(), file: 0 },
            Event::Write { file: 0, offset: 0, bytes: bytes.clone() },
            Event::Sync { file: 0 },
            Event::SyncDirectory,
        ];
        let repair = JournalOptions { repair: true, ..options() };
        assert_eq!(recover(&storage, repair.clone()).unwrap().0, expected);
        let events = [&base[..], &storage.events()].concat();
        let mut random = Random(3);
        for cut in base.len()..=events.len() {
            for _ in 0..8 {
                let mut choose = |n: usize| random.below(n);
                let disk = MemoryStorage::after_power_cut(&events[..cut], &mut choose);
                assert_eq!(recover(&disk, repair.clone()).unwrap().0, expected, "cut at {cut}");
            }
        }
    }
}
