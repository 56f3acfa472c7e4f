//! What the criterion suites measured.

use std::path::Path;

use loadgen::report::number::short;

use crate::markdown::{Table, link};
use crate::raw::{Benchmark, Criterion};

/// A table with a row for each benchmark, and the command.
pub(crate) fn section(path: &Path, criterion: &Criterion) -> String {
    let mut table =
        Table::new(&["benchmark", "mean time (95 % confidence)", "throughput", "raw file"]);
    let raw = link("criterion.json", path);
    for benchmark in &criterion.benchmarks {
        let [mean, low, high] =
            [benchmark.mean_ns, benchmark.low_ns, benchmark.high_ns].map(duration);
        let time = format!("{mean} ({low} – {high})");
        table.row(&[&benchmark.id, &time, &throughput(benchmark), &raw]);
    }
    format!("{}\n\nMeasured with `{}`.", table.finish(), criterion.command)
}

fn throughput(benchmark: &Benchmark) -> String {
    let per_s = |count: u64| short(count as f64 * 1e9 / benchmark.mean_ns);
    match (benchmark.elements, benchmark.bytes) {
        (Some(elements), _) => format!("{}/s", per_s(elements)),
        (None, Some(bytes)) => format!("{}B/s", per_s(bytes)),
        (None, None) => "–".to_owned(),
    }
}

fn duration(ns: f64) -> String {
    match ns {
        _ if ns >= 1e9 => format!("{} s", short(ns / 1e9)),
        _ if ns >= 1e6 => format!("{} ms", short(ns / 1e6)),
        _ if ns >= 1e3 => format!("{} µs", short(ns / 1e3)),
        _ => format!("{} ns", short(ns)),
    }
}
