//! The map against a sorted map, and under the eyes of other threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const UNLIMITED: Limits = Limits { messages: usize::MAX, bytes: usize::MAX };

const fn id(sequence: u64) -> MessageId {
    MessageId { publisher: 7, sequence }
}

fn entry(body: impl Into<Bytes>, token: u32) -> Entry {
    Entry::new("greet".into(), Format::V2, body.into().into(), token)
}

#[test]
fn a_pending_message_takes_48_bytes_beside_its_body() {
    assert_eq!(size_of::<(MessageId, Entry)>(), 48);
}

#[test]
fn an_entry_is_the_message_again() {
    let mut map = PendingMap::new(UNLIMITED);
    assert!(map.insert(id(1), entry("hello", 5)));
    assert!(!map.insert(id(1), entry("other", 6)));
    let (name, body) = ("greet".into(), "hello".into());
    let kept = Message { id: id(1), name, format: Format::V2, body };
    assert_eq!(map.view().get(&id(1)), Some(kept));
    map.view().with(&id(1), |entry| entry.set_token(9)).unwrap();
    assert_eq!(
        map.remove(&id(1)),
        Some(Removed { token: 9, bytes: 5, is_timed: false, stretch: 0 })
    );
    assert_eq!(map.remove(&id(1)), None);
    assert_eq!(map.view().get(&id(1)), None);
}

#[test]
fn a_full_map_says_which_limit_it_met() {
    let mut map = PendingMap::new(Limits { messages: 2, bytes: 10 });
    assert_eq!(map.check(2, 10), Ok(()));
    let full = map.check(3, 0).unwrap_err();
    assert_eq!(full, Full::Messages { more: 3, limit: 2, waiting: 0 });
    assert_eq!(map.check(1, 11), Err(Full::Bytes { more: 11, limit: 10, waiting: 0 }));
    map.insert(id(1), entry("12345678", 0));
    assert_eq!(map.check(1, 2), Ok(()));
    assert_eq!(map.check(1, 3), Err(Full::Bytes { more: 3, limit: 10, waiting: 8 }));
    let full = map.check(usize::MAX, usize::MAX).unwrap_err();
    assert_eq!(full, Full::Messages { more: usize::MAX, limit: 2, waiting: 1 });
    // Recovery may go beyond.
    map.insert(id(2), entry("12345678", 0));
    assert_eq!(map.check(0, 1), Err(Full::Bytes { more: 1, limit: 10, waiting: 16 }));
    map.remove(&id(1));
    assert_eq!(map.check(1, 2), Ok(()));
}

