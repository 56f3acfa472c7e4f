//! The broker as a program: what `mezzenger-server` does, for it and for the Python package.

mod access;
mod config;
mod http;
mod keys;
mod log;
mod reload;
mod systemd;
mod watch;

use std::error::Error;
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
    Config, ControlHandle, FsyncPolicy, Server, SlowSubscriber, StartError, StopHandle, Verify,
    inspect_journal,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::access::AccessFile;
pub use crate::access::{AccessFileError, ClientProblem, read_file as read_access};
use crate::config::{Loaded, Problem};
use crate::http::{Http, HttpError};
use crate::keys::Directory;
use crate::log::{Log, LogFormat};
use crate::reload::Reload;
use crate::watch::Watched;

/// The heading of settings that can change while the server runs.
const LIVE: &str = "Settings that a reload (SIGHUP) changes";

/// A small, fast message broker: what is sent under a name reaches everyone who subscribed to it.
///
/// Prints `ready pub=ADDR:PORT recv=ADDR:PORT` once it listens. SIGTERM and SIGINT end it cleanly; a second one ends it at
/// once. SIGHUP reads the file of --config again, and without one ends the server, too.
///
/// Each setting, such as --retry-interval 5s, can also be a variable, MEZZENGER_RETRY_INTERVAL=5s, or a line of the file,
/// retry-interval = "5s". A flag counts before a variable, and that before the file.
#[derive(Parser)]
#[command(name = "mezzenger-server", version)]
struct Args {
    /// Read settings from this TOML file. --print-config writes one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print the effective settings, as a file for --config with what each means, and exit.
    #[arg(long)]
    print_config: bool,

    /// Check that the server could start with these settings, and end: with exit code 0 if it could, 2 if not. Opens neither
    /// the journal nor a port.
    #[arg(long, conflicts_with = "print_config")]
    check_config: bool,

    /// Print what the journal in this file holds and what is damaged, and exit: with code 0 when it is
    /// sound, 1 when it is damaged or no journal. Changes nothing, and a server may be using the file.
    #[arg(long, value_name = "FILE", exclusive = true)]
    check_journal: Option<PathBuf>,

    /// Log every request: --log-level debug, whatever the settings say.
    #[arg(long, short)]
    verbose: bool,

    #[command(flatten)]
    settings: Settings,
}

/// What the configuration file can say.
#[derive(clap::Args)]
struct Settings {
    /// IP address to listen on. One that other machines can reach needs --curve-secret,
    /// users in --access, or --insecure.
    #[arg(long, value_name = "ADDR", value_parser = config::address, default_value_t = Config::default().bind)]
    bind: IpAddr,

    /// Port for ZeroMQ SUB sockets, as original clients have; other clients do not use it. 0 picks a free one.
    #[arg(long, value_name = "PORT", default_value_t = Config::default().pub_port)]
    pub_port: u16,

    /// Port that clients connect to: they publish, subscribe and acknowledge here. 0 picks a free one.
    #[arg(long, value_name = "PORT", default_value_t = Config::default().recv_port)]
    recv_port: u16,

    /// Journal: unacknowledged messages are kept in this file and outlive the server.
    #[arg(long, value_name = "FILE")]
    persist_file: Option<PathBuf>,

    /// When the journal is synced to disk: `always` (before OK: survives a power cut), `interval=50ms`
    /// (a power cut loses the last 50 ms; a crash of the server nothing), `never` (a power cut loses
    /// what the system had not written yet; a crash of the server nothing).
    #[arg(long, value_name = "WHEN", default_value_t = Config::default().fsync)]
    fsync: FsyncPolicy,

    /// Start on a damaged journal without its damaged records; the original is kept beside it.
    #[arg(long)]
    repair: bool,

    /// How long an unacknowledged message waits before it is sent again: 10s, 500ms; a bare number is
    /// seconds.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value_t = Config::default().retry_interval.into(), help_heading = LIVE)]
    retry_interval: humantime::Duration,

    /// How long an idempotency key counts: another message under it is not published.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value_t = Config::default().idempotency_window.into(), help_heading = LIVE)]
    idempotency_window: humantime::Duration,

    /// Maximum of unacknowledged messages; further messages with ack are rejected.
    #[arg(long, value_name = "N", default_value_t = Config::default().max_pending_messages, help_heading = LIVE)]
    max_pending_messages: usize,

