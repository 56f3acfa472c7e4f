//! The record of a measurement: `results.jsonl`, one JSON object a line.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use loadgen::report::hgrm::Percentiles;
use loadgen::report::{Durability, Environment, Figure, Run, Spread};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::baseline::Baseline;
use crate::error::RecordError;

/// The target that the others are compared with.
pub(crate) const OURS: &str = "mezzenger";
/// The same from an earlier build.
pub(crate) const OLD: &str = "mezzenger-old";

/// Rounds that it takes for a median to be worth something.
pub(crate) const ROUNDS_MIN: usize = 5;

const FILE: &str = "results.jsonl";

/// A line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    Run(Box<Round>),
    Measure(Box<Measure>),
    Torture(serde_json::Value),
    Interop(Interop),
}

/// One run of a workload on a target.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Round {
    workload: String,
    target: String,
    round: usize,
    pub(crate) result: Run,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency_us: Option<Percentiles>,
}

/// A figure that is no rate of messages.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Measure {
    /// For the goals.
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) of: Spread,
    /// How many values `of` is of; older lines do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) values: Option<usize>,
    pub(crate) command: String,
    pub(crate) environment: Environment,
}

impl Measure {
    /// What to say of a median of fewer than [`ROUNDS_MIN`] values, or of nobody knows how many.
    pub(crate) fn few(&self) -> Option<String> {
        match self.values {
            Some(1) => Some("1 value".to_owned()),
            Some(values) if values < ROUNDS_MIN => Some(format!("{values} values")),
            Some(_) => None,
            None if self.of.min == self.of.max => Some("1 value".to_owned()),
            None => Some("number of values not recorded".to_owned()),
        }
    }
}

/// The interop matrix, as `tests/interop/run` leaves it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Interop {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) clients: Vec<InteropClient>,
}

/// What became of a library.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct InteropClient {
    pub(crate) title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// Why it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) skipped: Option<String>,
    #[serde(default)]
    pub(crate) steps: Vec<InteropStep>,
}

/// What became of a step: `pass`, `lacks: …` what the library cannot do, or `FAIL: …`.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct InteropStep {
    pub(crate) step: String,
    pub(crate) result: String,
}

/// A record, sorted.
pub(crate) struct Record {
    pub(crate) folder: PathBuf,
    pub(crate) workloads: BTreeMap<String, Vec<Target>>,
    pub(crate) measures: Vec<Measure>,
    pub(crate) torture: Option<serde_json::Value>,
    pub(crate) interop: Option<Interop>,
    /// Not of the record: what the regression gate holds.
    pub(crate) baseline: Option<Baseline>,
}

/// The rounds of one target in a workload; at least one.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) rounds: Vec<Round>,
}

impl Target {
    pub(crate) fn first(&self) -> &Run {
        &self.rounds[0].result
    }

    pub(crate) fn durability(&self) -> Option<Durability> {
        self.first().target.durability
    }

    /// Whether it is this version, in one of its configurations.
    pub(crate) fn is_ours(&self) -> bool {
        self.first().target.name == OURS && self.name != OLD
    }

    /// Whether messages were sent on schedule.
    pub(crate) fn has_rate(&self) -> bool {
        self.first().config.get("rate").is_some_and(|rate| !rate.is_null())
    }

    /// What a saturated run of it is about.
    pub(crate) fn rate(&self) -> Figure {
        let run = self.first();
        match (run.is_of_connections(), run.is_acknowledged()) {
            (true, _) => Figure::Connections,
            (_, true) => Figure::Settled,
            _ => Figure::Delivered,
        }
    }

    /// Whether each message was a request.
    pub(crate) fn has_requests(&self) -> bool {
        self.first().config.get("request") == Some(&serde_json::Value::Bool(true))
    }

    /// Its name, marked when a round failed its verification.
    pub(crate) fn label(&self) -> String {
        let failed = self.rounds.iter().any(|round| !round.result.failures.is_empty());
        format!("{}{}", self.name, if failed { " (failed)" } else { "" })
    }

    /// A figure over the rounds; none unless every round has it.
    pub(crate) fn spread(&self, figure: Figure) -> Option<Spread> {
        let values = self.rounds.iter().map(|round| figure.of(&round.result));
        Spread::new(values.collect::<Option<Vec<f64>>>()?)
    }
}

