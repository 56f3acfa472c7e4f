//! `mezzenger group`: creates, lists and deletes groups.

use std::io;
use std::time::Duration;

use clap::Subcommand;
use mezzenger::{Client, ClientBuilder, Filter, Group, GroupBuilder, NameError, check_group_name};
use serde_json::{Value, json};

use crate::duration::{of_group, positive_of_group};
use crate::error::{Error, written};
use crate::filter::FilterArgs;
use crate::publish::publishable;
use crate::{at_least_one, show};

/// What to do with groups.
#[derive(Subcommand)]
pub(crate) enum GroupCommand {
    /// Create a durable group: from now on messages wait for it, with members and without. Does nothing if the same
    /// group exists.
    Create(CreateArgs),
    /// List all groups: name, filter, members, waiting and in-flight messages, dead letters.
    List(ListArgs),
    /// Delete a durable group that has no members. Its dead letters stay.
    Delete(DeleteArgs),
}

/// What to create.
#[derive(clap::Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// The group's name.
    #[arg(value_parser = group_name)]
    group: String,

    #[command(flatten)]
    policy: PolicyArgs,

    /// Print the group as a JSON object.
    #[arg(long)]
    json: bool,
}

/// What the members of a group agree on. A group that is there has it all already: what is not said is as it has it, and what is said
/// has to be the same.
#[derive(Default, clap::Args)]
pub(crate) struct PolicyArgs {
    /// Time for one attempt before another member gets the message. `mezzenger work` extends it while the command runs.
    /// Default: the server's --retry-interval.
    #[arg(long, value_name = "DURATION", value_parser = positive_of_group)]
    ack_wait: Option<Duration>,

    /// Maximum of unacknowledged messages per member. Default: what the server allows.
    #[arg(long, value_name = "N", value_parser = at_least_one::<u32>)]
    in_flight: Option<u32>,

    /// Maximum attempts per message, including the first; then it becomes a dead letter (see `mezzenger dead`). Attempts count
    /// from 1 again after a restart of the server. Default: no maximum.
    #[arg(long, value_name = "N", value_parser = at_least_one::<u16>)]
    max_attempts: Option<u16>,

    /// Delay after each failed attempt, such as 1s,10s,1m; the last one counts for all further attempts. Default: none.
    #[arg(long, value_name = "DURATIONS", value_delimiter = ',', value_parser = of_group)]
    backoff: Vec<Duration>,

    /// Keep messages that expire as dead letters of the group.
    #[arg(long)]
    keep_expired: bool,
}

/// Calls the methods of a builder of groups that stand for what was said.
macro_rules! with_policy {
    ($policy:expr, $group:expr) => {{
        let mut group = $group;
        if let Some(time) = $policy.ack_wait {
            group = group.ack_wait(time);
        }
        if let Some(messages) = $policy.in_flight {
            group = group.in_flight_max(messages);
        }
        if let Some(attempts) = $policy.max_attempts {
            group = group.attempts_max(attempts);
        }
        if !$policy.backoff.is_empty() {
            group = group.backoff(&$policy.backoff);
        }
        if $policy.keep_expired { group.keep_expired() } else { group }
    }};
}

impl PolicyArgs {
    /// A member of a group with this policy.
    pub(crate) fn of_member(&self, group: GroupBuilder) -> GroupBuilder {
        with_policy!(self, group)
    }
}

/// How to list groups.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// Print each as a JSON object.
    #[arg(long)]
    json: bool,
}

/// What to delete.
#[derive(clap::Args)]
pub(crate) struct DeleteArgs {
    /// The group's name.
    #[arg(value_parser = publishable)]
    group: String,

    /// Delete the group with the messages that wait for it. Without --discard, a group with waiting messages is not
    /// deleted.
    #[arg(long)]
    discard: bool,

    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// The name of a group that is to be made or joined.
pub(crate) fn group_name(text: &str) -> Result<String, NameError> {
    check_group_name(text)?;
    Ok(text.to_owned())
}

impl GroupCommand {
    pub(crate) fn run(self, builder: ClientBuilder) -> Result<(), Error> {
        match self {
            Self::Create(args) => args.run(builder),
            Self::List(args) => {
                let groups = builder.connect()?.groups().list()?;
                written(groups.iter().try_for_each(|group| print(group, args.json)))
            }
            Self::Delete(args) => {
                args.delete(&builder.connect()?)?;
                written(match args.json {
                    true => show::json_line(&json!({ "deleted": args.group })),
                    false => {
                        show::line(format!("{} deleted", show::on_terminal(&args.group)).as_bytes())
                    }
                })
            }
        }
    }
}

impl DeleteArgs {
    fn delete(&self, client: &Client) -> Result<(), Error> {
        let groups = client.groups();
        if self.discard {
            return Ok(groups.delete_with_messages(&self.group)?);
        }
        let deleted = groups.delete(&self.group);
        if deleted.is_err()
            && let Ok(Some(group)) = groups.get(&self.group)
            && group.is_durable
            && group.members == 0
            && group.waiting > 0
        {
            return Err(Error::HasMessages { group: self.group.clone(), waiting: group.waiting });
        }
        Ok(deleted?)
    }
}

impl CreateArgs {
    fn run(self, builder: ClientBuilder) -> Result<(), Error> {
        let filter = self.filter.checked();
        let client = builder.connect()?;
        with_policy!(self.policy, client.groups().durable(&self.group, filter)).create()?;
        match client.groups().get(&self.group)? {
            Some(group) => written(print(&group, self.json)),
            None => Ok(()),
        }
    }
}

/// Creates a durable group with these terms unless there is one of this name.
pub(crate) fn create_if_absent(
    client: &Client,
    name: &str,
    filter: &Filter,
    policy: &PolicyArgs,
) -> Result<(), Error> {
    if client.groups().get(name)?.is_some_and(|group| group.is_durable) {
        return Ok(());
    }
    Ok(with_policy!(policy, client.groups().durable(name, filter.clone())).create()?)
}

fn print(group: &Group, as_json: bool) -> io::Result<()> {
    if as_json { show::json_line(&object(group)) } else { show::line(line(group).as_bytes()) }
}

fn line(group: &Group) -> String {
    let Group { name, filter, members, waiting, in_flight, dead_letters, .. } = group;
    let name = show::on_terminal(name);
    let filter = filter.to_string();
    let filter = show::on_terminal(&filter);
    let kind = if group.is_durable { "durable" } else { "while it has members" };
    format!(
        "{name}  {kind}  {filter}  members {members}  waiting {waiting}  in flight {in_flight}  dead letters {dead_letters}"
    )
}

fn object(group: &Group) -> Value {
    let (kind, filter) = match &group.filter {
        Filter::Name(text) => ("name", text),
        Filter::Prefix(text) => ("prefix", text),
        Filter::Pattern(text) => ("pattern", text),
    };
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    json!({
        "name": group.name,
        "durable": group.is_durable,
        "filter": { kind: filter },
        "ack_wait_ms": ms(group.ack_wait),
        "in_flight_max": group.in_flight_max,
        "attempts_max": group.attempts_max,
        "backoff_ms": group.backoff.iter().copied().map(ms).collect::<Vec<_>>(),
        "keeps_expired": group.keeps_expired,
        "members": group.members,
        "waiting": group.waiting,
        "in_flight": group.in_flight,
        "dead_letters": group.dead_letters,
    })
}
