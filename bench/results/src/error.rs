//! What can be wrong with a record.

use std::io;
use std::path::PathBuf;

use loadgen::report::ReadError;
use loadgen::report::hgrm::HgrmError;

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}:{line}: {source}; it was written by another version of this program", path.display())]
    Line { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("{}: {source}", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error(transparent)]
    Result(#[from] ReadError),
    #[error(transparent)]
    Hgrm(#[from] HgrmError),
    #[error("{}: a result to add holds one run, measured without --runs", path.display())]
    Several { path: PathBuf },
    #[error("{workload}/{target}: round {round} is missing; measure it again")]
    Missing { workload: String, target: String, round: usize },
    #[error("{workload}/{target}, round {round} failed: {failure}; measure it again")]
    Failed { workload: String, target: String, round: usize, failure: String },
}
