//! Adds up how long publishers are held back.

use std::time::Duration;

/// Each publisher that is held back counts minus the time at which that began until it ends.
#[derive(Debug, Default)]
pub(super) struct HoldTime {
    count: u64,
    /// Goes round: the sum of those that ended, less the beginnings of those that did not.
    sum_ns: u64,
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl HoldTime {
    /// A publisher is held back.
    pub(super) fn begin(&mut self, now: Duration) {
        self.count += 1;
        self.sum_ns = self.sum_ns.wrapping_sub(nanoseconds(now));
    }

    /// One is not any more.
    pub(super) fn end(&mut self, now: Duration) {
        self.count -= 1;
        self.sum_ns = self.sum_ns.wrapping_add(nanoseconds(now));
    }

    /// How many are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// For how many nanoseconds all were until now.
    pub(super) fn total_ns(&self, now: Duration) -> u64 {
        self.sum_ns.wrapping_add(self.count.wrapping_mul(nanoseconds(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_all_add_up_those_that_are_not_over_among_them() {
        let mut holding = HoldTime::default();
        let s = Duration::from_secs;
        holding.begin(s(10));
        holding.begin(s(12));
        assert_eq!((holding.count(), holding.total_ns(s(13))), (2, 4_000_000_000));
        holding.end(s(14));
        assert_eq!((holding.count(), holding.total_ns(s(14))), (1, 6_000_000_000));
        holding.end(s(20));
        assert_eq!((holding.count(), holding.total_ns(s(99))), (0, 12_000_000_000));
    }
}
