//! The goals: what each is, what was reached, whether that is enough.

use loadgen::report::number::short;
use loadgen::report::{Figure, Spread};

use crate::baseline::Count;
use crate::markdown::{spread, table};
use crate::record::{OURS, ROUNDS_MIN, Record, Target};

use Bound::{AtLeast, AtMost};
use Figure::{CpuPerMessage, Delivered, LatencyP50, LatencyP99, Settled};

/// What a figure, or its ratio to another target's, has to reach.
#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A workload, our figure in it, the target that it is divided by (or none), the bound.
type Goal = (&'static str, Figure, Option<&'static str>, Bound);

const GOALS: &[Goal] = &[
    ("8-to-32", Delivered, Some("nats"), AtLeast(10.0)),
    ("8-to-32", Delivered, Some("nats-raw"), AtLeast(3.0)),
    ("8-to-32", Delivered, Some("relay"), AtLeast(0.8)),
    ("8-to-32", Delivered, Some("mezzenger-unbounded"), AtLeast(0.95)),
    ("8-to-32", LatencyP99, None, AtMost(100_000.0)),
    ("8-to-32", LatencyP99, Some("nats"), AtMost(0.5)),
    ("1-to-1", Delivered, Some("nats"), AtLeast(5.0)),
    ("1-to-1", Delivered, Some("nats-raw"), AtLeast(2.2)),
    ("1-to-1", LatencyP99, None, AtMost(10_000.0)),
    ("1-to-1000", Delivered, Some("nats"), AtLeast(3.0)),
    ("1-to-1000", Delivered, Some("redis"), AtLeast(3.0)),
    ("1-to-1000-4KiB", Delivered, Some("nats"), AtLeast(3.0)),
    ("1-to-1000-4KiB", Delivered, Some("redis"), AtLeast(3.0)),
    ("64KiB", Delivered, Some("nats"), AtLeast(3.0)),
    ("64KiB", Delivered, Some("redis"), AtLeast(1.2)),
    ("rate-1k", LatencyP50, Some("nats"), AtMost(0.8)),
    ("rate-1k", LatencyP99, Some("nats"), AtMost(0.8)),
    ("rate-1k", LatencyP50, Some("relay"), AtMost(1.25)),
    ("rate-1k", CpuPerMessage, Some("nats"), AtMost(0.6)),
    ("rate-10k", LatencyP50, Some("nats"), AtMost(0.8)),
    ("rate-10k", LatencyP99, Some("nats"), AtMost(0.8)),
    ("rate-10k", LatencyP50, Some("relay"), AtMost(1.25)),
    ("rate-10k", CpuPerMessage, Some("nats"), AtMost(0.6)),
    ("rate-100k", LatencyP50, Some("nats"), AtMost(0.8)),
    ("rate-100k", LatencyP99, Some("nats"), AtMost(0.8)),
    ("rate-100k", LatencyP50, Some("relay"), AtMost(1.25)),
    ("rate-100k", CpuPerMessage, Some("nats"), AtMost(0.6)),
    ("ack-memory", Settled, Some("jetstream-memory"), AtLeast(20.0)),
    ("ack-fsync", Settled, Some("redis-streams-always"), AtLeast(7.0)),
    ("ack-fsync", Settled, Some("jetstream-always"), AtLeast(10.0)),
    ("group-8", Delivered, Some("nats"), AtLeast(3.0)),
    ("group-8-ack-memory", Settled, Some("jetstream-memory"), AtLeast(8.0)),
    ("group-8-ack-fsync", Settled, Some("redis-streams-always"), AtLeast(5.0)),
    ("request-1", LatencyP50, Some("nats"), AtMost(0.8)),
    ("request-1", LatencyP99, Some("nats"), AtMost(0.8)),
    ("request-64", LatencyP50, Some("nats"), AtMost(0.8)),
    ("request-64", LatencyP99, Some("nats"), AtMost(0.8)),
    ("8-to-32-curve", Delivered, Some("libzmq"), AtLeast(2.0)),
    ("8-to-32-curve", Delivered, Some("nats-tls"), AtLeast(1.0)),
    ("1-to-1-curve", Delivered, Some("libzmq"), AtLeast(2.0)),
    ("1-to-1-curve", Delivered, Some("nats-tls"), AtLeast(1.0)),
    ("idle-10k", LatencyP99, Some("mezzenger-alone"), AtMost(1.2)),
    ("idle-10k", Figure::IdleMemory, None, AtMost(4096.0)),
    (IDLE_100K, LatencyP99, Some("mezzenger-alone"), AtMost(1.2)),
    (IDLE_100K, Figure::IdleMemory, None, AtMost(4096.0)),
];

/// The workload that takes more open files than a process may have here.
const IDLE_100K: &str = "idle-100k";
const TOO_MANY_FILES: &str =
    "not measured: each connection is an open file, and this machine allows a process 20,000";

/// What the regression gate counts on the server's way of a message: scenario, metric, bound.
const COUNTS: &[(&str, Count, Bound)] = &[
    ("native-128B-ack0/server", Count::Allocations, AtMost(0.0)),
    ("native-4KiB-ack0/server", Count::CopiedBytes, AtMost(0.0)),
    ("native-4KiB-ack1/server", Count::CopiedBytes, AtMost(0.0)),
    ("native-64KiB-ack0/server", Count::CopiedBytes, AtMost(0.0)),
    ("native-64KiB-ack1/server", Count::CopiedBytes, AtMost(0.0)),
];

