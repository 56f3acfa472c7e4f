//! What waits, and in which order it leaves.

use super::*;
use proptest::prelude::*;

fn id(sequence: u64) -> MessageId {
    MessageId { publisher: 1, sequence }
}

fn next(waiting: &mut Waiting, stored: u64) -> Option<MessageId> {
    waiting.next_due(stored, |_, _| false)
}

#[test]
fn messages_leave_in_the_order_they_came_and_only_when_wanted() {
    let (mut waiting, a, b) = (Waiting::default(), ArcStr::from("a"), ArcStr::from("b"));
    waiting.add(&a, id(3));
    let place = waiting.add(&a, id(1));
    waiting.add(&a, id(2));
    waiting.add(&b, id(4));
    waiting.remove(place, id(1));
    waiting.remove(place, id(1));
    waiting.wake_name("a", 0);
    waiting.wake_name("a", 0);
    assert_eq!(next(&mut waiting, 0), Some(id(3)));
    // Comes back while its name is due: it waits for the next time.
    waiting.add(&a, id(3));
    assert_eq!(next(&mut waiting, 0), Some(id(2)));
    assert_eq!(next(&mut waiting, 0), None);
    assert!(!waiting.is_due());
    assert!(!waiting.is_empty());
    waiting.wake_prefix("", None);
    while waiting.sweep(1, 0) {}
    let left: Vec<_> = std::iter::from_fn(|| next(&mut waiting, 0)).collect();
    assert_eq!(left, [id(3), id(4)]);
    assert!(waiting.is_empty());
}

#[test]
fn a_prefix_wakes_what_begins_with_it_in_slices() {
    let mut waiting = Waiting::default();
    let names: Vec<ArcStr> = ["a", "b", "b.1", "b.2", "b.3", "c"].map(ArcStr::from).to_vec();
    for (name, n) in names.iter().zip(0..) {
        waiting.add(name, id(n));
    }
    waiting.wake_prefix("b", None);
    let mut slices = 1;
    while waiting.sweep(2, 0) {
        slices += 1;
    }
    assert_eq!(slices, 3);
    let woken: Vec<_> = std::iter::from_fn(|| next(&mut waiting, 0)).collect();
    assert_eq!(woken, [1, 2, 3, 4].map(id));
    assert!(!waiting.is_due() && !waiting.is_empty());
}

#[test]
fn a_pattern_wakes_what_fits_it_and_every_name_that_is_looked_at_counts() {
    let mut waiting = Waiting::default();
    let names: Vec<ArcStr> = ["b.1", "b.1.x", "b.2.y", "b.3.x", "b.4.y"].map(ArcStr::from).to_vec();
    for (name, n) in names.iter().zip(0..) {
        waiting.add(name, id(n));
    }
    waiting.wake_prefix("b.", Some("b.*.x"));
    assert!(waiting.sweep(2, 0) && waiting.sweep(2, 0) && !waiting.sweep(2, 0));
    let woken: Vec<_> = std::iter::from_fn(|| next(&mut waiting, 0)).collect();
    assert_eq!(woken, [1, 3].map(id));
}

#[test]
fn a_name_that_is_held_up_lets_others_go_first() {
    let mut waiting = Waiting::default();
    let names: [ArcStr; 2] = ["a".into(), "b".into()];
    waiting.add(&names[0], id(1));
    waiting.add(&names[1], id(2));
    waiting.wake_name("a", 0);
    waiting.wake_name("b", 0);
    assert_eq!(waiting.next_due(0, |name, _| name == "a"), Some(id(2)));
    assert_eq!(waiting.next_due(0, |name, _| name == "a"), None);
    assert_eq!(next(&mut waiting, 0), Some(id(1)));
}

#[test]
fn what_becomes_due_later_stays_behind_also_when_its_name_is_held_up() {
    let mut waiting = Waiting::default();
    let names: [ArcStr; 2] = ["a".into(), "b".into()];
    for n in 0..6 {
        let name = &names[usize::from(n % 2 == 1)];
        waiting.add(name, id(n));
        waiting.wake_name(name, n);
    }
    assert!(waiting.is_name_due("a") && !waiting.is_name_due("c"));
    let mut got = Vec::new();
    for look in 0..60 {
        got.extend(waiting.next_due(look / 4, |name, _| (name == "a") == (look % 3 == 0)));
    }
    let of = |rest| got.iter().map(|id| id.sequence).filter(|n| n % 2 == rest).collect::<Vec<_>>();
    assert_eq!((of(0), of(1)), (vec![0, 2, 4], vec![1, 3, 5]));
    assert!(waiting.is_empty() && !waiting.is_name_due("a"));
}

