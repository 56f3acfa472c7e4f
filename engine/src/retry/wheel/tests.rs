//! The wheel against a sorted map that does the same slowly.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Key = [u64; 2];

fn key(n: u64) -> Key {
    [n, n * 7]
}

fn drain(wheel: &mut Wheel<Key>, now: u64) -> Vec<u64> {
    let mut out = Vec::new();
    assert!(!wheel.advance(now, usize::MAX, &mut out));
    out.into_iter().map(|key| key[0]).collect()
}

#[test]
fn a_timer_of_a_16_byte_key_takes_32_bytes() {
    assert_eq!(size_of::<Node<Key>>(), 32);
}

#[test]
fn timers_expire_at_their_tick_and_not_before() {
    let mut wheel = Wheel::new(10);
    for (n, deadline) in [(1, 11), (2, 74), (3, 10 + 64 * 64), (4, 5)] {
        wheel.schedule(key(n), deadline);
    }
    assert_eq!(drain(&mut wheel, 10), [4]);
    assert_eq!(drain(&mut wheel, 73), [1]);
    assert_eq!(drain(&mut wheel, 74), [2]);
    assert_eq!(drain(&mut wheel, 9 + 64 * 64), [0; 0]);
    assert_eq!(drain(&mut wheel, 10 + 64 * 64), [3]);
    assert_eq!(wheel.next_expiry(), None);
}

#[test]
fn a_token_ends_only_the_timer_it_was_made_for() {
    let mut wheel = Wheel::new(0);
    let old = wheel.schedule(key(1), 5);
    assert!(!wheel.cancel(old, &key(2)));
    assert!(wheel.cancel(old, &key(1)));
    assert!(!wheel.cancel(old, &key(1)));
    let new = wheel.schedule(key(2), 5);
    assert_eq!(old, new, "the place is used again");
    assert!(!wheel.cancel(old, &key(1)));
    assert!(!wheel.cancel(Token::NONE, &key(2)));
    assert_eq!(drain(&mut wheel, 5), [2]);
}

#[test]
fn a_clock_that_jumps_back_changes_nothing() {
    let mut wheel = Wheel::new(0);
    wheel.schedule(key(1), 100);
    assert_eq!(drain(&mut wheel, 90), [0; 0]);
    assert_eq!(drain(&mut wheel, 3), [0; 0]);
    wheel.schedule(key(2), 95);
    assert_eq!(drain(&mut wheel, 50), [0; 0]);
    assert_eq!(drain(&mut wheel, 100), [2, 1]);
}

#[test]
fn an_idle_age_is_skipped_at_once() {
    let mut wheel = Wheel::new(0);
    wheel.schedule(key(1), u64::MAX);
    let mut out = Vec::new();
    assert!(!wheel.advance(u64::MAX - 2, 1, &mut out) || out.is_empty());
    assert_eq!(drain(&mut wheel, u64::MAX - 2), [0; 0]);
    assert_eq!(drain(&mut wheel, u64::MAX), [1]);
    wheel.schedule(key(2), 0);
    assert_eq!(drain(&mut wheel, 0), [2]);
}

#[test]
fn memory_is_used_again_and_given_back() {
    let mut wheel = Wheel::new(0);
    let burst: Vec<_> = (0..1_000_000).map(|n| (wheel.schedule(key(n), 64 + n % 50), n)).collect();
    assert!(wheel.bytes() < 1_001_000 * 32, "{} bytes", wheel.bytes());
    let full = wheel.bytes();
    for &(token, n) in &burst[..500_000] {
        assert!(wheel.cancel(token, &key(n)));
    }
    assert!(wheel.bytes() < full / 2 + 100_000, "{} bytes", wheel.bytes());
    assert_eq!(drain(&mut wheel, 200).len(), 500_000);
    assert!(wheel.bytes() <= 64 * 1024, "{} bytes", wheel.bytes());
    for n in 0..1_000_000 {
        let token = wheel.schedule(key(n), 300 + n / 100);
        wheel.advance(200 + n / 100, 10, &mut Vec::new());
        assert!(wheel.cancel(token, &key(n)));
    }
    assert!(wheel.bytes() <= 64 * 1024, "{} bytes", wheel.bytes());
}

