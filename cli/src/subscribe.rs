//! `mezzenger sub`: prints messages as they arrive.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::error::ErrorKind;
use mezzenger::{
    ClientBuilder, ConnectionEvent, Link, Message, ReceiveError, Subscription, check_name,
    check_prefix,
};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::error::{Error, written};
use crate::{complain, show};

/// How soon a signal is noticed.
const SIGNAL_TICK: Duration = Duration::from_millis(100);

/// What to print.
#[derive(clap::Args)]
pub(crate) struct SubscribeArgs {
    /// Name to subscribe to.
    name: String,

    /// Print each message as a JSON object: name, payload (base64 unless it is text or a value from an
    /// original client), encoding, ack, timestamp, checksum, id. Without it, only payloads are printed:
    /// text as it is, bytes with escapes such as \n and \xff.
    #[arg(long)]
    json: bool,

    /// Subscribe to all names that begin with NAME; an empty one means all messages.
    #[arg(long)]
    prefix: bool,

    /// End after so many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

impl SubscribeArgs {
    pub(crate) fn run(self, builder: ClientBuilder) -> Result<(), Error> {
        self.check_name();
        let stopped = stop_flag().map_err(Error::Signals)?;
        let client = builder
            .on_missed(|missed| {
                complain(&format!("missed {} messages under '{}'", missed.messages, missed.name));
            })
            .on_error(|failure| complain(failure))
            .on_connection(tell_of_losses())
            .connect()?;
        let mut subscription = if self.prefix {
            client.subscription_prefix(&self.name)?
        } else {
            client.subscription(&self.name)?
        };
        let printed = self.print(&mut subscription, &stopped);
        // Also sends the acknowledgements that wait.
        client.stop();
        written(printed)
    }

    fn check_name(&self) {
        // A prefix may read like a reserved name.
        let check = if self.prefix { check_prefix } else { check_name };
        if let Err(error) = check(&self.name) {
            let mut command = <crate::Args as clap::CommandFactory>::command();
            command.error(ErrorKind::ValueValidation, error).exit();
        }
    }

    /// Prints until told to stop, or there is nothing more, or nobody reads.
    fn print(&self, subscription: &mut Subscription, stopped: &AtomicBool) -> io::Result<()> {
        let mut left = self.count;
        while left != Some(0) && !stopped.load(Ordering::Relaxed) {
            match subscription.recv_timeout(SIGNAL_TICK) {
                Ok(message) => {
                    self.print_one(&message)?;
                    // What could not be printed is not acknowledged.
                    subscription.acknowledge();
                    left = left.map(|left| left - 1);
                }
                Err(ReceiveError::TimedOut) => {}
                Err(ReceiveError::Closed) => break,
            }
        }
        Ok(())
    }

    fn print_one(&self, message: &Message) -> io::Result<()> {
        if self.json {
            show::line(show::json(message).to_string().as_bytes())
        } else {
            show::line(&show::text(message))
        }
    }
}

/// Says when the connection that messages come by is lost, and when there is one again.
fn tell_of_losses() -> impl Fn(&ConnectionEvent) + Send + Sync {
    let is_lost = AtomicBool::new(false);
    move |event| match event {
        ConnectionEvent::Disconnected { link: Link::Messages, why } => {
            is_lost.store(true, Ordering::Relaxed);
            complain(&format!("no messages for now: {why}; connecting again"));
        }
        ConnectionEvent::Connected { link: Link::Messages }
            if is_lost.swap(false, Ordering::Relaxed) =>
        {
            complain(&"connected again");
        }
        _ => {}
    }
}

/// A flag that SIGINT and SIGTERM set; the second of them ends the process at once.
fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order, so that the first signal does not find the flag set.
        signal_hook::flag::register_conditional_shutdown(
            signal,
            128 + signal,
            Arc::clone(&stopped),
        )?;
        signal_hook::flag::register(signal, Arc::clone(&stopped))?;
    }
    Ok(stopped)
}
