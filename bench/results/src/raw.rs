//! The raw files of a record.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use loadgen::report::{Durability, Environment, Figure, ReadError, Record, Run, Spread};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The target that the others are compared with, as its runs name it.
pub(crate) const OURS: &str = "mezzenger";

/// What the criterion suites measured.
pub(crate) const CRITERION: &str = "criterion.json";

/// What came of the crash torture.
pub(crate) const TORTURE: &str = "torture.json";

/// The server without messages, pending messages, and recovery.
pub(crate) const MEASURES: [&str; 3] = ["idle.json", "pending.json", "recovery.json"];

/// Why the raw files do not make a page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RawError {
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A result of loadgen cannot be read.
    #[error(transparent)]
    Record(#[from] ReadError),
    /// Another file cannot be read.
    #[error("{}: {source}; make it again with {maker}", path.display())]
    Json {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
        /// What makes it.
        maker: &'static str,
    },
    /// A file is named otherwise than it has to be.
    #[error("{}: a raw file is named TARGET-ROUND.json, with rounds from 1", path.display())]
    Name {
        /// Which.
        path: PathBuf,
    },
    /// A round that other targets or rounds imply is not there.
    #[error("{}: this raw file is missing; measure again what it is to hold", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// A file holds several runs.
    #[error("{}: a raw file holds one run, measured without --runs", path.display())]
    Several {
        /// Which.
        path: PathBuf,
    },
    /// A workload has nothing to compare with.
    #[error("{}: no runs of {OURS} are here; measure the workload again", path.display())]
    NoneOfOurs {
        /// The workload's folder.
        path: PathBuf,
    },
    /// A run of ours failed its verification.
    #[error("{}: the run failed: {failure}; measure it again", path.display())]
    Failed {
        /// Which.
        path: PathBuf,
        /// The first failure.
        failure: String,
    },
}

/// What was run against several targets in turn.
#[derive(Debug)]
pub(crate) struct Workload {
    /// Ours first.
    pub(crate) targets: Vec<Target>,
}

/// The rounds of one target; at least one.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) rounds: Vec<Round>,
}

/// One run.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) json: PathBuf,
    pub(crate) run: Run,
}

impl Workload {
    /// Ours, in each of its configurations; there is at least one.
    pub(crate) fn ours(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| target.is_ours())
    }

    /// The others.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| !target.is_ours())
    }

    /// The settings that all runs share, from the first.
    pub(crate) fn first(&self) -> &Run {
        self.targets[0].first()
    }

    /// Every run.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.targets.iter().flat_map(|target| &target.rounds).map(|round| &round.run)
    }

    /// Whether messages were sent on schedule.
    pub(crate) fn has_rate(&self) -> bool {
        self.first().config.get("rate").is_some_and(|rate| !rate.is_null())
    }
}

impl Target {
    pub(crate) fn first(&self) -> &Run {
        &self.rounds[0].run
    }

    pub(crate) fn durability(&self) -> Option<Durability> {
        self.first().target.durability
    }

    /// Whether it is the one that the others are compared with.
    pub(crate) fn is_ours(&self) -> bool {
        self.first().target.name == OURS
    }

    /// The name, marked when a round failed its verification.
    pub(crate) fn label(&self) -> String {
        let failed = self.rounds.iter().any(|round| !round.run.failures.is_empty());
        format!("{}{}", self.name, if failed { " (failed)" } else { "" })
    }

    /// The same with the version, where that is known.
    pub(crate) fn title(&self) -> String {
        match &self.first().target.version {
            Some(version) => format!("{} {version}", self.label()),
            None => self.label(),
        }
    }

    /// A figure over the rounds; none unless every round has it.
    pub(crate) fn spread(&self, figure: Figure) -> Option<Spread> {
        let values: Option<Vec<f64>> =
            self.rounds.iter().map(|round| figure.of(&round.run)).collect();
        Spread::new(values?)
    }
}

