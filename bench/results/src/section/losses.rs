//! Where a peer is better than we are.

use std::collections::BTreeMap;

use loadgen::report::{Better, Figure};

use super::workload::figures;
use crate::markdown::{Table, cell, raw_files};
use crate::raw::{Target, Workload};

/// A table of every figure of every workload in which the median of a peer that promises as much is
/// better than ours.
pub(crate) fn section(workloads: &BTreeMap<String, Workload>) -> String {
    let head =
        ["workload", "figure", "ours", "its figure", "peer", "its figure", "ratio", "raw files"];
    let mut table = Table::new(&head);
    let mut is_empty = true;
    for (name, workload) in workloads {
        let pairs = workload.ours().flat_map(|ours| workload.peers().map(move |peer| (ours, peer)));
        // With a peer that promises less there is no comparison.
        for (ours, peer) in pairs.filter(|(ours, peer)| peer.durability() >= ours.durability()) {
            for figure in figures(workload) {
                let Some(row) = row(name, workload, figure, ours, peer) else { continue };
                table.row(&row);
                is_empty = false;
            }
        }
    }
    if is_empty {
        return "In none of the comparisons above is a peer's median better.".to_owned();
    }
    table.finish()
}

fn row(
    name: &str,
    workload: &Workload,
    figure: Figure,
    ours: &Target,
    peer: &Target,
) -> Option<[String; 8]> {
    let (our, its) = (ours.spread(figure)?, peer.spread(figure)?);
    let is_lost = match figure.better() {
        Better::Higher => its.median > our.median,
        Better::Lower => its.median < our.median,
    };
    let is_throughput = matches!(figure, Figure::Published | Figure::Delivered | Figure::Settled);
    if workload.has_rate() && is_throughput && our.overlaps(&its) {
        // Both kept to the schedule.
        return None;
    }
    let ratio = format!("{:.2}", our.median / its.median);
    let ratio = if our.overlaps(&its) { format!("{ratio}, spreads overlap") } else { ratio };
    let raw = format!("{} {}", raw_files(ours), raw_files(peer));
    is_lost.then(|| {
        [
            name.to_owned(),
            figure.name().to_owned(),
            ours.label(),
            cell(Some(our)),
            peer.label(),
            cell(Some(its)),
            ratio,
            raw,
        ]
    })
}
