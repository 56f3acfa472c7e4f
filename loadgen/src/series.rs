//! The measured time, second by second.

use std::time::Duration;

use hdrhistogram::Histogram;
use loadgen::report::Quantiles;
use loadgen::report::number::round_to;
use serde::Serialize;

use crate::snapshot::Snapshot;

/// What happened in one second, or in what the measured time had left at its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Second {
    /// Its end, since the beginning of the measured time.
    pub(crate) time_s: f64,
    /// Messages that the server took.
    pub(crate) published_per_s: f64,
    /// Messages received, summed over the subscribers.
    pub(crate) delivered_per_s: f64,
    /// Latencies of those; empty when none was measured.
    pub(crate) latency_p50_us: Option<f64>,
    pub(crate) latency_p99_us: Option<f64>,
    pub(crate) latency_max_us: Option<f64>,
    /// Processors that the server kept busy; empty for one that the run did not start, or that it
    /// kills.
    pub(crate) server_cpu_cores: Option<f64>,
    /// Its resident memory at the end.
    pub(crate) server_rss_kb: Option<u64>,
}

/// The seconds so far.
pub(crate) struct Series {
    begin: Snapshot,
    last: Snapshot,
    /// All latencies up to `last`, in nanoseconds.
    latency: Histogram<u64>,
    seconds: Vec<Second>,
}

impl Series {
    /// Begins the measured time with the counts at that moment.
    pub(crate) fn new(begin: Snapshot, latency: Histogram<u64>) -> Self {
        Self { begin, last: begin, latency, seconds: Vec::new() }
    }

    /// Whether another second is over.
    pub(crate) fn is_due(&self) -> bool {
        let whole_s = self.seconds.len() as u64 + 1;
        self.begin.at.elapsed() >= Duration::from_secs(whole_s)
    }

    /// Ends a second with the counts and all latencies at that moment.
    pub(crate) fn end_second(&mut self, now: Snapshot, latency: Histogram<u64>) {
        let last = std::mem::replace(&mut self.last, now);
        let before = std::mem::replace(&mut self.latency, latency);
        let elapsed_s = (now.at - last.at).as_secs_f64();
        if elapsed_s <= 0.0 {
            return;
        }
        let mut of_this_second = self.latency.clone();
        // Histograms of one run only grow; were it otherwise, the cell stays empty.
        let latency = match of_this_second.subtract(&before) {
            Ok(()) => Quantiles::new(&of_this_second),
            Err(_) => Quantiles::default(),
        };
        let per_s = |from: u64, to: u64| round_to((to - from) as f64 / elapsed_s, 1);
        // A server that is killed is another one afterwards; the beginning then holds none.
        let used = self.begin.server.and(last.server).zip(now.server);
        self.seconds.push(Second {
            time_s: round_to((now.at - self.begin.at).as_secs_f64(), 3),
            published_per_s: per_s(last.published, now.published),
            delivered_per_s: per_s(last.delivered, now.delivered),
            latency_p50_us: latency.p50,
            latency_p99_us: latency.p99,
            latency_max_us: latency.max,
            server_cpu_cores: used
                .map(|(last, now)| round_to((now.cpu_s - last.cpu_s) / elapsed_s, 2)),
            server_rss_kb: now.server.map(|usage| usage.rss_kb),
        });
    }

    /// All seconds.
    pub(crate) fn finish(self) -> Vec<Second> {
        self.seconds
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use loadgen::report::process::Usage;

    use super::*;
    use crate::measured::histogram;

    fn snapshot(at: Instant, published: u64, cpu_s: f64) -> Snapshot {
        let server = Some(Usage { cpu_s, rss_kb: 7 });
        Snapshot { at, published, delivered: 2 * published, own_cpu_s: 0.0, settled: None, server }
    }

    #[test]
    fn each_second_has_what_happened_in_it() {
        let begin = Instant::now();
        let mut latency = histogram();
        let mut series = Series::new(snapshot(begin, 500, 1.0), latency.clone());
        latency.saturating_record(1_000_000);
        series.end_second(snapshot(begin + Duration::from_secs(1), 1500, 1.5), latency.clone());
        latency.saturating_record(1_000);
        series
            .end_second(snapshot(begin + Duration::from_millis(1500), 2500, 1.6), latency.clone());
        series.end_second(snapshot(begin + Duration::from_secs(2), 2500, 1.6), latency);
        let seconds = series.finish();
        let rates: Vec<_> = seconds
            .iter()
            .map(|second| (second.time_s, second.published_per_s, second.delivered_per_s))
            .collect();
        assert_eq!(rates, [(1.0, 1000.0, 2000.0), (1.5, 2000.0, 4000.0), (2.0, 0.0, 0.0)]);
        let p99: Vec<_> = seconds.iter().map(|second| second.latency_p99_us).collect();
        assert_eq!(p99[1..], [Some(1.0), None], "earlier latencies are not counted again");
        assert!(p99[0].is_some_and(|us| (999.0..1001.0).contains(&us)), "{p99:?}");
        let cores: Vec<_> = seconds.iter().map(|second| second.server_cpu_cores).collect();
        assert_eq!(cores, [Some(0.5), Some(0.2), Some(0.0)]);
        assert_eq!(seconds[0].server_rss_kb, Some(7));
    }
}
