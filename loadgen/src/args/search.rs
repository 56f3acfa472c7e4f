//! The search for the highest rate.

use std::time::Duration;

use mezzenger::config::parse_duration;
use serde::Serialize;

use super::values::optional_seconds;

/// What --find-max looks for.
#[derive(clap::Args, Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct SearchArgs {
    /// Look for the highest rate at which nothing is lost and --p99-under holds: runs of --duration
    /// each, from --rate (or 10000/s) on, twice or half as much, then in between, 16 at most.
    #[arg(long, requires = "p99_under")]
    pub(crate) find_max: bool,

    /// The latency that 99 of 100 messages must stay under.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "find_max")]
    #[serde(rename = "p99_under_s", serialize_with = "optional_seconds")]
    pub(crate) p99_under: Option<Duration>,
}
