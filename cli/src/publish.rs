//! `mezzenger pub`: one message, or one for each line of standard input.

use std::io::{self, BufRead, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::error::ErrorKind;
use clap::{ArgGroup, CommandFactory};
use mezzenger::{Client, ClientBuilder, NameError, SendError, check_name};

use crate::error::Error;

/// The text that stands for standard input.
const STDIN: &str = "-";

/// What to publish. Content that is UTF-8 is published as text, all other as bytes.
#[derive(clap::Args)]
#[command(
    group = ArgGroup::new("content").required(true),
    override_usage = "mezzenger pub [OPTIONS] <NAME> <TEXT|-|--file <FILE>>"
)]
pub(crate) struct PublishArgs {
    /// Name to publish under.
    #[arg(value_parser = publishable)]
    name: String,

    /// The message; `-` reads it from standard input, to its end and as it is.
    #[arg(group = "content", allow_negative_numbers = true)]
    text: Option<String>,

    /// Publish the content of this file.
    #[arg(long, value_name = "FILE", group = "content")]
    file: Option<PathBuf>,

    /// With `-`: publish each line of standard input, without its line feed, as a message of its own.
    #[arg(long, conflicts_with = "file")]
    lines: bool,

    /// Ask for acknowledgement: the server delivers the message again until a subscriber acknowledged
    /// it.
    #[arg(long)]
    ack: bool,
}

fn publishable(text: &str) -> Result<String, NameError> {
    check_name(text)?;
    Ok(text.to_owned())
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
        send(&client, &self.name, &content, self.ack)?;
        Ok(client.flush()?)
    }

    fn content(&self) -> Result<Vec<u8>, Error> {
        match (&self.file, &self.text) {
            (Some(path), _) => {
                std::fs::read(path).map_err(|source| Error::File { path: path.clone(), source })
            }
            (None, Some(text)) if text != STDIN => Ok(text.clone().into_bytes()),
            (None, _) => {
                let mut content = Vec::new();
                io::stdin().read_to_end(&mut content).map_err(Error::Stdin)?;
                Ok(content)
            }
        }
    }

    fn publish_lines(&self, builder: ClientBuilder) -> Result<(), Error> {
        // The answers come later than the lines go: a refusal ends the reading of further ones.
        let refused = Arc::new(AtomicBool::new(false));
        let refuse = Arc::clone(&refused);
        let client = builder.on_error(move |_| refuse.store(true, Ordering::Relaxed)).connect()?;
        let mut stdin = io::stdin().lock();
        let mut line = Vec::new();
        while !refused.load(Ordering::Relaxed) {
            line.clear();
            if stdin.read_until(b'\n', &mut line).map_err(Error::Stdin)? == 0 {
                break;
            }
            let content = line.strip_suffix(b"\n").unwrap_or(&line);
            send(&client, &self.name, content, self.ack)?;
        }
        Ok(client.flush()?)
    }
}

fn send(client: &Client, name: &str, content: &[u8], ack: bool) -> Result<(), SendError> {
    match std::str::from_utf8(content) {
        Ok(text) => client.publish(name, text, ack)?,
        Err(_) => client.publish(name, content, ack)?,
    };
    Ok(())
}
