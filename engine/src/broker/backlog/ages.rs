//! How old the unacknowledged messages are: each knows the stretch of time in which it came, in 16 bits, and of each
//! stretch is known when it began and how many messages of it are left.
//!
//! A stretch takes a second, or a thousandth of the age of the oldest message if that is longer. So a message that waits
//! for a year costs less than 20,000 stretches, of 16 bytes each.

use std::collections::VecDeque;
use std::time::Duration;

/// A stretch takes this long at least.
const STRETCH_MIN: Duration = Duration::from_secs(1);
/// Parts of the oldest message's age that a stretch is one of.
const STRETCHES_PER_AGE: u32 = 1024;
/// Stretches that are distinguished; the last one goes on where there are as many.
const STRETCHES_MAX: usize = u16::MAX as usize;

#[derive(Debug)]
struct AgeRange {
    began: Duration,
    left: usize,
}

/// The stretches with messages, and those between them.
#[derive(Debug, Default)]
pub(super) struct Ages {
    stretches: VecDeque<AgeRange>,
    /// The number of the first, which goes round.
    first: u16,
    /// When the next one begins.
    next_at: Duration,
}

impl Ages {
    /// A message came; the number of its stretch.
    #[inline]
    pub(super) fn add(&mut self, now: Duration) -> u16 {
        if now >= self.next_at || self.stretches.is_empty() {
            self.begin(now);
        }
        if let Some(last) = self.stretches.back_mut() {
            last.left += 1;
        }
        self.first.wrapping_add((self.stretches.len() - 1) as u16)
    }

    fn begin(&mut self, now: Duration) {
        if self.stretches.len() < STRETCHES_MAX {
            self.stretches.push_back(AgeRange { began: now, left: 0 });
        }
        let age = self.oldest(now).unwrap_or_default();
        self.next_at = now.saturating_add(STRETCH_MIN.max(age / STRETCHES_PER_AGE));
    }

    /// A message of this stretch is gone.
    #[inline]
    pub(super) fn remove(&mut self, stretch: u16) {
        let at = stretch.wrapping_sub(self.first);
        if let Some(stretch) = self.stretches.get_mut(at.into()) {
            stretch.left -= 1;
        }
        if at == 0 {
            while self.stretches.front().is_some_and(|first| first.left == 0) {
                self.stretches.pop_front();
                self.first = self.first.wrapping_add(1);
            }
        }
    }

    /// How long ago a message of this stretch came at most.
    pub(super) fn of(&self, stretch: u16, now: Duration) -> Duration {
        let at = stretch.wrapping_sub(self.first);
        self.stretches.get(at.into()).map_or(Duration::ZERO, |it| now.saturating_sub(it.began))
    }

    /// How long ago the oldest message came at most; `None` without any.
    pub(super) fn oldest(&self, now: Duration) -> Option<Duration> {
        let first = self.stretches.front().filter(|first| first.left > 0)?;
        Some(now.saturating_sub(first.began))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn the_oldest_that_is_left_counts() {
        let mut ages = Ages::default();
        assert_eq!(ages.oldest(S), None);
        let (first, second) = (ages.add(S), ages.add(S * 3 / 2));
        let third = ages.add(S * 5);
        assert_eq!(first, second, "they came within a second");
        assert_eq!(ages.oldest(S * 6), Some(S * 5));
        ages.remove(first);
        assert_eq!(ages.oldest(S * 6), Some(S * 5));
        ages.remove(second);
        assert_eq!((ages.oldest(S * 6), ages.of(third, S * 6)), (Some(S), S));
        ages.remove(third);
        assert!(ages.oldest(S * 6).is_none() && ages.is_empty());
    }

    #[test]
    fn a_message_of_ten_years_costs_few_stretches() {
        let mut ages = Ages::default();
        ages.add(Duration::ZERO);
        let mut now = Duration::ZERO;
        while now < S * 3600 * 24 * 3650 {
            now = ages.next_at;
            ages.add(now);
        }
        assert!(ages.stretches.len() < 20_000, "{}", ages.stretches.len());
        assert_eq!(ages.oldest(now), Some(now));
    }

    proptest! {
        /// Against a list of all that are there.
        #[test]
        fn an_age_is_never_too_short_and_a_thousandth_of_all_time_too_long_at_most(
            steps in prop::collection::vec((0..5_000_u32, any::<bool>(), any::<prop::sample::Index>()), 1..400),
        ) {
            let (mut ages, mut there, mut now) = (Ages::default(), Vec::new(), Duration::ZERO);
            for (ms, adds, which) in steps {
                now += Duration::from_millis(ms.into());
                if adds || there.is_empty() {
                    there.push((now, ages.add(now)));
                } else {
                    let (_, stretch) = there.remove(which.index(there.len()));
                    ages.remove(stretch);
                }
                let oldest = there.iter().map(|(came, _)| now - *came).max();
                match (ages.oldest(now), oldest) {
                    (Some(told), Some(oldest)) => {
                        prop_assert!(told >= oldest && told <= oldest + S.max(now / 1000), "{told:?} {oldest:?}");
                    }
                    (told, oldest) => prop_assert_eq!(told, oldest),
                }
            }
        }
    }
}
