//! What the regression gate counts for a message, from its baseline.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use loadgen::report::number::short;
use serde::Deserialize;

use crate::error::RecordError;
use crate::markdown::table;

/// Where the gate keeps it, from the root of the workspace.
const FILE: &str = "bench/gate/baseline.json";

/// A metric of a scenario.
#[derive(Clone, Copy)]
pub(crate) enum Count {
    Allocations,
    CopiedBytes,
}

impl Count {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Allocations => "allocations/message",
            Self::CopiedBytes => "payload bytes copied/message",
        }
    }
}

/// The part of the baseline that the page shows.
#[derive(Deserialize)]
pub(crate) struct Baseline {
    date: String,
    scenarios: BTreeMap<String, Scenario>,
}

#[derive(Deserialize)]
struct Scenario {
    allocations_per_message: f64,
    payload_bytes_copied_per_message: f64,
}

impl Baseline {
    /// Reads it; `None` when there is none.
    pub(crate) fn read() -> Result<Option<Self>, RecordError> {
        let path = Path::new(FILE);
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|source| RecordError::Io { path: path.into(), source })?,
        };
        let baseline = serde_json::from_slice(&text);
        baseline.map(Some).map_err(|source| RecordError::Json { path: path.into(), source })
    }

    /// A count, if the scenario is there.
    pub(crate) fn get(&self, scenario: &str, count: Count) -> Option<f64> {
        let scenario = self.scenarios.get(scenario)?;
        Some(match count {
            Count::Allocations => scenario.allocations_per_message,
            Count::CopiedBytes => scenario.payload_bytes_copied_per_message,
        })
    }

    /// What the server allocates and copies for a message in each flow of native messages.
    pub(crate) fn section(&self) -> String {
        let name = |scenario: &str| {
            let flow = scenario.strip_suffix("/server")?;
            flow.starts_with("native-").then(|| scenario.to_owned())
        };
        let row = |(scenario, counts): (&String, &Scenario)| {
            let allocations = short(counts.allocations_per_message);
            let copied = short(counts.payload_bytes_copied_per_message);
            Some(vec![name(scenario)?, allocations, copied])
        };
        let rows: Vec<_> = self.scenarios.iter().filter_map(row).collect();
        let head = ["scenario", Count::Allocations.name(), Count::CopiedBytes.name()];
        format!("Counted on {}.\n\n{}", self.date, table(&head, &rows))
    }
}
