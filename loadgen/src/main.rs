//! The load generator: settings in, one verified run, figures out.

mod args;
mod child;
mod clock;
mod count;
mod header;
mod ledger;
mod notes;
mod proc;
mod progress;
mod publisher;
mod report;
mod run;
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
    match run::run(&settings) {
        Ok(outcome) => {
            let json = settings.json;
            judge(&Report::new(settings, &outcome), json)
        }
        Err(error) => exit_code(Err(error.into()), "loadgen"),
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
