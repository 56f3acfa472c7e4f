//! Measures what is no rate of messages, with the release programs.

mod idle;
mod pending;
mod recovery;

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use loadgen::report::Environment;

use crate::collect::CollectError;
use crate::raw::{self, Measure, Measures, RawError};

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FootprintError {
    /// A program could not be started or read from.
    #[error("{program}: {source}")]
    Start {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed; its errors are above")]
    Failed {
        /// Which.
        program: String,
    },
    /// A program said something else than what it is known to say.
    #[error("{program} said {said:?}, in which {wanted} was not found")]
    Output {
        /// Which.
        program: String,
        /// What.
        said: String,
        /// What was looked for.
        wanted: &'static str,
    },
    /// The system does not say what a process uses.
    #[error("the server's resources could not be read: {0}; this needs Linux")]
    Usage(io::Error),
    /// Criterion's results cannot be read.
    #[error(transparent)]
    Criterion(#[from] CollectError),
    /// A result could not be written.
    #[error(transparent)]
    Raw(#[from] RawError),
}

type Measured = Result<Vec<Measure>, FootprintError>;

/// Measures all and writes the raw files.
pub(crate) fn measure(record: &Path) -> Result<(), FootprintError> {
    let measures: [fn() -> Measured; 3] = [idle::measure, pending::measure, recovery::measure];
    for (file, measure) in raw::MEASURES.into_iter().zip(measures) {
        let path = record.join(file);
        let command =
            format!("cargo run --release -p mezzenger-results -- footprint {}", record.display());
        let environment = Environment::here();
        let measures = Measures { command, environment, measures: measure()? };
        raw::write_json(&path, &measures)?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

/// Runs cargo and returns what it printed to stdout.
fn cargo(args: &[&str]) -> Result<String, FootprintError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let program = || format!("cargo {}", args.join(" "));
    let output = Command::new(cargo)
        .args(args)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| FootprintError::Start { program: program(), source })?;
    if !output.status.success() {
        return Err(FootprintError::Failed { program: program() });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