    /// Maximum bytes of unacknowledged messages (2GiB, 500MB, bytes); further messages with ack are rejected.
    #[arg(long, value_name = "SIZE", value_parser = size_of, default_value_t = size(Config::default().max_pending_bytes), help_heading = LIVE)]
    max_pending_bytes: ByteSize,

    /// Maximum bytes of a message (64MiB, 100kB, bytes); larger ones are rejected.
    #[arg(long, value_name = "SIZE", value_parser = size_of, default_value_t = size(Config::default().max_message_bytes), help_heading = LIVE)]
    max_message_size: ByteSize,

    /// Maximum of connections, of publishers and subscribers together; further ones are closed at once. The
    /// limit on open files (ulimit -n), which is raised as far as the system allows, may allow fewer.
    #[arg(long, value_name = "N", default_value_t = Config::default().max_connections, help_heading = LIVE)]
    max_connections: usize,

    /// Maximum of connections of one address; further ones are closed at once.
    #[arg(long, value_name = "N", default_value_t = Config::default().max_connections_per_address, help_heading = LIVE)]
    max_connections_per_address: usize,

    /// What happens to a subscriber that does not keep up: `hold` (publishers of the names that it wants
    /// wait for it), `drop` (it loses its oldest messages, but for those that somebody has to
    /// acknowledge), `disconnect`. One whose connection takes no bytes for a second is disconnected in any case.
    #[arg(long, value_name = "POLICY", default_value = "hold", help_heading = LIVE)]
    slow_subscriber: SlowSubscriber,

    /// Which MD5 checksums the server checks: never, stored (those of messages that it keeps until they
    /// are acknowledged), always.
    #[arg(long, value_name = "WHICH", default_value = "stored", help_heading = LIVE)]
    verify: Verify,

    /// How long the shutdown may take after SIGTERM.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value_t = Config::default().drain_timeout.into(), help_heading = LIVE)]
    drain_timeout: humantime::Duration,

    /// The server's keys, a file of `mezzenger keygen`: every connection is authenticated and encrypted with CURVE, and
    /// others are closed.
    #[arg(long, value_name = "FILE")]
    curve_secret: Option<PathBuf>,

    /// Directory with the public keys of the clients that are accepted: its files *.key. It is looked at every second, and
    /// the connections of a key that is gone are closed. `*` accepts every client that knows the server's public key.
    #[arg(long, value_name = "DIR")]
    authorized_keys: Option<PathBuf>,

    /// What each client may do (TOML, mode 0600); without it, all may do everything. It is looked at twice a second, and
    /// the connections of those that may do less than before are closed: they may connect again. A [[client]] has a key, or a
    /// user and a password (a hash of `mezzenger hash-password`), and publish, subscribe and groups (lists of names and patterns), and administer; [others] is for all others.
    #[arg(long, value_name = "FILE")]
    access: Option<PathBuf>,

    /// Serve over HTTP: metrics for Prometheus at /metrics, /healthz and /readyz for probes, a JSON API
    /// at /api/v1, and a page for people at /. An address that other machines can reach needs --http-token-file or
    /// --insecure. Port 0 picks a free one, which the log says.
    #[arg(long, value_name = "ADDR:PORT", value_parser = config::http_address)]
    http: Option<SocketAddr>,

    /// File with a token, one line of at least 16 characters, that only its owner can read. HTTP clients have to send it
    /// (`Authorization: Bearer TOKEN`), except to /healthz and /readyz.
    #[arg(long, value_name = "FILE")]
    http_token_file: Option<PathBuf>,

    /// Allow an address that other machines can reach, although nothing authenticates them.
    #[arg(long)]
    insecure: bool,

    /// What is logged, to stderr: error, warn, info, debug (every request), trace. RUST_LOG takes precedence, and allows a
    /// level per module.
    #[arg(long, value_name = "LEVEL", value_parser = ["error", "warn", "info", "debug", "trace"], hide_possible_values = true, default_value = "info", help_heading = LIVE)]
    log_level: String,

    /// What log lines look like: `text`, `json` (one object a line), or `auto`: a text format that suits stderr, in
    /// colours on a terminal, with priorities for journald.
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        hide_possible_values = true,
        default_value = "auto"
    )]
    log_format: LogFormat,
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

