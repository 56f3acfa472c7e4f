//! The crash torture: rounds of load, `kill -9` at random moments and restarts; then an account of every
//! message that was answered OK. `tests/torture/README.md` says what it proves, and what it cannot.

mod args;
mod child;
mod client;
mod error;
mod fleet;
mod groups;
mod launch;
mod outcome;
mod phase;
mod plan;
mod publish;
mod run;
mod serve;
mod subscribe;
mod work;
mod write_behind;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command, Settings};
use crate::error::TortureError;
use crate::outcome::Outcome;

fn main() -> ExitCode {
    let args = Args::parse();
    match args.command {
        Some(Command::Publish(args)) => exit_code("publisher", publish::publish(args)),
        Some(Command::Subscribe(args)) => exit_code("subscriber", subscribe::subscribe(args)),
        Some(Command::Post(args)) => exit_code("publisher of jobs", publish::post(args)),
        Some(Command::Work(args)) => exit_code("worker", work::work(args)),
        Some(Command::Serve(args)) => exit_code("server", serve::serve(args)),
        None => match torture(&args.settings) {
            Ok(outcome) => judge(&outcome),
            Err(error) => exit_code("torture", Err(error.into())),
        },
    }
}

fn exit_code(who: &str, result: Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mezzenger-torture, {who}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all rounds and writes what came of them.
fn torture(settings: &Settings) -> Result<Outcome<'_>, TortureError> {
    eprintln!("mezzenger-torture: again with --seed {}", settings.seed());
    let mut folder = tempfile::Builder::new();
    let folder = folder.prefix("mezzenger-torture-");
    let folder = match &settings.folder {
        Some(within) => folder.tempdir_in(within)?,
        None => folder.tempdir()?,
    };
    let outcome = run::run(settings, folder.path())?;
    if let Some(path) = &settings.json {
        let mut json = serde_json::to_vec_pretty(&outcome).map_err(io::Error::from)?;
        json.push(b'\n');
        std::fs::write(path, json)
            .map_err(|source| TortureError::Json { path: path.clone(), source })?;
    }
    if !outcome.failures.is_empty() {
        eprintln!("mezzenger-torture: journal and logs are kept in {}", folder.keep().display());
    }
    Ok(outcome)
}

/// Shows the account; the exit code says whether it is faultless.
fn judge(outcome: &Outcome<'_>) -> ExitCode {
    if let Err(error) = write!(io::stdout(), "{outcome}") {
        return exit_code("torture", Err(error.into()));
    }
    for failure in &outcome.failures {
        eprintln!("mezzenger-torture: FAILED: {failure}");
    }
    if outcome.failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("mezzenger-torture: the same again: {}", outcome.command);
    ExitCode::FAILURE
}
