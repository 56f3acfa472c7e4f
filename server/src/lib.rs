//! The broker as a program: what `mezzenger-server` does, for it and for the Python package.

mod access;
mod http;
mod keys;
mod log;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::{env, fs, thread};

use bytesize::ByteSize;
use clap::Parser;
use mezzenger::config::parse_duration;
use mezzenger::{
    Config, FsyncPolicy, Server, SlowSubscriber, StartError, StopHandle, Verify, inspect_journal,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::http::{Http, HttpError};
use crate::log::Log;

/// A small, fast message broker: what is sent under a name reaches everyone who subscribed to it.
///
/// Prints `ready pub=ADDR:PORT recv=ADDR:PORT` once it listens. SIGTERM, SIGINT and SIGHUP end it
/// cleanly; a second one ends it at once.
#[derive(Parser)]
#[command(name = "mezzenger-server", version)]
struct Args {
    /// IP address to listen on. One that other machines can reach needs --curve-secret or --insecure.
    #[arg(long, value_name = "ADDR", value_parser = address, default_value_t = Config::default().bind)]
    bind: IpAddr,

    /// Port for subscribers; 0 picks a free one.
    #[arg(long, value_name = "PORT", default_value_t = Config::default().pub_port)]
    pub_port: u16,

    /// Port for publishers and acknowledgements; 0 picks a free one.
    #[arg(long, value_name = "PORT", default_value_t = Config::default().recv_port)]
    recv_port: u16,

    /// Journal: unacknowledged messages are kept in this file and outlive the server.
    #[arg(long, value_name = "FILE")]
    persist_file: Option<PathBuf>,

    /// When the journal is synced to disk: `always` (before OK: survives a power cut), `interval=50ms`
    /// (a power cut loses the last 50 ms; a crash of the server nothing), `never` (a power cut loses
    /// what the system had not written yet; a crash of the server nothing).
    #[arg(long, value_name = "WHEN", default_value_t = Config::default().fsync, requires = "persist_file")]
    fsync: FsyncPolicy,

    /// Go on with a damaged journal without its damaged records; the original is kept beside it.
    #[arg(long)]
    repair: bool,

    /// Tell what the journal in this file holds and what is damaged, and end: with exit code 0 when it is
    /// sound, 1 when it is damaged or no journal. Changes nothing, and a server may be using the file.
    #[arg(long, value_name = "FILE", exclusive = true)]
    check_journal: Option<PathBuf>,

    /// How long an unacknowledged message waits before it is sent again: 10s, 500ms; a bare number is
    /// seconds.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value_t = Config::default().retry_interval.into())]
    retry_interval: humantime::Duration,

    /// How long an idempotency key counts: another message under it is not published.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value_t = Config::default().idempotency_window.into())]
    idempotency_window: humantime::Duration,

    /// Most unacknowledged messages; a publisher beyond is refused.
    #[arg(long, value_name = "N", default_value_t = Config::default().max_pending_messages)]
    max_pending_messages: usize,

    /// Most bytes of unacknowledged messages (2GiB, 500MB, bytes); a publisher beyond is refused.
    #[arg(long, value_name = "SIZE", value_parser = size_of, default_value_t = size(Config::default().max_pending_bytes))]
    max_pending_bytes: ByteSize,

    /// Largest message (64MiB, 100kB, bytes); a larger one is refused.
    #[arg(long, value_name = "SIZE", value_parser = size_of, default_value_t = size(Config::default().max_message_bytes))]
    max_message_size: ByteSize,

    /// Most connections, of publishers and subscribers together; further ones are closed at once. The
    /// limit on open files (ulimit -n), which is raised as far as the system allows, may allow fewer.
    #[arg(long, value_name = "N", default_value_t = Config::default().max_connections)]
    max_connections: usize,

    /// Most connections of one address; further ones are closed at once.
    #[arg(long, value_name = "N", default_value_t = Config::default().max_connections_per_address)]
    max_connections_per_address: usize,

    /// What becomes of a subscriber that does not keep up: `hold` (publishers of the names that it wants
    /// wait for it), `drop` (it loses its oldest messages, but for those that somebody has to
    /// acknowledge), `disconnect`. One that takes nothing at all for a second is disconnected in any case.
    #[arg(long, value_name = "POLICY", default_value = "hold")]
    slow_subscriber: SlowSubscriber,

    /// Which MD5 checksums the server checks: never, stored (those of messages that it keeps until they
    /// are acknowledged), always.
    #[arg(long, value_name = "WHICH", default_value = "stored")]
    verify: Verify,

    /// How long the end may take after SIGTERM.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value_t = Config::default().drain_timeout.into())]
    drain_timeout: humantime::Duration,

    /// The server's keys, a file of `mezzenger keygen`: every connection is authenticated and encrypted with CURVE, and
    /// others are closed.
    #[arg(long, value_name = "FILE", requires = "authorized_keys")]
    curve_secret: Option<PathBuf>,

    /// Directory with the public keys of the clients that are accepted: its files *.key. It is looked at every second, and
    /// the connections of a key that is gone are closed. `*` accepts every client that knows the server's public key.
    #[arg(long, value_name = "DIR", requires = "curve_secret")]
    authorized_keys: Option<PathBuf>,

    /// What each client may do (TOML, mode 0600); without it, all may do everything. It is looked at twice a second, and
    /// the connections of those that may do less than before are closed: they may connect again. A [[client]] has a key,
    /// and publish, subscribe and groups (lists of names and patterns), and administer; [others] is for all others.
    #[arg(long, value_name = "FILE")]
    access: Option<PathBuf>,
    /// Tell over HTTP what the server does: metrics for Prometheus at /metrics, /healthz and /readyz for probes, a JSON API
    /// at /api/v1, and a page for people at /. An address that other machines can reach needs --http-token-file or
    /// --insecure. Port 0 picks a free one, which the log says.
    #[arg(long, value_name = "ADDR:PORT", value_parser = http_address)]
    http: Option<SocketAddr>,

    /// File with a token, one line of at least 16 characters, that only its owner can read. HTTP clients have to send it
    /// (`Authorization: Bearer TOKEN`), except to /healthz and /readyz.
    #[arg(long, value_name = "FILE", requires = "http")]
    http_token_file: Option<PathBuf>,

    /// Allow an address that other machines can reach, although nothing authenticates them.
    #[arg(long)]
    insecure: bool,

    /// Log every request, to stderr. RUST_LOG says it in more detail.
    #[arg(long, short)]
    verbose: bool,
}

fn size(bytes: usize) -> ByteSize {
    ByteSize::b(bytes as u64)
}

fn size_of(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| {
        "expected a size, such as 64MiB, 1.5GiB, 100kB or a number of bytes".to_owned()
    })
}

