//! The figures that runs are compared by.

use super::run::Run;

/// A figure of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Figure {
    /// Connections that were opened and closed each second.
    Connections,
    /// Messages that the server took each second.
    Published,
    /// Messages that subscribers received each second, summed over them.
    Delivered,
    /// Messages that were acknowledged and forgotten each second.
    Settled,
    /// Median latency.
    LatencyP50,
    /// Latency that 99 % of the messages do not exceed.
    LatencyP99,
    /// Latency that 99.9 % of the messages do not exceed.
    LatencyP999,
    /// Longest latency.
    LatencyMax,
    /// Processor time of the server for each message that it took, whatever the subscribers, or for each connection.
    CpuPerMessage,
    /// Resident memory of the server at the end of the measured time.
    ServerMemory,
    /// Resident memory of the server for each connection that does nothing.
    IdleMemory,
}

/// Which values of a figure are the better ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Better {
    /// The higher ones.
    Higher,
    /// The lower ones.
    Lower,
}

impl Figure {
    /// Those that sum a run up.
    pub const HEADLINE: [Self; 7] = [
        Self::Connections,
        Self::Published,
        Self::Delivered,
        Self::Settled,
        Self::LatencyP50,
        Self::LatencyP99,
        Self::CpuPerMessage,
    ];

    /// Its key in JSON objects.
    pub fn key(self) -> &'static str {
        match self {
            Self::Connections => "connections_per_s",
            Self::Published => "published_per_s",
            Self::Delivered => "delivered_per_s",
            Self::Settled => "settled_per_s",
            Self::LatencyP50 => "latency_p50_us",
            Self::LatencyP99 => "latency_p99_us",
            Self::LatencyP999 => "latency_p99_9_us",
            Self::LatencyMax => "latency_max_us",
            Self::CpuPerMessage => "server_cpu_us_per_message",
            Self::ServerMemory => "server_rss_mb",
            Self::IdleMemory => "server_bytes_per_idle_connection",
        }
    }

    /// Its name with its unit, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections/s",
            Self::Published => "published/s",
            Self::Delivered => "delivered/s",
            Self::Settled => "settled/s",
            Self::LatencyP50 => "latency p50, µs",
            Self::LatencyP99 => "latency p99, µs",
            Self::LatencyP999 => "latency p99.9, µs",
            Self::LatencyMax => "latency max, µs",
            Self::CpuPerMessage => "server CPU, µs/message",
            Self::ServerMemory => "server RSS, MB",
            Self::IdleMemory => "server RSS, B/idle connection",
        }
    }

    /// Which of its values are the better ones.
    pub fn better(self) -> Better {
        match self {
            Self::Connections | Self::Published | Self::Delivered | Self::Settled => Better::Higher,
            Self::LatencyP50
            | Self::LatencyP99
            | Self::LatencyP999
            | Self::LatencyMax
            | Self::CpuPerMessage
            | Self::ServerMemory
            | Self::IdleMemory => Better::Lower,
        }
    }

    /// Its value in a run; none when it was not measured.
    pub fn of(self, run: &Run) -> Option<f64> {
        match self {
            Self::Connections => run.is_of_connections().then_some(run.published_per_s),
            Self::Published => (!run.is_of_connections()).then_some(run.published_per_s),
            Self::Delivered => (!run.is_of_connections()).then_some(run.delivered_per_s),
            Self::Settled => run.server.settled_per_s.filter(|_| run.is_acknowledged()),
            Self::LatencyP50 => run.latency_us.p50,
            Self::LatencyP99 => run.latency_us.p99,
            Self::LatencyP999 => run.latency_us.p99_9,
            Self::LatencyMax => run.latency_us.max,
            Self::CpuPerMessage => {
                let messages = run.published_per_s * run.measured_s;
                run.server.cpu_s.filter(|_| messages > 0.0).map(|cpu_s| cpu_s * 1e6 / messages)
            }
            Self::IdleMemory => run.idle?.server_bytes_each,
            Self::ServerMemory => run.server.rss_kb.map(|kb| kb as f64 * 1024.0 / 1e6),
        }
    }
}
