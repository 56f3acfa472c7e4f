//! Compares counts with the baseline's. Nothing is measured here.

use std::collections::BTreeMap;

use crate::costs::{Costs, Counts};
use crate::flow::{FLOWS, Side};

/// How far a metric may rise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// To so many times the baseline.
    Times(f64),
    /// By so much: none at all, but for what is not the engine's.
    Plus(f64),
}

/// Instructions vary by some hundredths of a percent: hash tables are seeded anew, and turns look at the clock.
pub const INSTRUCTIONS: Bound = Bound::Times(1.02);
/// None may come. One for each frame or turn is 0.1 or more where payloads are large; tables that grow now
/// and then stay far below.
pub const ALLOCATIONS: Bound = Bound::Plus(0.05);
/// None may come. Copies are counted whole; half a byte is rounding.
pub const COPIED_BYTES: Bound = Bound::Plus(0.5);
/// The journal's syncs.
pub const FSYNCS: Bound = Bound::Times(1.10);
/// Resident memory.
pub const RSS: Bound = Bound::Times(1.05);

impl Bound {
    /// The largest value that passes.
    pub fn limit(self, baseline: f64) -> f64 {
        match self {
            Self::Times(factor) => baseline * factor,
            Self::Plus(rise) => baseline + rise,
        }
    }
}

/// What became of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// It is within its bound.
    Within,
    /// It fell by more than its bound allows it to rise.
    Better,
    /// It rose beyond its bound.
    Worse,
    /// It keeps no promise, whatever the baseline says.
    Broken,
    /// The baseline does not have it.
    New,
    /// The baseline has it, and it was not measured.
    Gone,
}

impl Verdict {
    /// Whether the gate fails for it.
    pub fn fails(self) -> bool {
        !matches!(self, Self::Within | Self::Better)
    }
}

/// One metric, compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The scenario; empty for what no scenario has.
    pub scenario: String,
    /// The metric.
    pub metric: &'static str,
    /// What the baseline says.
    pub baseline: Option<f64>,
    /// What was measured.
    pub now: Option<f64>,
    /// What that means.
    pub verdict: Verdict,
}

/// Compares everything, in the order of names. Without a baseline all is new.
pub fn judge(baseline: Option<&Counts>, now: &Counts) -> Vec<Finding> {
    let none = BTreeMap::new();
    let mut findings = scenarios(baseline.map_or(&none, |old| &old.scenarios), &now.scenarios);
    let mut add = |metric, value: fn(&Counts) -> f64, bound| {
        findings.push(compare("", metric, baseline.map(value), Some(value(now)), bound));
    };
    add("fsyncs_per_10000_acked", |counts| counts.fsyncs_per_10000_acked, FSYNCS);
    add("rss_bytes_per_pending", |counts| counts.rss_bytes_per_pending, RSS);
    findings
}

/// Compares scenarios.
pub fn scenarios(
    baseline: &BTreeMap<String, Costs>,
    now: &BTreeMap<String, Costs>,
) -> Vec<Finding> {
    let mut names: Vec<_> = baseline.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let mut findings = Vec::new();
    for name in names {
        let (before, now) = (baseline.get(name), now.get(name));
        let mut add = |metric, value: fn(&Costs) -> f64, bound| {
            findings.push(compare(name, metric, before.map(value), now.map(value), bound));
        };
        add("instructions_per_message", |c| c.instructions_per_message, INSTRUCTIONS);
        add("allocations_per_message", |c| c.allocations_per_message, ALLOCATIONS);
        add(
            "payload_bytes_copied_per_message",
            |c| c.payload_bytes_copied_per_message,
            COPIED_BYTES,
        );
        let copies =
            now.is_some_and(|now| now.payload_bytes_copied_per_message > COPIED_BYTES.limit(0.0));
        if copies
            && is_promised(name)
            && let Some(finding) = findings.last_mut()
        {
            finding.verdict = Verdict::Broken;
        }
    }
    findings
}