impl Record {
    /// Reads the record in a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, RecordError> {
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path)
            .map_err(|source| RecordError::Io { path: path.clone(), source })?;
        let mut rounds: BTreeMap<String, BTreeMap<String, Vec<Round>>> = BTreeMap::new();
        let (mut measures, mut torture, mut interop) = (BTreeMap::new(), None, None);
        for (line, text) in (1..).zip(text.lines()) {
            let line = serde_json::from_str(text).map_err(|source| RecordError::Line {
                path: path.clone(),
                line,
                source,
            })?;
            match line {
                Line::Run(round) => {
                    let targets = rounds.entry(round.workload.clone()).or_default();
                    targets.entry(round.target.clone()).or_default().push(*round);
                }
                // What was measured again counts.
                Line::Measure(measure) => {
                    measures.insert(measure.key.clone(), *measure);
                }
                Line::Torture(outcome) => torture = Some(outcome),
                Line::Interop(matrix) => interop = Some(matrix),
            }
        }
        let mut workloads = BTreeMap::new();
        for (workload, targets) in rounds {
            workloads.insert(workload, sort(targets)?);
        }
        let measures = measures.into_values().collect();
        let (folder, baseline) = (folder.to_owned(), Baseline::read()?);
        Ok(Self { folder, workloads, measures, torture, interop, baseline })
    }

    /// The target with this name of a workload.
    pub(crate) fn target(&self, workload: &str, name: &str) -> Option<&Target> {
        self.workloads.get(workload)?.iter().find(|target| target.name == name)
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = &Run> {
        let targets = self.workloads.values().flatten();
        targets.flat_map(|target| &target.rounds).map(|round| &round.result)
    }
}

/// Ours come first. All targets need as many rounds, and ours to be faultless.
fn sort(targets: BTreeMap<String, Vec<Round>>) -> Result<Vec<Target>, RecordError> {
    let last = targets.values().flatten().map(|round| round.round).max().unwrap_or_default();
    let mut sorted = Vec::new();
    for (name, mut rounds) in targets {
        // What was measured again counts.
        rounds.reverse();
        rounds.sort_by_key(|round| round.round);
        rounds.dedup_by_key(|round| round.round);
        let numbers = rounds.iter().map(|round| round.round);
        if let Some(missing) = (1..=last).find(|number| !numbers.clone().any(|is| is == *number)) {
            let workload = rounds[0].workload.clone();
            return Err(RecordError::Missing { workload, target: name, round: missing });
        }
        let target = Target { name, rounds };
        let failed = target.rounds.iter().find(|round| !round.result.failures.is_empty());
        if let Some(Round { workload, target: name, round, result, .. }) = failed
            && target.is_ours()
        {
            return Err(RecordError::Failed {
                workload: workload.clone(),
                target: name.clone(),
                round: *round,
                failure: result.failures[0].clone(),
            });
        }
        sorted.push(target);
    }
    sorted.sort_by_key(|target| (!target.is_ours(), target.name != OLD));
    Ok(sorted)
}

/// What [`append`] takes of a result of loadgen.
pub(crate) fn run(
    workload: String,
    target: String,
    round: usize,
    json: &Path,
    hgrm: Option<&Path>,
) -> Result<Line, RecordError> {
    let read = loadgen::report::Record::read(json)?;
    let [result] = read.runs() else {
        return Err(RecordError::Several { path: json.to_owned() });
    };
    let latency_us = hgrm.map(Percentiles::read).transpose()?;
    let result = result.clone();
    Ok(Line::Run(Box::new(Round { workload, target, round, result, latency_us })))
}

/// What [`append`] takes of the torture's outcome.
pub(crate) fn torture(json: &Path) -> Result<Line, RecordError> {
    read_json(json).map(Line::Torture)
}

/// What [`append`] takes of the interop matrix.
pub(crate) fn interop(json: &Path) -> Result<Line, RecordError> {
    read_json(json).map(Line::Interop)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let text =
        fs::read(path).map_err(|source| RecordError::Io { path: path.to_owned(), source })?;
    let value = serde_json::from_slice(&text);
    value.map_err(|source| RecordError::Json { path: path.to_owned(), source })
}

/// Adds lines to the record in a folder.
pub(crate) fn append(folder: &Path, lines: &[Line]) -> Result<(), RecordError> {
    let path = folder.join(FILE);
    let append = || {
        fs::create_dir_all(folder)?;
        let mut file = File::options().create(true).append(true).open(&path)?;
        let texts = lines.iter().map(|line| Ok(serde_json::to_string(line)? + "\n"));
        file.write_all(texts.collect::<io::Result<String>>()?.as_bytes())
    };
    append().map_err(|source| RecordError::Io { path: path.clone(), source })
}
