//! Output of a run: a table or JSON on stdout, and the files that were asked for.

mod compare;
mod context;
mod files;
mod report;
mod table;

use std::io::{self, Write};

use loadgen::report::Record;

pub(crate) use compare::compare;
pub(crate) use context::{Context, ContextError};
pub(crate) use files::FileError;
pub(crate) use report::Report;
use table::{Summary, Table};

use crate::args::OutputArgs;

/// Writes the files of a run, and its table to stdout unless that is for JSON. Runs count from 1.
pub(crate) fn show(args: &OutputArgs, number: u16, report: &Report) -> Result<(), FileError> {
    files::write(args, (args.runs > 1).then_some(number), report)?;
    if args.json {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    let written = if args.runs > 1 {
        writeln!(stdout, "run {number} of {}: {}\n", args.runs, Table(report))
    } else {
        writeln!(stdout, "{}", Table(report))
    };
    written.and_then(|()| stdout.flush()).map_err(FileError::Stdout)
}

/// Writes to stdout what all runs say together.
pub(crate) fn show_all(args: &OutputArgs, record: &Record) -> Result<(), FileError> {
    let mut stdout = io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer(&mut stdout, record)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(stdout))
    } else if args.runs > 1 {
        writeln!(stdout, "{}", Summary(record))
    } else {
        Ok(())
    };
    written.and_then(|()| stdout.flush()).map_err(FileError::Stdout)
}
