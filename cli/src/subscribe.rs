//! `mezzenger sub`: prints messages as they arrive.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use mezzenger::{ClientBuilder, Message, ReceiveError, Subscription};

use crate::error::{Error, written};
use crate::filter::FilterArgs;
use crate::group::{PolicyArgs, create_if_absent, group_name};
use crate::show::Delivered;
use crate::{SIGNAL_TICK, at_least_one, complain, connect, show, signals};

/// What to print.
#[derive(clap::Args)]
pub(crate) struct SubscribeArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// Acknowledge each printed message that asks for it, which settles it for all subscribers. Without --ack, the
    /// command is an observer: it acknowledges nothing, and gets what is published from now on.
    #[arg(long)]
    ack: bool,

    /// Join this group: each message goes to one of its members. Printed messages are acknowledged.
    #[arg(long, conflicts_with = "ack", value_parser = group_name)]
    group: Option<String>,

    /// Create the group if it does not exist, so that messages wait for it while it has no members (see `mezzenger
    /// group`).
    #[arg(long, requires = "group")]
    durable: bool,

    /// Print the retained messages of the names first: the last one of each name that was published with --retain.
    #[arg(long, conflicts_with = "group")]
    last: bool,

    /// Print each message as a JSON object: name, payload (base64 unless it is text or a value from an original
    /// client), encoding, ack, timestamp, checksum, id, content_type, type (the publisher's name for the type of a
    /// typed value), headers (a list of pairs), redelivered, retained (sent because of --last), attempt. Without
    /// --json, only payloads are printed: text as it is, bytes with escapes such as \n and \xff.
    #[arg(long)]
    json: bool,

    /// Print payloads byte for byte, each followed by a line feed. Control characters reach the terminal.
    #[arg(long, conflicts_with = "json")]
    raw: bool,

    /// Exit after N messages.
    #[arg(long, value_name = "N", value_parser = at_least_one::<u64>)]
    count: Option<u64>,
}

impl SubscribeArgs {
    pub(crate) fn run(self, builder: ClientBuilder) -> Result<(), Error> {
        let filter = self.filter.checked();
        let stopped = signals::stop_flag().map_err(Error::Signals)?;
        let client = connect(builder.on_missed(|missed| {
            let name = show::on_terminal(&missed.name);
            let messages = show::counted(missed.messages, "message");
            complain(&format!("missed {messages} under '{name}'"));
        }))?;
        if let Some(group) = self.group.as_ref().filter(|_| self.durable) {
            create_if_absent(&client, group, &filter, &PolicyArgs::default())?;
        }
        let mut subscription = client.subscription_to(filter);
        if self.last {
            subscription = subscription.with_last();
        }
        let mut messages = match &self.group {
            Some(group) => subscription.group(group).open()?,
            None if self.ack => subscription.broadcast().open()?,
            // Who looks on holds nobody up.
            None => subscription.observe().lossy().open()?,
        };
        let result = self.print(&mut messages, &stopped);
        // Also sends the acknowledgements that wait.
        client.stop();
        result
    }

    /// Prints until told to stop, or there is nothing more, or nobody reads.
    fn print(&self, messages: &mut Subscription, stopped: &AtomicBool) -> Result<(), Error> {
        let mut left = self.count;
        while left != Some(0) && !stopped.load(Ordering::Relaxed) {
            match messages.recv_timeout(SIGNAL_TICK) {
                Ok(delivery) => {
                    let delivered = Delivered {
                        again: delivery.is_redelivered(),
                        retained: delivery.is_retained(),
                        attempt: delivery.attempt(),
                    };
                    if let Err(error) = self.print_one(&delivery, delivered) {
                        // What could not be printed is not acknowledged.
                        return written(Err(error));
                    }
                    delivery.ack();
                    left = left.map(|left| left - 1);
                }
                Err(ReceiveError::TimedOut) => {}
                Err(ReceiveError::Closed) => break,
                Err(error) => return Err(Error::Receive(error)),
            }
        }
        Ok(())
    }

    fn print_one(&self, message: &Message, delivered: Delivered) -> io::Result<()> {
        if self.json {
            show::json_line(&show::json(message, delivered))
        } else {
            show::line(&show::text(message, self.raw))
        }
    }
}
