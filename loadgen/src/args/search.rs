//! The search for the highest rate.

use std::time::Duration;

use mezzenger::config::parse_duration;
use serde::Serialize;

use super::{Settings, optional_seconds};

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

impl SearchArgs {
    pub(super) fn check(&self, settings: &Settings) -> Result<(), String> {
        let is_zero = self.p99_under.is_some_and(|limit| limit.is_zero());
        if is_zero {
            return Err("--p99-under must be longer than zero".to_owned());
        }
        if self.find_max && (settings.count.is_some() || settings.target.own.persist_file.is_some())
        {
            return Err("--find-max makes several runs of --duration, each with an empty server: \
                        use it without --count and --persist-file"
                .to_owned());
        }
        Ok(())
    }
}
