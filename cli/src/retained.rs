//! `mezzenger retained`: lists and clears retained messages.

use std::io;

use clap::Subcommand;
use mezzenger::{ClientBuilder, Filter, RetainedMessage};
use serde_json::json;

use crate::error::{Error, written};
use crate::filter::checked;
use crate::publish::publishable;
use crate::show;

/// What to do with retained messages.
#[derive(Subcommand)]
pub(crate) enum RetainedCommand {
    /// List retained messages by name: name, bytes and id. `mezzenger sub --last` prints their payloads.
    List(ListArgs),
    /// Delete the retained message of a name.
    Clear(ClearArgs),
}

/// Which to list.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// A name or a pattern, as for `mezzenger sub`. Default: all names.
    filter: Option<String>,

    /// Take FILTER as a prefix: all names that begin with it.
    #[arg(long, requires = "filter")]
    prefix: bool,

    /// Maximum number of entries.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,

    /// Print each as a JSON object: name, bytes, id, published.
    #[arg(long)]
    json: bool,
}

/// Which to clear.
#[derive(clap::Args)]
pub(crate) struct ClearArgs {
    /// The name.
    #[arg(value_parser = publishable)]
    name: String,

    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

impl RetainedCommand {
    pub(crate) fn run(self, builder: ClientBuilder) -> Result<(), Error> {
        let client = builder.connect()?;
        let retained = client.retained();
        match self {
            Self::List(args) => {
                let filter = args.filter.as_ref();
                let filter =
                    filter.map_or_else(|| Filter::prefix(""), |text| checked(text, args.prefix));
                let found = retained.list(&filter, args.limit)?;
                written(found.iter().try_for_each(|message| args.print(message)))
            }
            Self::Clear(args) => {
                retained.clear(&args.name)?;
                match args.json {
                    true => written(show::json_line(&json!({ "cleared": args.name }))),
                    false => Ok(()),
                }
            }
        }
    }
}

impl ListArgs {
    fn print(&self, message: &RetainedMessage) -> io::Result<()> {
        let RetainedMessage { id, name, published, bytes, .. } = message;
        if self.json {
            let published = humantime::format_rfc3339_nanos(*published).to_string();
            let id = id.to_string();
            let object = json!({"name": name, "bytes": bytes, "id": id, "published": published});
            show::json_line(&object)
        } else {
            show::line(format!("{} {bytes} {id}", show::on_terminal(name)).as_bytes())
        }
    }
}
