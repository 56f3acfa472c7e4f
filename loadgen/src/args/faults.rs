//! Faults of a run: slow subscribers, some that come and go, a server that is killed.

use std::time::Duration;

use mezzenger::config::parse_duration;
use serde::Serialize;

use super::values::optional_seconds;

/// Faults of a run; none by default.
#[derive(clap::Args, Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct FaultArgs {
    /// This many of the subscribers take --consumer-latency for each message.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "consumer_latency")]
    pub(crate) slow_subs: u16,

    /// How long a slow subscriber takes for a message. Other brokers' clients round it up to
    /// milliseconds.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "slow_subs")]
    #[serde(rename = "consumer_latency_s", serialize_with = "optional_seconds")]
    pub(crate) consumer_latency: Option<Duration>,

    /// This many further subscribers leave and come back each second. What they ought to get between
    /// their confirmed subscription and their leave is verified; it counts apart.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) churn: u16,

    /// Kill (-9) the run's own server about once in this time, at random moments, and start it again on
    /// the same ports and --persist-file. With acknowledged messages nothing may be lost; duplicates
    /// are counted.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    #[serde(rename = "kill_server_every_s", serialize_with = "optional_seconds")]
    pub(crate) kill_server_every: Option<Duration>,
}
