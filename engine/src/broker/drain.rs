//! Divides the drain timeout among the steps of a shutdown.

use std::time::Duration;

/// How long what is left may go on leaving, however long the end may take.
const LINGER_MAX: Duration = Duration::from_millis(500);

/// How long requests are still read, only to be rejected, once all that was taken is finished.
const REFUSING: Duration = Duration::from_millis(100);

/// How long what is left may go on leaving: the last part of the drain timeout.
fn linger(timeout: Duration) -> Duration {
    (timeout / 8).min(LINGER_MAX)
}

/// When each step of the end is over at the latest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    pub(super) began: Duration,
    /// Requests that come when all else is done.
    pub(super) refused_until: Duration,
    /// What was taken: stored, published, answered.
    pub(super) finished_by: Duration,
    /// The journal is closed, and its file synced.
    pub(super) closed_by: Duration,
    /// What peers have not taken yet has left, or is lost.
    pub(super) over_by: Duration,
}

impl Drain {
    pub(super) fn begin(now: Duration, timeout: Duration) -> Self {
        Self {
            began: now,
            refused_until: now + REFUSING.min(timeout / 2),
            finished_by: now + timeout * 3 / 4,
            closed_by: now + (timeout - linger(timeout)),
            over_by: now + timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_time_and_all_together_the_timeout() {
        let now = Duration::from_secs(7);
        for timeout_ms in [1, 8, 100, 1000, 5000, 1_000_000] {
            let timeout = Duration::from_millis(timeout_ms);
            let drain = Drain::begin(now, timeout);
            assert!(now < drain.refused_until && drain.refused_until < drain.finished_by);
            assert!(drain.finished_by + timeout / 8 <= drain.closed_by);
            assert_eq!(drain.closed_by + linger(timeout), now + timeout);
        }
    }
}