impl From<&Settings> for Config {
    fn from(args: &Settings) -> Self {
        let bytes = |size: ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        Self {
            bind: args.bind,
            pub_port: args.pub_port,
            recv_port: args.recv_port,
            persist_file: args.persist_file.clone(),
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

/// The command line, for what is made from it: man pages and completions.
#[doc(hidden)]
pub fn command() -> clap::Command {
    config::command()
}

/// Does what these arguments say, of which the first is the program's name, and returns the exit code. It takes over the process' signals and
/// its log.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let args = match config::command_line(&arguments) {
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
    let code = obey(arguments, &args, &log).unwrap_or_else(|error| {
        log.last_words(&error.to_string());
        let is_usage = error.is::<Problem>()
            || args.check_config
            || matches!(error.downcast_ref(), Some(StartError::Config(_)))
            || error.downcast_ref().is_some_and(HttpError::is_usage);
        if is_usage { USAGE } else { FAILURE }
    });
    log.flush();
    code
}

fn obey(arguments: Vec<OsString>, args: &Args, log: &Log) -> Result<u8, Box<dyn Error>> {
    if let Some(file) = &args.check_journal {
        return check_journal(file);
    }
    log.set_format(args.settings.log_format);
    let file = config::file(args);
    let loaded = config::load(&arguments, file.as_deref())?;
    if args.print_config {
        write!(io::stdout(), "{}", loaded.print()?)?;
        return Ok(0);
    }
    log.set_format(loaded.args.settings.log_format);
    let filter = log_filter(&loaded.args)?;
    let (filter, changes) = tracing_subscriber::reload::Layer::new(filter);
    tracing_subscriber::registry().with(log.layer()).with(filter).init();
    let (config, followed) = start_config(&loaded)?;
    if args.check_config {
        let settings = &loaded.args.settings;
        if let Some(address) = settings.http {
            http::check(address, settings.http_token_file.as_deref(), settings.insecure)?;
        }
        writeln!(io::stdout(), "the server could start with these settings")?;
        return Ok(0);
    }
    raise_descriptor_limit();
    let reloads = file.map(|file| {
        Reload::new(arguments, file, &loaded, Box::new(move |filter| changes.reload(filter)))
    });
    serve(&loaded.args.settings, &config, followed, reloads, log)?;
    Ok(0)
}

/// What is logged: as `RUST_LOG` says (`LEVEL`, or `MODULE=LEVEL` with commas between), which is there for more
/// detail than `--log-level` gives.
fn log_filter(args: &Args) -> Result<Targets, Problem> {
    let level = if args.verbose { "debug" } else { &args.settings.log_level };
    let wanted = match rust_log() {
        Some(wanted) => wanted,
        None => format!("mezzenger={level},audit={level}"),
    };
    wanted.parse().map_err(|error| {
        Problem(format!(
            "RUST_LOG is {wanted:?}: {error}; say a level such as debug, or MODULE=LEVEL with commas between"
        ))
    })
}

fn rust_log() -> Option<String> {
    env::var("RUST_LOG").ok().filter(|wanted| !wanted.is_empty())
}

/// What may change beside the configuration file, and is followed.
#[derive(Default)]
struct Followed {
    keys: Option<Watched<Directory>>,
    access: Option<Watched<AccessFile>>,
}

/// The server's configuration, and what is followed.
fn start_config(loaded: &Loaded) -> Result<(Config, Followed), Box<dyn Error>> {
    let settings = &loaded.args.settings;
    let mut config = Config::from(settings);
    let mut followed = Followed::default();
    match (&settings.curve_secret, &settings.authorized_keys) {
        (Some(secret), Some(authorized)) => {
            let (keys, directory) = keys::read(secret, authorized.clone())?;
            (config.curve, followed.keys) = (Some(keys), directory);
        }
        (None, None) => {}
        (Some(_), None) => return Err(Problem(loaded.explain(
            "--curve-secret needs --authorized-keys: the directory with the clients' public keys, or * for all",
        )).into()),
        (None, Some(_)) => return Err(Problem(loaded.explain(
            "--authorized-keys needs --curve-secret: the server's own keys, a file of mezzenger keygen",
        )).into()),
    }
    if let Some(file) = &settings.access {
        let (access, file) = access::read(file.clone(), config.curve.is_some())?;
        (config.access, followed.access) = (Some(access), Some(file));
    }
    check(loaded, &config)?;
    Ok((config, followed))
}

/// Checks what no setting can by itself.
fn check(loaded: &Loaded, config: &Config) -> Result<(), Problem> {
    let problem = |text: &str| Problem(loaded.explain(text));
    if config.persist_file.is_none() && config.fsync != Config::default().fsync {
        return Err(problem("--fsync needs a journal: name its file with --persist-file"));
    }
    let settings = &loaded.args.settings;
    if settings.http.is_none() && settings.http_token_file.is_some() {
        return Err(problem("--http-token-file needs --http: the address to listen on"));
    }
    config.validate().map_err(|error| problem(&error.to_string()))
}

/// Each connection takes a descriptor: as many as the system allows.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!("the limit on open files stays as it is: {error}");
    }
}

