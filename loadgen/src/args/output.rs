//! Where results go, and which of them are compared.

use std::path::PathBuf;

use clap::value_parser;

/// Where the result goes, and how many of them there are to be.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct OutputArgs {
    /// Print the result as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a row for each measured second to this file: rates, latencies, the server's costs.
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,

    /// Write the distribution of latencies to this file, as HdrHistogram's percentile text in µs.
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,

    /// Draw charts into this folder: latency by percentile, rates over time.
    #[arg(long, value_name = "DIR")]
    pub(crate) svg: Option<PathBuf>,

    /// Run N times, print each, then medians, minima and maxima. Files get the run's number
    /// into their names.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..))]
    pub(crate) runs: u16,
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
}

/// What to compare.
///
/// Exits with 1 when the second result is worse than the first by more than the bound, with 2 when they
/// cannot be compared.
#[derive(clap::Args)]
pub(crate) struct CompareArgs {
    /// The result to compare with.
    #[arg(value_name = "A.json")]
    pub(crate) before: PathBuf,
    /// The result to judge.
    #[arg(value_name = "B.json")]
    pub(crate) after: PathBuf,
    /// How much worse a median may be.
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = percent)]
    pub(crate) fail_over: f64,
}

/// Reads `5%` as 0.05.
fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim().parse::<f64>() {
        Ok(percent) if percent >= 0.0 && percent.is_finite() => Ok(percent / 100.0),
        _ => Err("must be a percentage such as 5%".to_owned()),
    }
}
