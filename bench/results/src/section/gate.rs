//! The exact counts that the regression gate holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::markdown::{Table, link};
use crate::raw::{self, RawError};

/// The file of the gate.
pub(crate) const BASELINE: &str = "bench/gate/baseline.json";

#[derive(Deserialize)]
struct Baseline {
    /// Metrics by their names, by the scenarios' names.
    scenarios: BTreeMap<String, BTreeMap<String, Value>>,
}

/// The flows whose payloads the server must not copy.
const UNCOPIED: [&str; 2] = ["native-4KiB", "native-64KiB"];

/// Bytes of payload that the server copies of a message of 4 KiB or more, the most in any flow. None
/// without a baseline.
pub(crate) fn copied() -> Result<Option<f64>, RawError> {
    let baseline: Baseline = match raw::read_json(Path::new(BASELINE), "the gate's own command") {
        Err(RawError::Missing { .. }) => return Ok(None),
        baseline => baseline?,
    };
    let servers = baseline.scenarios.iter().filter(|(name, _)| {
        name.ends_with("/server") && UNCOPIED.iter().any(|flow| name.starts_with(flow))
    });
    Ok(servers
        .filter_map(|(_, metrics)| metrics.get("payload_bytes_copied_per_message")?.as_f64())
        .reduce(f64::max))
}

/// A table with a row for each scenario and a column for each number that one has. Says so when there
/// is no baseline.
pub(crate) fn section() -> Result<String, RawError> {
    let path = Path::new(BASELINE);
    let baseline: Baseline = match raw::read_json(path, "the gate's own command") {
        Err(RawError::Missing { .. }) => return Ok("No baseline is recorded.".to_owned()),
        baseline => baseline?,
    };
    let scenarios = || baseline.scenarios.values().flatten();
    let metrics: BTreeSet<&String> =
        scenarios().filter(|(_, value)| value.is_number()).map(|(name, _)| name).collect();
    let mut head = vec!["scenario".to_owned()];
    head.extend(metrics.iter().map(|name| name.replace('_', " ")));
    head.push("raw file".to_owned());
    let mut table = Table::new(&head);
    for (name, values) in &baseline.scenarios {
        let mut cells = vec![name.clone()];
        for metric in &metrics {
            let number = values.get(*metric).filter(|value| value.is_number());
            cells.push(number.map_or("–".to_owned(), ToString::to_string));
        }
        cells.push(link("baseline.json", path));
        table.row(&cells);
    }
    Ok(table.finish())
}
