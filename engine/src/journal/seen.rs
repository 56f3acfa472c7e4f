//! Which messages of native publishers a journal ever held, as runs of sequence numbers.

use std::collections::HashMap;

use super::record::SeenRun;
use crate::hash::IdHashes;
use crate::limits::{PUBLISHERS_REMEMBERED_MAX, SEQUENCE_RUNS_MAX};
use crate::wire::id::MessageId;

/// The runs of the publishers that were heard of last. To forget costs a duplicate, never a message.
#[derive(Debug, Default)]
pub(super) struct SeenRuns {
    publishers: HashMap<u64, Runs, IdHashes>,
    /// Counts additions, to know whose was last.
    clock: u64,
}

#[derive(Debug, Default)]
struct Runs {
    last_used: u64,
    /// First and last of each run, in the order of the numbers, with gaps between.
    runs: Vec<(u64, u64)>,
}

impl Runs {
    fn add(&mut self, first: u64, last: u64) {
        // Nearly always the next number, which continues the last run.
        if let Some(run) = self.runs.last_mut()
            && run.0 <= first
            && first <= run.1.saturating_add(1)
        {
            run.1 = run.1.max(last);
            return;
        }
        // The runs that the new one touches or overlaps become one with it.
        let start = self.runs.partition_point(|run| run.1.saturating_add(1) < first);
        let end = self.runs.partition_point(|run| run.0 <= last.saturating_add(1));
        let (mut first, mut last) = (first, last);
        if let Some(touched) = self.runs.get(start..end)
            && let (Some(lowest), Some(highest)) = (touched.first(), touched.last())
        {
            first = first.min(lowest.0);
            last = last.max(highest.1);
        }
        self.runs.splice(start..end.max(start), [(first, last)]);
        if self.runs.len() > SEQUENCE_RUNS_MAX {
            self.runs.remove(0);
        }
    }
}

impl SeenRuns {
    /// Adds the id of a message, unless a v1 checksum made it.
    pub(super) fn add(&mut self, id: MessageId) {
        if id.is_native() {
            self.add_run(SeenRun {
                publisher: id.publisher,
                first: id.sequence,
                last: id.sequence,
            });
        }
    }

    /// Adds a run, as a seen record holds it.
    pub(super) fn add_run(&mut self, run: SeenRun) {
        if run.first > run.last {
            return;
        }
        self.clock += 1;
        let runs = self.publishers.entry(run.publisher).or_default();
        runs.last_used = self.clock;
        runs.add(run.first, run.last);
        if self.publishers.len() > 2 * PUBLISHERS_REMEMBERED_MAX {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let excess = self.publishers.len().saturating_sub(PUBLISHERS_REMEMBERED_MAX);
        if excess == 0 {
            return;
        }
        let mut uses: Vec<u64> = self.publishers.values().map(|runs| runs.last_used).collect();
        let (_, &mut newest_forgotten, _) = uses.select_nth_unstable(excess - 1);
        self.publishers.retain(|_, runs| runs.last_used > newest_forgotten);
    }

    /// All runs, the publisher last heard of at the end.
    pub(super) fn into_runs(mut self) -> Vec<SeenRun> {
        self.forget_oldest();
        let mut publishers: Vec<(u64, Runs)> = self.publishers.into_iter().collect();
        publishers.sort_unstable_by_key(|(_, runs)| runs.last_used);
        publishers
            .into_iter()
            .flat_map(|(publisher, runs)| {
                runs.runs.into_iter().map(move |(first, last)| SeenRun { publisher, first, last })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn run(publisher: u64, first: u64, last: u64) -> SeenRun {
        SeenRun { publisher, first, last }
    }

    proptest! {
        #[test]
        fn runs_hold_what_was_added(added in prop::collection::vec((1..60_u64, 0..4_u64), 0..40)) {
            let mut seen = SeenRuns::default();
            let mut model = BTreeSet::new();
            for (first, more) in added {
                seen.add_run(run(1, first, first + more));
                model.extend(first..=first + more);
            }
            let runs = seen.into_runs();
            prop_assert!(runs.windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
            let held: BTreeSet<u64> = runs.iter().flat_map(|run| run.first..=run.last).collect();
            prop_assert_eq!(held, model);
        }
    }

    #[test]
    fn the_oldest_runs_and_publishers_are_forgotten() {
        let mut seen = SeenRuns::default();
        for sequence in 0..=SEQUENCE_RUNS_MAX as u64 {
            seen.add(MessageId { publisher: 1, sequence: 1 + 2 * sequence });
        }
        let runs = seen.into_runs();
        assert_eq!(runs.len(), SEQUENCE_RUNS_MAX);
        assert_eq!(runs[0], run(1, 3, 3));

        let mut seen = SeenRuns::default();
        let publishers = 3 * PUBLISHERS_REMEMBERED_MAX as u64;
        (1..=publishers).for_each(|publisher| seen.add(MessageId { publisher, sequence: 9 }));
        let runs = seen.into_runs();
        assert_eq!(runs.len(), PUBLISHERS_REMEMBERED_MAX);
        assert_eq!(runs.last(), Some(&run(publishers, 9, 9)));
        assert_eq!(runs[0].publisher, publishers - PUBLISHERS_REMEMBERED_MAX as u64 + 1);
    }

    #[test]
    fn v1_ids_and_the_ends_of_the_numbers_are_harmless() {
        let mut seen = SeenRuns::default();
        seen.add(MessageId::from_v1_checksum([9; 16]));
        assert_eq!(seen.clock, 0);
        seen.add_run(run(1, u64::MAX, u64::MAX));
        seen.add_run(run(1, 0, 0));
        seen.add_run(run(1, 5, 4));
        seen.add_run(run(1, 1, u64::MAX - 1));
        assert_eq!(seen.into_runs(), [run(1, 0, u64::MAX)]);
    }
}
