//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, value_parser};
use mezzenger::config::parse_duration;

/// Measures what groups and subscriptions promise, on a mezzenger-server that it starts on free ports of 127.0.0.1,
/// and prints a JSON object. Build it with --release to measure.
///
/// Exits with 0 when the measure was taken, whatever it is, 1 when it could not be, or when a message was lost, came too
/// often, or is no dead letter that has to be one; 2 on a usage error.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct ServerArgs {
    /// The server's program. Default: the mezzenger-server beside this program.
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) server: Option<PathBuf>,

    /// A further argument for the server, such as --server-arg=--persist-file=FILE; may come again.
    #[arg(long, value_name = "ARG", global = true, allow_hyphen_values = true)]
    pub(crate) server_arg: Vec<String>,
}

/// What is measured.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// How long after a worker process was killed (-9) that held many messages of a group, another worker has all of
    /// them.
    WorkerDeath(WorkerDeathArgs),
    /// What poison messages, which each attempt refuses, cost the others of their group: phases with and without them
    /// take turns.
    Poison(PoisonArgs),
    /// The memory that each of many subscriptions takes in the server, and what they cost a message that fits few of
    /// them: compared with a server that has only those.
    Subscriptions(SubscriptionsArgs),
    /// A worker that holds what it gets, until it is killed.
    #[command(hide = true)]
    Hold(HoldArgs),
}

/// The options of `worker-death`.
#[derive(clap::Args)]
pub(crate) struct WorkerDeathArgs {
    /// Workers that are killed, one after the other.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// Messages that each holds when it is killed.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=8192))]
    pub(crate) in_flight: u32,

    /// Bytes of each message.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) payload: usize,

    /// Whether the group is durable.
    #[arg(long)]
    pub(crate) durable: bool,
}

/// The options of `poison`.
#[derive(clap::Args)]
pub(crate) struct PoisonArgs {
    /// Pairs of phases, without poison and with it.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// How long each phase takes.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10s")]
    pub(crate) phase: Duration,

    /// Messages a second.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..))]
    pub(crate) rate: u32,

    /// One message in so many is poison.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..))]
    pub(crate) one_in: u32,

    /// Attempts that a message has.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u16).range(1..))]
    pub(crate) attempts: u16,

    /// Workers.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u32).range(1..=64))]
    pub(crate) workers: u32,
}

/// The options of `subscriptions`.
#[derive(clap::Args)]
pub(crate) struct SubscriptionsArgs {
    /// Subscriptions in all.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..))]
    pub(crate) count: u32,

    /// Connections that have them, each as many. One may have 1,024 prefixes and patterns, and all together 100,000
    /// patterns.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,

    /// What they are.
    #[arg(long, value_name = "KIND", value_enum, default_value = "name")]
    pub(crate) filter: FilterKind,

    /// Subscriptions that the published message fits, each on a connection of its own.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=1000))]
    pub(crate) fitting: u32,

    /// Messages that are published one after the other, in each round, on each server.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u32).range(1..))]
    pub(crate) messages: u32,

    /// Rounds, in which the servers take turns. Many short ones, so that what the machine does meanwhile hits both.
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
}

/// What a subscription is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FilterKind {
    /// One name.
    Name,
    /// All names that begin so.
    Prefix,
    /// A pattern over tokens.
    Pattern,
}

/// A worker that holds what it gets.
#[derive(clap::Args)]
pub(crate) struct HoldArgs {
    #[arg(long)]
    pub(crate) port: u16,
    #[arg(long)]
    pub(crate) in_flight: u32,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }
}
