//! `mezzenger status`, `connections`, `names` and `pending`: what the server tells of itself over HTTP.

use std::collections::HashSet;
use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::{Api, ApiArgs};
use crate::error::{Error, written};
use crate::overview::{Connection, Name, PendingMessage, Status, bytes, seconds, slow_first};
use crate::show;
use crate::table::{Align, table};

/// Bounds and form of a list.
#[derive(Args)]
struct ListArgs {
    /// Maximum number of entries.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,

    /// Print each entry as a JSON object, as the API has it.
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    /// Prints a list: each entry in JSON, or all of them as a table.
    fn print<T: DeserializeOwned>(
        &self,
        api: &Api,
        what: &str,
        text: impl FnOnce(Vec<T>) -> Vec<String>,
    ) -> Result<(), Error> {
        let found = api.list(what, self.limit)?;
        if self.json {
            return written(found.iter().try_for_each(show::json_line));
        }
        let typed: Result<Vec<T>, Error> =
            found.into_iter().map(|entry| api.typed(what, entry)).collect();
        print_lines(&text(typed?))
    }
}

fn print_lines(lines: &[String]) -> Result<(), Error> {
    written(lines.iter().try_for_each(|line| show::line(line.as_bytes())))
}

/// How to show the status.
#[derive(Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    api: ApiArgs,

    /// Print a JSON object, as the API has it.
    #[arg(long)]
    json: bool,
}

impl StatusArgs {
    pub(crate) fn run(self, timeout: Duration) -> Result<(), Error> {
        let api = self.api.api(timeout)?;
        let status = api.get("status")?;
        if self.json {
            return written(show::json_line(&status));
        }
        print_lines(&status_lines(&api.typed("status", status)?))
    }
}

/// The status for people.
pub(crate) fn status_lines(status: &Status) -> Vec<String> {
    let Status { messages, requests, pending, connections, groups, .. } = status;
    let version = show::on_terminal(&status.version);
    let mut lines = vec![
        format!(
            "server       {version}, {}, up {}",
            status.state().0,
            seconds(status.uptime_seconds)
        ),
        format!(
            "messages     {} accepted, {} delivered, {} redelivered, {} acknowledged",
            messages.accepted, messages.delivered, messages.redelivered, messages.acknowledged
        ),
        format!(
            "             {} duplicate, {} expired, {} dropped; {} delayed and {} retained now",
            messages.duplicate,
            messages.expired,
            messages.dropped,
            messages.delayed,
            messages.retained
        ),
        format!("requests     {}, {} of them rejected", requests.total, requests.rejected),
        format!(
            "bytes        {} received, {} sent, {} queued",
            bytes(status.bytes.received),
            bytes(status.bytes.sent),
            bytes(status.bytes.unsent)
        ),
        format!(
            "pending      {} of {} messages, {} of {}; the oldest for {}",
            pending.messages,
            pending.messages_max,
            bytes(pending.bytes),
            bytes(pending.bytes_max),
            pending.oldest_seconds.map_or("-".to_owned(), seconds)
        ),
        format!(
            "groups       {} with {}; {} waiting, {} in flight",
            groups.count,
            show::counted(groups.members, "member"),
            show::counted(groups.unsettled.saturating_sub(groups.in_flight), "message"),
            groups.in_flight
        ),
        format!("dead letters {}", status.dead_letters.count),
        format!(
            "connections  {} open, {} rejected, {}; {} slow, {} held back",
            connections.open,
            connections.rejected,
            show::counted(connections.subscriptions, "subscription"),
            connections.slow_subscribers,
            show::counted(connections.held_publishers, "publisher")
        ),
    ];
    lines.push(match &status.journal {
        None => "journal      none".to_owned(),
        Some(journal) => format!(
            "journal      {}: {}, {} of it live; {} batches queued, {} syncs of {} in the mean",
            show::on_terminal(&journal.file),
            bytes(journal.file_bytes),
            bytes(journal.live_bytes),
            journal.queued_batches,
            journal.syncs.count(),
            journal.syncs.mean().map_or("-".to_owned(), |time| format!("{time:.1?}"))
        ),
    });
    if let Some(failure) = status.journal.as_ref().and_then(|journal| journal.failure.as_ref()) {
        lines.push(format!("             failed: {}", show::on_terminal(failure)));
    }
    if let Some(resident) = status.process.resident_bytes {
        lines.push(format!("memory       {}", bytes(resident)));
    }
    lines
}

