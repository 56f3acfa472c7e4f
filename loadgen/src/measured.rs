//! Measurements of subscribers, message by message.

use hdrhistogram::Histogram;

/// Longest latency that the histograms tell apart from longer ones.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Significant decimal digits of a latency.
const LATENCY_DIGITS: u8 = 3;

/// An empty histogram of latencies in nanoseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_NS_MAX, LATENCY_DIGITS)
        .expect("constant bounds that HDR histograms allow")
}

/// What one subscriber measured, or all who sent requests.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// From when messages were due, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// From when they were handed to the client; only with a schedule, as it is the same without.
    pub(crate) service: Histogram<u64>,
}

impl Measured {
    pub(crate) fn new() -> Self {
        Self { latency: histogram(), service: histogram() }
    }

    /// Adds what another one measured.
    pub(crate) fn add(&mut self, other: &Self) {
        self.latency += &other.latency;
        self.service += &other.service;
    }
}
