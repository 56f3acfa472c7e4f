//! What the simulations have in common: which seeds are tried, how a failure is seen again, and what makes a test
//! of them worth something.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// How often what happened.
pub(super) type Tally = BTreeMap<&'static str, u64>;

/// Of one simulation.
pub(super) struct Seeds {
    /// What its test is called by.
    pub(super) filter: &'static str,
    /// How many are tried when `SIMULATION_SEEDS` does not say how many.
    pub(super) always: u64,
    /// What must have happened in as many: otherwise they prove nothing.
    pub(super) met: &'static [&'static str],
}

impl Seeds {
    /// Tries each seed with `run`, which adds to what happened, and returns how many steps it took.
    /// `SIMULATION_SEED=n` runs that one alone, `SIMULATION_SEEDS=n` as many as that.
    pub(super) fn check(&self, steps: &str, mut run: impl FnMut(u64, &mut Tally) -> u64) {
        let seeds = match number("SIMULATION_SEED") {
            Some(seed) => seed..=seed,
            None => 1..=number("SIMULATION_SEEDS").unwrap_or(self.always),
        };
        let (mut taken, mut tally) = (0, Tally::new());
        let runs = count(&seeds);
        for seed in seeds {
            let _repeat = Repeat { seed, filter: self.filter };
            taken += run(seed, &mut tally);
        }
        println!("{runs} seeds, {taken} {steps}: {tally:#?}");
        if runs >= self.always {
            let missing: Vec<_> =
                self.met.iter().filter(|what| !tally.contains_key(*what)).collect();
            assert!(missing.is_empty(), "never met: {missing:?}");
        }
    }
}

fn count(seeds: &RangeInclusive<u64>) -> u64 {
    seeds.end() + 1 - seeds.start()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Says how to see the same again, also when the broker panics.
struct Repeat {
    seed: u64,
    filter: &'static str,
}

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, filter } = self;
            eprintln!(
                "seed {seed} failed; repeat it with\n\
                 SIMULATION_SEED={seed} cargo test -p mezzenger --lib {filter}"
            );
        }
    }
}

/// The same seed is the same history, and another one another. `digest`: of a seed's history.
pub(super) fn check_repeatable(digest: impl Fn(u64) -> u64) {
    let digests: Vec<u64> = (1..=10).map(&digest).collect();
    assert_eq!(digests, (1..=10).map(&digest).collect::<Vec<_>>());
    assert_ne!(digests[0], digests[1]);
}
