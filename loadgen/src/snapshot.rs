//! The counts at one moment: two of them enclose the measured time.

use std::time::Instant;

use hdrhistogram::Histogram;

use crate::child::{ChildError, ChildServer, ServerCounts};
use crate::proc::{self, Usage};
use crate::subscriber::{self, Subscriber};
use crate::target::{Ends, Taken};

/// The counts at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    pub(crate) at: Instant,
    /// Messages that the server took.
    pub(crate) published: u64,
    /// Different messages received, summed over the subscribers.
    pub(crate) delivered: u64,
    /// Processor time of this process.
    pub(crate) own_cpu_s: f64,
    /// Messages acknowledged, where it is known.
    pub(crate) settled: Option<u64>,
    /// The run's own server.
    pub(crate) server: Option<(ServerCounts, Usage)>,
}

impl Snapshot {
    pub(crate) fn take(
        ends: &Ends,
        publishers: &[Taken],
        subscribers: &[Subscriber],
        child: Option<&mut ChildServer>,
    ) -> Result<Self, ChildError> {
        let server = match child {
            Some(child) => Some((child.counts()?, child.usage()?)),
            None => None,
        };
        Ok(Self {
            at: Instant::now(),
            published: published(publishers),
            delivered: delivered(subscribers),
            own_cpu_s: proc::own_cpu_s(),
            settled: ends.settled().or(server.map(|(counts, _)| counts.settled)),
            server,
        })
    }
}

/// Messages that the server took so far.
pub(crate) fn published(publishers: &[Taken]) -> u64 {
    publishers.iter().map(Taken::get).sum()
}

/// Different messages received so far, summed over the subscribers.
pub(crate) fn delivered(subscribers: &[Subscriber]) -> u64 {
    subscribers.iter().map(Subscriber::received).sum()
}

/// All latencies so far, in nanoseconds. Each subscriber is held up for as long as its own are copied.
pub(crate) fn latency(subscribers: &[Subscriber]) -> Histogram<u64> {
    let mut latency = subscriber::histogram();
    for subscriber in subscribers {
        latency += subscriber.latency();
    }
    latency
}
