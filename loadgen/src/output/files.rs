//! The files of a run.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use loadgen::report::chart::{self, ChartError, Curve, Line};
use loadgen::report::hgrm::{self, Percentiles};

use super::report::Report;
use crate::args::OutputArgs;
use crate::series::Second;

/// Why a result was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// Stdout does not take it.
    #[error("the result could not be written to stdout: {0}")]
    Stdout(io::Error),
    /// A file or folder does not take it.
    #[error("the result could not be written to {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A chart could not be drawn.
    #[error(transparent)]
    Chart(#[from] ChartError),
}

/// Writes the files of the run with this number, or of the only one.
pub(super) fn write(
    args: &OutputArgs,
    number: Option<u16>,
    report: &Report,
) -> Result<(), FileError> {
    if let Some(path) = &args.hgrm {
        for (what, histogram) in &report.histograms {
            // The plain name is for what everybody plots.
            let suffix = if *what == Report::LATENCY { String::new() } else { format!("-{what}") };
            write_hgrm(&named(path, &suffix.replace(' ', "-"), number), histogram)?;
        }
    }
    if let Some(path) = &args.csv {
        write_csv(&named(path, "", number), &report.seconds)?;
    }
    if let Some(folder) = &args.svg {
        fs::create_dir_all(folder).map_err(|source| error(folder, source))?;
        let chart = |name: &str, svg: String| {
            let path = named(&folder.join(name), "", number);
            fs::write(&path, svg).map_err(|source| error(&path, source))
        };
        chart("latency.svg", latency_chart(report)?)?;
        chart("rates.svg", rates_chart(report)?)?;
    }
    Ok(())
}

/// `path` with `suffix` and the run's number before its extension.
fn named(path: &Path, suffix: &str, number: Option<u16>) -> PathBuf {
    let mut name = OsString::from(path.file_stem().unwrap_or_default());
    name.push(suffix);
    if let Some(number) = number {
        name.push(format!("-{number}"));
    }
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

fn error(path: &Path, source: io::Error) -> FileError {
    FileError::Write { path: path.to_owned(), source }
}

fn write_hgrm(path: &Path, histogram_ns: &Histogram<u64>) -> Result<(), FileError> {
    let write = || {
        let mut writer = BufWriter::new(File::create(path)?);
        hgrm::write(histogram_ns, &mut writer)?;
        writer.flush()
    };
    write().map_err(|source| error(path, source))
}

fn write_csv(path: &Path, seconds: &[Second]) -> Result<(), FileError> {
    let write = || {
        let mut writer = csv::Writer::from_path(path)?;
        for second in seconds {
            writer.serialize(second)?;
        }
        writer.flush().map_err(csv::Error::from)
    };
    write().map_err(|source: csv::Error| error(path, source.into()))
}

fn latency_chart(report: &Report) -> Result<String, ChartError> {
    let curve = |(name, histogram): &(&str, _)| {
        Some(Curve { name: (*name).to_owned(), runs: vec![Percentiles::new(histogram)?] })
    };
    let curves: Vec<_> = report.histograms.iter().filter_map(curve).collect();
    chart::latency(&format!("Latency of {}", report.run.target.name), &curves)
}

fn rates_chart(report: &Report) -> Result<String, ChartError> {
    let line = |name, rate: fn(&Second) -> f64| Line {
        name,
        points: report.seconds.iter().map(|second| (second.time_s, rate(second))).collect(),
    };
    let lines = [
        line("published", |second| second.published_per_s),
        line("delivered, summed over the subscribers", |second| second.delivered_per_s),
    ];
    chart::over_time(&format!("Rates of {}", report.run.target.name), "messages/s", &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_run_comes_before_the_extension() {
        let check = |path: &str, suffix, number, expected: &str| {
            assert_eq!(named(Path::new(path), suffix, number), Path::new(expected));
        };
        check("a/run.hgrm", "", None, "a/run.hgrm");
        check("a/run.hgrm", "", Some(3), "a/run-3.hgrm");
        check("a/run", "-send-delay", Some(3), "a/run-send-delay-3");
    }
}
