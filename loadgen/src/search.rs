//! The search for the highest rate that a latency and no loss hold at: a bounded number of runs.

use std::time::Duration;

use loadgen::report::Step;

use crate::args::Settings;
use crate::clock;
use crate::publisher::Sent;
use crate::run::{self, Outcome, RunError};

/// Most runs of a search, each of which takes a seed.
pub(crate) const STEPS_MAX: usize = 16;

/// The search ends when the lowest rate that failed is at most this much above the highest that held.
const PRECISION: f64 = 1.05;

/// Where it begins unless told otherwise, in messages a second.
const FIRST_RATE: f64 = 10_000.0;

/// Below this nothing is looked for, in messages a second.
const RATE_MIN: f64 = 1.0;

/// Part of a rate that may be missing when it counts as reached.
const SHORTFALL_MAX: f64 = 0.01;

/// Why a search found nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SearchError {
    /// A run failed altogether.
    #[error(transparent)]
    Run(#[from] RunError),
    /// No rate was good enough.
    #[error(
        "not even {rate} messages/s kept p99 under {limit:?} without loss: allow more, or look for \
         what else the machine does"
    )]
    Nothing {
        /// The lowest rate that was tried.
        rate: f64,
        /// The latency that was to hold.
        limit: Duration,
    },
}

/// The best run of a search.
pub(crate) struct Found {
    /// With the rate that was found.
    pub(crate) settings: Settings,
    pub(crate) outcome: Outcome,
}

/// Looks for the highest rate at which p99 stays under `limit`. With `wants_series` each run also looks
/// at its seconds.
pub(crate) fn find_max(
    settings: &Settings,
    limit: Duration,
    wants_series: bool,
) -> Result<Found, SearchError> {
    let mut bounds = Bounds::default();
    let mut steps = Vec::new();
    let mut best = None;
    let mut rate = settings.rate.unwrap_or(FIRST_RATE);
    while steps.len() < STEPS_MAX {
        // Names of their own, in case the server still knows those of the run before.
        let seed = settings.seed.wrapping_add(steps.len() as u64);
        let settings = Settings { rate: Some(rate), seed, ..settings.clone() };
        let outcome = run::run(&settings, wants_series)?;
        let step = judge(&outcome, rate, limit);
        eprintln!("loadgen: {}", line(&step));
        steps.push(step);
        bounds.enter(step);
        if step.holds {
            best = Some((settings, outcome));
        }
        match bounds.next() {
            Some(next) => rate = next,
            None => break,
        }
    }
    let Some((settings, mut outcome)) = best else {
        return Err(SearchError::Nothing { rate, limit });
    };
    outcome.steps = steps;
    Ok(Found { settings, outcome })
}

fn judge(outcome: &Outcome, rate: f64, limit: Duration) -> Step {
    let Outcome { totals, measured, .. } = outcome;
    let p99_ns = measured.latency.value_at_quantile(0.99);
    let faultless = totals.lost + totals.foreign + totals.missing_ledgers == 0
        && outcome.failures.is_empty()
        && outcome.sent.iter().all(|sent| sent.failure.is_none());
    let measured_s = (outcome.after.at - outcome.before.at).as_secs_f64();
    let published = outcome.after.published - outcome.before.published;
    // The odd message of each publisher lies beyond the edges.
    let wanted = rate * measured_s * (1.0 - SHORTFALL_MAX) - outcome.sent.len() as f64;
    let reached = published as f64 >= wanted && outcome.sent.iter().all(|s| Sent::taken(s) > 0);
    let holds = faultless && reached && !measured.latency.is_empty() && p99_ns < clock::ns(limit);
    Step { rate, reached, p99_us: p99_ns as f64 / 1e3, lost: totals.lost, holds }
}

fn line(step: &Step) -> String {
    let Step { rate, reached, p99_us, lost, holds } = step;
    let verdict = if *holds { "holds" } else { "fails" };
    let reached = if *reached { "" } else { ", not reached" };
    format!("{rate:.0} messages/s{reached}: p99 {p99_us:.1} µs, {lost} lost: {verdict}")
}

/// What is known of the rate that is looked for.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    /// The highest that held.
    holds: Option<f64>,
    /// The lowest that failed.
    fails: Option<f64>,
}

impl Bounds {
    fn enter(&mut self, step: Step) {
        if step.holds {
            self.holds = Some(self.holds.map_or(step.rate, |rate| rate.max(step.rate)));
        } else {
            self.fails = Some(self.fails.map_or(step.rate, |rate| rate.min(step.rate)));
        }
    }

    /// The rate to try next; `None` when the answer is precise enough.
    fn next(&self) -> Option<f64> {
        match (self.holds, self.fails) {
            (None, None) => None,
            (Some(holds), None) => Some(holds * 2.0),
            (None, Some(fails)) => Some(fails / 2.0).filter(|&rate| rate >= RATE_MIN),
            (Some(holds), Some(fails)) if fails <= holds * PRECISION => None,
            // Halfway in proportion, as rates double; whole where that is precise enough.
            (Some(holds), Some(fails)) => {
                let between = (holds * fails).sqrt();
                Some(if between < 100.0 { between } else { between.round() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches with a server that holds up to `max` messages a second; the best rate and the number
    /// of runs.
    fn search(first: f64, max: f64) -> (Option<f64>, usize) {
        let mut bounds = Bounds::default();
        let mut rate = first;
        for steps in 1..=STEPS_MAX {
            let holds = rate <= max;
            bounds.enter(Step { rate, reached: true, p99_us: 1.0, lost: 0, holds });
            match bounds.next() {
                Some(next) => rate = next,
                None => return (bounds.holds, steps),
            }
        }
        (bounds.holds, STEPS_MAX)
    }

    #[track_caller]
    fn check(first: f64, max: f64) {
        let (found, steps) = search(first, max);
        let found = found.expect("something is found");
        assert!(found <= max && max <= found * PRECISION, "{found} of {max}");
        assert!(steps <= STEPS_MAX);
    }

    #[test]
    fn the_highest_rate_is_found_from_below_and_above() {
        check(10_000.0, 10_000.0);
        check(10_000.0, 1_234_567.0);
        check(10_000.0, 300.0);
    }

    #[test]
    fn a_search_without_success_ends() {
        let (found, steps) = search(1000.0, 0.0);
        assert_eq!(found, None);
        assert!(steps <= STEPS_MAX);
    }
}