/// The key of a measure, and its bound.
const MEASURES: &[(&str, Bound)] = &[
    ("pending-1M", AtMost(280.0)),
    ("pending-10M", AtMost(280.0)),
    ("subscription-1M", AtMost(150.0)),
    ("native-subscription-1M", AtMost(150.0)),
    ("matching", AtMost(2.0)),
    ("worker-death", AtMost(50.0)),
    ("worker-death-durable", AtMost(50.0)),
    ("poison", AtMost(1.2)),
    ("idle-memory", AtMost(8.0)),
    ("idle-cpu", AtMost(0.0)),
    ("start", AtMost(10.0)),
    ("recovery", AtLeast(2e6)),
    ("build-server", AtMost(75.0)),
    ("build-loadgen", AtMost(120.0)),
    ("test-command", AtMost(480.0)),
    ("python-publish-nats", AtLeast(10.0)),
    ("python-publish-pyzmq", AtLeast(1.5)),
    ("python-many-pyzmq", AtLeast(4.0)),
    ("python-ack-jetstream", AtLeast(10.0)),
    ("python-ack-redis", AtLeast(5.0)),
    ("python-array-pyzmq", AtLeast(2.0)),
    ("python-request-nats", AtMost(0.7)),
    ("python-original", AtLeast(10.0)),
];

/// Workloads that are measured and have no goal.
const WITHOUT_GOAL: [&str; 2] = ["connections", "connections-curve"];

/// Whether this workload has a goal, or needs none.
pub(crate) fn know(workload: &str) -> bool {
    GOALS.iter().any(|goal| goal.0 == workload) || WITHOUT_GOAL.contains(&workload)
}

/// What was reached.
struct Reached {
    value: f64,
    text: String,
    /// Values that it is the median of; `None` when there are enough of them.
    few: Option<String>,
}

/// A table with a row for each goal; what was not measured says so.
pub(crate) fn section(record: &Record) -> String {
    let mut rows: Vec<_> = GOALS.iter().map(|goal| goal_row(record, goal)).collect();
    for (scenario, count, bound) in COUNTS {
        let value = record.baseline.as_ref().and_then(|counts| counts.get(scenario, *count));
        let reached = value.map(|value| Reached { value, text: short(value), few: None });
        rows.push(row(scenario, count.name(), *bound, reached, ""));
    }
    for (key, bound) in MEASURES {
        let measure = record.measures.iter().find(|measure| measure.key == *key);
        let name = measure.map_or(*key, |measure| &measure.name);
        let unit = measure.map_or("", |measure| &measure.unit);
        let reached = measure.map(|measure| {
            let value = measure.of.median;
            Reached { value, text: spread(Some(measure.of)), few: measure.few() }
        });
        rows.push(row(name, "", *bound, reached, unit));
    }
    table(&["workload or measure", "figure", "goal", "reached", "met"], &rows)
}

fn goal_row(record: &Record, &(workload, figure, against, bound): &Goal) -> Vec<String> {
    let ours = record.target(workload, OURS);
    let reached = match against {
        None => ours.and_then(|ours| ours.spread(figure)),
        Some(peer) => ours
            .zip(record.target(workload, peer))
            .and_then(|(ours, peer)| ratio(figure, ours, peer)),
    };
    let rounds = ours.map_or(0, |ours| ours.rounds.len());
    let few = (rounds < ROUNDS_MIN).then(|| format!("{rounds} rounds"));
    let reached =
        reached.map(|reached| Reached { value: reached.median, text: spread(Some(reached)), few });
    let unit = against.map_or_else(String::new, |peer| format!("× {peer}"));
    row(workload, figure.name(), bound, reached, &unit)
}

fn row(
    name: &str,
    figure: &str,
    bound: Bound,
    reached: Option<Reached>,
    unit: &str,
) -> Vec<String> {
    let (sign, limit) = match bound {
        AtLeast(limit) => ('≥', limit),
        AtMost(limit) => ('≤', limit),
    };
    let met = match &reached {
        None if name == IDLE_100K => TOO_MANY_FILES.to_owned(),
        None => "not measured".to_owned(),
        Some(Reached { value, few, .. }) => {
            let is_met = match bound {
                AtLeast(limit) => *value >= limit,
                AtMost(limit) => *value <= limit,
            };
            let few = few.as_ref().map_or_else(String::new, |few| format!(", {few}"));
            format!("{}{few}", if is_met { "yes" } else { "**no**" })
        }
    };
    let limit = if limit >= 1e6 { format!("{} M", limit / 1e6) } else { limit.to_string() };
    let reached = reached.map_or("–".to_owned(), |reached| reached.text);
    let goal = format!("{sign} {limit} {unit}").trim_end().to_owned();
    vec![name.to_owned(), figure.to_owned(), goal, reached, met]
}

/// The ratio of the medians, and from where to where the ratios of the rounds go: targets took turns,
/// so the rounds of one number belong together. `None` when one of the peer's figures is missing or 0: what
/// did not work is nothing to be compared with.
pub(crate) fn ratio(figure: Figure, ours: &Target, peer: &Target) -> Option<Spread> {
    let divided = |ours: f64, peer: f64| (peer > 0.0).then(|| ours / peer);
    let median = divided(ours.spread(figure)?.median, peer.spread(figure)?.median)?;
    let pairs = ours.rounds.iter().zip(&peer.rounds);
    let ratios: Option<Vec<f64>> = pairs
        .map(|(ours, peer)| divided(figure.of(&ours.result)?, figure.of(&peer.result)?))
        .collect();
    let Spread { min, max, .. } = Spread::new(ratios?)?;
    Some(Spread { median, min, max })
}
