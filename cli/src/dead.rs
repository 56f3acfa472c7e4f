//! `mezzenger dead`: lists, shows, replays and purges dead letters.

use std::io;

use clap::{ArgGroup, Subcommand};
use mezzenger::{AdminError, ClientBuilder, DeadLetter, DeadLetterCause, Filter, MessageId};
use serde_json::json;

use crate::error::{Error, written};
use crate::publish::publishable;
use crate::show::{self, Delivered};

/// What to do with dead letters.
#[derive(Subcommand)]
pub(crate) enum DeadCommand {
    /// List dead letters, the oldest first: id, time, attempts, name and reason.
    List(ListArgs),
    /// Show one dead letter, with its payload.
    Show(ShowArgs),
    /// Deliver dead letters to their group again, with attempts from 1. The group must have members, or be durable.
    #[command(
        override_usage = "mezzenger dead replay [OPTIONS] <GROUP> <IDS...|--name <NAME>|--all>"
    )]
    Replay(ChangeArgs),
    /// Delete dead letters.
    #[command(
        override_usage = "mezzenger dead purge [OPTIONS] <GROUP> <IDS...|--name <NAME>|--all>"
    )]
    Purge(ChangeArgs),
}

/// Which to list.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// The group. Default: all groups.
    #[arg(default_value = "")]
    group: String,

    /// Maximum number of entries.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,

    /// Print each as a JSON object.
    #[arg(long)]
    json: bool,
}

/// Which to show.
#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    /// The group.
    group: String,

    /// The message's id, as `list` prints it.
    id: MessageId,

    /// Print a JSON object, with the message as `mezzenger sub --json` has it.
    #[arg(long)]
    json: bool,

    /// Print the payload byte for byte. Control characters reach the terminal.
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

/// Which to replay or to purge.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("which").required(true))]
pub(crate) struct ChangeArgs {
    /// The group.
    group: String,

    /// The dead letters with these ids.
    #[arg(group = "which")]
    ids: Vec<MessageId>,

    /// The dead letters of messages of this name.
    #[arg(long, group = "which", value_parser = publishable)]
    name: Option<String>,

    /// All dead letters of the group.
    #[arg(long, group = "which")]
    all: bool,

    /// Print their number as a JSON object.
    #[arg(long)]
    json: bool,
}

impl DeadCommand {
    pub(crate) fn run(self, builder: ClientBuilder) -> Result<(), Error> {
        let client = builder.connect()?;
        match self {
            Self::List(args) => {
                let letters = client.dead_letters(&args.group).list(args.limit)?;
                let is_none = letters.is_empty() && args.limit > 0 && !args.group.is_empty();
                // Who may not see groups gets the empty list.
                if is_none && matches!(client.groups().get(&args.group), Ok(None)) {
                    return Err(Error::NoGroup { group: args.group });
                }
                written(letters.iter().try_for_each(|letter| args.print(letter)))
            }
            Self::Show(args) => {
                let (letter, message) = client.dead_letters(&args.group).show(args.id)?;
                written(if args.json {
                    let mut object = object(&letter);
                    let attempt = letter.attempts;
                    let delivered = Delivered { again: true, attempt, ..Delivered::default() };
                    object["message"] = show::json(&message, delivered);
                    show::json_line(&object)
                } else {
                    show::line(line(&letter).as_bytes())
                        .and_then(|()| show::line(&show::text(&message, args.raw)))
                })
            }
            Self::Replay(args) => {
                let letters = client.dead_letters(&args.group);
                let count = args.change(
                    || letters.replay(&args.ids),
                    |name| letters.replay_named(name),
                    || letters.replay_all(),
                )?;
                written(args.print(count, "replayed"))
            }
            Self::Purge(args) => {
                let letters = client.dead_letters(&args.group);
                let count = args.change(
                    || letters.purge(&args.ids),
                    |name| letters.purge_named(name),
                    || letters.purge_all(),
                )?;
                written(args.print(count, "purged"))
            }
        }
    }
}

impl ListArgs {
    fn print(&self, letter: &DeadLetter) -> io::Result<()> {
        if self.json {
            show::json_line(&object(letter))
        } else {
            show::line(line(letter).as_bytes())
        }
    }
}

impl ChangeArgs {
    /// Prints how many there were.
    fn print(&self, count: u64, changed: &str) -> io::Result<()> {
        match self.json {
            true => show::json_line(&json!({ changed: count })),
            false => show::line(format!("{count} {changed}").as_bytes()),
        }
    }

    fn change(
        &self,
        ids: impl FnOnce() -> Result<u64, AdminError>,
        named: impl FnOnce(&str) -> Result<u64, AdminError>,
        all: impl FnOnce() -> Result<u64, AdminError>,
    ) -> Result<u64, AdminError> {
        match &self.name {
            Some(name) => named(name),
            None if self.all => all(),
            None => ids(),
        }
    }
}

fn line(letter: &DeadLetter) -> String {
    let DeadLetter { id, died, attempts, name, group, .. } = letter;
    let died = humantime::format_rfc3339_seconds(*died);
    let (name, group) = (show::on_terminal(name), show::on_terminal(group));
    let why = match (letter.cause, &letter.reason) {
        (DeadLetterCause::Expired, _) => "expired".to_owned(),
        (_, Some(reason)) => format!("rejected: {}", show::on_terminal(reason)),
        (_, None) => "its attempts were used up".to_owned(),
    };
    format!("{id}  {died}  attempts {attempts}  {group}  {name}  {why}")
}

fn object(letter: &DeadLetter) -> serde_json::Value {
    let time = |time| humantime::format_rfc3339_nanos(time).to_string();
    let (kind, filter) = match &letter.filter {
        Filter::Name(text) => ("name", text),
        Filter::Prefix(text) => ("prefix", text),
        Filter::Pattern(text) => ("pattern", text),
    };
    json!({
        "id": letter.id.to_string(),
        "name": letter.name,
        "group": letter.group,
        "filter": { kind: filter },
        "attempts": letter.attempts,
        "cause": match letter.cause {
            DeadLetterCause::UsedUp => Some("used up"),
            DeadLetterCause::Rejected => Some("rejected"),
            DeadLetterCause::Expired => Some("expired"),
            _ => None,
        },
        "reason": letter.reason,
        "published": letter.published.map(time),
        "died": time(letter.died),
        "bytes": letter.bytes,
    })
}