#[test]
fn a_due_list_that_is_settled_empty_is_given_up() {
    let mut waiting = Waiting::default();
    let names: [ArcStr; 2] = ["a".into(), "b".into()];
    waiting.add(&names[1], id(9));
    for n in 0..3 {
        let place = waiting.add(&names[0], id(n));
        waiting.wake_name("a", 0);
        waiting.remove(place, id(n));
        assert_eq!(next(&mut waiting, 0), None);
    }
    assert!(waiting.lists.len() <= 2);
}

#[test]
fn due_messages_wait_until_they_are_stored() {
    let mut waiting = Waiting::default();
    let names: [ArcStr; 2] = ["a".into(), "b".into()];
    waiting.add(&names[0], id(1));
    waiting.add(&names[1], id(2));
    waiting.wake_name("a", 3);
    waiting.wake_name("b", 4);
    assert_eq!(next(&mut waiting, 2), None);
    assert!(!waiting.is_due(), "it would spin");
    assert_eq!(next(&mut waiting, 3), Some(id(1)));
    assert_eq!(next(&mut waiting, 3), None);
    assert_eq!(next(&mut waiting, 4), Some(id(2)));
    assert!(waiting.is_empty());
}

#[test]
fn what_is_held_up_is_looked_at_once_and_again_when_it_may_be_sent() {
    let mut waiting = Waiting::default();
    let names: Vec<ArcStr> = (0..HELD_UP_MAX * 2 + 10).map(|n| n.to_string().into()).collect();
    for (n, name) in (0..).zip(&names) {
        waiting.add(name, id(n));
        waiting.wake_name(name, 0);
    }
    let free = names.len() - 1;
    let is_held_up = |name: &str, _| name != names[free].as_str();
    let mut looks = 0;
    let mut found = Vec::new();
    while waiting.is_due() {
        found.extend(waiting.next_due(0, is_held_up));
        looks += 1;
        assert!(looks < 10, "it would spin");
    }
    assert_eq!(found, [id(free as u64)], "what stands behind the others");
    // One that is added meanwhile is seen, wherever the looks have come to.
    waiting.next_due(0, is_held_up);
    waiting.add(&names[free], id(1000));
    waiting.wake_name(&names[free], 0);
    let mut found = None;
    while waiting.is_due() && found.is_none() {
        found = waiting.next_due(0, is_held_up);
    }
    assert_eq!(found, Some(id(1000)));
    waiting.try_again();
    assert!(waiting.is_due());
    let left = std::iter::from_fn(|| next(&mut waiting, 0)).count();
    assert_eq!(left, names.len() - 1);
}

proptest! {
    #[test]
    fn it_agrees_with_plain_lists(steps in prop::collection::vec((0_u8..4, 0_usize..3, 0_usize..8), 1..200)) {
        let names: Vec<ArcStr> = ["a", "b", "c"].map(Into::into).to_vec();
        let mut waiting = Waiting::default();
        let mut model: Vec<Vec<(u32, MessageId)>> = vec![Vec::new(); 3];
        for (n, (kind, name, nth)) in steps.into_iter().enumerate() {
            match kind {
                0 | 1 => {
                    let id = id(n as u64);
                    model[name].push((waiting.add(&names[name], id), id));
                }
                2 if nth < model[name].len() => {
                    let (place, id) = model[name].remove(nth);
                    waiting.remove(place, id);
                }
                _ => {
                    waiting.wake_name(&names[name], 0);
                    let out: Vec<_> =
                        std::iter::from_fn(|| next(&mut waiting, 0)).collect();
                    let expected: Vec<_> = model[name].drain(..).map(|(_, id)| id).collect();
                    prop_assert_eq!(out, expected);
                    prop_assert!(!waiting.is_due());
                }
            }
            prop_assert_eq!(waiting.is_empty(), model.iter().all(Vec::is_empty));
        }
    }
}

#[test]
fn prefixes_on_their_way_are_bounded_and_no_name_is_missed() {
    let mut waiting = Waiting::default();
    let names: Vec<ArcStr> = (0..SWEEPS_MAX * 3).map(|n| format!("{n}.x").into()).collect();
    for (name, n) in names.iter().zip(0..) {
        waiting.add(name, id(n));
    }
    for _ in 0..2 {
        waiting.wake_prefix("1", None);
        waiting.wake_prefix("1", Some("1.*"));
    }
    assert_eq!(waiting.sweeps.len(), 2, "one that is the same does nothing more");
    // One that is begun has passed some.
    assert!(waiting.sweep(1, 0));
    waiting.wake_prefix("1", None);
    assert_eq!(waiting.sweeps.len(), 3);
    for name in &names {
        waiting.wake_prefix(name, None);
        assert!(waiting.sweeps.len() <= SWEEPS_MAX);
        assert!(waiting.is_name_due(name));
    }
    while waiting.sweep(10, 0) {}
    let mut woken: Vec<_> =
        std::iter::from_fn(|| next(&mut waiting, 0)).map(|id| id.sequence).collect();
    woken.sort_unstable();
    assert!(woken.into_iter().eq(0..names.len() as u64));
}
