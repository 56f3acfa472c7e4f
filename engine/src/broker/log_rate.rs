//! Log lines at a bounded rate, so that a flood of events is no flood of lines.

use std::num::NonZeroU64;
use std::time::Duration;

/// Lets one line through in each pause, and counts what it holds back.
#[derive(Debug)]
pub(crate) struct LogRate {
    pause: Duration,
    last: Option<Duration>,
    held: u64,
}

impl LogRate {
    /// At most one line in each `pause`.
    pub(crate) const fn new(pause: Duration) -> Self {
        Self { pause, last: None, held: 0 }
    }

    /// Whether a line may be written now, and then how many were held back since the last one, if any: `tracing` leaves a
    /// field out that has no value.
    pub(crate) fn admit(&mut self, now: Duration) -> Option<Option<NonZeroU64>> {
        if self.last.is_some_and(|last| now.saturating_sub(last) < self.pause) {
            self.held += 1;
            return None;
        }
        self.last = Some(now);
        Some(NonZeroU64::new(std::mem::take(&mut self.held)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_pause_with_the_number_of_those_left_out() {
        let at = Duration::from_millis;
        let mut rate = LogRate::new(Duration::from_secs(1));
        let admitted = [0, 1, 999, 1000, 1500, 5000].map(|ms| rate.admit(at(ms)));
        assert_eq!(
            admitted,
            [Some(None), None, None, Some(NonZeroU64::new(2)), None, Some(NonZeroU64::new(1))]
        );
    }
}
