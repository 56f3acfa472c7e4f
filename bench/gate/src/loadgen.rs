//! Has the load generator measure the server and the relay in turns.

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use serde::Deserialize;

use crate::ratio::Round;

/// Rounds of a block, four runs each.
pub const ROUNDS: usize = 6;

/// One publisher, one subscriber, as fast as it goes, each run short: the machine changes its mind.
const SETTINGS: &[&str] =
    &["--pubs", "1", "--subs", "1", "--duration", "2s", "--warmup", "500ms", "--json"];

/// The same frames through the least that a server can do.
const RELAY: &[&str] = &["--target", "relay"];

/// Why a rate could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum LoadgenError {
    /// It could not be started.
    #[error("cannot run {program}: {source}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It failed.
    #[error("loadgen {arguments} ended with {status}: {stderr}")]
    Failed {
        /// What it was to do.
        arguments: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// It printed something else than its result.
    #[error("loadgen {arguments} printed no result: {source}")]
    Result {
        /// What it was to do.
        arguments: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// What of a result is read.
#[derive(Deserialize)]
struct Measured {
    delivered_per_s: f64,
}

/// The load generator's program.
#[derive(Clone, Debug)]
pub struct Loadgen {
    /// Where it is.
    pub program: PathBuf,
}

impl Loadgen {
    /// Measures one block, and tells of each round.
    ///
    /// # Errors
    /// When a run fails, also because a message was lost.
    pub fn block(&self, mut tell: impl FnMut(&Round)) -> Result<Vec<Round>, LoadgenError> {
        let server = || self.delivered_per_s(&[]);
        let relay = || self.delivered_per_s(RELAY);
        (0..ROUNDS)
            .map(|_| {
                let (first, b) = (server()?, [relay()?, relay()?]);
                let round = Round { a: [first, server()?], b };
                tell(&round);
                Ok(round)
            })
            .collect()
    }

    fn delivered_per_s(&self, target: &[&str]) -> Result<f64, LoadgenError> {
        let arguments: Vec<_> = SETTINGS.iter().chain(target).copied().collect();
        let output = Command::new(&self.program).args(&arguments).output();
        let output = output
            .map_err(|source| LoadgenError::Start { program: self.program.clone(), source })?;
        let arguments = arguments.join(" ");
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(LoadgenError::Failed { arguments, status: output.status, stderr });
        }
        let measured: Measured = serde_json::from_slice(&output.stdout)
            .map_err(|source| LoadgenError::Result { arguments, source })?;
        Ok(measured.delivered_per_s)
    }
}
