//! The load generator: settings in, verified runs, figures out.

mod address;
mod args;
mod child;
mod churn;
mod clock;
mod content;
mod count;
mod drain;
mod header;
mod idle;
mod keys;
mod kills;
mod ledger;
mod measured;
mod notes;
mod output;
mod proc;
mod progress;
mod publisher;
mod roll;
mod run;
mod schedule;
mod search;
mod series;
mod serve;
mod size;
mod snapshot;
mod subscriber;
mod target;
mod totals;
mod watcher;
mod window;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use loadgen::report::Record;

use crate::args::{Args, Command, CompareArgs, OutputArgs, Settings};
use crate::output::{Context, ContextError, FileError, Report};
use crate::run::RunError;
use crate::search::{Found, SearchError};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code for calls that make no sense.
const USAGE: u8 = 2;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
enum MeasureError {
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Search(#[from] SearchError),
    #[error(transparent)]
    File(#[from] FileError),
}

fn main() -> ExitCode {
    let mut args = Args::parse();
    match args.command.take() {
        Some(Command::Serve(args)) => exit_code(serve::serve(args), "loadgen's server"),
        Some(Command::Relay(args)) => {
            exit_code(target::relay::relay(args).map_err(Into::into), "loadgen's relay")
        }
        #[cfg(feature = "libzmq")]
        Some(Command::Forward(args)) => {
            exit_code(target::forwarder::forward(args), "loadgen's forwarder")
        }
        Some(Command::Compare(args)) => compare(&args),
        None => {
            proc::raise_open_files();
            let (settings, output) = args.settings();
            match measure(&settings, &output) {
                Ok(record) => judge(&record),
                Err(error) => exit_code(Err(error.into()), "loadgen"),
            }
        }
    }
}

fn exit_code(result: Result<(), Box<dyn Error>>, who: &str) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{who}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Shows how two results differ; the exit code says whether the second is worse.
fn compare(args: &CompareArgs) -> ExitCode {
    let comparison = match output::compare(args) {
        Ok(comparison) => comparison,
        Err(error) => {
            eprintln!("loadgen: {error}");
            return ExitCode::from(USAGE);
        }
    };
    match writeln!(io::stdout(), "{comparison}") {
        Ok(()) if !comparison.is_worse() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => exit_code(Err(error.into()), "loadgen"),
    }
}

/// Runs as often as is wanted and shows each result.
fn measure(settings: &Settings, output: &OutputArgs) -> Result<Record, MeasureError> {
    let mut runs = Vec::new();
    for number in 1..=output.runs() {
        // Names of their own, in case the server still knows those of the run before.
        let used = u64::from(number - 1) * search::STEPS_MAX as u64;
        let settings = Settings { seed: settings.seed.wrapping_add(used), ..settings.clone() };
        let report = measure_once(settings, output.wants_series())?;
        output::show(output, number, &report)?;
        runs.push(report.run);
    }
    let record = Record::new(runs).expect("the command line wants at least one run");
    output::show_all(output, &record)?;
    Ok(record)
}

/// Makes one run, or the search for one.
fn measure_once(settings: Settings, wants_series: bool) -> Result<Report, MeasureError> {
    let context = Context::new(&settings)?;
    let (settings, outcome) = match settings.search.p99_under {
        Some(limit) => {
            let Found { settings, outcome } = search::find_max(&settings, limit, wants_series)?;
            (settings, outcome)
        }
        None => {
            let outcome = run::run(&settings, wants_series)?;
            (settings, outcome)
        }
    };
    Ok(Report::new(settings, context, outcome)?)
}

/// Says what is wrong with the runs; the exit code says whether they were faultless.
fn judge(record: &Record) -> ExitCode {
    let runs = record.runs();
    for warning in runs.iter().flat_map(|run| &run.warnings) {
        eprintln!("loadgen: warning: {warning}");
    }
    for failure in runs.iter().flat_map(|run| &run.failures) {
        eprintln!("loadgen: {failure}");
    }
    if runs.iter().all(|run| run.failures.is_empty()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
