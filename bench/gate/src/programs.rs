//! Builds what is measured, always in the same way: another build would count differently.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

/// Why a program could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo could not be run.
    #[error("cannot run cargo: {0}")]
    Start(#[from] io::Error),
    /// It failed, and said why on stderr.
    #[error("cargo could not build the gate's programs and loadgen; see above")]
    Failed,
    /// It built no such program.
    #[error("neither mezzenger-gate nor loadgen has a program {program}")]
    Missing {
        /// The program.
        program: &'static str,
    },
}

/// A line of what cargo tells.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds the gate's programs and loadgen for release and returns where these are.
///
/// # Errors
/// When they do not build.
pub fn build<const N: usize>(
    workspace: &Path,
    programs: [&'static str; N],
) -> Result<[PathBuf; N], BuildError> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace).stderr(Stdio::inherit());
    cargo.args(["build", "--release", "--locked", "--quiet", "--bins"]);
    cargo.args(["-p", "mezzenger-gate", "-p", "loadgen"]);
    cargo.arg("--message-format=json-render-diagnostics");
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(BuildError::Failed);
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    // Other lines tell of other things.
    let artifacts: Vec<Artifact> =
        lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mut found = [const { PathBuf::new() }; N];
    for (found, program) in found.iter_mut().zip(programs) {
        let mut built = artifacts.iter().filter(|artifact| artifact.target.name == program);
        *found = built
            .find_map(|artifact| artifact.executable.clone())
            .ok_or(BuildError::Missing { program })?;
    }
    Ok(found)
}
