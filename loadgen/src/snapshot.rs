//! The counts at one moment: two of them enclose the measured time.

use std::time::Instant;

use hdrhistogram::Histogram;
use loadgen::report::process::{self, Usage};

use crate::child::{ChildError, ChildServer};
use crate::measured;
use crate::proc;
use crate::subscriber::Subscriber;
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
    /// The run's own server, or the process that the settings name.
    pub(crate) server: Option<Usage>,
}

/// What counts while a run goes on.
#[derive(Clone, Copy)]
pub(crate) struct Counters<'a> {
    pub(crate) ends: &'a Ends,
    /// One for each publisher.
    pub(crate) taken: &'a [Taken],
    pub(crate) subscribers: &'a [Subscriber],
    /// The server's process, where that is not the run's own.
    pub(crate) server_pid: Option<u32>,
}

impl Counters<'_> {
    /// All counts now, those of the run's own server included.
    pub(crate) fn snapshot(self, child: Option<&mut ChildServer>) -> Result<Snapshot, ChildError> {
        let (counts, server) = match (child, self.server_pid) {
            (Some(child), _) => (Some(child.counts()?), Some(child.usage()?)),
            (None, Some(pid)) => (None, Some(process::usage(pid).map_err(ChildError::Gone)?)),
            (None, None) => (None, None),
        };
        Ok(Snapshot {
            at: Instant::now(),
            published: self.published(),
            delivered: self.delivered(),
            own_cpu_s: proc::own_cpu_s(),
            settled: self.ends.settled().or(counts.map(|counts| counts.settled)),
            server,
        })
    }

    /// Messages that the server took so far.
    pub(crate) fn published(self) -> u64 {
        self.taken.iter().map(Taken::get).sum()
    }

    /// Different messages received so far, summed over the subscribers.
    pub(crate) fn delivered(self) -> u64 {
        self.subscribers.iter().map(Subscriber::received).sum()
    }

    /// All latencies so far, in nanoseconds. Each subscriber is held up for as long as its own are
    /// copied.
    pub(crate) fn latency(self) -> Histogram<u64> {
        let mut latency = measured::histogram();
        for subscriber in self.subscribers {
            latency += subscriber.latency();
        }
        latency
    }
}