/// Which connections to list, or what to do with one.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ConnectionsArgs {
    #[command(subcommand)]
    command: Option<ConnectionsCommand>,

    #[command(flatten)]
    api: ApiArgs,

    /// Only those that do not keep up.
    #[arg(long)]
    slow: bool,

    #[command(flatten)]
    list: ListArgs,
}

#[derive(Subcommand)]
enum ConnectionsCommand {
    /// Close a connection. Its client may connect again.
    Close {
        /// The connection's number, as the list has it.
        id: u64,

        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

impl ConnectionsArgs {
    pub(crate) fn run(self, timeout: Duration) -> Result<(), Error> {
        let api = self.api.api(timeout)?;
        if let Some(ConnectionsCommand::Close { id, yes }) = self.command {
            return close(&api, id, yes);
        }
        let found = match self.slow {
            true => slow_connections(&api, self.list.limit)?,
            false => connections(&api, self.list.limit)?,
        };
        if self.list.json {
            return written(found.iter().try_for_each(show::json_line));
        }
        let mut found: Vec<Connection> = api.typed("connections", found.into())?;
        slow_first(&mut found);
        print_lines(&connection_lines(&found))
    }
}

fn slow_connections(api: &Api, max: usize) -> Result<Vec<Value>, Error> {
    api.list_those("connections", &[("slow", "true")], max)
}

/// Connections, those that are slow before the others, which may be too many.
///
/// # Errors
/// There is no server, or it rejects.
pub(crate) fn connections(api: &Api, max: usize) -> Result<Vec<Value>, Error> {
    let mut found = slow_connections(api, max)?;
    let slow: HashSet<String> = found.iter().map(|it| it["id"].to_string()).collect();
    let mut all = api.list("connections", max)?;
    all.retain(|it| !slow.contains(&it["id"].to_string()));
    found.append(&mut all);
    found.truncate(max);
    Ok(found)
}

/// Connections for people, in this order.
pub(crate) fn connection_lines(connections: &[Connection]) -> Vec<String> {
    let rows = connections.iter().map(|it| {
        [
            show::on_terminal(&it.id),
            show::on_terminal(it.client.as_deref().unwrap_or("-")),
            show::on_terminal(&it.address),
            show::on_terminal(it.proved()),
            it.kind().to_owned(),
            it.state(),
            bytes(it.queued_bytes),
            it.holds_publishers.to_string(),
            it.dropped.to_string(),
            bytes(it.received_bytes),
            bytes(it.sent_bytes),
            it.subscriptions.to_string(),
            seconds(it.age_seconds),
        ]
    });
    table(
        [
            ("ID", Align::Right),
            ("CLIENT", Align::Left),
            ("ADDRESS", Align::Left),
            ("USER OR KEY", Align::Left),
            ("KIND", Align::Left),
            ("STATE", Align::Left),
            ("QUEUED", Align::Right),
            ("HOLDS", Align::Right),
            ("DROPPED", Align::Right),
            ("IN", Align::Right),
            ("OUT", Align::Right),
            ("SUBSCRIPTIONS", Align::Right),
            ("AGE", Align::Right),
        ],
        rows,
    )
}

/// Closes a connection, once that is confirmed.
fn close(api: &Api, id: u64, yes: bool) -> Result<(), Error> {
    if !yes {
        let all = api.list("connections", usize::MAX)?;
        let found = all.into_iter().find(|it| it["id"].as_str() == Some(&id.to_string()));
        let found: Connection =
            api.typed("connections", found.ok_or(Error::NoConnection { id })?)?;
        let client = found.client.as_ref().map_or(String::new(), |name| format!(" of {name}"));
        let question = format!("Close connection {id}{client} from {}?", found.address);
        if !confirmed(&question)? {
            return print_lines(&["not closed".to_owned()]);
        }
    }
    match api.post(&format!("connections/{id}/close")) {
        Ok(_) => print_lines(&[format!("closed connection {id}")]),
        Err(error) => Err(error),
    }
}

/// Asks at the terminal, on stderr; only `y` and `yes` are a yes.
fn confirmed(question: &str) -> Result<bool, Error> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Error::Unconfirmed);
    }
    let mut stderr = io::stderr();
    let asked = write!(stderr, "{} [y/N] ", show::on_terminal(question));
    asked.and_then(|()| stderr.flush()).map_err(Error::Terminal)?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(Error::Stdin)?;
    Ok(matches!(&answer.trim().to_lowercase()[..], "y" | "yes"))
}

