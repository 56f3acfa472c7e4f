//! The command line, turned into the settings of a run.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use mezzenger::config::{MAX_MESSAGE_BYTES, PUB_PORT, RECV_PORT, parse_duration};
use serde::{Serialize, Serializer};

use crate::header::Header;

/// Room that name and record fields need in a message besides its payload, generously.
const RECORD_BYTES_MAX: usize = 1024;

/// Measures a Mezzenger server under load, and checks that it loses nothing.
///
/// Starts its own server on free ports unless --server names one. Every message is numbered, and every
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
}

/// What loadgen does besides a run.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Runs the server of a run, until stdin closes.
    #[command(hide = true)]
    Serve(ServeArgs),
}

/// What a run tells its server.
#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    #[arg(long)]
    pub(crate) persist_file: Option<PathBuf>,
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

    /// Bytes of each message's payload.
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = size)]
    pub(crate) size: usize,

    /// How long to measure: 10s, 500ms; a bare number is seconds.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    #[serde(rename = "duration_s", serialize_with = "seconds")]
    pub(crate) duration: Duration,

    /// How long to send before measuring; these messages are verified, too.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
    #[serde(rename = "warmup_s", serialize_with = "seconds")]
    pub(crate) warmup: Duration,

    /// Messages published each second, all publishers together. Default: as many as the server takes.
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) rate: Option<f64>,

    /// Ask for acknowledgement: the server keeps each message until a subscriber acknowledged it.
    #[arg(long)]
    pub(crate) ack: bool,

    /// Let the server keep unacknowledged messages in this file, each synced to disk before it is
    /// answered.
    #[arg(long, value_name = "FILE", requires = "ack", conflicts_with = "server")]
    pub(crate) persist_file: Option<PathBuf>,

    /// Names that the messages are spread over; each subscriber subscribes to all.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) names: u16,

    /// Print the result as one JSON object.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) json: bool,

    /// Use the server on this host instead of an own one.
    #[arg(long, value_name = "HOST")]
    pub(crate) server: Option<String>,

    /// Port that requests go to: the --recv-port of that server.
    #[arg(long, value_name = "PORT", default_value_t = RECV_PORT, requires = "server")]
    #[serde(skip)]
    pub(crate) send_port: u16,

    /// Port that messages come from: the --pub-port of that server.
    #[arg(long, value_name = "PORT", default_value_t = PUB_PORT, requires = "server")]
    #[serde(skip)]
    pub(crate) sub_port: u16,
}

impl Args {
    /// The settings, or a usage error that ends the process.
    pub(crate) fn settings(self) -> Settings {
        if self.settings.duration.is_zero() {
            let error = "--duration must be longer than zero";
            Self::command().error(ErrorKind::ValueValidation, error).exit();
        }
        self.settings
    }
}

fn size(text: &str) -> Result<usize, String> {
    let size: usize = text.parse().map_err(|_| "must be a number of bytes".to_owned())?;
    if size < Header::BYTES {
        return Err(format!(
            "must be at least {}: what each message carries for its verification",
            Header::BYTES
        ));
    }
    let size_max = MAX_MESSAGE_BYTES - RECORD_BYTES_MAX;
    if size > size_max {
        return Err(format!(
            "must be at most {size_max}: what clients and servers take by default"
        ));
    }
    Ok(size)
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("must be a number of messages above 0".to_owned()),
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_message_has_room_for_its_header() {
        assert_eq!(size("24"), Ok(24));
        assert!(size("23").is_err_and(|text| text.contains("at least 24")));
        assert!(size("67108864").is_err());
        assert!(size("much").is_err());
    }

    #[test]
    fn a_rate_is_positive() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for text in ["0", "-1", "inf", "NaN", "fast"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
