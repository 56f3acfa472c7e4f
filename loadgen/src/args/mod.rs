//! The command line, turned into the settings of a run.
//!
//! [`Settings`] holds what is sent and for how long; each further group of flags is a struct of its own.

mod faults;
mod search;
mod target;
mod values;

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use mezzenger::config::parse_duration;
use serde::{Serialize, Serializer};

pub(crate) use faults::FaultArgs;
pub(crate) use search::SearchArgs;
pub(crate) use target::{ForwardArgs, OwnServerArgs, ServeArgs, TargetArgs};
pub(crate) use values::Size;
use values::{rate, ratio};

use crate::output::{CompareArgs, OutputArgs};

/// Seeds that are drawn lie below this: few enough digits to be typed again.
const SEED_END: u64 = 1 << 32;

/// Measures a Mezzenger server, or another broker, under load, and checks that it loses nothing.
///
/// Starts its own server on free ports unless told otherwise. Every message is numbered, and every
/// subscriber checks every number. Prints rates, losses, latencies and the server's costs. Exits with 0
/// when all is well, 1 on a loss or a failure, 2 on a usage error.
///
/// Without --rate, publishers send as fast as the server takes it, and latency counts from the call of
/// publish, queues of the publisher included. With --rate, messages are due at fixed times and latency
/// counts from those (an open loop: a late message counts in full).
#[derive(Parser)]
#[command(name = "loadgen", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    output: OutputArgs,
}

/// What loadgen does besides a run.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Runs the server of a run, until stdin closes.
    #[command(hide = true)]
    Serve(ServeArgs),
    /// Runs the bare forwarder of a run, until stdin closes.
    #[command(hide = true)]
    Forward(ForwardArgs),
    /// Compares the medians of two results that --json printed.
    Compare(CompareArgs),
}

/// The settings of a run. Counts are positive, and messages have room for their header.
#[derive(clap::Args, Clone, Debug, Serialize)]
pub(crate) struct Settings {
    /// Publishers, each with its own connection.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) pubs: u16,

    /// Subscribers, each with its own connection; each receives every message.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) subs: u16,

    /// Bytes of each message's payload: N, or A..B for sizes drawn evenly, both included.
    #[arg(long, value_name = "N|A..B", default_value = "128")]
    pub(crate) size: Size,

    /// Names that the messages are spread over; each subscriber subscribes to all.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) names: u16,

    /// How long to measure: 10s, 500ms; a bare number is seconds.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    #[serde(rename = "duration_s", serialize_with = "seconds")]
    pub(crate) duration: Duration,

    /// Publish so many messages in all instead, and measure from the first to the last delivery.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = ["duration", "warmup"])]
    pub(crate) count: Option<u64>,

    /// How long to send before measuring; these messages are verified, too.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
    #[serde(rename = "warmup_s", serialize_with = "seconds")]
    pub(crate) warmup: Duration,

    /// Messages published each second, all publishers together. Default: as many as the server takes.
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) rate: Option<f64>,

    /// How long the rate grows from nothing, before the warm-up.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration, requires = "rate")]
    #[serde(rename = "ramp_s", serialize_with = "seconds")]
    pub(crate) ramp: Duration,

    /// Most messages published and not yet received by the slowest subscriber of this run; publishers
    /// wait beyond it. Default: no bound where the server holds publishers back, and for other brokers
    /// what they can queue without loss; the result shows it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) inflight: Option<u64>,

    /// Ask for acknowledgement: the server keeps each message until a subscriber acknowledged it.
    #[arg(long)]
    pub(crate) ack: bool,

    /// Ask for acknowledgement of this part of the messages, from 0 to 1.
    #[arg(long, value_name = "RATIO", value_parser = ratio, conflicts_with = "ack")]
    pub(crate) ack_ratio: Option<f64>,

    /// Decides sizes, acknowledgements, the messages' names, and when subscribers come and servers are
    /// killed: the same seed makes the same run. Default: a new one, which the result shows.
    #[arg(long, value_name = "N", default_value_t = fastrand::u64(0..SEED_END), hide_default_value = true)]
    pub(crate) seed: u64,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) faults: FaultArgs,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) search: SearchArgs,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) target: TargetArgs,
}

impl Args {
    /// The settings and where results go, or a usage error that ends the process.
    pub(crate) fn settings(self) -> (Settings, OutputArgs) {
        if let Err(error) = self.settings.check() {
            Self::command().error(ErrorKind::ValueValidation, error).exit();
        }
        (self.settings, self.output)
    }
}

impl Settings {
    /// The part of the messages that asks for acknowledgement.
    pub(crate) fn acks(&self) -> f64 {
        self.ack_ratio.unwrap_or(if self.ack { 1.0 } else { 0.0 })
    }

    /// Finds flags that do not go together, which the parser cannot see.
    fn check(&self) -> Result<(), String> {
        if self.duration.is_zero() {
            return Err("--duration must be longer than zero".to_owned());
        }
        self.target.check(self)?;
        self.faults.check(self)?;
        self.search.check(self)
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn optional_seconds<S: Serializer>(
    value: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }
}
