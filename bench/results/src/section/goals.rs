//! The goals: what each is, what was reached, whether that is enough.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use loadgen::report::number::short;
use loadgen::report::{Figure, Spread};

use crate::markdown::{Table, link, raw_files, spread};
use crate::raw::{Bound, Measures, OURS, Target, Workload};

/// A goal for the ratio of our figure to a peer's.
struct Goal {
    text: &'static str,
    workload: &'static str,
    figure: Figure,
    peer: &'static str,
    bound: Bound,
}

const fn goal(
    text: &'static str,
    workload: &'static str,
    figure: Figure,
    peer: &'static str,
    bound: Bound,
) -> Goal {
    Goal { text, workload, figure, peer, bound }
}

const GOALS: &[Goal] = &[
    goal(
        "8 publishers → 32 subscribers, 128 B, saturated",
        "8-to-32",
        Figure::Delivered,
        "nats",
        Bound::AtLeast(2.5),
    ),
    goal("1 → 1, 128 B", "1-to-1", Figure::Delivered, "nats", Bound::AtLeast(2.0)),
    goal("1 → 1, 64 KiB", "64KiB", Figure::Delivered, "nats", Bound::AtLeast(1.5)),
    goal("1 → 1, 64 KiB", "64KiB", Figure::Delivered, "redis", Bound::AtLeast(1.0)),
    goal(
        "acknowledged, in memory",
        "ack-memory",
        Figure::Settled,
        "jetstream-memory",
        Bound::AtLeast(8.0),
    ),
    goal(
        "acknowledged, synced before OK",
        "ack-fsync",
        Figure::Settled,
        "redis-streams-always",
        Bound::AtLeast(5.0),
    ),
    goal("1,000/s on schedule", "rate-1k", Figure::LatencyP50, "nats", Bound::AtMost(1.0)),
    goal("1,000/s on schedule", "rate-1k", Figure::LatencyP99, "nats", Bound::AtMost(1.0)),
    goal("10,000/s on schedule", "rate-10k", Figure::LatencyP50, "nats", Bound::AtMost(1.0)),
    goal("10,000/s on schedule", "rate-10k", Figure::LatencyP99, "nats", Bound::AtMost(1.0)),
    goal("100,000/s on schedule", "rate-100k", Figure::LatencyP50, "nats", Bound::AtMost(1.0)),
    goal("100,000/s on schedule", "rate-100k", Figure::LatencyP99, "nats", Bound::AtMost(1.0)),
    goal(
        "8 → 32 against a bare forwarder",
        "8-to-32",
        Figure::Delivered,
        "zmq-forwarder",
        Bound::AtLeast(0.9),
    ),
    goal(
        "1 → 1 against a bare forwarder",
        "1-to-1",
        Figure::Delivered,
        "zmq-forwarder",
        Bound::AtLeast(0.9),
    ),
];

/// A goal whose figures were not measured.
#[derive(Debug, thiserror::Error)]
#[error(
    "the goal {goal:?} needs {figure} of {OURS} and of {peer} in the workload {workload}; measure them"
)]
pub(crate) struct MissingError {
    goal: &'static str,
    figure: &'static str,
    workload: &'static str,
    peer: &'static str,
}

/// A table with a row for each goal. `copied` is what [`super::gate::copied`] found.
pub(crate) fn section(
    workloads: &BTreeMap<String, Workload>,
    measures: &[(PathBuf, Measures)],
    copied: Option<f64>,
) -> Result<String, MissingError> {
    let mut table = Table::new(&["workload or measure", "goal", "reached", "met", "raw files"]);
    for goal in GOALS {
        let row = goal.row(workloads).ok_or(MissingError {
            goal: goal.text,
            figure: goal.figure.name(),
            workload: goal.workload,
            peer: goal.peer,
        })?;
        table.row(&row);
    }
    for (path, file) in measures {
        for measure in &file.measures {
            let Some(bound) = measure.goal else { continue };
            table.row(&[
                measure.name.clone(),
                format!("{} {}", limit(bound), measure.unit),
                format!("{} {}", short(measure.value), measure.unit),
                met(bound, measure.value),
                link(&path.file_name().unwrap_or_default().to_string_lossy(), path),
            ]);
        }
    }
    if let Some(copied) = copied {
        let none = Bound::AtMost(0.0);
        table.row(&[
            "payload that the server copies of a message of 4 KiB or more".to_owned(),
            format!("{} B", limit(none)),
            format!("{} B", short(copied)),
            met(none, copied),
            link("baseline.json", Path::new(super::gate::BASELINE)),
        ]);
    }
    Ok(table.finish())
}

impl Goal {
    /// None when it was not measured.
    fn row(&self, workloads: &BTreeMap<String, Workload>) -> Option<[String; 5]> {
        let workload = workloads.get(self.workload)?;
        let named = |name| workload.targets.iter().find(|target| target.name == name);
        let (ours, peer) = (named(OURS)?, named(self.peer)?);
        let reached = ratio(self.figure, ours, peer)?;
        Some([
            self.text.to_owned(),
            format!("{} × {}: {}", limit(self.bound), self.peer, self.figure.name()),
            format!("{} ×", spread(reached)),
            met(self.bound, reached.median),
            format!("{} {}", raw_files(ours), raw_files(peer)),
        ])
    }
}

/// The ratio of the medians, and from where to where the ratios of the rounds go: targets took turns,
/// so the rounds of one number belong together.
fn ratio(figure: Figure, ours: &Target, peer: &Target) -> Option<Spread> {
    let median = ours.spread(figure)?.median / peer.spread(figure)?.median;
    let pairs = ours.rounds.iter().zip(&peer.rounds);
    let ratios: Option<Vec<f64>> =
        pairs.map(|(ours, peer)| Some(figure.of(&ours.run)? / figure.of(&peer.run)?)).collect();
    let Spread { min, max, .. } = Spread::new(ratios?)?;
    Some(Spread { median, min, max })
}

fn limit(bound: Bound) -> String {
    match bound {
        Bound::AtLeast(bound) => format!("≥ {}", exactly(bound)),
        Bound::AtMost(bound) => format!("≤ {}", exactly(bound)),
    }
}

/// A bound as it was set: `2.5`, `2 M`.
fn exactly(bound: f64) -> String {
    if bound >= 1e6 { format!("{} M", bound / 1e6) } else { bound.to_string() }
}

fn met(bound: Bound, value: f64) -> String {
    if bound.is_met(value) { "yes".to_owned() } else { "**no**".to_owned() }
}
