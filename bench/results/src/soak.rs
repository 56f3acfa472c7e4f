//! The charts of a soak: what `bench/soak.sh` sampled, over its time.

use loadgen::report::chart::{self, ChartError, Line};

use crate::charts::Chart;

/// The file of a soak's record that has the samples: names of columns, then numbers.
pub(crate) const SAMPLES: &str = "samples.csv";

const TIME: &str = "time_s";

/// One chart of one column.
struct Curve {
    file: &'static str,
    title: &'static str,
    axis: &'static str,
    column: &'static str,
    /// What a value is multiplied by to be in the unit of the axis.
    factor: f64,
}

const CURVES: [Curve; 3] = [
    Curve {
        file: "memory.svg",
        title: "Resident memory of the server",
        axis: "resident memory, MB",
        column: "rss_kb",
        factor: 1024.0 / 1e6,
    },
    Curve {
        file: "descriptors.svg",
        title: "Open descriptors of the server",
        axis: "open descriptors",
        column: "descriptors",
        factor: 1.0,
    },
    Curve {
        file: "latency.svg",
        title: "Latency p99 of a second, median of ten seconds",
        axis: "latency p99, µs",
        column: "latency_p99_us",
        factor: 1.0,
    },
];

/// Draws them. Samples without a value are left out.
pub(crate) fn charts(samples: &str) -> Result<Vec<Chart>, ChartError> {
    let mut lines = samples.lines();
    let columns: Vec<_> = lines.next().unwrap_or_default().split(',').collect();
    let rows: Vec<Vec<_>> = lines.map(|line| line.split(',').collect()).collect();
    let chart = |curve: &Curve| {
        let at = |name| columns.iter().position(|column| *column == name);
        let value = |row: &[&str], name| row.get(at(name)?)?.parse::<f64>().ok();
        let point =
            |row: &Vec<_>| Some((value(row, TIME)?, value(row, curve.column)? * curve.factor));
        let line = Line { name: curve.axis, points: rows.iter().filter_map(point).collect() };
        let svg = chart::over_time(curve.title, curve.axis, &[line])?;
        Ok(Chart { file: curve.file.to_owned(), title: curve.title.to_owned(), svg })
    };
    CURVES.iter().map(chart).collect()
}
