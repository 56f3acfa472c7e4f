//! The charts of a workload. Targets that promise different things never share one.

use std::collections::BTreeMap;
use std::path::Path;

use loadgen::report::chart::{self, Bar, ChartError, Curve};
use loadgen::report::hgrm::{HgrmError, Percentiles};
use loadgen::report::{Durability, Figure};

use crate::raw::{Target, Workload};

/// Why a chart is missing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChartsError {
    /// It could not be drawn.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// A latency distribution cannot be read.
    #[error(transparent)]
    Hgrm(#[from] HgrmError),
}

/// A chart.
pub(crate) struct Chart {
    /// Name of its file.
    pub(crate) file: String,
    /// What it shows.
    pub(crate) title: String,
    pub(crate) svg: String,
}

/// A chart for each durability class that has targets to compare.
pub(crate) fn charts(name: &str, workload: &Workload) -> Result<Vec<Chart>, ChartsError> {
    let mut classes: BTreeMap<Option<Durability>, Vec<&Target>> = BTreeMap::new();
    for target in &workload.targets {
        classes.entry(target.durability()).or_default().push(target);
    }
    let compared = classes.into_iter().filter(|(_, targets)| targets.len() > 1);
    compared.map(|(class, targets)| chart(name, workload, class, &targets)).collect()
}

fn chart(
    name: &str,
    workload: &Workload,
    class: Option<Durability>,
    targets: &[&Target],
) -> Result<Chart, ChartsError> {
    let class = class.map_or("unknown durability", Durability::name);
    let (what, title, svg) = if workload.has_rate() {
        let title = format!("{name}: latency, counted from when messages were due ({class})");
        let svg = latency(&title, targets)?;
        ("latency", title, svg)
    } else {
        let figure =
            if workload.first().is_acknowledged() { Figure::Settled } else { Figure::Delivered };
        let title = format!("{name}: {} ({class})", figure.name());
        let svg = rates(&title, figure, targets)?;
        ("rates", title, svg)
    };
    let class = class.replace(' ', "-").to_lowercase();
    Ok(Chart { file: format!("{name}-{what}-{class}.svg"), title, svg })
}

/// A bar for each target that has the figure.
fn rates(title: &str, figure: Figure, targets: &[&Target]) -> Result<String, ChartError> {
    let bar = |target: &&Target| Some(Bar { name: target.label(), spread: target.spread(figure)? });
    let bars: Vec<_> = targets.iter().filter_map(bar).collect();
    let axis = format!("{}, median with minimum and maximum", figure.name());
    chart::bars(title, &axis, &bars)
}

/// A curve for each target.
fn latency(title: &str, targets: &[&Target]) -> Result<String, ChartsError> {
    let curve = |target: &&Target| {
        let files = target.rounds.iter().map(|round| round.json.with_extension("hgrm"));
        let runs = files.map(|path| Percentiles::read(Path::new(&path)));
        Ok(Curve { name: target.label(), runs: runs.collect::<Result<_, HgrmError>>()? })
    };
    let curves = targets.iter().map(curve).collect::<Result<Vec<_>, HgrmError>>()?;
    Ok(chart::latency(title, &curves)?)
}
