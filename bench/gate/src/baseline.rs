//! The file that everything is compared with.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::costs::Counts;
use crate::fingerprint::Fingerprint;
use crate::ratio::Ratio;

/// The baseline, as it is in git.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The day on which it was measured, in UTC.
    pub date: String,
    /// Why it was measured anew.
    pub reason: String,
    /// With which tools.
    pub fingerprint: Fingerprint,
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// The ratio to the relay, if it was measured.
    pub ratio: Option<Ratio>,
}

/// Why there is no baseline.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The file cannot be read or written.
    #[error(
        "cannot use the baseline {path}: {source}; make one with \
         'cargo run -p mezzenger-gate -- rebaseline --reason \"...\"'"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no baseline.
    #[error(
        "{path} is no baseline: {source}; take the file back from git, or make one with \
         'cargo run -p mezzenger-gate -- rebaseline --reason \"...\"'"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl Baseline {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is missing, or no baseline.
    pub fn read(path: &Path) -> Result<Self, BaselineError> {
        let file = |source| BaselineError::File { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(file)?;
        serde_json::from_str(&text)
            .map_err(|source| BaselineError::Format { path: path.to_owned(), source })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), BaselineError> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| BaselineError::Format { path: path.to_owned(), source })?;
        fs::write(path, text + "\n")
            .map_err(|source| BaselineError::File { path: path.to_owned(), source })
    }
}

/// This day in UTC, as `2026-01-31`.
pub fn today() -> String {
    let text = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::costs::Costs;
    use std::collections::BTreeMap;

    #[test]
    fn what_was_written_is_read_and_its_numbers_are_plain() {
        let costs = Costs {
            instructions_per_message: 193.2,
            allocations_per_message: 0.0472,
            payload_bytes_copied_per_message: 0.0,
        };
        let text = || "x".to_owned();
        let baseline = Baseline {
            date: today(),
            reason: "because".to_owned(),
            fingerprint: Fingerprint {
                rustc: text(),
                cargo_lock: text(),
                valgrind: text(),
                libc: text(),
                cpu: text(),
            },
            counts: Counts {
                scenarios: BTreeMap::from([("flow/server".to_owned(), costs)]),
                fsyncs_per_10000_acked: 78.13,
                rss_bytes_per_pending: 357.6,
            },
            ratio: Some(Ratio { server_over_relay: 0.97, low: 0.95, high: 0.99 }),
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("baseline.json");
        baseline.write(&path).unwrap();
        assert_eq!(Baseline::read(&path).unwrap(), baseline);
        let value: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(value["scenarios"]["flow/server"]["instructions_per_message"], 193.2);
        assert_eq!(value["rss_bytes_per_pending"], 357.6);
    }

    #[test]
    fn a_file_that_is_missing_or_something_else_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("baseline.json");
        let error = Baseline::read(&path).unwrap_err();
        assert!(
            matches!(error, BaselineError::File { .. }) && error.to_string().contains("rebaseline")
        );
        fs::write(&path, "{}").unwrap();
        assert!(matches!(Baseline::read(&path).unwrap_err(), BaselineError::Format { .. }));
    }
}
