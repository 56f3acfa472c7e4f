//! A latency distribution as text: the percentile distribution of HdrHistogram's Java library, which
//! common plotters read. Its values are microseconds.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Rows for each halving of the distance to 100 %, as the Java library writes by default.
const TICKS_PER_HALF: u32 = 5;

/// Nanoseconds of a microsecond.
const NS_PER_US: f64 = 1e3;

/// Writes a histogram of nanoseconds.
pub fn write(histogram_ns: &Histogram<u64>, mut writer: impl Write) -> io::Result<()> {
    let head = ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"];
    writeln!(writer, "{:>12} {:>14} {:>10} {:>14}\n", head[0], head[1], head[2], head[3])?;
    for Row { value_us, quantile, total } in rows(histogram_ns) {
        write!(writer, "{value_us:12.3} {quantile:.12} {total:10}")?;
        // The last row is at 100 %, where the column has no value.
        if quantile < 1.0 {
            write!(writer, " {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(writer)?;
    }
    let (mean, deviation) = (histogram_ns.mean() / NS_PER_US, histogram_ns.stdev() / NS_PER_US);
    let (max, count) = (histogram_ns.max() as f64 / NS_PER_US, histogram_ns.len());
    // As many as it takes to tell values of so many digits apart.
    let sub_buckets = (2 * 10_u64.pow(histogram_ns.sigfig().into())).next_power_of_two();
    let buckets = histogram_ns.buckets();
    writeln!(writer, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    writeln!(writer, "#[Max     = {max:12.3}, Total count    = {count:12}]")?;
    writeln!(writer, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]")
}

/// The distribution of a histogram of nanoseconds, row by row.
fn rows(histogram_ns: &Histogram<u64>) -> impl Iterator<Item = Row> {
    let values = histogram_ns.iter_quantiles(TICKS_PER_HALF);
    values.scan(0, |total, value| {
        *total += value.count_since_last_iteration();
        let value_us = value.value_iterated_to() as f64 / NS_PER_US;
        Some(Row { value_us, quantile: value.quantile_iterated_to(), total: *total })
    })
}

/// Why a file is no percentile distribution.
#[derive(Debug, thiserror::Error)]
pub enum HgrmError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is none of the format.
    #[error(
        "{}:{line}: {text:?} is no row of a percentile distribution; write the file again with \
         `loadgen --hgrm`",
        path.display()
    )]
    Row {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// It holds no values.
    #[error("{}: no values in it; the run measured no latency", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A latency distribution, by its percentiles. In JSON it is a list of `[microseconds, quantile, count of
/// the samples up to there]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "Vec<(f64, f64, u64)>", into = "Vec<(f64, f64, u64)>")]
pub struct Percentiles {
    /// Ascending in both. The last is at 1.0.
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    value_us: f64,
    quantile: f64,
    /// Samples up to this value.
    total: u64,
}

impl Percentiles {
    /// Reads what [`write()`] wrote.
    pub fn read(path: &Path) -> Result<Self, HgrmError> {
        let text = fs::read_to_string(path)
            .map_err(|source| HgrmError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// The distribution of a histogram of nanoseconds; none when it is empty.
    pub fn new(histogram_ns: &Histogram<u64>) -> Option<Self> {
        let rows: Vec<_> = rows(histogram_ns).collect();
        (!rows.is_empty()).then_some(Self { rows })
    }

    fn parse(text: &str, path: &Path) -> Result<Self, HgrmError> {
        let mut rows = Vec::new();
        for (index, text) in text.lines().enumerate() {
            let is_row = !text.is_empty() && !text.starts_with('#') && !text.contains("Percentile");
            if is_row {
                let bad_row = || HgrmError::Row {
                    path: path.to_owned(),
                    line: index + 1,
                    text: text.to_owned(),
                };
                rows.push(row(text).ok_or_else(bad_row)?);
            }
        }
        match rows.is_empty() {
            true => Err(HgrmError::Empty { path: path.to_owned() }),
            false => Ok(Self { rows }),
        }
    }

    /// The latency that this part of the samples, from 0 to 1, does not exceed, in microseconds.
    pub fn value_us(&self, quantile: f64) -> f64 {
        let at = self.rows.partition_point(|row| row.quantile < quantile);
        self.rows[at.min(self.rows.len() - 1)].value_us
    }

    /// How many samples it was made of.
    pub fn samples(&self) -> u64 {
        self.rows[self.rows.len() - 1].total
    }
}

impl TryFrom<Vec<(f64, f64, u64)>> for Percentiles {
    type Error = &'static str;

    fn try_from(rows: Vec<(f64, f64, u64)>) -> Result<Self, Self::Error> {
        let row = |(value_us, quantile, total)| Row { value_us, quantile, total };
        let rows: Vec<_> = rows.into_iter().map(row).collect();
        if rows.is_empty() { Err("a distribution without values") } else { Ok(Self { rows }) }
    }
}

impl From<Percentiles> for Vec<(f64, f64, u64)> {
    fn from(of: Percentiles) -> Self {
        of.rows.iter().map(|row| (row.value_us, row.quantile, row.total)).collect()
    }
}

fn row(text: &str) -> Option<Row> {
    let mut columns = text.split_whitespace();
    let value_us = columns.next()?.parse().ok()?;
    let quantile = columns.next()?.parse().ok()?;
    let total = columns.next()?.parse().ok()?;
    (0.0..=1.0).contains(&quantile).then_some(Row { value_us, quantile, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(histogram_ns: &Histogram<u64>) -> String {
        let mut bytes = Vec::new();
        write(histogram_ns, &mut bytes).expect("memory takes it");
        String::from_utf8(bytes).expect("it is text")
    }

    /// 1 µs to 1000 µs, one sample each.
    fn even() -> Histogram<u64> {
        let mut histogram = Histogram::new_with_max(3_600_000_000_000, 3).expect("bounds");
        for us in 1..=1000 {
            histogram.record(us * 1000).expect("in bounds");
        }
        histogram
    }

    #[test]
    fn the_text_is_that_of_the_java_library() {
        let text = written(&even());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        assert_eq!(lines[2], "       1.000 0.000000000000          1           1.00");
        assert_eq!(lines[7], "     500.223 0.500000000000        500           2.00");
        let footer = lines.len() - 3;
        assert_eq!(lines[footer - 1], "    1000.447 1.000000000000       1000");
        assert!(lines[footer].starts_with("#[Mean    =      500."), "{}", lines[footer]);
        assert!(lines[footer].contains(", StdDeviation   =      288."), "{}", lines[footer]);
        assert_eq!(lines[footer + 1], "#[Max     =     1000.447, Total count    =         1000]");
        assert_eq!(lines[footer + 2], "#[Buckets =           32, SubBuckets     =         2048]");
    }

    #[test]
    fn what_is_written_is_read() {
        let histogram = even();
        let read = Percentiles::parse(&written(&histogram), Path::new("x")).expect("it is one");
        let unwritten = Percentiles::new(&histogram).expect("it has values");
        assert_eq!((read.samples(), read.rows.len()), (1000, unwritten.rows.len()));
        for (quantile, us) in [(0.0, 1.0), (0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (1.0, 1000.0)]
        {
            let read_us = read.value_us(quantile);
            assert!((read_us / us - 1.0).abs() < 0.02, "{quantile}: {read_us}");
            assert_eq!(read_us, unwritten.value_us(quantile));
        }
        let json = serde_json::to_string(&read).expect("json");
        assert_eq!(serde_json::from_str::<Percentiles>(&json).expect("read"), read);
        assert!(serde_json::from_str::<Percentiles>("[]").is_err());
    }

    #[test]
    fn other_files_are_refused_with_their_line() {
        let error = |text| Percentiles::parse(text, Path::new("x.hgrm")).map(|_| ()).unwrap_err();
        let text = error("1.0 0.5 1\n1.0 half 1\n").to_string();
        assert!(text.starts_with("x.hgrm:2: \"1.0 half 1\""), "{text}");
        assert!(matches!(error("1.0 1.5 1\n"), HgrmError::Row { line: 1, .. }));
        assert!(matches!(error("1.0\n"), HgrmError::Row { line: 1, .. }));
        let empty = Histogram::new(3).expect("3 digits");
        assert!(matches!(error(&written(&empty)), HgrmError::Empty { .. }));
        assert_eq!(Percentiles::new(&empty), None);
    }
}
