//! Retained messages: the last of each name comes back, through compactions and cuts.

use std::collections::BTreeMap;
use std::path::Path;

use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::{JournalOptions, Op, inspect};
use mezzenger::message::Message;

use crate::harness::*;

type Values = BTreeMap<String, Message>;

/// Value `n` of one of a few names, or that one of them is cleared.
fn change(n: u64) -> Op {
    if n % 7 == 3 {
        return Op::Unretain(format!("name/{}", n % 5).into());
    }
    let message = Message { name: format!("name/{}", n % 5).into(), ..message(n) };
    Op::Retain { message, replaces: n > 7 }
}

fn apply(values: &mut Values, n: u64) {
    match change(n) {
        Op::Retain { message, .. } => _ = values.insert(message.name.to_string(), message),
        Op::Unretain(name) => _ = values.remove(&*name),
        _ => unreachable!(),
    }
}

fn recovered(storage: &MemoryStorage) -> Values {
    let (_, recovered) = recover(storage, options()).unwrap();
    recovered.retained.into_iter().map(|it| (it.name.to_string(), it)).collect()
}

#[test]
fn the_last_of_each_name_comes_back_also_after_compactions_which_drop_the_others() {
    let storage = MemoryStorage::new();
    let options = JournalOptions { compact_min_bytes: 20_000, ..options() };
    let run = Run::start(&storage, options).unwrap();
    let (mut values, mut n) = (Values::new(), 0);
    while run.journal.stats().compactions < 3 {
        assert!(n < 1_000_000, "never compacted");
        let ticket = run.journal.submit((n..n + 50).map(change).collect()).ok();
        (n..n + 50).for_each(|n| apply(&mut values, n));
        n += 50;
        run.wait(|journal| ticket.is_none_or(|ticket| journal.durable() >= ticket));
        assert!(ticket.is_some());
    }
    run.journal.close().unwrap();
    assert!(storage.read(Path::new(PATH)).unwrap().len() < 200_000);
    assert!(values.len() > 2);
    assert_eq!(recovered(&storage), values);
    assert_eq!(inspect(Path::new(PATH), &storage).unwrap().retained, values.len() as u64);
}

#[test]
fn a_file_that_is_cut_anywhere_recovers_to_a_moment_that_was() {
    const COUNT: u64 = 30;
    let storage = MemoryStorage::new();
    let run = Run::start(&storage, options()).unwrap();
    for n in 0..COUNT {
        let ticket = run.journal.submit(vec![change(n)]).unwrap();
        run.wait(|journal| journal.durable() >= ticket);
    }
    run.journal.close().unwrap();
    let bytes = storage.read(Path::new(PATH)).unwrap();
    let mut moments = vec![Values::new()];
    for n in 0..COUNT {
        let mut values = moments.last().unwrap().clone();
        apply(&mut values, n);
        moments.push(values);
    }
    let mut at = 0;
    let step = if FEW { 7 } else { 1 };
    for cut in (4128..=bytes.len()).step_by(step).chain([bytes.len()]) {
        let found = recovered(&disk(&bytes[..cut]));
        let next = moments[at..].iter().position(|moment| *moment == found);
        at += next.unwrap_or_else(|| panic!("cut at {cut}: {found:?}"));
    }
    assert_eq!(moments[at], moments[COUNT as usize]);
}