/// Reads the workloads of a record by their names.
pub(crate) fn workloads(record: &Path) -> Result<BTreeMap<String, Workload>, RawError> {
    let mut workloads = BTreeMap::new();
    for path in entries(record)?.into_iter().filter(|path| path.is_dir()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Folders without results, such as that of the charts, are no workloads.
        if let Some(workload) = workload(&path)? {
            workloads.insert(name, workload);
        }
    }
    Ok(workloads)
}

fn workload(folder: &Path) -> Result<Option<Workload>, RawError> {
    let is_json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let mut rounds: BTreeMap<String, BTreeMap<usize, Round>> = BTreeMap::new();
    for json in entries(folder)?.into_iter().filter(is_json) {
        let name = json.file_stem().unwrap_or_default().to_string_lossy();
        let parts = name.rsplit_once('-').map(|(target, round)| (target, round.parse()));
        let Some((target, Ok(round @ 1..))) = parts else {
            return Err(RawError::Name { path: json });
        };
        let run = run(&json)?;
        rounds.entry(target.to_owned()).or_default().insert(round, Round { json, run });
    }
    let last = rounds.values().flat_map(BTreeMap::keys).max().copied().unwrap_or_default();
    if last == 0 {
        return Ok(None);
    }
    let mut targets = Vec::new();
    for (name, rounds) in rounds {
        if let Some(missing) = (1..=last).find(|round| !rounds.contains_key(round)) {
            let path = folder.join(format!("{name}-{missing}.json"));
            return Err(RawError::Missing { path });
        }
        targets.push(Target { name, rounds: rounds.into_values().collect() });
    }
    targets.sort_by_key(|target: &Target| !target.is_ours());
    if !targets[0].is_ours() {
        return Err(RawError::NoneOfOurs { path: folder.to_owned() });
    }
    Ok(Some(Workload { targets }))
}

fn run(path: &Path) -> Result<Run, RawError> {
    let record = Record::read(path)?;
    let [run] = record.runs() else {
        return Err(RawError::Several { path: path.to_owned() });
    };
    // A peer may be unable to do what is asked of it, which the page then says.
    match run.failures.first().filter(|_| run.target.name == OURS) {
        Some(failure) => Err(RawError::Failed { path: path.to_owned(), failure: failure.clone() }),
        None => Ok(run.clone()),
    }
}

/// What lies in a folder, in the order of the names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, RawError> {
    let io = |source| RawError::Io { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(io)?;
    let mut paths =
        entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(io)?;
    paths.sort();
    Ok(paths)
}

/// Results of the criterion suites.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Criterion {
    pub(crate) command: String,
    pub(crate) environment: Environment,
    pub(crate) benchmarks: Vec<Benchmark>,
}

/// One criterion benchmark.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Benchmark {
    pub(crate) id: String,
    /// Mean time of an iteration.
    pub(crate) mean_ns: f64,
    /// The bounds of its confidence interval.
    pub(crate) low_ns: f64,
    pub(crate) high_ns: f64,
    /// Elements, such as messages, of an iteration.
    pub(crate) elements: Option<u64>,
    /// Bytes of an iteration.
    pub(crate) bytes: Option<u64>,
}

/// Figures that are not rates of messages.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Measures {
    pub(crate) command: String,
    pub(crate) environment: Environment,
    pub(crate) measures: Vec<Measure>,
}

/// Such a figure.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Measure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// How far apart the measurements lie that `value` sums up.
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) goal: Option<Bound>,
}

/// What a figure has to reach.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(crate) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

/// Reads a file that `maker` writes.
pub(crate) fn read_json<T: DeserializeOwned>(
    path: &Path,
    maker: &'static str,
) -> Result<T, RawError> {
    let path = || path.to_owned();
    let text = fs::read(path()).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => RawError::Missing { path: path() },
        _ => RawError::Io { path: path(), source },
    })?;
    serde_json::from_slice(&text).map_err(|source| RawError::Json { path: path(), source, maker })
}

/// Writes a raw file, and the folder it lies in.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RawError> {
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(value)?;
        fs::write(path, text + "\n")
    };
    write().map_err(|source| RawError::Io { path: path.to_owned(), source })
}