#[derive(Clone, Debug)]
enum Step {
    Insert { sequence: u64, bytes: usize },
    Remove { sequence: u64 },
    SetToken { sequence: u64, token: u32 },
    Look { sequence: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let sequence = 0..40_u64;
    prop_oneof![
        4 => (sequence.clone(), 0..500_usize).prop_map(|(sequence, bytes)| Step::Insert { sequence, bytes }),
        3 => sequence.clone().prop_map(|sequence| Step::Remove { sequence }),
        1 => (sequence.clone(), any::<u32>())
            .prop_map(|(sequence, token)| Step::SetToken { sequence, token }),
        1 => sequence.prop_map(|sequence| Step::Look { sequence }),
    ]
}

proptest! {
    #[test]
    fn the_map_does_what_a_sorted_map_does(steps in prop::collection::vec(step(), 0..400)) {
        let mut map = PendingMap::new(UNLIMITED);
        let view = map.view().clone();
        let mut model: BTreeMap<u64, (u32, usize)> = BTreeMap::new();
        for (n, step) in (0_u32..).zip(steps) {
            match step {
                Step::Insert { sequence, bytes } => {
                    let inserted = map.insert(id(sequence), entry(vec![0; bytes], n));
                    prop_assert_eq!(inserted, !model.contains_key(&sequence));
                    model.entry(sequence).or_insert((n, bytes));
                }
                Step::Remove { sequence } => {
                    let expected =
                        model.remove(&sequence).map(|(token, bytes)| Removed { token, bytes, is_timed: false, stretch: 0 });
                    prop_assert_eq!(map.remove(&id(sequence)), expected);
                }
                Step::SetToken { sequence, token } => {
                    let set = view.with(&id(sequence), |entry| entry.set_token(token));
                    prop_assert_eq!(set.is_some(), model.contains_key(&sequence));
                    model.entry(sequence).and_modify(|kept| kept.0 = token);
                }
                Step::Look { sequence } => {
                    prop_assert_eq!(view.contains(&id(sequence)), model.contains_key(&sequence));
                    let found = view.with(&id(sequence), |entry| (entry.token(), entry.body().len()));
                    prop_assert_eq!(found, model.get(&sequence).copied());
                }
            }
            prop_assert_eq!(view.len(), model.len());
            prop_assert_eq!(view.bytes(), model.values().map(|kept| kept.1).sum::<usize>());
        }
        let mut found = BTreeMap::new();
        map.for_each(|id, entry| {
            found.insert(id.sequence, (entry.token(), entry.body().len()));
        });
        prop_assert_eq!(found, model);
    }
}

/// Inserts and removes `pairs` messages, with `outstanding` between, and returns how many messages
/// were in memory beyond those in the map at worst.
fn garbage(pairs: u64, outstanding: u64, bytes: usize) -> usize {
    garbage_of(PendingMap::new(UNLIMITED), pairs, outstanding, bytes)
}

fn garbage_of(mut map: PendingMap, pairs: u64, outstanding: u64, bytes: usize) -> usize {
    let body = Bytes::from(vec![7; bytes]);
    // Each message in memory has the name.
    let name = ArcStr::from(String::from("greet"));
    let in_memory = || ArcStr::strong_count(&name).unwrap() - 1;
    let mut worst = 0;
    for n in 0..pairs {
        let body = Body::keep(&body, &body);
        assert!(map.insert(id(n), Entry::new(name.clone(), Format::V2, body, 0)));
        if n >= outstanding {
            assert!(map.remove(&id(n - outstanding)).is_some());
        }
        worst = worst.max(in_memory() - map.view().len());
    }
    worst
}

#[test]
fn removed_messages_do_not_pile_up() {
    let worst = garbage(1_000_000, 1000, 12);
    // A batch, and while a table is replaced those that both tables hold.
    assert!(worst <= REMOVED_MESSAGES_MAX + 300, "{worst} removed messages were still in memory");
}

#[test]
fn a_view_that_keeps_looking_does_not_keep_removed_messages() {
    let map = PendingMap::new(UNLIMITED);
    let view = map.view().clone();
    let done = AtomicBool::new(false);
    let worst = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                view.contains(&id(0));
            }
        });
        let worst = garbage_of(map, 1_000_000, 1000, 12);
        done.store(true, Ordering::Relaxed);
        worst
    });
    // A view that loses its processor in the midst of a look holds up what is removed meanwhile.
    assert!(worst < 250_000, "{worst} removed messages were still in memory");
}

#[test]
fn a_dropped_map_frees_its_messages() {
    let name = ArcStr::from(String::from("greet"));
    let mut map = PendingMap::new(UNLIMITED);
    for n in 0..100 {
        let body = Bytes::from_static(b"body").into();
        map.insert(id(n), Entry::new(name.clone(), Format::V2, body, 0));
    }
    map.remove(&id(3));
    let view = map.view().clone();
    drop(map);
    assert!(view.contains(&id(4)));
    drop(view);
    assert_eq!(ArcStr::strong_count(&name), Some(1));
}

#[test]
fn removed_messages_of_many_bytes_are_freed_at_once() {
    let worst = garbage(5000, 10, REMOVED_BYTES_MAX);
    assert!(worst <= 2, "{worst} removed messages were still in memory");
}

#[test]
fn views_see_what_is_there_while_the_map_changes() {
    const KEPT: u64 = 1000;
    const PASSING: u64 = 300_000;
    let mut map = PendingMap::new(UNLIMITED);
    let body = |n: u64| Bytes::copy_from_slice(&n.to_le_bytes());
    for n in 0..KEPT {
        map.insert(id(n), entry(body(n), n as u32));
    }
    let (done, newest) = (AtomicBool::new(false), AtomicU64::new(KEPT));
    let readers = 3;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..readers)
            .map(|reader| {
                let view = map.view().clone();
                let (done, newest) = (&done, &newest);
                scope.spawn(move || {
                    let mut looked = 0_u64;
                    while !done.load(Ordering::Relaxed) {
                        let kept = (looked + reader) % KEPT;
                        assert!(view.contains(&id(kept)), "a message was not found");
                        let near = newest.load(Ordering::Relaxed).saturating_sub(looked % 64);
                        if let Some(found) = view.get(&id(near)) {
                            assert_eq!(found.body, body(near));
                        }
                        assert!(view.len() >= KEPT as usize);
                        looked += 1;
                    }
                    looked
                })
            })
            .collect();
        for n in KEPT..KEPT + PASSING {
            assert!(map.insert(id(n), entry(body(n), 0)));
            newest.store(n, Ordering::Relaxed);
            if n >= KEPT + 32 {
                assert!(map.remove(&id(n - 32)).is_some());
            }
        }
        done.store(true, Ordering::Relaxed);
        for thread in threads {
            assert!(thread.join().unwrap() > 0);
        }
    });
    assert_eq!(map.view().len(), KEPT as usize + 32);
}
