//! `mezzenger request` and `mezzenger reply`: send requests, and answer them.

use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mezzenger::{ClientBuilder, Delivery, Filter, ReceiveError, SendError};
use serde_json::json;

use crate::error::{Error, written};
use crate::filter::FilterArgs;
use crate::group::group_name;
use crate::publish::{Content, Header, one_name};
use crate::show::Delivered;
use crate::{SIGNAL_TICK, at_least_one, command, complain, connect, show, signals};

/// Bytes of requests that may wait here.
const CREDIT_BYTES: u64 = 4 * 1024 * 1024;

/// What to ask.
#[derive(clap::Args)]
pub(crate) struct RequestArgs {
    /// Name to publish the request under.
    #[arg(value_parser = one_name)]
    name: String,

    /// The request; `-` reads it from standard input, unchanged, to its end.
    #[arg(allow_negative_numbers = true)]
    text: String,

    /// Add a header; repeat the option for more.
    #[arg(long, value_name = "KEY=VALUE")]
    header: Vec<Header>,

    /// Print the reply as a JSON object, as `mezzenger sub --json` does.
    #[arg(long)]
    json: bool,

    /// Print the payload byte for byte. Control characters reach the terminal.
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

impl RequestArgs {
    pub(crate) fn run(self, builder: ClientBuilder, timeout: Duration) -> Result<(), Error> {
        let content = Content::of_text(&self.text)?;
        let client = builder.connect()?;
        let headers = self.header.iter().map(|header| (&*header.key, &*header.value));
        let answer = content.message(&client, &self.name, headers).request(timeout)?;
        written(if self.json {
            show::json_line(&show::json(&answer, Delivered::default()))
        } else {
            show::line(&show::text(&answer, self.raw))
        })
    }
}

/// What to answer.
#[derive(clap::Args)]
#[command(override_usage = "mezzenger reply [OPTIONS] <FILTER> -- <COMMAND>...")]
pub(crate) struct ReplyArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// Group of the responders: each request goes to one of its members. Default: `reply.` and FILTER, with `+` for `*`
    /// and `#` for `>`.
    #[arg(long, value_parser = group_name)]
    group: Option<String>,

    /// Exit after N replies.
    #[arg(long, value_name = "N", value_parser = at_least_one::<u64>)]
    count: Option<u64>,

    /// Print a JSON object for each request: name, id, bytes of the reply, and error; null where there is none.
    #[arg(long)]
    json: bool,

    /// The command, and its arguments. The request is on its standard input, the rest in its environment, and signals
    /// act as for `mezzenger work`. If it exits with 0, its output, without a line feed at the end, is the reply.
    /// Otherwise the request fails, with how the command ended.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl ReplyArgs {
    pub(crate) fn run(self, builder: ClientBuilder) -> Result<(), Error> {
        let filter = self.filter.checked();
        command::find(&self.command[0])?;
        let stopped = signals::stop_flag().map_err(Error::Signals)?;
        let client = connect(builder)?;
        let group = self.group.clone().unwrap_or_else(|| group_of(&filter));
        let member = client.subscription_to(filter).group(&group).credit(CREDIT_BYTES);
        let mut requests = member.open()?;
        let mut left = self.count;
        while left != Some(0) && !stopped.load(Ordering::Relaxed) {
            let request = match requests.recv_timeout(SIGNAL_TICK) {
                Ok(request) => request,
                Err(ReceiveError::TimedOut) => continue,
                Err(error) => return Err(Error::Receive(error)),
            };
            let answered = self.answer(&request, &group);
            if self.json {
                self.tell(&request, &answered)?;
            }
            match answered {
                Ok(_) => {
                    request.ack();
                    left = left.map(|left| left - 1);
                }
                Err(Error::Command { command, source }) if command::is_not_there(&source) => {
                    let error = Error::Command { command, source };
                    request.reply_error(&error.to_string())?;
                    client.flush()?;
                    return Err(error);
                }
                Err(error) => {
                    let (id, name) = (request.id(), show::on_terminal(request.name()));
                    complain(&format!("{error}; request {id} under '{name}' gets no answer"));
                    if request.reply_to().is_some() {
                        request.reply_error(&error.to_string())?;
                    }
                    request.reject("it could not be answered");
                }
            }
        }
        client.flush()?;
        // Also sends the acknowledgements that wait.
        client.stop();
        Ok(())
    }

    fn tell(&self, request: &Delivery, answered: &Result<usize, Error>) -> Result<(), Error> {
        let (name, id) = (request.name(), request.id().to_string());
        let bytes = answered.as_ref().ok();
        let error = answered.as_ref().err().map(ToString::to_string);
        let object = json!({ "name": name, "id": id, "bytes": bytes, "error": error });
        written(show::json_line(&object))
    }

    /// Answers a request with what the command prints for it, and gives the bytes of that.
    fn answer(&self, request: &Delivery, group: &str) -> Result<usize, Error> {
        if request.reply_to().is_none() {
            return Err(SendError::NoReplyWanted.into());
        }
        let output = command::run(&self.command, group, request, Stdio::piped());
        let command = || self.command[0].clone();
        let output = output.map_err(|source| Error::Command { command: command(), source })?;
        if !output.status.success() {
            return Err(Error::Failed { command: command(), status: output.status });
        }
        Ok(match str::from_utf8(&output.stdout) {
            // As a shell takes what a command prints.
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(text);
                request.reply(text)?;
                text.len()
            }
            Err(_) => {
                request.reply(&output.stdout)?;
                output.stdout.len()
            }
        })
    }
}

/// The group of those who answer what fits a filter, unless they say otherwise. Groups have no wildcards in their names.
fn group_of(filter: &Filter) -> String {
    let (Filter::Name(text) | Filter::Prefix(text) | Filter::Pattern(text)) = filter;
    format!("reply.{}", text.replace('*', "+").replace('>', "#"))
}