#[derive(Clone, Debug)]
enum Step {
    Schedule { ahead: u64 },
    ScheduleAt { tick: u64 },
    Cancel { nth: prop::sample::Index },
    Advance { by: u64, budget: usize },
    Back,
}

fn ahead() -> impl Strategy<Value = u64> {
    prop_oneof![0..3_u64, 0..200_u64, 0..10_000_u64, 0..u64::MAX >> 8, any::<u64>()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => ahead().prop_map(|ahead| Step::Schedule { ahead }),
        1 => any::<u64>().prop_map(|tick| Step::ScheduleAt { tick }),
        4 => any::<prop::sample::Index>().prop_map(|nth| Step::Cancel { nth }),
        4 => (ahead(), 0..20_usize).prop_map(|(by, budget)| Step::Advance { by: by / 2, budget }),
        1 => Just(Step::Back),
    ]
}

/// The model: live timers by deadline and number, with whether the deadline lay ahead.
#[derive(Default)]
struct Model {
    due_by: BTreeMap<(u64, u64), (Token, bool)>,
    now: u64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_wheel_does_what_a_sorted_map_does(
        start in prop_oneof![Just(0), any::<u64>().prop_map(|n| n >> 2)],
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut wheel = Wheel::new(start);
        let mut model = Model { now: start, ..Model::default() };
        let mut out = Vec::new();
        for (n, step) in (0_u64..).zip(steps) {
            match step {
                Step::Schedule { ahead } => {
                    let deadline = model.now.saturating_add(ahead).min(u64::MAX - 1);
                    let token = wheel.schedule(key(n), deadline);
                    model.due_by.insert((deadline, n), (token, true));
                }
                Step::ScheduleAt { tick } => {
                    let token = wheel.schedule(key(n), tick);
                    let ahead = tick >= model.now;
                    model.due_by.insert((tick.min(u64::MAX - 1), n), (token, ahead));
                }
                Step::Cancel { nth } if !model.due_by.is_empty() => {
                    let at = *model.due_by.keys().nth(nth.index(model.due_by.len())).unwrap();
                    let (token, _) = model.due_by.remove(&at).unwrap();
                    prop_assert!(wheel.cancel(token, &key(at.1)));
                    prop_assert!(!wheel.cancel(token, &key(at.1)));
                }
                Step::Cancel { .. } => {}
                Step::Back => {
                    // Goes nowhere, but hands out what had already become due.
                    let due = model.due_by.range(..=(model.now, u64::MAX)).count();
                    wheel.advance(0, 1, &mut out);
                    prop_assert!(out.len() <= due.min(1));
                }
                Step::Advance { by, budget } => {
                    model.now = model.now.saturating_add(by).min(u64::MAX - 1);
                    let more = wheel.advance(model.now, budget, &mut out);
                    prop_assert!(out.len() <= budget);
                    let due = model.due_by.range(..=(model.now, u64::MAX)).count();
                    prop_assert!(out.len() <= due);
                    prop_assert!(more || out.len() == due);
                }
            }
            let mut last = 0;
            for found in out.drain(..) {
                let at = *model.due_by.keys().find(|at| at.1 == found[0]).unwrap();
                prop_assert!(at.0 <= model.now, "early");
                let (_, ahead) = model.due_by.remove(&at).unwrap();
                prop_assert!(!ahead || at.0 >= last, "order");
                last = last.max(at.0);
            }
            prop_assert_eq!(wheel.len(), model.due_by.len());
            prop_assert_eq!(wheel.next_expiry().is_none(), model.due_by.is_empty());
            if let (Some(hint), Some(first)) = (wheel.next_expiry(), model.due_by.keys().next()) {
                prop_assert!(hint <= first.0.max(model.now), "sleeps past a deadline");
            }
        }
        let mut rest = Vec::new();
        while wheel.advance(u64::MAX, 7, &mut rest) {}
        let mut rest: Vec<_> = rest.into_iter().map(|key| key[0]).collect();
        rest.sort_unstable();
        let mut expected: Vec<_> = model.due_by.keys().map(|at| at.1).collect();
        expected.sort_unstable();
        prop_assert_eq!(rest, expected);
        prop_assert!(wheel.is_empty());
    }
}
