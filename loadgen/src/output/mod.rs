//! What a run leaves behind: a table or JSON on stdout, and the files that were asked for.

mod compare;
mod context;
mod files;
mod report;
mod table;

use std::io::{self, Write};
use std::path::PathBuf;

use mezzenger_report::Record;

pub(crate) use compare::{CompareArgs, compare};
pub(crate) use context::{Context, ContextError};
pub(crate) use files::FileError;
pub(crate) use report::Report;
use table::{Summary, Table};

/// Where the result goes, and how many of them there are to be.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct OutputArgs {
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,

    /// Write a row for each measured second to this file: rates, latencies, the server's costs.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Write the distribution of latencies to this file, as HdrHistogram's percentile text in µs.
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,

    /// Draw charts into this folder: latency by percentile, rates over time.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,

    /// Run so many times, print each, then medians, minima and maxima. Files get the run's number
    /// into their names.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
}

impl OutputArgs {
    /// How many runs there are to be.
    pub(crate) fn runs(&self) -> u16 {
        self.runs
    }

    /// Whether an output shows the seconds of a run.
    pub(crate) fn wants_series(&self) -> bool {
        self.csv.is_some() || self.svg.is_some()
    }

    /// Writes the files of a run, and its table to stdout unless that is for JSON. Runs count from 1.
    pub(crate) fn show(&self, number: u16, report: &Report) -> Result<(), FileError> {
        files::write(self, (self.runs > 1).then_some(number), report)?;
        if self.json {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let written = if self.runs > 1 {
            writeln!(stdout, "run {number} of {}: {}\n", self.runs, Table(report))
        } else {
            writeln!(stdout, "{}", Table(report))
        };
        written.and_then(|()| stdout.flush()).map_err(FileError::Stdout)
    }

    /// Writes to stdout what all runs say together.
    pub(crate) fn show_all(&self, record: &Record) -> Result<(), FileError> {
        let mut stdout = io::stdout().lock();
        let written = if self.json {
            serde_json::to_writer(&mut stdout, record)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(stdout))
        } else if self.runs > 1 {
            writeln!(stdout, "{}", Summary(record))
        } else {
            Ok(())
        };
        written.and_then(|()| stdout.flush()).map_err(FileError::Stdout)
    }
}
