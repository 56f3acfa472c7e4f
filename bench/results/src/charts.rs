//! The charts of a workload. Targets that promise different things never share one.

use std::collections::BTreeMap;

use loadgen::report::Durability;
use loadgen::report::chart::{self, Bar, ChartError, Curve};

use crate::record::Target;

/// A chart.
pub(crate) struct Chart {
    /// Name of its file.
    pub(crate) file: String,
    pub(crate) title: String,
    pub(crate) svg: String,
}

/// A chart for each durability class that has targets to compare.
pub(crate) fn charts(workload: &str, targets: &[Target]) -> Result<Vec<Chart>, ChartError> {
    let mut classes: BTreeMap<Option<Durability>, Vec<&Target>> = BTreeMap::new();
    for target in targets {
        classes.entry(target.durability()).or_default().push(target);
    }
    let compared = classes.into_iter().filter(|(_, targets)| targets.len() > 1);
    compared.map(|(class, targets)| chart(workload, class, &targets)).collect()
}

fn chart(
    workload: &str,
    class: Option<Durability>,
    targets: &[&Target],
) -> Result<Chart, ChartError> {
    let class = class.map_or("unknown durability", Durability::name);
    let (is_due, asks) = (targets[0].has_rate(), targets[0].has_requests());
    let (what, title, svg) = if is_due || asks {
        let from = if is_due { "when messages were due" } else { "requests to their answers" };
        let title = format!("{workload}: latency from {from} ({class})");
        let svg = chart::latency(&title, &curves(targets))?;
        ("latency", title, svg)
    } else {
        let figure = targets[0].rate();
        let title = format!("{workload}: {} ({class})", figure.name());
        let axis = format!("{}, median with minimum and maximum", figure.name());
        let bar =
            |target: &&Target| Some(Bar { name: target.label(), spread: target.spread(figure)? });
        let bars: Vec<_> = targets.iter().filter_map(bar).collect();
        let svg = chart::bars(&title, &axis, &bars)?;
        ("rates", title, svg)
    };
    let class = class.replace(' ', "-").to_lowercase();
    Ok(Chart { file: format!("{workload}-{what}-{class}.svg"), title, svg })
}

/// A curve for each target that has its latencies.
fn curves(targets: &[&Target]) -> Vec<Curve> {
    let curve = |target: &&Target| {
        let runs = target.rounds.iter().map(|round| round.latency_us.clone());
        Some(Curve { name: target.label(), runs: runs.collect::<Option<_>>()? })
    };
    targets.iter().filter_map(curve).collect()
}
