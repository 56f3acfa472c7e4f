//! Writes metrics of each kind.

use std::fmt;

use mezzenger::Histogram;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// The label of all others.
pub(super) const OTHER: &str = "other";

/// Writes metrics one after the other.
pub(super) struct Writer<'a>(pub(super) DescriptorEncoder<'a>);

impl Writer<'_> {
    pub(super) fn begin(
        &mut self,
        name: &'static str,
        help: &'static str,
        unit: Option<&'static Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'_>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }

    pub(super) fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        value: u64,
    ) -> fmt::Result {
        self.counter_in(name, help, None, value as f64)
    }

    pub(super) fn counter_in(
        &mut self,
        name: &'static str,
        help: &'static str,
        unit: Option<&'static Unit>,
        value: f64,
    ) -> fmt::Result {
        add(&mut self.begin(name, help, unit, MetricType::Counter)?, value)
    }

    pub(super) fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        value: u64,
    ) -> fmt::Result {
        self.gauge_in(name, help, None, value as f64)
    }

    pub(super) fn gauge_in(
        &mut self,
        name: &'static str,
        help: &'static str,
        unit: Option<&'static Unit>,
        value: f64,
    ) -> fmt::Result {
        self.begin(name, help, unit, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// A counter for each value of a label.
    pub(super) fn counters<'v>(
        &mut self,
        name: &'static str,
        help: &'static str,
        unit: Option<&'static Unit>,
        label: &'static str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, help, unit, MetricType::Counter)?;
        for (of, value) in values {
            let labels = [(label, of)];
            add(&mut metric.encode_family(&labels)?, value as f64)?;
        }
        Ok(())
    }

    /// A gauge for each value of a label.
    pub(super) fn gauges<'v>(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, help, None, MetricType::Gauge)?;
        for (of, value) in values {
            let labels = [(label, of)];
            metric.encode_family(&labels)?.encode_gauge(&(value as f64))?;
        }
        Ok(())
    }

    pub(super) fn times(
        &mut self,
        name: &'static str,
        help: &'static str,
        times: &Histogram,
    ) -> fmt::Result {
        let bounds = Histogram::bounds().map(|bound| bound.as_secs_f64()).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(times.counts).collect();
        let (sum, count) = (times.sum.as_secs_f64(), times.count());
        self.begin(name, help, Some(&Unit::Seconds), MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

fn add(metric: &mut MetricEncoder<'_>, value: f64) -> fmt::Result {
    metric.encode_counter::<NoLabelSet, f64, f64>(&value, None)
}

/// A figure of each of these, and what is left of all together.
pub(super) fn with_other<'a, T>(
    listed: &'a [T],
    all: u64,
    named: impl Fn(&'a T) -> (&'a str, u64),
) -> Vec<(&'a str, u64)> {
    let mut found: Vec<_> = listed.iter().map(named).collect();
    let sum: u64 = found.iter().map(|(_, value)| value).sum();
    // It may be named so itself: one label has one value.
    match found.iter_mut().find(|(name, _)| *name == OTHER) {
        Some((_, value)) => *value += all.saturating_sub(sum),
        None => found.push((OTHER, all.saturating_sub(sum))),
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_what_is_not_listed_whatever_that_is_called() {
        let named = |it: &'static (&'static str, u64)| *it;
        static PLAIN: [(&str, u64); 2] = [("a", 1), ("b", 2)];
        assert_eq!(with_other(&PLAIN, 10, named), [("a", 1), ("b", 2), ("other", 7)]);
        static TAKEN: [(&str, u64); 2] = [("other", 1), ("b", 2)];
        assert_eq!(with_other(&TAKEN, 10, named), [("other", 8), ("b", 2)]);
        assert_eq!(with_other(&PLAIN, 2, named)[2], ("other", 0));
    }
}
