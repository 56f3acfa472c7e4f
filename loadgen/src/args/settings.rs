//! Settings of a load: what is sent, and for how long.

use std::time::Duration;

use clap::value_parser;
use mezzenger::config::parse_duration;
use serde::Serialize;

use super::faults::FaultArgs;
use super::search::SearchArgs;
use super::target::TargetArgs;
use super::values::{rate, ratio, seconds};
use crate::address::{Target, group_inflight};
use crate::size::Size;

/// Seeds that are drawn lie below this: few enough digits to be typed again.
const SEED_END: u64 = 1 << 32;

/// The settings of a run. Counts are positive, and messages have room for their header.
#[derive(clap::Args, Clone, Debug, Serialize)]
pub(crate) struct Settings {
    /// Publishers, each with its own connection.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..))]
    pub(crate) pubs: u16,

    /// Subscribers, each with its own connection; each receives every message, unless --group says otherwise.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..))]
    pub(crate) subs: u16,

    /// Bytes of each message's payload: N, or A..B for sizes drawn evenly, both included.
    #[arg(long, value_name = "N|A..B", default_value = "128")]
    pub(crate) size: Size,

    /// Names that the messages are spread over; each subscriber subscribes to all.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..))]
    pub(crate) names: u16,

    /// How long to measure: 10s, 500ms; a bare number is seconds.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    #[serde(rename = "duration_s", serialize_with = "seconds")]
    pub(crate) duration: Duration,

    /// Publish this many messages in all instead, and measure from the first to the last delivery.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..), conflicts_with_all = ["duration", "warmup"])]
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

    /// Maximum of messages published and not yet received by the slowest subscriber of this run; publishers
    /// wait beyond it. Default: no bound where the server holds publishers back, and for other brokers
    /// what they can queue without loss; the result shows it.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub(crate) inflight: Option<u64>,

    /// Ask for acknowledgement: the server keeps each message until a subscriber acknowledged it.
    #[arg(long)]
    pub(crate) ack: bool,

    /// Ask for acknowledgement of this part of the messages, from 0 to 1.
    #[arg(long, value_name = "RATIO", value_parser = ratio, conflicts_with = "ack")]
    pub(crate) ack_ratio: Option<f64>,

    /// The subscribers are one group: each message goes to one of them, which acknowledges it explicitly if it asks for that.
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) group: bool,

    /// The group is a durable one: it is created before the run, and its messages wait for members.
    #[arg(long, requires = "group")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) durable: bool,

    /// Each message is a request: its publisher sends the next one when a subscriber has answered it with the same
    /// payload. Latency counts to the answer.
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) request: bool,

    /// Open connections instead of publishing: each of the --pubs opens one, waits until the target took it (a client of this
    /// project or of NATS: its hello; a socket of libzmq: a subscription), closes it, and opens the next. Latency counts from the
    /// beginning of the opening to the end of the closing.
    #[arg(long, conflicts_with_all = ["subs", "ack", "ack_ratio", "group", "request", "inflight", "churn", "find_max"])]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) connections: bool,

    /// Decides sizes, acknowledgements, the messages' names, and when subscribers come and servers are
    /// killed: the same seed makes the same run. Default: a new one, which the result shows.
    #[arg(long, value_name = "N", default_value_t = fastrand::u64(0..SEED_END), hide_default_value = true)]
    pub(crate) seed: u64,

    /// Open this many connections beside those of the run, which do nothing but answer the server's
    /// pings, and show what memory the server takes for each.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) idle: u32,

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

impl Settings {
    /// Deliveries of each message.
    pub(crate) fn copies(&self) -> u64 {
        if self.group { 1 } else { self.subscribers().into() }
    }

    /// Subscribers that stay for the whole run.
    pub(crate) fn subscribers(&self) -> u16 {
        if self.connections { 0 } else { self.subs }
    }

    /// Most messages that may be published and not yet received, so that nothing is lost; `None` where publishers are
    /// held back.
    pub(crate) fn inflight(&self) -> Option<u64> {
        let bytes_max = self.size.max;
        let own = || match self.target.target {
            _ if self.connections => None,
            Target::Mezzenger if self.group && self.acks() < 1.0 => {
                Some(group_inflight(self.subs, bytes_max))
            }
            _ => self.target.target.inflight(bytes_max),
        };
        self.inflight.or_else(own)
    }

    /// The part of the messages that asks for acknowledgement.
    pub(crate) fn acks(&self) -> f64 {
        self.ack_ratio.unwrap_or(if self.ack { 1.0 } else { 0.0 })
    }
}
