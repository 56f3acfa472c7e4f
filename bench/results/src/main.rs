//! Writes the figures and charts of RESULTS.md from the record of a measurement, so that none was typed
//! by hand.

mod baseline;
mod charts;
mod error;
mod goals;
mod interop;
mod markdown;
mod page;
mod record;
mod sections;
mod soak;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use loadgen::report::{Environment, Spread};

use crate::page::Page;
use crate::record::{Line, Measure, Record};

/// Writes the figures of RESULTS.md, and the charts, from the record of a measurement: `results.jsonl`
/// in its folder, one JSON object a line. To be run from the root of the workspace.
#[derive(Parser)]
#[command(name = "mezzenger-results", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Adds a result of `loadgen --json` to a record.
    Add {
        /// The folder of the record.
        record: PathBuf,
        /// What was run.
        workload: String,
        /// On what.
        target: String,
        /// Which time, from 1.
        round: usize,
        /// The result.
        json: PathBuf,
        /// Its latencies, as `loadgen --hgrm` wrote them.
        hgrm: Option<PathBuf>,
    },
    /// Adds the outcome of `mezzenger-torture --json` to a record.
    AddTorture {
        /// The folder of the record.
        record: PathBuf,
        /// The outcome.
        json: PathBuf,
    },
    /// Adds the matrix that `tests/interop/run` leaves, to a record.
    AddInterop {
        /// The folder of the record.
        record: PathBuf,
        /// The matrix: `interop.json` in the build directory.
        json: PathBuf,
    },
    /// Adds a figure that is no rate of messages to a record: the median of some values.
    AddMeasure {
        /// The folder of the record.
        record: PathBuf,
        /// What goals know it by.
        key: String,
        /// The unit of its values.
        unit: String,
        /// What measured it.
        command: String,
        /// What it is.
        name: String,
        /// What was measured.
        #[arg(required = true)]
        values: Vec<f64>,
    },
    /// Prints the goals, and which of them a record reaches.
    Goals {
        /// The folder of the record.
        record: PathBuf,
    },
    /// Writes the marked parts of RESULTS.md, and the charts.
    Write {
        /// The folder of the record.
        record: PathBuf,
        /// Write nothing; fail when RESULTS.md or a chart is not what the record gives.
        #[arg(long)]
        check: bool,
    },
    /// Draws the charts of a soak, from what `bench/soak.sh` sampled.
    Soak {
        /// The folder of its record.
        record: PathBuf,
        /// Write nothing; fail when a chart is not what the samples give.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mezzenger-results: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Add { record, workload, target, round, json, hgrm } => {
            let run = record::run(workload, target, round, &json, hgrm.as_deref())?;
            record::append(&record, &[run])?;
        }
        Command::AddTorture { record, json } => {
            record::append(&record, &[record::torture(&json)?])?;
        }
        Command::AddInterop { record, json } => {
            record::append(&record, &[record::interop(&json)?])?;
        }
        Command::AddMeasure { record, key, unit, command, name, values } => {
            let count = Some(values.len());
            let of = Spread::new(values).ok_or("values have to be numbers")?;
            let environment = Environment::here();
            let measure = Measure { key, name, unit, of, values: count, command, environment };
            record::append(&record, &[Line::Measure(Box::new(measure))])?;
        }
        Command::Goals { record } => println!("{}", goals::section(&read(&record)?)),
        Command::Write { record, check } => {
            let page = Page::new(&read(&record)?)?;
            if check { page.check()? } else { page.write()? }
        }
        Command::Soak { record, check } => {
            let charts = Page::of_soak(&record)?;
            if check { charts.check()? } else { charts.write()? }
        }
    }
    Ok(())
}

/// Reads a record; links need its path without `./` and a slash at the end.
fn read(folder: &Path) -> Result<Record, error::RecordError> {
    Record::read(&folder.components().collect::<PathBuf>())
}