fn duration(text: &str) -> Result<humantime::Duration, String> {
    parse_duration(text)
        .map(Into::into)
        .map_err(|_| "expected a duration, such as 10s, 500ms or 1m 30s".to_owned())
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| {
        "expected an IP address such as 127.0.0.1, no host name and no port: those are --pub-port and --recv-port"
            .to_owned()
    })
}

fn http_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an IP address and a port, such as 127.0.0.1:7280 or [::1]:7280".to_owned()
    })
}

impl From<Args> for Config {
    fn from(args: Args) -> Self {
        let bytes = |size: ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        Self {
            bind: args.bind,
            pub_port: args.pub_port,
            recv_port: args.recv_port,
            persist_file: args.persist_file,
            fsync: args.fsync,
            repair: args.repair,
            retry_interval: args.retry_interval.into(),
            idempotency_window: args.idempotency_window.into(),
            max_pending_messages: args.max_pending_messages,
            max_pending_bytes: bytes(args.max_pending_bytes),
            max_message_bytes: bytes(args.max_message_size),
            max_connections: args.max_connections,
            max_connections_per_address: args.max_connections_per_address,
            slow_subscriber: args.slow_subscriber,
            verify: args.verify,
            drain_timeout: args.drain_timeout.into(),
            insecure: args.insecure,
            ..Self::default()
        }
    }
}

/// The exit code of a usage error, as clap has it.
const USAGE: u8 = 2;

/// The exit code of whatever else goes wrong.
const FAILURE: u8 = 1;

/// Does what these arguments say, of which the first is the program's name, and returns the exit code. It takes over the process' signals and
/// its log.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            // Help and versions come this way, too.
            let _ = error.print();
            return if error.use_stderr() { USAGE } else { 0 };
        }
    };
    // Before the log's thread is there.
    Server::prepare();
    let log = match Log::start() {
        Ok(log) => log,
        Err(error) => {
            // With no log there is nowhere to tell of a failure to write this.
            let _ = writeln!(io::stderr(), "mezzenger-server: the log cannot be written: {error}");
            return FAILURE;
        }
    };
    log.take_panics();
    let filter = match log_filter(args.verbose) {
        Ok(filter) => filter,
        Err(error) => {
            log.lines(format!("mezzenger-server: {error}\n").as_bytes());
            log.flush();
            return USAGE;
        }
    };
    // Its own errors would be written to stderr at once.
    let lines = fmt::layer().with_writer(log.clone()).log_internal_errors(false);
    tracing_subscriber::registry().with(lines).with(filter).init();
    let done = match &args.check_journal {
        Some(file) => check_journal(file),
        None => serve(args, &log).map(|()| 0),
    };
    let code = done.unwrap_or_else(|error| {
        log.lines(format!("mezzenger-server: {error}\n").as_bytes());
        match error.downcast_ref() {
            Some(StartError::Config(_)) => USAGE,
            _ if error.downcast_ref().is_some_and(HttpError::is_usage) => USAGE,
            _ => FAILURE,
        }
    });
    log.flush();
    code
}

