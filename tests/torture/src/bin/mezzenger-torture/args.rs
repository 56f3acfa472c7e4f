//! The command line.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Parser, Subcommand, value_parser};
use mezzenger::config::parse_duration;
use mezzenger::journal::FsyncPolicy;
use serde::{Serialize, Serializer};

use crate::client::ClientArgs;

/// Puts load on a mezzenger-server with a journal, kills it, its publishers, its subscribers and the workers of
/// its durable groups (-9) at random moments, starts them again, and accounts for every message that was answered OK.
///
/// Exits with 0 when nothing was lost, 1 when something was or the torture could not go on, 2 on a usage
/// error. All processes are its own children and talk to 127.0.0.1 alone.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// What the torture's own processes are started as.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Publishes numbered messages until stdin ends, and tells what became of each.
    #[command(hide = true)]
    Publish(PublishArgs),
    /// Tells which messages arrive until stdin ends.
    #[command(hide = true)]
    Subscribe(SubscribeArgs),
    /// Publishes jobs until stdin ends, and tells what became of each.
    #[command(hide = true)]
    Post(PostArgs),
    /// Works for a durable group until stdin ends, and tells what it says of each job.
    #[command(hide = true)]
    Work(WorkArgs),
    /// A server whose disk lies, until SIGTERM.
    #[command(hide = true)]
    Serve(ServeArgs),
}

/// What a torture is.
#[derive(clap::Args, Debug, Serialize)]
pub(crate) struct Settings {
    /// Rounds. In each, some of the processes are killed and started again.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// Decides who is killed, when, and in which order. Default: a new one, which is printed.
    #[arg(long, value_name = "N")]
    #[serde(skip)]
    seed: Option<u64>,

    /// Publishing processes.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u32).range(1..=64))]
    pub(crate) publishers: u32,

    /// Subscribing processes. Each has a name of its own, and every message one of these names.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u32).range(1..=64))]
    pub(crate) subscribers: u32,

    /// Processes that publish jobs for durable groups; without one there are no groups.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(..=64))]
    pub(crate) job_publishers: u32,

    /// Worker processes of each of the two durable groups.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u32).range(1..=64))]
    pub(crate) workers: u32,

    /// Messages of a publisher that may be unanswered.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = value_parser!(u32).range(1..))]
    pub(crate) window: u32,

    /// When the server syncs its journal, as for mezzenger-server.
    #[arg(long, value_name = "WHEN", default_value_t = FsyncPolicy::Always)]
    #[serde(serialize_with = "as_text")]
    pub(crate) fsync: FsyncPolicy,

    /// How long the server waits for an acknowledgement before it delivers again.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "500ms")]
    #[serde(rename = "retry_interval_s", serialize_with = "as_seconds")]
    pub(crate) retry_interval: Duration,

    /// The program that is put to the torture. Default: the mezzenger-server beside this program.
    #[arg(long, value_name = "PATH")]
    #[serde(skip)]
    pub(crate) server: Option<PathBuf>,

    /// Torture a server whose disk says that it wrote what it only holds in memory. The account must find
    /// losses: this puts the torture itself to the test.
    #[arg(long, conflicts_with = "server")]
    pub(crate) broken_storage: bool,

    /// Where the folder for journal and logs is made, which is removed at a good end. Default: the
    /// system's folder for temporary files. In a file system in memory no kill falls into a sync.
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) folder: Option<PathBuf>,

    /// Write the result to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
}

impl Settings {
    /// The seed: the one that was given, or one for this process.
    pub(crate) fn seed(&self) -> u64 {
        static RANDOM: OnceLock<u64> = OnceLock::new();
        self.seed.unwrap_or_else(|| *RANDOM.get_or_init(|| fastrand::u64(..)))
    }
}

fn as_text<S: Serializer>(policy: &FsyncPolicy, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(policy)
}

fn as_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// What all publishers are told.
#[derive(clap::Args)]
pub(crate) struct PublisherArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// What its messages carry as their publisher.
    #[arg(long)]
    pub(crate) publisher: u32,
    /// Messages that may be unanswered.
    #[arg(long)]
    pub(crate) window: usize,
}

/// A publisher.
#[derive(clap::Args)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    pub(crate) publisher: PublisherArgs,
    /// Names to publish under in turns.
    #[arg(long)]
    pub(crate) names: u32,
}

/// A publisher of jobs.
#[derive(clap::Args)]
pub(crate) struct PostArgs {
    #[command(flatten)]
    pub(crate) publisher: PublisherArgs,
}

/// A worker.
#[derive(clap::Args)]
pub(crate) struct WorkArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// Which of the groups it works for; they count from 0.
    #[arg(long)]
    pub(crate) group: usize,
}

/// A subscriber.
#[derive(clap::Args)]
pub(crate) struct SubscribeArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// Which of the names is its own.
    #[arg(long)]
    pub(crate) subscriber: u32,
    /// How many names there are.
    #[arg(long)]
    pub(crate) names: u32,
}

/// A server, with the flags of mezzenger-server.
#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    #[arg(long)]
    pub(crate) pub_port: u16,
    #[arg(long)]
    pub(crate) recv_port: u16,
    #[arg(long)]
    pub(crate) persist_file: PathBuf,
    #[arg(long)]
    pub(crate) fsync: FsyncPolicy,
    #[arg(long, value_parser = parse_duration)]
    pub(crate) retry_interval: Duration,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_seed_stays_what_it_is() {
        let args = |args: &[&str]| Args::parse_from([&["torture"], args].concat()).settings;
        assert_eq!(args(&["--seed", "7"]).seed(), 7);
        let random = args(&[]);
        assert_eq!(random.seed(), random.seed());
    }
}
