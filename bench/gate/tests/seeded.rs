//! The gate is shown to fail: each regression that is put in is seen, on the metric that it worsens.
//! The seeds stand in the pipeline around the engine; the baseline here is the pipeline without them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use mezzenger_gate::costs::Costs;
use mezzenger_gate::flow::{ACKNOWLEDGED, Flow, Side};
use mezzenger_gate::judge::{self, Finding, Verdict};
use mezzenger_gate::measure::{costs, fsyncs_per_10000_acked, rss_bytes_per_pending};
use mezzenger_gate::seed::Seed;

fn pipeline() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_gate-pipeline"))
}

fn pending() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_gate-pending"))
}

/// The costs of a flow's server side.
fn measure(flow: Flow, seed: Seed) -> BTreeMap<String, Costs> {
    let flow = Flow { sides: &[Side::Server], ..flow };
    costs(pipeline(), flow, seed).unwrap().into_iter().collect()
}

/// The costs of [`ACKNOWLEDGED`] without a seed, which takes seconds to measure.
fn acknowledged() -> &'static BTreeMap<String, Costs> {
    static COSTS: OnceLock<BTreeMap<String, Costs>> = OnceLock::new();
    COSTS.get_or_init(|| measure(ACKNOWLEDGED, Seed::None))
}

/// The metrics that fail with these costs.
fn failing(
    plain: &BTreeMap<String, Costs>,
    seeded: &BTreeMap<String, Costs>,
) -> Vec<(&'static str, Verdict)> {
    let findings = judge::scenarios(plain, seeded);
    let fails = |finding: &Finding| finding.verdict.fails();
    findings.into_iter().filter(fails).map(|finding| (finding.metric, finding.verdict)).collect()
}

/// Checks that a seed makes this metric of a flow fail, whatever else it does.
#[track_caller]
fn check_seen(
    flow: Flow,
    plain: &BTreeMap<String, Costs>,
    seed: Seed,
    metric: &str,
    verdict: Verdict,
) {
    let failing = failing(plain, &measure(flow, seed));
    assert!(failing.contains(&(metric, verdict)), "{seed}: {failing:?}");
}

#[test]
fn without_a_seed_nothing_fails() {
    assert_eq!(failing(acknowledged(), &measure(ACKNOWLEDGED, Seed::None)), []);
}

#[test]
fn one_more_copy_of_a_large_payload_is_a_broken_promise() {
    let flow = Flow::named("native-4KiB-ack0").unwrap();
    let plain = measure(flow, Seed::None);
    check_seen(flow, &plain, Seed::Copy, "payload_bytes_copied_per_message", Verdict::Broken);
}

#[test]
fn one_more_copy_of_a_small_payload_is_seen() {
    let metric = "payload_bytes_copied_per_message";
    check_seen(ACKNOWLEDGED, acknowledged(), Seed::Copy, metric, Verdict::Worse);
}

#[test]
fn one_more_allocation_is_seen() {
    let metric = "allocations_per_message";
    check_seen(ACKNOWLEDGED, acknowledged(), Seed::Allocation, metric, Verdict::Worse);
}

#[test]
fn three_percent_more_instructions_are_seen_and_nothing_else_is() {
    let instructions = |costs: &BTreeMap<String, Costs>| {
        costs[&ACKNOWLEDGED.scenario(Side::Server)].instructions_per_message
    };
    let plain = acknowledged();
    let hundred = measure(ACKNOWLEDGED, Seed::Turns(100));
    let each = (instructions(&hundred) - instructions(plain)) / 100.0;
    let turns = (instructions(plain) * 0.03 / each).round();
    let seeded = measure(ACKNOWLEDGED, Seed::Turns(turns as u64));
    let rise = instructions(&seeded) / instructions(plain) - 1.0;
    assert!((0.025..0.035).contains(&rise), "{turns} turns of {each} instructions: {rise}");
    assert_eq!(failing(plain, &seeded), [("instructions_per_message", Verdict::Worse)]);
}

/// Whether a figure is beyond its bound with a seed.
#[track_caller]
fn check(bound: judge::Bound, measure: impl Fn(Seed) -> f64, seed: Seed) {
    let (plain, seeded) = (measure(Seed::None), measure(seed));
    assert!(measure(Seed::None) <= bound.limit(plain), "fails without a seed");
    assert!(seeded > bound.limit(plain), "{seed}: {plain} -> {seeded}");
}

#[test]
fn one_more_sync_is_seen() {
    check(judge::FSYNCS, |seed| fsyncs_per_10000_acked(pipeline(), seed).unwrap(), Seed::Sync);
}

#[test]
fn more_memory_for_each_pending_message_is_seen() {
    let measure = |seed| rss_bytes_per_pending(pending(), seed).unwrap();
    check(judge::RSS, measure, Seed::Pending(24));
}
