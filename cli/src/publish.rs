//! `mezzenger pub`: one message, or one for each line of standard input.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use clap::error::ErrorKind;
use clap::{ArgGroup, CommandFactory};
use mezzenger::{
    Client, ClientBuilder, Encoding, Filter, NameError, OutgoingMessage, Payload, Receipt,
    SendError, check_name,
};
use serde_json::json;

use crate::duration::{duration, positive, time};
use crate::error::{Error, written};
use crate::{complain, show};

/// The text that stands for standard input.
const STDIN: &str = "-";

/// Why nobody got a message, and what helps.
const NOBODY: &str = "nobody is subscribed to its name, or subscribers do not keep up; with --ack the server keeps it";

/// What to publish. Content that is UTF-8 is published as text, all other as bytes.
#[derive(clap::Args)]
#[command(
    group = ArgGroup::new("content").required(true),
    override_usage = "mezzenger pub [OPTIONS] <NAME> <TEXT|-|--file <FILE>>"
)]
pub(crate) struct PublishArgs {
    /// Name to publish under.
    #[arg(value_parser = one_name)]
    name: String,

    /// The message; `-` reads it from standard input, unchanged, to its end.
    #[arg(group = "content", allow_negative_numbers = true)]
    text: Option<String>,

    /// Publish the content of this file.
    #[arg(long, value_name = "FILE", group = "content")]
    file: Option<PathBuf>,

    /// With `-`: publish each line of standard input, without its line feed, as a separate message.
    #[arg(long, conflicts_with = "file")]
    lines: bool,

    /// Ask for acknowledgement: the server delivers the message again until a subscriber acknowledges it.
    #[arg(long)]
    ack: bool,

    /// Add a header; repeat the option for more. Original clients do not see headers.
    #[arg(long, value_name = "KEY=VALUE")]
    header: Vec<Header>,

    /// Media type of the payload: application/json.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,

    /// Name under which a reply is to be published, for a subscriber there. `mezzenger request` does this by itself.
    #[arg(long, value_name = "NAME", value_parser = one_name)]
    reply_to: Option<String>,

    /// How long the message is valid: 30s, 500ms; a bare number is seconds. Afterwards nobody gets it.
    #[arg(long, value_name = "DURATION", value_parser = positive)]
    expires: Option<Duration>,

    /// How long the server holds the message before it delivers it: 30s, 500ms; a bare number is seconds.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    delay: Option<Duration>,

    /// When the server delivers the message: 2027-01-31T08:00:00Z, in UTC; at once if that has passed.
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "delay")]
    deliver_at: Option<SystemTime>,

    /// Keep the message as the last one of its name, for subscribers with --last.
    #[arg(long)]
    retain: bool,

    /// Idempotency key: the server does not publish another message under the same name and key within its
    /// --idempotency-window.
    #[arg(long, conflicts_with = "lines")]
    key: Option<String>,

    /// Print a JSON object: receivers, the number of connections that received the message at once, or null where that
    /// is not known.
    #[arg(long, conflicts_with = "lines")]
    json: bool,
}

/// A header of a message.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for Header {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

pub(crate) fn publishable(text: &str) -> Result<String, NameError> {
    check_name(text)?;
    Ok(text.to_owned())
}

/// A name that is no pattern: a message is published under one name.
pub(crate) fn one_name(text: &str) -> Result<String, String> {
    if matches!(Filter::from_text(text), Filter::Pattern(_)) {
        return Err("this is a pattern, and a message is published under one name".to_owned());
    }
    publishable(text).map_err(|error| error.to_string())
}

impl PublishArgs {
    pub(crate) fn run(self, builder: ClientBuilder) -> Result<(), Error> {
        if self.lines {
            if self.text.as_deref() != Some(STDIN) {
                let mut command = crate::Args::command();
                command
                    .error(
                        ErrorKind::ValueValidation,
                        "--lines needs - as the text: it reads stdin",
                    )
                    .exit();
            }
            return self.publish_lines(builder);
        }
        // Read first: what cannot be read needs no server.
        let content = self.content()?;
        let client = builder.connect()?;
        let receivers = self.publish(&client, &content)?.receivers()?;
        if receivers == Some(0) && self.is_for_those_there() {
            complain(&format!("nobody got the message: {NOBODY}"));
        }
        if self.json {
            return written(show::json_line(&json!({ "receivers": receivers })));
        }
        Ok(())
    }

