//! Where messages are sent: the target, the run's own server, or a server that runs already.

use std::path::PathBuf;
use std::time::Duration;

use loadgen::report::Durability;
use mezzenger::FsyncPolicy;
use mezzenger::config::{RECV_PORT, parse_duration};
use serde::Serialize;

use super::values::{durability, optional_seconds};
use crate::address::Target;

/// The target of a run, and the settings of the run's own server.
#[derive(clap::Args, Clone, Debug, Default, Serialize)]
pub(crate) struct TargetArgs {
    /// What to put under load: `mezzenger` (an own server, or the one that --server names), `relay`
    /// (the physical limit: one thread and epoll write what a publisher sends to every subscriber; it
    /// answers handshakes, pings and each request, reads nothing but the heads of frames and the names
    /// that clients subscribe to, and keeps nothing), `zmq-forwarder` (a bare loop over libzmq), `libzmq` (the same, for libzmq's own sockets
    /// instead of this project's clients; both need a build with `--features libzmq`), `nats://HOST:PORT`, `nats+raw://HOST:PORT` (spoken by hand, without the cost of its client), `nats+js://HOST:PORT[?storage=memory|file]`,
    /// `redis://HOST:PORT` (pub/sub), `redis+streams://HOST:PORT`, `beanstalkd://HOST:PORT`, `mqtt://HOST:PORT[?qos=0|1]`. Other
    /// brokers need a build with `--features peers`.
    #[arg(long, value_name = "URL", default_value = "mezzenger")]
    pub(crate) target: Target,

    /// What a message survives that another broker took, when the run cannot ask or the broker is
    /// configured for more than its default: memory (nothing), page-cache (a crash of the server) or
    /// fsync (a power cut).
    #[arg(long, value_name = "CLASS", value_parser = durability)]
    pub(crate) durability: Option<Durability>,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) own: OwnServerArgs,

    /// How long messages of this project's clients are to wait for the server at most, when they publish faster
    /// than it takes. A long time shows what the bound on delay costs. Default: the client's.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    #[serde(rename = "target_delay_s", serialize_with = "optional_seconds")]
    pub(crate) target_delay: Option<Duration>,

    /// Encrypt everything with CURVE, with keys made for this run: for mezzenger's own server, `zmq-forwarder` and `libzmq`.
    #[arg(long, conflicts_with_all = ["server", "idle"])]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) curve: bool,

    /// Encrypt everything to `nats://` and `nats+js://` with TLS. The folder has ca.pem, which the server's certificate is checked
    /// against, and client.pem and client.key, which the server checks.
    #[arg(long, value_name = "DIR", conflicts_with = "idle")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<PathBuf>,

    /// Use the Mezzenger server on this host instead of an own one.
    #[arg(long, value_name = "HOST")]
    pub(crate) server: Option<String>,

    /// The process of a server that this run does not start: its processor time and memory stand in the
    /// result.
    #[arg(long, value_name = "PID")]
    #[serde(skip)]
    pub(crate) server_pid: Option<u32>,

    /// Port that clients connect to: the --recv-port of that server.
    #[arg(long, value_name = "PORT", default_value_t = RECV_PORT, requires = "server")]
    #[serde(skip)]
    pub(crate) port: u16,
}

/// Settings of a run's own server; the defaults are the server's.
#[derive(clap::Args, Clone, Debug, Default, Serialize)]
pub(crate) struct OwnServerArgs {
    /// Let the run's own server keep unacknowledged messages in this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) persist_file: Option<PathBuf>,

    /// When that file is synced: always (before the answer), interval=50ms, never. Default: always.
    #[arg(long, value_name = "POLICY", requires = "persist_file")]
    #[serde(serialize_with = "text")]
    pub(crate) fsync: Option<FsyncPolicy>,

    /// How long the run's own server waits for an acknowledgement before it delivers again.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    #[serde(rename = "retry_interval_s", serialize_with = "optional_seconds")]
    pub(crate) retry_interval: Option<Duration>,
}

/// What the run tells the process of its own server.
#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) own: OwnServerArgs,
    #[command(flatten)]
    pub(crate) ports: PortArgs,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
}

/// What the run tells the process of the forwarder.
#[cfg(feature = "libzmq")]
#[derive(clap::Args)]
pub(crate) struct ForwardArgs {
    #[command(flatten)]
    pub(crate) ports: PortArgs,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
}

/// The keys of a child that encrypts.
#[derive(clap::Args)]
pub(crate) struct KeyArgs {
    /// The file with its own.
    #[arg(long, requires = "authorized_keys")]
    pub(crate) curve_secret: Option<PathBuf>,
    /// The folder with those of its clients.
    #[arg(long, requires = "curve_secret")]
    pub(crate) authorized_keys: Option<PathBuf>,
}

/// The ports of a child; 0 picks a free one.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub(crate) struct PortArgs {
    #[arg(long, default_value_t = 0)]
    pub(crate) pub_port: u16,
    #[arg(long, default_value_t = 0)]
    pub(crate) recv_port: u16,
}

fn text<S: serde::Serializer, T: ToString>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.as_ref().map(ToString::to_string).serialize(serializer)
}
