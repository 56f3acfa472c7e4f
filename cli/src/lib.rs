//! Mezzenger from the shell: publish, subscribe, work, ping. What `mezzenger` does, for it and for the Python package.

mod api;
mod command;
mod dead;
mod duration;
mod error;
mod filter;
mod group;
mod inspect;
mod journal;
mod keys;
mod overview;
mod password;
mod publish;
mod request;
mod retained;
mod show;
mod signals;
mod subscribe;
mod table;
mod top;
mod work;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::builder::RangedI64ValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use mezzenger::config::{MESSAGE_BYTES_MAX, RECV_PORT};
use mezzenger::{Client, ClientBuilder, ConnectionEvent};

use crate::dead::DeadCommand;
use crate::duration::positive;
use crate::error::Error;
use crate::group::GroupCommand;
use crate::inspect::{ConnectionsArgs, NamesArgs, PendingArgs, StatusArgs};
use crate::journal::JournalCommand;
use crate::keys::{KeyArgs, KeygenArgs};
use crate::publish::PublishArgs;
use crate::request::{ReplyArgs, RequestArgs};
use crate::retained::RetainedCommand;
use crate::subscribe::SubscribeArgs;
use crate::top::TopArgs;
use crate::work::WorkArgs;

/// How often a request is sent within the timeout.
const TRIES: u32 = 5;

/// Sends and receives messages through a Mezzenger server.
///
/// Exits with 0 when all went well, 1 on a failure, 2 on a usage error.
#[derive(Parser)]
#[command(name = "mezzenger", version, propagate_version = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Publish a message, and wait until the server has accepted it.
    Pub(PublishArgs),
    /// Print messages as they arrive, until Ctrl-C.
    Sub(SubscribeArgs),
    /// Run a command for each message of a group, until Ctrl-C.
    ///
    /// Publish the messages with --ack, so that they wait while the command runs. One without ack is lost to the group
    /// when all its members are busy.
    Work(WorkArgs),
    /// Publish a request, and print the first answer.
    Request(RequestArgs),
    /// Run a command for each request, and answer with what it prints, until Ctrl-C.
    Reply(ReplyArgs),
    /// List, show, replay and purge dead letters: messages that groups gave up.
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Create, list and delete durable groups, whose messages wait for members.
    #[command(subcommand)]
    Group(GroupCommand),
    /// List and clear retained messages: those that the server keeps as the last ones of their names.
    #[command(subcommand)]
    Retained(RetainedCommand),
    /// Show the server: messages, what is pending, groups, connections, the journal. Needs a server that was started with --http.
    Status(StatusArgs),
    /// List connections, slow subscribers first, or close one. Needs a server that was started with --http.
    Connections(ConnectionsArgs),
    /// List the names under which messages were published, with counts. Needs a server that was started with --http.
    Names(NamesArgs),
    /// List unacknowledged messages: where each is, and for how long. Needs a server that was started with --http.
    Pending(PendingArgs),
    /// Show the server at the terminal, live: rates, pending, journal, connections, groups, names. Needs a server that was started with --http.
    ///
    /// q quits, Tab or 1 to 3 choose the list, s sorts by the next column, r reverses, the arrows scroll. If the output is no
    /// terminal, it is printed once.
    Top(TopArgs),
    /// Read, copy and repair a server's journal, without the server.
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Measure how long the server takes to answer.
    Ping,
    /// Make a pair of keys for a server or a client: NAME.key is public, NAME.key_secret is not.
    ///
    /// A server takes its own pair with --curve-secret NAME.key_secret, and the NAME.key of each client in the
    /// directory of --authorized-keys. Prints the public key.
    Keygen(KeygenArgs),
    /// Print the hash of a password, for the users of a server's --access. Reads the password from the terminal, or
    /// from standard input.
    HashPassword,
}

/// Where the server is, for all commands.
#[derive(clap::Args)]
struct ServerArgs {
    /// Host name or IP address of the server, also as HOST:PORT, or its URL: mezzenger://HOST:PORT.
    #[arg(
        long,
        global = true,
        value_name = "HOST",
        default_value = "127.0.0.1",
        env = "MEZZENGER_SERVER"
    )]
    server: String,

    /// Port of the server: its --recv-port.
    #[arg(
        long,
        global = true,
        value_name = "PORT",
        default_value_t = RECV_PORT,
        value_parser = port(),
        env = "MEZZENGER_PORT"
    )]
    port: u16,

    /// How long to wait for the server, in five attempts: 5s, 500ms; a bare number is seconds. For `request`, also how
    /// long to wait for the reply.
    #[arg(long, global = true, value_name = "DURATION", default_value = "5s", value_parser = positive)]
    timeout: Duration,

    #[command(flatten)]
    keys: KeyArgs,
}

impl ServerArgs {
    /// A builder for a client of this server, which is called by its command.
    ///
    /// # Errors
    /// Keys that cannot be used.
    fn client(&self, command: &str) -> Result<ClientBuilder, Error> {
        let builder = Client::builder()
            .client_name(format!("mezzenger {command}"))
            .port(self.port)
            .server_address(&self.server)
            .send_timeout(self.timeout / TRIES)
            .connection_retries(TRIES)
            // The server's limit counts.
            .max_message_size(MESSAGE_BYTES_MAX);
        self.keys.give(builder)
    }
}

/// A number that is not zero.
fn at_least_one<N>(text: &str) -> Result<N, String>
where
    N: FromStr<Err = ParseIntError> + PartialEq + From<u8>,
{
    match text.parse() {
        Ok(number) if number != N::from(0) => Ok(number),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Err(error.to_string()),
        _ => Err("give 1 or more".to_owned()),
    }
}

