//! How fast the journal is read when the server starts.

use super::{FootprintError, Measured, cargo};
use crate::collect;
use crate::raw::{Bound, Measure};

/// Criterion's name for the benchmark.
const GROUP: &str = "journal/recover";

pub(super) fn measure() -> Measured {
    cargo(&["bench", "--locked", "-p", "mezzenger-bench", "--bench", "journal", "--", GROUP])?;
    let benchmarks = collect::benchmarks(&collect::criterion_folder())?;
    let recovered = benchmarks.iter().filter(|benchmark| benchmark.id.starts_with(GROUP));
    let measures: Vec<Measure> = recovered
        .filter_map(|benchmark| {
            let records = benchmark.elements? as f64;
            let per_s = |ns: f64| (records * 1e9 / ns).round();
            Some(Measure {
                name: format!("recovery, {} (mean, 95 % confidence)", benchmark.id),
                value: per_s(benchmark.mean_ns),
                unit: "records/s".to_owned(),
                min: Some(per_s(benchmark.high_ns)),
                max: Some(per_s(benchmark.low_ns)),
                goal: Some(Bound::AtLeast(2e6)),
            })
        })
        .collect();
    if measures.is_empty() {
        let ids = benchmarks.iter().map(|benchmark| benchmark.id.as_str());
        return Err(FootprintError::Output {
            program: "cargo bench".to_owned(),
            said: Vec::from_iter(ids).join(" "),
            wanted: GROUP,
        });
    }
    Ok(measures)
}
