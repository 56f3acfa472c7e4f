//! The child's side of `child`: says where it listens, answers each line of stdin with a line of
//! counters, and ends with stdin.

use std::fmt::Display;
use std::io::{self, Write};
use std::{process, thread};

use loadgen::report::ready;
use mezzenger::Server;
use mezzenger::curve::{read_authorized_keys, read_key_pair};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::ServeArgs;
use crate::child::ServerCounts;

/// Runs the server of a run, until stdin ends.
pub(crate) fn serve(args: ServeArgs) -> Result<(), Box<dyn std::error::Error>> {
    // That subscribers do not keep up is what a saturated run asks for.
    let filter = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("mezzenger::broker::slow", LevelFilter::ERROR);
    tracing_subscriber::registry().with(fmt::layer().with_writer(io::stderr)).with(filter).init();
    let mut builder =
        Server::builder().pub_port(args.ports.pub_port).recv_port(args.ports.recv_port);
    if let Some(path) = args.own.persist_file {
        builder = builder.persist_file(path);
    }
    if let Some(fsync) = args.own.fsync {
        builder = builder.fsync(fsync);
    }
    if let Some(interval) = args.own.retry_interval {
        builder = builder.retry_interval(interval);
    }
    if let Some((secret, authorized)) = args.keys.curve_secret.zip(args.keys.authorized_keys) {
        builder = builder.curve(read_key_pair(secret)?, read_authorized_keys(authorized)?);
    }
    let server = builder.start()?;
    say(server.pub_addr(), server.recv_addr())?;
    answer(|| server.metrics().into())?;
    Ok(server.shutdown()?)
}

/// For a child whose own thread does not see stdin: answers on another thread, and ends the process
/// with stdin.
pub(crate) fn attend(
    pub_addr: impl Display,
    recv_addr: impl Display,
    counts: impl Fn() -> ServerCounts + Send + 'static,
) -> io::Result<()> {
    say(pub_addr, recv_addr)?;
    thread::Builder::new().name("control".to_owned()).spawn(move || {
        let answered = answer(counts);
        process::exit(i32::from(answered.is_err()));
    })?;
    Ok(())
}

fn say(pub_addr: impl Display, recv_addr: impl Display) -> io::Result<()> {
    writeln!(io::stdout(), "{}", ready::line(pub_addr, recv_addr))
}

/// Answers each line with the counters, until stdin ends.
fn answer(counts: impl Fn() -> ServerCounts) -> io::Result<()> {
    for line in io::stdin().lines() {
        line?;
        writeln!(io::stdout(), "{}", serde_json::to_string(&counts())?)?;
    }
    Ok(())
}