fn port() -> RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

/// The command line, for what is made from it: man pages and completions.
#[doc(hidden)]
pub fn command() -> clap::Command {
    Args::command()
}

/// Does what these arguments say, of which the first is the program's name, and returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let args = match parse(arguments) {
        Ok(args) => args,
        Err(error) => {
            // Help and versions come this way, too.
            let _ = error.print();
            return if error.use_stderr() { 2 } else { 0 };
        }
    };
    let result = execute(args.command, &args.server);
    match result {
        Ok(true) => 0,
        // What is wrong was printed.
        Ok(false) => 1,
        Err(error) => {
            complain(&error);
            1
        }
    }
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Args, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    check_server_is_asked(&matches)?;
    Args::from_arg_matches(&matches)
}

/// Rejects the address of a port that the command does not ask: it would show another server than the one that was named.
fn check_server_is_asked(matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some((name @ ("status" | "connections" | "names" | "pending" | "top"), of_command)) =
        matches.subcommand()
    else {
        return Ok(());
    };
    let is_from = |id, source| of_command.value_source(id) == Some(source);
    for id in ["server", "port"] {
        let problem = if is_from(id, ValueSource::CommandLine) {
            format!("--{id} is given")
        } else if is_from(id, ValueSource::EnvVariable)
            && is_from("http", ValueSource::DefaultValue)
        {
            format!("MEZZENGER_{} is set", id.to_uppercase())
        } else {
            continue;
        };
        let text = format!(
            "{problem}, and `{name}` asks the server over HTTP: give --http HOST:PORT, which is the server's --http"
        );
        return Err(command().error(ErrorKind::ArgumentConflict, text));
    }
    Ok(())
}

/// Carries a command out; whether what it looked at is sound.
fn execute(command: Command, server: &ServerArgs) -> Result<bool, Error> {
    match command {
        Command::Journal(journal) => return journal.run(),
        Command::Status(status) => status.run(server.timeout),
        Command::Connections(connections) => connections.run(server.timeout),
        Command::Names(names) => names.run(server.timeout),
        Command::Pending(pending) => pending.run(server.timeout),
        Command::Top(top) => top.run(server.timeout),
        Command::Pub(publish) => publish.run(server.client("pub")?),
        Command::Sub(subscribe) => subscribe.run(server.client("sub")?),
        Command::Work(work) => work.run(server.client("work")?),
        Command::Request(request) => request.run(server.client("request")?, server.timeout),
        Command::Dead(dead) => dead.run(server.client("dead")?),
        Command::Group(group) => group.run(server.client("group")?),
        Command::Retained(retained) => retained.run(server.client("retained")?),
        Command::Reply(reply) => reply.run(server.client("reply")?),
        Command::Ping => ping(server),
        Command::Keygen(keygen) => keygen.run(),
        Command::HashPassword => password::hash(),
    }
    .map(|()| true)
}

fn ping(server: &ServerArgs) -> Result<(), Error> {
    let client = server.client("ping")?.connect()?;
    let time = client.ping()?;
    let us = time.as_secs_f64() * 1e6;
    let ServerArgs { server, port, .. } = server;
    // One colon is in front of a port; more without brackets are an IPv6 address.
    let (_, end) = server.rsplit_once(']').unwrap_or(("", server));
    let whole = if server.contains("://") || end.matches(':').count() == 1 {
        server.clone()
    } else {
        format!("{server}:{port}")
    };
    error::written(show::line(format!("{whole} answered in {us:.0} µs").as_bytes()))
}

/// How soon a signal is noticed.
const SIGNAL_TICK: Duration = Duration::from_millis(100);

/// Says when the connection is lost, and when there is one again.
fn tell_of_losses() -> impl Fn(&ConnectionEvent) + Send + Sync {
    let is_lost = AtomicBool::new(false);
    move |event| match event {
        ConnectionEvent::Disconnected { why, .. } => {
            is_lost.store(true, Ordering::Relaxed);
            complain(&format!("no messages for now: {why}; connecting again"));
        }
        ConnectionEvent::Connected if is_lost.swap(false, Ordering::Relaxed) => {
            complain(&"connected again");
        }
        _ => {}
    }
}

/// Connects a client that says on stderr what fails, and when its connection is lost.
fn connect(builder: ClientBuilder) -> Result<Client, Error> {
    let told = builder.on_error(|failure| complain(failure)).on_connection(tell_of_losses());
    Ok(told.connect()?)
}

/// Says on stderr what is wrong, in one line. It may be a text of the server's or a file's name, and do nothing to a
/// terminal; and whoever read stderr may have gone, which is no reason to end.
fn complain(what: &dyn Display) {
    let _ = writeln!(io::stderr(), "mezzenger: {}", show::on_terminal(&what.to_string()));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn an_address_that_a_command_does_not_ask_is_an_error() {
        let parse = |words: &str| {
            parse(words.split(' ').map(OsString::from)).err().map(|error| error.to_string())
        };
        assert_eq!(parse("mezzenger --server 10.0.0.1 ping"), None);
        assert_eq!(parse("mezzenger status --http 10.0.0.1:7280 --timeout 1s"), None);
        for words in ["--server 10.0.0.1 status", "status --port 1", "top --server 10.0.0.1"] {
            let error = parse(&format!("mezzenger {words}")).unwrap();
            assert!(error.contains("give --http HOST:PORT"), "{words}: {error}");
        }
        assert_eq!(parse("mezzenger journal --server 10.0.0.1 check f"), None);
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }
}
