//! How many lines each of many may cause in a log.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// How long after a line was left out another one says so.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Keys that the line about left-out lines names; further ones are summed.
const NAMED_MAX: usize = 16;

#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    /// When all of its lines are there again.
    full_at: Duration,
    left_out: u64,
}

/// A budget of lines for each key. One key's lines take nothing from another's, as long as the keys are no more than there
/// are places; those beyond share one budget.
///
/// Times count from the same start, and never go back.
#[derive(Debug)]
pub struct LogBudgets<K> {
    lines: u32,
    refill: Duration,
    places: usize,
    budgets: HashMap<K, Budget>,
    shared: Budget,
    /// When it is next told what was left out.
    due: Option<Duration>,
}

impl<K: Clone + Eq + Hash> LogBudgets<K> {
    /// `lines` at once for each key, and one more after each `refill`; for `places` keys.
    pub fn new(lines: u32, refill: Duration, places: usize) -> Self {
        let (budgets, shared) = (HashMap::new(), Budget::default());
        Self { lines, refill, places, budgets, shared, due: None }
    }

    /// Whether a line of this key may be written now. If not, it is counted.
    pub fn admit(&mut self, key: &K, now: Duration) -> bool {
        let budget = match self.budgets.get_mut(key) {
            Some(budget) => budget,
            None => {
                if self.budgets.len() >= self.places {
                    self.budgets.retain(|_, it| it.full_at > now || it.left_out > 0);
                }
                if self.budgets.len() >= self.places {
                    &mut self.shared
                } else {
                    self.budgets.entry(key.clone()).or_default()
                }
            }
        };
        let full_at = budget.full_at.max(now) + self.refill;
        if full_at > now + self.refill * self.lines {
            budget.left_out += 1;
            self.due.get_or_insert(now + TELL_AFTER);
            return false;
        }
        budget.full_at = full_at;
        true
    }

    /// When [`Self::left_out`] has something to tell.
    pub fn next_due(&self) -> Option<Duration> {
        self.due
    }

    /// How many lines of which keys were left out since the last time, if it is time to tell: the first of many keys, and
    /// all others together.
    pub fn left_out(&mut self, now: Duration) -> Vec<(Option<K>, u64)> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.due = None;
        let (mut told, mut rest) = (Vec::new(), std::mem::take(&mut self.shared.left_out));
        for (key, budget) in &mut self.budgets {
            let count = std::mem::take(&mut budget.left_out);
            if count > 0 && told.len() < NAMED_MAX {
                told.push((Some(key.clone()), count));
            } else {
                rest += count;
            }
        }
        if rest > 0 {
            told.push((None, rest));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn each_key_has_its_own_lines_and_gets_new_ones() {
        let mut budgets = LogBudgets::new(3, 100 * MS, 10);
        let admitted = |budgets: &mut LogBudgets<_>, key, now| {
            (0..10).filter(|_| budgets.admit(&key, now)).count()
        };
        assert_eq!(admitted(&mut budgets, 'a', Duration::ZERO), 3);
        assert_eq!(admitted(&mut budgets, 'b', Duration::ZERO), 3, "the first takes nothing of it");
        assert_eq!(admitted(&mut budgets, 'a', 99 * MS), 0);
        assert_eq!(admitted(&mut budgets, 'a', 200 * MS), 2);
        assert_eq!(admitted(&mut budgets, 'a', 10_000 * MS), 3, "no more than at once");
    }

    #[test]
    fn what_was_left_out_is_told_a_second_later_though_nothing_follows() {
        let mut budgets = LogBudgets::new(1, 100 * MS, 10);
        assert!(budgets.admit(&'a', 5 * MS));
        assert_eq!(budgets.next_due(), None);
        assert!(!budgets.admit(&'a', 5 * MS) && !budgets.admit(&'a', 6 * MS));
        assert_eq!(budgets.next_due(), Some(1005 * MS));
        assert_eq!(budgets.left_out(1004 * MS), []);
        assert_eq!(budgets.left_out(1005 * MS), [(Some('a'), 2)]);
        assert_eq!((budgets.next_due(), budgets.left_out(9000 * MS)), (None, Vec::new()));
    }

    #[test]
    fn keys_are_bounded_and_those_beyond_share_a_budget() {
        let mut budgets = LogBudgets::new(1, 100 * MS, 2);
        assert!([1, 2, 3].iter().all(|key| budgets.admit(key, Duration::ZERO)));
        assert!(!budgets.admit(&4, Duration::ZERO), "3 has used what is shared");
        assert_eq!(budgets.budgets.len(), 2);
        assert_eq!(budgets.left_out(1000 * MS), [(None, 1)]);
        // Whoever is quiet makes room.
        assert!(budgets.admit(&5, 1000 * MS) && budgets.budgets.contains_key(&5));
        assert_eq!(budgets.budgets.len(), 1);
    }

    #[test]
    fn of_many_keys_the_first_are_named_and_the_others_summed() {
        let mut budgets = LogBudgets::new(1, 100 * MS, 100);
        for key in (0..40).chain(0..40) {
            budgets.admit(&key, Duration::ZERO);
        }
        let told = budgets.left_out(1000 * MS);
        assert_eq!((told.len(), told[NAMED_MAX]), (NAMED_MAX + 1, (None, 24)));
    }
}
