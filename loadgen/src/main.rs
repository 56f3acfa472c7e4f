//! The load generator: settings in, one verified run, figures out.

mod args;
mod child;
mod churn;
mod clock;
mod content;
mod count;
mod drain;
mod header;
mod kills;
mod ledger;
mod notes;
mod proc;
mod progress;
mod publisher;
mod report;
mod run;
mod schedule;
mod search;
mod snapshot;
mod subscriber;
mod target;
mod totals;
mod watcher;
mod window;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::report::Report;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args = Args::parse();
    match args.command.take() {
        Some(Command::Serve(args)) => return exit_code(child::serve(args), "loadgen's server"),
        Some(Command::Forward(args)) => {
            let result = target::forwarder::forward(args).map_err(Into::into);
            return exit_code(result, "loadgen's forwarder");
        }
        None => {}
    }
    let settings = args.settings();
    let json = settings.json;
    let result = match settings.search.p99_under {
        Some(limit) => search::find_max(&settings, limit)
            .map(|found| Report::new(found.settings, &found.outcome))
            .map_err(Into::into),
        None => {
            run::run(&settings).map(|outcome| Report::new(settings, &outcome)).map_err(Into::into)
        }
    };
    match result {
        Ok(report) => judge(&report, json),
        Err(error) => exit_code(Err(error), "loadgen"),
    }
}

fn exit_code(result: Result<(), Box<dyn std::error::Error>>, who: &str) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{who}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the report; the exit code says whether the run was faultless.
fn judge(report: &Report, json: bool) -> ExitCode {
    if let Err(error) = print(report, json) {
        eprintln!("loadgen: the result could not be written: {error}");
        return ExitCode::FAILURE;
    }
    for warning in report.warnings() {
        eprintln!("loadgen: warning: {warning}");
    }
    for failure in report.failures() {
        eprintln!("loadgen: {failure}");
    }
    if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(report: &Report, json: bool) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut stdout, report)?;
        writeln!(stdout)?;
    } else {
        writeln!(stdout, "{report}")?;
    }
    stdout.flush()
}