/// Which names to list.
#[derive(Args)]
pub(crate) struct NamesArgs {
    #[command(flatten)]
    api: ApiArgs,

    #[command(flatten)]
    list: ListArgs,
}

impl NamesArgs {
    pub(crate) fn run(self, timeout: Duration) -> Result<(), Error> {
        let api = self.api.api(timeout)?;
        self.list.print(&api, "names", |mut names: Vec<Name>| {
            most_first(&mut names);
            name_lines(&names)
        })
    }
}

/// The names with the most messages first.
pub(crate) fn most_first(names: &mut [Name]) {
    names.sort_by(|one, other| other.messages.cmp(&one.messages).then(one.name.cmp(&other.name)));
}

/// Names for people, in this order. That of all others stands for what is not counted on its own, and is left out as long as
/// that is nothing.
pub(crate) fn name_lines(names: &[Name]) -> Vec<String> {
    let names = names.iter().filter(|it| it.name.is_some() || it.messages > 0);
    let rows = names.map(|it| {
        [
            it.name.as_deref().map_or("(all others)".to_owned(), show::on_terminal),
            it.messages.to_string(),
            bytes(it.bytes),
            it.subscribers.to_string(),
            it.groups.to_string(),
        ]
    });
    table(
        [
            ("NAME", Align::Left),
            ("MESSAGES", Align::Right),
            ("BYTES", Align::Right),
            ("SUBSCRIBERS", Align::Right),
            ("GROUPS", Align::Right),
        ],
        rows,
    )
}

/// Which unacknowledged messages to list.
#[derive(Args)]
pub(crate) struct PendingArgs {
    #[command(flatten)]
    api: ApiArgs,

    #[command(flatten)]
    list: ListArgs,
}

impl PendingArgs {
    pub(crate) fn run(self, timeout: Duration) -> Result<(), Error> {
        let api = self.api.api(timeout)?;
        self.list.print(&api, "pending", |messages: Vec<PendingMessage>| {
            let rows = messages.iter().map(|it| {
                [
                    show::on_terminal(&it.id),
                    show::on_terminal(&it.name),
                    bytes(it.bytes),
                    seconds(it.age_seconds),
                    show::on_terminal(&it.state),
                    show::on_terminal(it.group.as_deref().unwrap_or("-")),
                ]
            });
            table(
                [
                    ("ID", Align::Left),
                    ("NAME", Align::Left),
                    ("BYTES", Align::Right),
                    ("AGE", Align::Right),
                    ("STATE", Align::Left),
                    ("GROUP", Align::Left),
                ],
                rows,
            )
        })
    }
}

/// A list of the API, as these.
///
/// # Errors
/// There is no server, or it rejects.
pub(crate) fn list<T: DeserializeOwned>(
    api: &Api,
    what: &str,
    max: usize,
) -> Result<Vec<T>, Error> {
    api.typed(what, Value::Array(api.list(what, max)?))
}
