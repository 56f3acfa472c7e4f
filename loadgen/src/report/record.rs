//! A file of runs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::figure::Figure;
use super::run::Run;
use super::spread::Spread;

/// The runs of one command; at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    runs: Vec<Run>,
}

/// Why a file is no record.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what `loadgen --json` prints.
    #[error("{}: {source}; it has to be what this version's `loadgen --json` prints", path.display())]
    Json {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// It holds no runs.
    #[error("{}: no runs in it; it has to be what `loadgen --json` prints", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
}

/// How several runs stand in a file. One run stands there alone.
#[derive(Deserialize, Serialize)]
struct Several {
    /// The headline figures by their keys. Read from the runs, not from here.
    #[serde(skip_deserializing)]
    median: BTreeMap<&'static str, Spread>,
    runs: Vec<Run>,
}

impl Record {
    /// A record of these runs; none when there are none.
    pub fn new(runs: Vec<Run>) -> Option<Self> {
        (!runs.is_empty()).then_some(Self { runs })
    }

    /// Reads what `loadgen --json` printed, with `--runs` or without.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let path = || path.to_owned();
        let text = fs::read(path()).map_err(|source| ReadError::Io { path: path(), source })?;
        let json = |source| ReadError::Json { path: path(), source };
        let value: Value = serde_json::from_slice(&text).map_err(json)?;
        let runs = if value.get("runs").is_some() {
            Several::deserialize(value).map_err(json)?.runs
        } else {
            vec![Run::deserialize(value).map_err(json)?]
        };
        Self::new(runs).ok_or_else(|| ReadError::Empty { path: path() })
    }

    /// The runs, in the order they were made.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The first run, whose settings are those of all.
    pub fn first(&self) -> &Run {
        &self.runs[0]
    }

    /// The spread of a figure over the runs; none unless every run has it.
    pub fn spread(&self, figure: Figure) -> Option<Spread> {
        let values: Option<Vec<f64>> = self.runs.iter().map(|run| figure.of(run)).collect();
        Spread::new(values?)
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let [run] = &self.runs[..] {
            return run.serialize(serializer);
        }
        let headline = Figure::HEADLINE.into_iter();
        let median =
            headline.filter_map(|figure| Some((figure.key(), self.spread(figure)?))).collect();
        Several { median, runs: self.runs.clone() }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(delivered_per_s: f64) -> Run {
        let text = format!(
            r#"{{"published":10,"published_per_s":1000,"delivered":10,
            "delivered_per_s":{delivered_per_s},"lost":0,"duplicated":0,"reordered":0,
            "latency_us":{{"p50":1,"p90":2,"p99":3,"p99_9":4,"p99_99":5,"max":6,"samples":7}},
            "server":{{"rss_kb":1000,"cpu_s":0.5,"settled_per_s":0,"accepted":10}},
            "loadgen_cpu_s":1.5,"measured_s":2,"config":{{"pubs":1}},
            "target":{{"name":"mezzenger","version":"1","durability":"memory"}},
            "command":"loadgen","failures":[],"warnings":[],
            "environment":{{"started_at":"2026-01-01T00:00:00Z","loadgen_version":"1",
            "git_commit":"c","rustc":"r","kernel":"k","cpu_model":"m","cpu_cores":2}}}}"#
        );
        serde_json::from_str(&text).expect("a run")
    }

    /// Writes a record to a file and reads it back.
    fn through_a_file(text: &str) -> Result<Record, ReadError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("record.json");
        fs::write(&path, text).expect("written");
        Record::read(&path)
    }

    #[test]
    fn one_run_stands_alone() {
        let record = Record::new(vec![run(7.0)]).expect("a run");
        let value = serde_json::to_value(&record).expect("json");
        assert_eq!(value["delivered_per_s"], 7.0);
        assert_eq!(through_a_file(&value.to_string()).expect("read"), record);
    }

    #[test]
    fn several_runs_have_medians_beside_them() {
        let record = Record::new(vec![run(7.0), run(9.0), run(1.0)]).expect("runs");
        let value = serde_json::to_value(&record).expect("json");
        let median = serde_json::json!({"median": 7.0, "min": 1.0, "max": 9.0});
        assert_eq!(value["median"]["delivered_per_s"], median);
        assert_eq!(value["median"]["server_cpu_us_per_message"]["median"], 250.0);
        assert_eq!(value["median"].get("settled_per_s"), None, "nothing was acknowledged");
        assert_eq!(value["runs"][1]["delivered_per_s"], 9.0);
        assert_eq!(through_a_file(&value.to_string()).expect("read"), record);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let error = |text| through_a_file(text).map(|_| ()).unwrap_err();
        assert!(matches!(error("{"), ReadError::Json { .. }));
        assert!(matches!(error(r#"{"runs":[]}"#), ReadError::Empty { .. }));
        let text = error("{}").to_string();
        assert!(text.contains("record.json: missing field `published`"), "{text}");
        assert!(matches!(Record::read(Path::new("missing")), Err(ReadError::Io { .. })));
    }
}