/// What is logged: as `RUST_LOG` says (`LEVEL`, or `MODULE=LEVEL` with commas between), which is there for more
/// detail than `--verbose` gives.
fn log_filter(is_verbose: bool) -> Result<Targets, String> {
    let default = if is_verbose { "mezzenger=debug" } else { "mezzenger=info" };
    let wanted = env::var("RUST_LOG").unwrap_or_default();
    let filter = if wanted.is_empty() { default } else { &wanted };
    filter.parse().map_err(|error| {
        format!("RUST_LOG is {wanted:?}: {error}; say a level such as debug, or MODULE=LEVEL with commas between")
    })
}

/// Each connection takes a descriptor: as many as the system allows.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!("the limit on open files stays as it is: {error}");
    }
}

fn serve(args: Args, log: &Log) -> Result<(), Box<dyn std::error::Error>> {
    let (secret, authorized) = (args.curve_secret.clone(), args.authorized_keys.clone());
    let access = args.access.clone();
    let (http, token_file, insecure) = (args.http, args.http_token_file.clone(), args.insecure);
    let mut config = Config::from(args);
    let watched = match (secret, authorized) {
        (Some(secret), Some(authorized)) => {
            let (keys, watched) = keys::read(&secret, authorized)?;
            config.curve = Some(keys);
            watched
        }
        _ => None,
    };
    let permissions = match access {
        Some(file) => {
            let (access, watched) = access::read(file)?;
            config.access = Some(access);
            Some(watched)
        }
        None => None,
    };
    raise_descriptor_limit();
    // Before the server starts, so that no signal finds the default action.
    let running = stop_on(Signals::new(signals())?, log.clone())?;
    // Before the server starts, so that probes hear that it recovers.
    let http = match http {
        Some(address) => Some(Http::start(address, token_file.as_deref(), insecure)?),
        None => None,
    };
    let server = Server::start(&config)?;
    if let Some(http) = &http {
        http.ready(server.inspector());
        tracing::info!("metrics, an API and a page are at http://{}/", http.address());
    }
    if let Some(watched) = watched {
        let handle = server.keys_handle();
        watched.begin(move |keys| handle.set_authorized_keys(keys))?;
    }
    if let Some(permissions) = permissions {
        let handle = server.access_handle();
        permissions.begin(move |access| {
            // It was checked when it was read.
            if let Err(error) = handle.set_access(access) {
                tracing::error!("the permissions stay as they are: {error}");
            }
        })?;
    }
    // The cell is empty: it is filled here alone.
    let _ = running.set(server.stop_handle());
    let ready = format!("ready pub={} recv={}\n", server.pub_addr(), server.recv_addr());
    // On its own, as stdout may be a pipe that is full and that nobody reads.
    thread::Builder::new().name("ready".into()).spawn(move || {
        let mut stdout = io::stdout();
        // Whoever started the server may not care for the line.
        let _ = stdout.write_all(ready.as_bytes()).and_then(|()| stdout.flush());
    })?;
    Ok(server.wait()?)
}

fn check_journal(file: &Path) -> Result<u8, Box<dyn std::error::Error>> {
    let found = inspect_journal(file)?;
    // Whoever asks may want the exit code alone.
    let _ = writeln!(io::stdout(), "{found}");
    Ok(if found.damage.is_empty() { 0 } else { FAILURE })
}

/// The signals that end the server: SIGHUP, too, unless it was started with that ignored, as `nohup` does.
fn signals() -> Vec<i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    // Signal 1 is bit 0.
    let outlives_terminal = ignored & (1 << (SIGHUP - 1)) != 0;
    let mut signals = vec![SIGTERM, SIGINT];
    signals.extend((!outlives_terminal).then_some(SIGHUP));
    signals
}

/// Stops the server that the cell will hold at the first signal. A journal that is still being read is as
/// safe as it was, so before there is a server the process just ends.
fn stop_on(mut signals: Signals, log: Log) -> io::Result<Arc<OnceLock<StopHandle>>> {
    let cell = Arc::new(OnceLock::<StopHandle>::new());
    let running = Arc::clone(&cell);
    thread::Builder::new().name("signals".into()).spawn(move || {
        for (count, signal) in signals.forever().enumerate() {
            let code = match running.get() {
                Some(server) if count == 0 => {
                    server.stop();
                    continue;
                }
                Some(_) => 128 + signal,
                None => 0,
            };
            log.flush();
            std::process::exit(code);
        }
    })?;
    Ok(cell)
}
