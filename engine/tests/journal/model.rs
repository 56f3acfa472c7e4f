//! Any order of appending, settling, restarting, crashing and compacting, against a naive model.

use std::collections::BTreeSet;

use mezzenger::journal::storage::memory::MemoryStorage;
use proptest::prelude::*;

use crate::harness::*;

#[derive(Clone, Debug)]
enum Step {
    /// Appends so many messages in one group.
    Append(u64),
    /// Settles each live message whose number leaves this remainder.
    Settle(u64, u64),
    /// Waits for all of it.
    Wait,
    /// Closes and opens.
    Restart,
    /// Cuts the power, with this seed for what is kept.
    PowerCut(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..20_u64).prop_map(Step::Append),
        5 => (1..5_u64).prop_flat_map(|by| (Just(by), 0..by)).prop_map(|(by, rest)| Step::Settle(by, rest)),
        2 => Just(Step::Wait),
        2 => Just(Step::Restart),
        1 => any::<u64>().prop_map(Step::PowerCut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_journal_equals_the_model(
        steps in prop::collection::vec(step(), 1..40),
        compacting in any::<bool>(),
    ) {
        let options = if compacting { eager() } else { options() };
        let mut storage = MemoryStorage::new();
        let mut run = Run::start(&storage, options.clone()).unwrap();
        // Live messages, and those settled since the last restart, which a power cut may bring back.
        let (mut live, mut limbo) = (BTreeSet::new(), BTreeSet::new());
        let mut next = 0;
        let mut last = None;
        for step in steps {
            match step {
                Step::Append(many) => {
                    last = run.append(next..next + many);
                    live.extend(next..next + many);
                    next += many;
                }
                Step::Settle(by, rest) => {
                    let settled: Vec<u64> = live.iter().copied().filter(|n| n % by == rest).collect();
                    last = run.settle(settled.iter().copied());
                    settled.iter().for_each(|n| { live.remove(n); });
                    limbo.extend(settled);
                }
                Step::Wait => {
                    if last.is_some() {
                        prop_assert!(run.settled(last));
                    }
                }
                Step::Restart => {
                    prop_assert_eq!(run.journal.close(), Ok(()));
                    run = Run::start(&storage, options.clone()).unwrap();
                    prop_assert_eq!(&run.kept, &messages(live.iter().copied()));
                    (last, limbo) = (None, BTreeSet::new());
                }
                Step::PowerCut(seed) => {
                    if last.is_some() {
                        prop_assert!(run.settled(last));
                    }
                    let mut random = Random(seed);
                    let after = after_power_cut(&storage, &mut |n| random.below(n));
                    drop(run);
                    storage = after;
                    run = Run::start(&storage, options.clone()).unwrap();
                    let possible = messages(live.union(&limbo).copied());
                    for (id, message) in messages(live.iter().copied()) {
                        prop_assert_eq!(run.kept.get(&id), Some(&message), "lost");
                    }
                    for (id, message) in &run.kept {
                        prop_assert_eq!(possible.get(id), Some(message), "forged");
                    }
                    live.extend(limbo.iter().copied().filter(|n| {
                        let id = id(*n);
                        run.kept.contains_key(&(id.publisher, id.sequence))
                    }));
                    (last, limbo) = (None, BTreeSet::new());
                }
            }
        }
        prop_assert_eq!(run.journal.close(), Ok(()));
        prop_assert_eq!(recover(&storage, options).unwrap().0, messages(live));
    }
}
