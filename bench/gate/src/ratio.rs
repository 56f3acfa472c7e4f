//! Whether a ratio of two noisy rates fell: a paired bootstrap. Pure: rates in, an answer out.

use serde::{Deserialize, Serialize};

use crate::costs::rounded;

/// How far the ratio may fall below the baseline's.
pub const FALL_MAX: f64 = 0.85;

/// Resamplings of a block.
const RESAMPLES: usize = 10_000;
/// What the interval leaves out at each end.
const TAIL: f64 = 0.025;

/// Rates measured one right after the other, in the order A B B A: a drift of the machine weighs on
/// both alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// The first and the last.
    pub a: [f64; 2],
    /// The two between.
    pub b: [f64; 2],
}

impl Round {
    fn ratio(&self) -> f64 {
        (self.a[0] + self.a[1]) / (self.b[0] + self.b[1])
    }
}

/// A ratio and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    /// The geometric mean of the rounds' ratios.
    pub server_over_relay: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The ratio of A to B in a block of rounds. The resampling is the same each time, so that the same
/// rates have the same answer. `None` without rounds, or when a rate is not a positive number.
pub fn estimate(rounds: &[Round]) -> Option<Ratio> {
    let logs: Vec<f64> = rounds.iter().map(|round| round.ratio().ln()).collect();
    if logs.is_empty() || logs.iter().any(|log| !log.is_finite()) {
        return None;
    }
    let mean = |sum: f64| (sum / logs.len() as f64).exp();
    let mut random = fastrand::Rng::with_seed(1);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| mean(logs.iter().map(|_| logs[random.usize(..logs.len())]).sum()))
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((RESAMPLES - 1) as f64 * share).round() as usize];
    Some(Ratio {
        server_over_relay: rounded(mean(logs.iter().sum()), 4),
        low: rounded(at(TAIL), 4),
        high: rounded(at(1.0 - TAIL), 4),
    })
}

/// What one block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// The whole interval is at or above the line.
    Holds,
    /// The whole interval is below the line.
    Fell,
    /// The line lies within the interval.
    Unclear,
}

/// Where a block's interval lies, seen from [`FALL_MAX`] times the baseline.
pub fn says(block: &Ratio, baseline: &Ratio) -> Says {
    let line = FALL_MAX * baseline.server_over_relay;
    if block.high < line {
        Says::Fell
    } else if block.low >= line {
        Says::Holds
    } else {
        Says::Unclear
    }
}

/// What the blocks say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The ratio did not fall.
    Pass,
    /// Two blocks agree that it fell.
    Regression,
    /// It is too noisy to tell, which is not a pass.
    NoVerdict,
}

/// The verdict on a first block and, when that did not pass, a second one.
pub fn verdict(first: Says, second: impl FnOnce() -> Says) -> Verdict {
    match first {
        Says::Holds => Verdict::Pass,
        first => match (first, second()) {
            (Says::Fell, Says::Fell) => Verdict::Regression,
            // Had it been the first, it would have passed. That the two contradict each other would
            // be something else.
            (Says::Unclear, Says::Holds) => Verdict::Pass,
            _ => Verdict::NoVerdict,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(ratios: &[f64]) -> Vec<Round> {
        let round = |ratio: &f64| Round { a: [90.0 * ratio, 110.0 * ratio], b: [105.0, 95.0] };
        ratios.iter().map(round).collect()
    }

    fn ratio(server_over_relay: f64, low: f64, high: f64) -> Ratio {
        Ratio { server_over_relay, low, high }
    }

    #[test]
    fn equal_rounds_have_a_narrow_interval_around_their_ratio() {
        assert_eq!(estimate(&rounds(&[0.9; 6])), Some(ratio(0.9, 0.9, 0.9)));
    }

    #[test]
    fn scattered_rounds_have_a_wide_one() {
        let estimated = estimate(&rounds(&[0.5, 0.7, 0.9, 1.1, 1.4, 1.8])).unwrap();
        assert!(estimated.low < 0.8 && estimated.high > 1.2, "{estimated:?}");
        assert!(estimated.low > 0.5 && estimated.high < 1.8, "{estimated:?}");
        let expected = (0.5_f64 * 0.7 * 0.9 * 1.1 * 1.4 * 1.8).powf(1.0 / 6.0);
        assert!((estimated.server_over_relay - expected).abs() < 1e-3);
    }

    #[test]
    fn a_drift_of_the_machine_leaves_the_ratio_alone() {
        // It slows down steadily: A first and last, B between.
        let drifting =
            |start: f64| Round { a: [start, start - 30.0], b: [start - 10.0, start - 20.0] };
        let estimated = estimate(&[drifting(200.0), drifting(160.0), drifting(120.0)]).unwrap();
        assert_eq!(estimated, ratio(1.0, 1.0, 1.0));
    }

    #[test]
    fn the_same_rates_have_the_same_answer() {
        let rounds = rounds(&[0.8, 0.9, 1.0, 1.1]);
        assert_eq!(estimate(&rounds), estimate(&rounds));
    }

    #[test]
    fn nothing_and_nonsense_have_no_answer() {
        assert_eq!(estimate(&[]), None);
        assert_eq!(estimate(&[Round { a: [1.0, 1.0], b: [0.0, 0.0] }]), None);
        assert_eq!(estimate(&[Round { a: [0.0, 0.0], b: [1.0, 1.0] }]), None);
    }

    #[test]
    fn only_a_whole_interval_below_the_line_fell() {
        let baseline = ratio(1.0, 0.9, 1.1);
        assert_eq!(says(&ratio(0.8, 0.78, 0.84), &baseline), Says::Fell);
        assert_eq!(says(&ratio(0.8, 0.7, 0.86), &baseline), Says::Unclear);
        assert_eq!(says(&ratio(0.9, 0.86, 0.95), &baseline), Says::Holds);
    }

    #[test]
    fn a_regression_takes_two_blocks_and_noise_is_no_pass() {
        use Says::{Fell, Holds, Unclear};
        assert_eq!(verdict(Holds, || panic!("one block is enough")), Verdict::Pass);
        assert_eq!(verdict(Fell, || Fell), Verdict::Regression);
        assert_eq!(verdict(Unclear, || Holds), Verdict::Pass);
        for (first, second) in [(Fell, Holds), (Fell, Unclear), (Unclear, Fell), (Unclear, Unclear)]
        {
            assert_eq!(verdict(first, || second), Verdict::NoVerdict);
        }
    }
}