/// Whether the payloads of a scenario are promised not to be copied.
pub fn is_promised(scenario: &str) -> bool {
    FLOWS.iter().any(|flow| flow.is_promised() && flow.scenario(Side::Server) == scenario)
}

fn compare(
    scenario: &str,
    metric: &'static str,
    baseline: Option<f64>,
    now: Option<f64>,
    bound: Bound,
) -> Finding {
    let verdict = match (baseline, now) {
        (None, _) => Verdict::New,
        (_, None) => Verdict::Gone,
        (Some(before), Some(now)) if now > bound.limit(before) => Verdict::Worse,
        (Some(before), Some(now)) if before > bound.limit(now) => Verdict::Better,
        _ => Verdict::Within,
    };
    Finding { scenario: scenario.to_owned(), metric, baseline, now, verdict }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        instructions_per_message: 1000.0,
        allocations_per_message: 2.0,
        payload_bytes_copied_per_message: 0.0,
    };

    fn counts(scenario: &str, costs: Costs) -> Counts {
        Counts {
            scenarios: BTreeMap::from([(scenario.to_owned(), costs)]),
            fsyncs_per_10000_acked: 40.0,
            rss_bytes_per_pending: 300.0,
        }
    }

    /// The metrics that are not within their bounds after a change.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Costs, &mut Counts), expected: &[(&str, Verdict)]) {
        let name = "native-4KiB-ack0/server";
        let baseline = counts(name, COSTS);
        let (mut costs, mut now) = (COSTS, baseline.clone());
        change(&mut costs, &mut now);
        if let Some(slot) = now.scenarios.get_mut(name) {
            *slot = costs;
        }
        let found: Vec<_> = judge(Some(&baseline), &now)
            .into_iter()
            .filter(|finding| finding.verdict != Verdict::Within)
            .map(|finding| (finding.metric, finding.verdict))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_metric_has_its_own_bound() {
        use Verdict::{Better, Broken, Worse};
        let instructions = "instructions_per_message";
        check(|_, _| {}, &[]);
        check(|c, _| c.instructions_per_message = 1019.0, &[]);
        check(|c, _| c.instructions_per_message = 1030.0, &[(instructions, Worse)]);
        check(|c, _| c.instructions_per_message = 900.0, &[(instructions, Better)]);
        check(|c, _| c.allocations_per_message = 2.02, &[]);
        check(|c, _| c.allocations_per_message = 2.125, &[("allocations_per_message", Worse)]);
        let copied = "payload_bytes_copied_per_message";
        check(|c, _| c.payload_bytes_copied_per_message = 1.0, &[(copied, Broken)]);
        check(|_, n| n.fsyncs_per_10000_acked = 43.9, &[]);
        check(|_, n| n.fsyncs_per_10000_acked = 44.1, &[("fsyncs_per_10000_acked", Worse)]);
        check(|_, n| n.rss_bytes_per_pending = 314.0, &[]);
        check(|_, n| n.rss_bytes_per_pending = 316.0, &[("rss_bytes_per_pending", Worse)]);
    }

    #[test]
    fn a_broken_promise_is_not_mended_by_a_baseline() {
        let copying = Costs { payload_bytes_copied_per_message: 4096.0, ..COSTS };
        let broken = |name| {
            let both = counts(name, copying);
            judge(Some(&both), &both).iter().any(|finding| finding.verdict == Verdict::Broken)
        };
        assert!(broken("native-4KiB-ack0/server"));
        assert!(!broken("native-4KiB-ack0/publisher"));
        assert!(!broken("native-128B-ack1/server"));
    }

    #[test]
    fn scenarios_that_come_or_go_fail() {
        let (old, new) = (counts("a/server", COSTS), counts("b/server", COSTS));
        let verdicts: Vec<_> = judge(Some(&old), &new).iter().map(|f| f.verdict).collect();
        use Verdict::{Gone, New, Within};
        assert_eq!(verdicts, [Gone, Gone, Gone, New, New, New, Within, Within]);
        assert!(Gone.fails() && New.fails());
    }
}
