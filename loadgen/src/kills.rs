//! Kills the run's own server at random moments and starts it again, on the same ports and journal.

use std::time::Duration;

use crate::child::{ChildError, ChildServer};
use crate::clock;

/// The moments, decided by the run's seed.
#[derive(Debug)]
pub(crate) struct Kills {
    every_ns: u64,
    random: fastrand::Rng,
    next_ns: u64,
    count: u64,
}

impl Kills {
    /// Kills about once in `every`, counted from `begin_ns`.
    pub(crate) fn new(every: Duration, seed: u64, begin_ns: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let mut kills = Self { every_ns: clock::ns(every), random, next_ns: begin_ns, count: 0 };
        kills.schedule();
        kills
    }

    fn schedule(&mut self) {
        // Between half of the time and one and a half of it.
        let pause_ns = self.every_ns as f64 * (0.5 + self.random.f64());
        self.next_ns = self.next_ns.saturating_add(pause_ns as u64);
    }

    /// When the next one is due.
    pub(crate) fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// How often the server was killed.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Kills the server, starts it again, and waits until it listens.
    pub(crate) fn kill(&mut self, child: &mut ChildServer) -> Result<(), ChildError> {
        self.schedule();
        self.count += 1;
        child.kill_and_restart()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(seed: u64) -> Vec<u64> {
        let mut kills = Kills::new(Duration::from_secs(1), seed, 7);
        std::iter::repeat_with(|| {
            let next_ns = kills.next_ns();
            kills.schedule();
            next_ns
        })
        .take(100)
        .collect()
    }

    #[test]
    fn moments_follow_the_seed_and_keep_their_distance() {
        assert_eq!(moments(1), moments(1));
        assert_ne!(moments(1), moments(2));
        let distances = moments(1).windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
        assert!(distances.iter().all(|ns| (500_000_000..=1_500_000_000).contains(ns)));
    }
}
