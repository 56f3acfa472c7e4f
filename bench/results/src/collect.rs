//! Gathers what criterion left behind into one small file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use loadgen::report::Environment;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::raw::{Benchmark, Criterion};

/// What makes them.
const COMMAND: &str = "cargo bench -p mezzenger-bench";

/// Why nothing could be gathered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    /// A file or folder cannot be read.
    #[error("{}: {source}; run `{COMMAND}` first", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what this version of criterion writes.
    #[error("{}: {source}; remove that folder and run `{COMMAND}` again", path.display())]
    Json {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// There are no results.
    #[error("{}: no results in it; run `{COMMAND}` first", path.display())]
    Empty {
        /// Where they ought to be.
        path: PathBuf,
    },
}

/// The parts of criterion's `benchmark.json` that are wanted.
#[derive(Deserialize)]
struct Meta {
    full_id: String,
    throughput: Option<Throughput>,
}

/// What an iteration handles. Criterion knows more kinds, which have no rate here.
#[derive(Default, Deserialize)]
struct Throughput {
    #[serde(rename = "Elements")]
    elements: Option<u64>,
    #[serde(rename = "Bytes")]
    bytes: Option<u64>,
}

/// The parts of criterion's `estimates.json` that are wanted.
#[derive(Deserialize)]
struct Estimates {
    mean: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// Where cargo leaves what it builds.
pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

/// Where criterion leaves its results.
pub(crate) fn criterion_folder() -> PathBuf {
    target_folder().join("criterion")
}

/// Gathers all results.
pub(crate) fn criterion() -> Result<Criterion, CollectError> {
    let benchmarks = benchmarks(&criterion_folder())?;
    Ok(Criterion { command: COMMAND.to_owned(), environment: Environment::here(), benchmarks })
}

/// All benchmarks below a folder, by their ids.
pub(crate) fn benchmarks(folder: &Path) -> Result<Vec<Benchmark>, CollectError> {
    let mut benchmarks = Vec::new();
    collect(folder, &mut benchmarks)?;
    if benchmarks.is_empty() {
        return Err(CollectError::Empty { path: folder.to_owned() });
    }
    benchmarks.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(benchmarks)
}

fn collect(folder: &Path, benchmarks: &mut Vec<Benchmark>) -> Result<(), CollectError> {
    let io = |source| CollectError::Io { path: folder.to_owned(), source };
    // The newest results of a benchmark; beside them may lie those of earlier runs.
    let newest = folder.join("new");
    let (meta, estimates) = (newest.join("benchmark.json"), newest.join("estimates.json"));
    if meta.exists() && estimates.exists() {
        benchmarks.push(benchmark(read(&meta)?, read(&estimates)?));
    }
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() && path != newest {
            collect(&path, benchmarks)?;
        }
    }
    Ok(())
}

fn benchmark(meta: Meta, estimates: Estimates) -> Benchmark {
    let Throughput { elements, bytes } = meta.throughput.unwrap_or_default();
    let Estimate { point_estimate, confidence_interval } = estimates.mean;
    Benchmark {
        id: meta.full_id,
        mean_ns: point_estimate,
        low_ns: confidence_interval.lower_bound,
        high_ns: confidence_interval.upper_bound,
        elements,
        bytes,
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, CollectError> {
    let text =
        fs::read(path).map_err(|source| CollectError::Io { path: path.to_owned(), source })?;
    serde_json::from_slice(&text)
        .map_err(|source| CollectError::Json { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(folder: &Path, id: &str, throughput: &str, mean_ns: f64) {
        fs::create_dir_all(folder).expect("a folder");
        let meta = format!(r#"{{"group_id":"g","full_id":"{id}","throughput":{throughput}}}"#);
        let estimates = format!(
            r#"{{"mean":{{"confidence_interval":{{"confidence_level":0.95,"lower_bound":1.5,
            "upper_bound":9.5}},"point_estimate":{mean_ns},"standard_error":0.1}}}}"#
        );
        fs::write(folder.join("benchmark.json"), meta).expect("written");
        fs::write(folder.join("estimates.json"), estimates).expect("written");
    }

    #[test]
    fn the_newest_results_of_every_benchmark_are_gathered() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |inner: &str| folder.path().join(inner);
        leave(&path("wire/b/new"), "wire/b", r#"{"Elements":100}"#, 7.0);
        leave(&path("wire/b/base"), "wire/b", "null", 1.0);
        leave(&path("a/new"), "a", r#"{"Bytes":64}"#, 3.0);
        leave(&path("c/new"), "c", r#"{"BytesDecimal":64}"#, 4.0);
        let found = benchmarks(folder.path()).expect("they are read");
        let expected = |id: &str, mean_ns, elements, bytes| Benchmark {
            id: id.to_owned(),
            mean_ns,
            low_ns: 1.5,
            high_ns: 9.5,
            elements,
            bytes,
        };
        let expected = [
            expected("a", 3.0, None, Some(64)),
            expected("c", 4.0, None, None),
            expected("wire/b", 7.0, Some(100), None),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn missing_and_strange_results_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = benchmarks(&folder.path().join("missing"));
        assert!(matches!(missing, Err(CollectError::Io { .. })));
        assert!(matches!(benchmarks(folder.path()), Err(CollectError::Empty { .. })));
        leave(&folder.path().join("a/new"), "a", "null", 1.0);
        fs::write(folder.path().join("a/new/estimates.json"), "{}").expect("written");
        let text = benchmarks(folder.path()).map(|_| ()).unwrap_err().to_string();
        assert!(text.contains("a/new/estimates.json: missing field `mean`"), "{text}");
    }
}
