//! The figures of one run.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::disk::Disk;
use super::environment::Environment;
use super::number::round_to;

/// One run of the load generator, as it stands in its JSON object.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Run {
    /// Messages that the server took in the whole run; with `--connections`, connections.
    pub published: u64,
    /// The same each second of the measured time.
    pub published_per_s: f64,
    /// Different messages received in the whole run, summed over the subscribers.
    pub delivered: u64,
    /// The same each second of the measured time.
    pub delivered_per_s: f64,
    /// Messages taken by the server that did not arrive at a subscriber, summed over the subscribers.
    pub lost: u64,
    /// Copies of messages that had arrived before.
    pub duplicated: u64,
    /// Messages that arrived after a later one of the same publisher and name.
    pub reordered: u64,
    /// From when a message was due, or else handed to the client, to its arrival.
    pub latency_us: Quantiles,
    /// From when a message was really sent to its arrival.
    #[serde(default)]
    pub service_time_us: Option<Quantiles>,
    /// From when a message was due to when it was really sent.
    #[serde(default)]
    pub send_delay_us: Option<Quantiles>,
    /// Most messages that were published and that a subscriber had not received, where the run
    /// bounded them.
    #[serde(default)]
    pub inflight: Option<u64>,
    /// What subscribers received that came and left, where the run had such.
    #[serde(default)]
    pub churn: Option<Churned>,
    /// Connections that were open and did nothing, where the run had such.
    #[serde(default)]
    pub idle: Option<Idle>,
    /// How often the server was killed, where it was.
    #[serde(default)]
    pub server_kills: Option<u64>,
    /// The runs of a search, of which this is the best; empty without a search.
    #[serde(default)]
    pub search: Vec<Step>,
    /// What the server used and counted.
    pub server: ServerFigures,
    /// Processor time of the load generator in the measured time.
    pub loadgen_cpu_s: f64,
    /// How long was measured.
    pub measured_s: f64,
    /// What was measured.
    pub target: TargetInfo,
    /// The settings of the run.
    pub config: BTreeMap<String, Value>,
    /// The program, as it was called.
    pub command: String,
    /// Where and with what it was measured.
    pub environment: Environment,
    /// Where the server kept messages.
    #[serde(default)]
    pub disk: Option<Disk>,
    /// What makes the run a failure, a line each.
    pub failures: Vec<String>,
    /// What to know before believing the figures, a line each.
    pub warnings: Vec<String>,
}

impl Run {
    /// Whether it opened connections instead of publishing.
    pub fn is_of_connections(&self) -> bool {
        self.config.get("connections") == Some(&Value::Bool(true))
    }

    /// Whether its messages, or a part of them, asked for acknowledgement.
    pub fn is_acknowledged(&self) -> bool {
        let ratio = self.config.get("ack_ratio").and_then(Value::as_f64);
        self.config.get("ack") == Some(&Value::Bool(true)) || ratio.is_some_and(|ratio| ratio > 0.0)
    }
}

/// The server that was measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct TargetInfo {
    /// Its name.
    pub name: String,
    /// Its version, when it is known.
    pub version: Option<String>,
    /// What its OK to a message promised, when that is known.
    pub durability: Option<Durability>,
}

/// What a message that the server took outlives, weakest first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Nothing: it is in the server's memory.
    Memory,
    /// A crash of the server: it is in the system's page cache.
    PageCache,
    /// A power cut: it was synced before the OK.
    Fsync,
}

impl Durability {
    /// The class, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::PageCache => "page cache",
            Self::Fsync => "fsync before OK",
        }
    }
}

/// What subscribers received that came and left during a run.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Churned {
    /// Times that one came and left.
    pub sessions: u64,
    /// Different messages received of those that each ought to get.
    pub delivered: u64,
    /// Those that did not arrive.
    pub lost: u64,
    /// Copies of messages that had arrived before.
    pub duplicated: u64,
    /// Messages that nobody of this run sent.
    pub foreign: u64,
    /// Names whose messages could not be verified, because the client did not end.
    pub missing_ledgers: u64,
}

impl AddAssign for Churned {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.foreign += other.foreign;
        self.missing_ledgers += other.missing_ledgers;
    }
}

/// Connections that were open during a run and did nothing.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Idle {
    /// How many.
    pub connections: u32,
    /// By how much the server's resident memory grew for each while they were made, when its process is
    /// known.
    pub server_bytes_each: Option<f64>,
    /// How many the server closed during the run.
    pub closed: u32,
}

/// One run of a search for the highest rate.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Step {
    /// Messages a second that were due.
    pub rate: f64,
    /// Whether as many were published.
    pub reached: bool,
    /// Latency in microseconds that 99 % of the messages do not exceed.
    pub p99_us: f64,
    /// Messages that did not arrive, summed over the subscribers.
    pub lost: u64,
    /// Whether the rate is good enough.
    pub holds: bool,
}

/// Points of a distribution in microseconds; none when nothing was measured.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half of the samples are no longer than this.
    pub p50: Option<f64>,
    /// 90 % of them.
    pub p90: Option<f64>,
    /// 99 % of them.
    pub p99: Option<f64>,
    /// 99.9 % of them.
    pub p99_9: Option<f64>,
    /// 99.99 % of them.
    pub p99_99: Option<f64>,
    /// All of them.
    pub max: Option<f64>,
    /// How many there are.
    pub samples: u64,
}

impl Quantiles {
    /// Reads them off a histogram of nanoseconds.
    pub fn new(histogram_ns: &Histogram<u64>) -> Self {
        let samples = histogram_ns.len();
        let us = |ns: u64| (samples > 0).then(|| round_to(ns as f64 / 1e3, 1));
        let at = |quantile| us(histogram_ns.value_at_quantile(quantile));
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: us(histogram_ns.max()),
            samples,
        }
    }
}

/// What the server used and counted; all but nothing for one that the run did not start.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ServerFigures {
    /// Resident memory at the end of the measured time.
    pub rss_kb: Option<u64>,
    /// Processor time in the measured time.
    pub cpu_s: Option<f64>,
    /// Acknowledged messages each second of the measured time.
    pub settled_per_s: Option<f64>,
    /// The server's own counters at the end of the run.
    #[serde(flatten)]
    pub counts: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_microseconds_or_nothing() {
        let mut histogram = Histogram::new(3).expect("3 digits are allowed");
        assert_eq!(Quantiles::new(&histogram), Quantiles::default());
        for ns in [1_000, 2_000, 3_000] {
            histogram.record(ns).expect("it grows");
        }
        let quantiles = Quantiles::new(&histogram);
        assert_eq!((quantiles.p50, quantiles.max, quantiles.samples), (Some(2.0), Some(3.0), 3));
    }

    #[test]
    fn durability_classes_are_ordered_and_named_in_files() {
        assert!(Durability::Memory < Durability::PageCache);
        assert!(Durability::PageCache < Durability::Fsync);
        let names = serde_json::to_value([Durability::PageCache, Durability::Fsync]).ok();
        assert_eq!(names, Some(serde_json::json!(["page-cache", "fsync"])));
    }
}
