//! The gate's command line and exit codes, and what its commands share.

mod check;
mod rebaseline;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mezzenger_gate::loadgen::Loadgen;
use mezzenger_gate::measure::Programs;
use mezzenger_gate::ratio::{self, Ratio};
use mezzenger_gate::{programs, report};

use crate::check::check;
use crate::rebaseline::rebaseline;

/// Compares what a message costs with the baseline in git.
///
/// Exits with 0 when nothing got worse, 1 when something did, 2 when it could not be measured, and 3
/// when the counts passed and the ratio to the relay was too noisy to tell.
#[derive(Parser)]
#[command(name = "mezzenger-gate", version)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only what is exact: no ratio to the relay.
    #[arg(long, global = true)]
    counts_only: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Measures the baseline anew, and shows what changes.
    Rebaseline {
        /// Why the figures may change: it stands in the file.
        #[arg(long, value_parser = reason)]
        reason: String,
    },
}

fn reason(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() { Err("say why the baseline changes") } else { Ok(text.to_owned()) }
}

/// How it ended. The numbers are the exit codes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Pass = 0,
    Regression = 1,
    NoVerdict = 3,
}

const NOT_MEASURED: u8 = 2;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        None => check(args.counts_only),
        Some(Command::Rebaseline { reason }) => rebaseline(reason, args.counts_only),
    };
    match result {
        Ok(outcome) => ExitCode::from(outcome as u8),
        Err(error) => {
            eprintln!("gate: not measured: {error}");
            ExitCode::from(NOT_MEASURED)
        }
    }
}

fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn baseline_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.json")
}

fn build() -> Result<(Programs, Loadgen), AnyError> {
    eprintln!("gate: building what is measured");
    let names = ["gate-pipeline", "gate-pending", "loadgen"];
    let [pipeline, pending, program] = programs::build(workspace(), names)?;
    Ok((Programs { pipeline, pending }, Loadgen { program }))
}

/// Measures the ratio once.
fn block(loadgen: &Loadgen) -> Result<Ratio, AnyError> {
    eprintln!("gate: the server and the relay in turns, delivered messages a second:");
    let rounds = loadgen.block(|round| {
        let [[a, d], [b, c]] = [round.a, round.b];
        eprintln!("gate: server {a:.0} and {d:.0}, relay {b:.0} and {c:.0}");
    })?;
    let ratio = ratio::estimate(&rounds).ok_or("nothing was delivered")?;
    println!("gate: server / relay: {}", report::ratio(&ratio));
    Ok(ratio)
}
