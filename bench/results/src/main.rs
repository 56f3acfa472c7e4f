//! Writes RESULTS.md and its charts from the raw files of measurements, so that no figure in it was
//! typed by hand.

mod charts;
mod collect;
mod footprint;
mod markdown;
mod pages;
mod raw;
mod section;
mod template;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::pages::Pages;

/// Writes RESULTS.md, and charts beside the raw files. To be run from the root of the workspace.
///
/// The folder of a record holds a folder for each workload with `TARGET-ROUND.json` and, for workloads
/// with a rate, `TARGET-ROUND.hgrm`, as bench/peers.sh writes them, beside criterion.json, idle.json,
/// pending.json and recovery.json of the subcommands, and torture.json of mezzenger-torture. The text comes from bench/results/template.md.
#[derive(Parser)]
#[command(
    name = "mezzenger-results",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Args {
    /// The folder of the record.
    #[arg(value_name = "FOLDER", required = true)]
    record: Option<PathBuf>,

    /// Write nothing; fail when RESULTS.md or a chart is not what the raw files give.
    #[arg(long)]
    check: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

/// What measures, or gathers, the raw files that loadgen does not write.
#[derive(Subcommand)]
enum Command {
    /// Gathers what `cargo bench -p mezzenger-bench` left under target/criterion into criterion.json.
    /// Results of earlier commits may lie there, too: remove that folder before the benchmarks run.
    Criterion {
        /// The folder of the record.
        #[arg(value_name = "FOLDER")]
        record: PathBuf,
    },
    /// Measures the idle server, a pending message and recovery: idle.json, pending.json,
    /// recovery.json. Builds and runs release programs, which takes some minutes.
    Footprint {
        /// The folder of the record.
        #[arg(value_name = "FOLDER")]
        record: PathBuf,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match (args.command, args.record) {
        (Some(Command::Criterion { record }), _) => criterion(&record),
        (Some(Command::Footprint { record }), _) => footprint::measure(&record).map_err(Into::into),
        (None, Some(record)) => results(&record, args.check),
        // The parser asks for the folder.
        (None, None) => Ok(()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mezzenger-results: {error}");
            ExitCode::FAILURE
        }
    }
}

fn results(record: &Path, check: bool) -> Result<(), Box<dyn Error>> {
    let pages = Pages::new(record)?;
    if check { Ok(pages.check()?) } else { Ok(pages.write()?) }
}

fn criterion(record: &Path) -> Result<(), Box<dyn Error>> {
    let benchmarks = collect::criterion()?;
    Ok(raw::write_json(&record.join(raw::CRITERION), &benchmarks)?)
}