fn serve(
    settings: &Settings,
    config: &Config,
    followed: Followed,
    reloads: Option<Reload>,
    log: &Log,
) -> Result<(), Box<dyn Error>> {
    // Before the server starts, so that no signal finds the default action.
    let running = on_signals(Signals::new(signals(reloads.is_some()))?, reloads, log.clone())?;
    // Before the server starts, so that probes hear that it recovers.
    let token_file = settings.http_token_file.as_deref();
    let http = match settings.http {
        Some(address) => Some(Http::start(address, token_file, settings.insecure)?),
        None => None,
    };
    let server = Server::start(config)?;
    if let Some(http) = &http {
        http.ready(server.inspector());
        tracing::info!("metrics, an API and a page are at http://{}/", http.address());
    }
    if let Some(keys) = followed.keys {
        let handle = server.keys_handle();
        keys.begin(move |keys| handle.set_authorized_keys(keys))?;
    }
    if let Some(permissions) = followed.access {
        let handle = server.access_handle();
        permissions.begin(move |access| {
            // It was checked when it was read.
            if let Err(error) = handle.set_access(access) {
                tracing::error!("the permissions stay as they are: {error}");
            }
        })?;
    }
    // The cell is empty: it is filled here alone.
    let _ = running.set((server.stop_handle(), server.control_handle()));
    let addresses = format!("pub={} recv={}", server.pub_addr(), server.recv_addr());
    systemd::ready(&format!("listening at {addresses}"));
    systemd::feed_watchdog(server.control_handle())?;
    // On its own, as stdout may be a pipe that is full and that nobody reads.
    thread::Builder::new().name("ready".into()).spawn(move || {
        let mut stdout = io::stdout();
        // Whoever started the server may not care for the line.
        let _ = writeln!(stdout, "ready {addresses}").and_then(|()| stdout.flush());
    })?;
    Ok(server.wait()?)
}

fn check_journal(file: &Path) -> Result<u8, Box<dyn Error>> {
    let found = inspect_journal(file)?;
    // Whoever asks may want the exit code alone.
    let _ = writeln!(io::stdout(), "{found}");
    Ok(if found.damage.is_empty() { 0 } else { FAILURE })
}

/// The signals that are for the server. SIGHUP has the configuration read again if there is a file, and otherwise ends the
/// server, unless it was started with that ignored, as `nohup` does.
fn signals(has_file: bool) -> Vec<i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    // Signal 1 is bit 0.
    let outlives_terminal = ignored & (1 << (SIGHUP - 1)) != 0;
    let mut signals = vec![SIGTERM, SIGINT];
    signals.extend((has_file || !outlives_terminal).then_some(SIGHUP));
    signals
}

/// Stops the server that the cell will hold at the first signal that ends it. A journal that is still being read is as
/// safe as it was, so before there is a server the process just ends.
fn on_signals(
    mut signals: Signals,
    mut reloads: Option<Reload>,
    log: Log,
) -> io::Result<Arc<OnceLock<(StopHandle, ControlHandle)>>> {
    let cell = Arc::new(OnceLock::<(StopHandle, ControlHandle)>::new());
    let running = Arc::clone(&cell);
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut is_ending = false;
        for signal in signals.forever() {
            let code = match (running.get(), &mut reloads) {
                (server, Some(reload)) if signal == SIGHUP => {
                    reload.reload(server.map(|(_, control)| control));
                    continue;
                }
                (Some((server, _)), _) if !is_ending => {
                    is_ending = true;
                    systemd::stopping();
                    server.stop();
                    continue;
                }
                (Some(_), _) => 128 + signal,
                (None, _) => 0,
            };
            log.flush();
            std::process::exit(code);
        }
    })?;
    Ok(cell)
}
