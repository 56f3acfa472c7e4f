//! Two results side by side: which is better, by how much, and whether the difference is shown.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use loadgen::report::number::short;
use loadgen::report::{Better, Durability, Figure, ReadError, Record, Run, Spread};
use serde_json::Value;

use crate::args::CompareArgs;

/// Settings that differ between runs of the same measurement: where a server or a file is, and what
/// draws the random numbers.
const INCIDENTAL: &[&str] = &["target", "server", "persist_file", "seed"];

/// Settings that make the workload. Different targets have to agree in these; the others are their own.
const WORKLOAD: &[&str] = &[
    "pubs",
    "subs",
    "size",
    "names",
    "duration_s",
    "count",
    "warmup_s",
    "rate",
    "ramp_s",
    "ack",
    "ack_ratio",
    "group",
    "request",
    "slow_subs",
    "consumer_latency_s",
    "churn",
    "kill_server_every_s",
];

/// Why two results cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompareError {
    /// A file is no result.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The results are of different measurements.
    #[error(
        "{what} differs: {before} in {}, {after} in {}; compare runs that differ in the program alone",
        paths.0.display(),
        paths.1.display()
    )]
    Differs {
        /// In what.
        what: String,
        /// The first file's.
        before: String,
        /// The second file's.
        after: String,
        /// Both files.
        paths: (PathBuf, PathBuf),
    },
    /// A run failed its verification.
    #[error("{}: a run failed: {failure}; its figures mean nothing", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// The first failure.
        failure: String,
    },
}

/// The headline figures that both results have.
pub(crate) struct Comparison {
    rows: Vec<Row>,
    /// Part of the first median by which the second may be worse.
    bound: f64,
    runs: (usize, usize),
}

struct Row {
    figure: Figure,
    before: Spread,
    after: Spread,
}

/// Reads two results and compares them.
pub(crate) fn compare(args: &CompareArgs) -> Result<Comparison, CompareError> {
    let (before, after) = (read(&args.before)?, read(&args.after)?);
    if let Some((what, values)) = difference(before.first(), after.first()) {
        return Err(CompareError::Differs {
            what,
            before: values.0,
            after: values.1,
            paths: (args.before.clone(), args.after.clone()),
        });
    }
    Ok(Comparison::new(&before, &after, args.fail_over))
}

fn read(path: &Path) -> Result<Record, CompareError> {
    let record = Record::read(path)?;
    let failure = record.runs().iter().find_map(|run| run.failures.first());
    match failure {
        Some(failure) => {
            Err(CompareError::Failed { path: path.to_owned(), failure: failure.clone() })
        }
        None => Ok(record),
    }
}

/// The first thing that makes two runs different measurements, with both values.
fn difference(before: &Run, after: &Run) -> Option<(String, (String, String))> {
    let differs = |what: &str, before: &Value, after: &Value| {
        let values = (before.to_string(), after.to_string());
        (before != after).then(|| (what.to_owned(), values))
    };
    let same_target = before.target.name == after.target.name;
    let keys: BTreeSet<&String> = before.config.keys().chain(after.config.keys()).collect();
    let counts = |key: &&String| match same_target {
        true => !INCIDENTAL.contains(&key.as_str()),
        false => WORKLOAD.contains(&key.as_str()),
    };
    let settings = keys.into_iter().filter(counts).find_map(|key| {
        let value = |run: &Run| run.config.get(key).cloned().unwrap_or_default();
        differs(key, &value(before), &value(after))
    });
    let class = |run: &Run| run.target.durability.map(Durability::name).into();
    let machine = |run: &Run| {
        let machine = &run.environment;
        format!("{} with {} cores", machine.cpu_model, machine.cpu_cores).into()
    };
    settings
        .or_else(|| differs("the durability class", &class(before), &class(after)))
        .or_else(|| differs("the machine", &machine(before), &machine(after)))
}

impl Comparison {
    fn new(before: &Record, after: &Record, bound: f64) -> Self {
        let row = |figure| {
            Some(Row { figure, before: before.spread(figure)?, after: after.spread(figure)? })
        };
        let rows = Figure::HEADLINE.into_iter().filter_map(row).collect();
        Self { rows, bound, runs: (before.runs().len(), after.runs().len()) }
    }

    /// Whether a median of the second result is worse than the first's by more than the bound.
    pub(crate) fn is_worse(&self) -> bool {
        self.rows.iter().any(|row| row.is_worse(self.bound))
    }
}

impl Row {
    fn is_worse(&self, bound: f64) -> bool {
        let (before, after) = (self.before.median, self.after.median);
        match self.figure.better() {
            Better::Higher => after < before * (1.0 - bound),
            Better::Lower => after > before * (1.0 + bound),
        }
    }

    fn verdict(&self, bound: f64) -> &'static str {
        match (self.is_worse(bound), self.before.overlaps(&self.after)) {
            (true, true) => "WORSE, but the spreads overlap: not shown",
            (true, false) => "WORSE",
            (false, true) => "spreads overlap: no difference shown",
            (false, false) => "",
        }
    }
}

impl fmt::Display for Comparison {
    /// It ends without a line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spread = |spread: Spread| {
            let [median, min, max] = [spread.median, spread.min, spread.max].map(short);
            format!("{median} ({min} – {max})")
        };
        let runs = |name, runs| format!("{name}: {runs} run{}", if runs == 1 { "" } else { "s" });
        let (a, b) = (runs("A", self.runs.0), runs("B", self.runs.1));
        writeln!(f, "{:<24}{a:>30}{b:>30}{:>8}", "median (min – max)", "B / A")?;
        for row in &self.rows {
            let ratio = row.after.median / row.before.median;
            let (before, after) = (spread(row.before), spread(row.after));
            let line = format!("{:<24}{before:>30}{after:>30}{ratio:>8.3}", row.figure.name());
            writeln!(f, "{}", format!("{line}  {}", row.verdict(self.bound)).trim_end())?;
        }
        let percent = self.bound * 100.0;
        match self.is_worse() {
            true => write!(f, "B is worse than A by more than {percent} %"),
            false => write!(f, "B is not worse than A by more than {percent} %"),
        }
    }
}