    /// Whether only those get it who are there now, and it was not perhaps published before.
    fn is_for_those_there(&self) -> bool {
        let is_later = self.delay.is_some() || self.deliver_at.is_some();
        !self.ack && !self.retain && !is_later && self.key.is_none()
    }

    fn publish(&self, client: &Client, content: &Content) -> Result<Receipt, SendError> {
        let headers = self.header.iter().map(|header| (&*header.key, &*header.value));
        let mut message = content.message(client, &self.name, headers);
        if let Some(time) = self.expires {
            message = message.expires_in(time);
        }
        if let Some(time) = self.delay {
            message = message.deliver_in(time);
        }
        if let Some(time) = self.deliver_at {
            message = message.deliver_at(time);
        }
        if let Some(media_type) = &self.content_type {
            message = message.content_type(media_type);
        }
        if let Some(name) = &self.reply_to {
            message = message.reply_to(name);
        }
        if self.retain {
            message = message.retain();
        }
        if let Some(key) = &self.key {
            message = message.idempotency_key(key);
        }
        (if self.ack { message.ack() } else { message }).publish()
    }

    fn content(&self) -> Result<Content, Error> {
        match (&self.file, &self.text) {
            (Some(path), _) => {
                let content = std::fs::read(path);
                content.map(Content).map_err(|source| Error::File { path: path.clone(), source })
            }
            (None, text) => Content::of_text(text.as_deref().unwrap_or(STDIN)),
        }
    }

    fn publish_lines(&self, builder: ClientBuilder) -> Result<(), Error> {
        // The answers come later than the lines go: a refusal ends the reading of further ones.
        let refused = Arc::new(AtomicBool::new(false));
        let refuse = Arc::clone(&refused);
        let client = builder.on_error(move |_| refuse.store(true, Ordering::Relaxed)).connect()?;
        let mut stdin = io::stdin().lock();
        let (mut line, mut told) = (Vec::new(), Told::default());
        while !refused.load(Ordering::Relaxed) {
            line.clear();
            if stdin.read_until(b'\n', &mut line).map_err(Error::Stdin)? == 0 {
                break;
            }
            let content = line.strip_suffix(b"\n").unwrap_or(&line).to_vec();
            told.waiting.push_back(self.publish(&client, &Content(content))?);
            told.take(false);
        }
        client.flush()?;
        told.take(true);
        let Told { nobody, all, .. } = told;
        if nobody > 0 && self.is_for_those_there() {
            let all = show::counted(all, "message");
            complain(&format!("nobody got {nobody} of {all}: {NOBODY}"));
        }
        Ok(())
    }
}

/// What became of many messages.
#[derive(Default)]
struct Told {
    /// Those that the server has not answered yet: as many as the client holds.
    waiting: VecDeque<Receipt>,
    all: u64,
    /// How many were for nobody.
    nobody: u64,
}

impl Told {
    /// Takes the answers that are there, or waits for all. Errors are for the flush.
    fn take(&mut self, waits: bool) {
        while let Some(receipt) = self.waiting.pop_front_if(|receipt| waits || receipt.is_done()) {
            self.all += 1;
            self.nobody += u64::from(receipt.receivers() == Ok(Some(0)));
        }
    }
}

/// What is published: as text if it is UTF-8, else as bytes.
pub(crate) struct Content(Vec<u8>);

impl Content {
    /// A text of the command line; `-` stands for what is on standard input.
    pub(crate) fn of_text(text: &str) -> Result<Self, Error> {
        if text != STDIN {
            return Ok(Self(text.to_owned().into_bytes()));
        }
        let mut content = Vec::new();
        io::stdin().read_to_end(&mut content).map_err(Error::Stdin)?;
        Ok(Self(content))
    }

    /// A message with these headers.
    pub(crate) fn message<'a>(
        &'a self,
        client: &'a Client,
        name: &'a str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> OutgoingMessage<'a, &'a Self> {
        headers.fold(client.message(name, self), |message, (key, value)| message.header(key, value))
    }
}

impl Payload for Content {
    fn encoding(&self) -> Encoding {
        if str::from_utf8(&self.0).is_ok() { Encoding::Text } else { Encoding::Bytes }
    }

    fn as_payload(&self) -> &[u8] {
        &self.0
    }
}
