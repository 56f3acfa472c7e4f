//! Publishers: of numbered messages, and of jobs. They tell what became of each.

use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use mezzenger::{Client, Receipt, SendError};
use mezzenger_torture::content::{self, Key};
use mezzenger_torture::job_ledger::Posted;
use mezzenger_torture::jobs;
use mezzenger_torture::report::Report;

use crate::args::{PostArgs, PublishArgs, PublisherArgs};
use crate::client;

/// Publishes messages until stdin ends.
pub(crate) fn publish(args: PublishArgs) -> Result<(), Box<dyn Error>> {
    let names = args.names;
    publish_all(&args.publisher, |client, key| {
        Report::Sent(key.number).tell()?;
        Ok(client.message(&content::name(key, names), content::payload(key)).ack().publish())
    })
}

/// Publishes jobs until stdin ends, some of which are delivered later, or expire.
pub(crate) fn post(args: PostArgs) -> Result<(), Box<dyn Error>> {
    publish_all(&args.publisher, |client, key| {
        let jobs::Times { due_in, expires_in } = jobs::times(key);
        let at_ms = jobs::now_ms();
        let [due_ms, expires_ms] = [due_in, expires_in].map(|ms| ms.map(|ms| at_ms + ms));
        let posted = Posted { at_ms, due_ms, expires_ms };
        Report::Posted { number: key.number, posted }.tell()?;
        let mut message = client.message(jobs::name(key), content::payload(key)).ack();
        if let Some(ms) = due_ms {
            message = message.deliver_at(UNIX_EPOCH + Duration::from_millis(ms));
        }
        if let Some(ms) = expires_in {
            message = message.expires_in(Duration::from_millis(ms));
        }
        Ok(message.publish())
    })
}

/// Publishes with this until stdin ends, then waits for the last answers. A message that fails is told, and the next
/// one sent.
fn publish_all(
    args: &PublisherArgs,
    mut publish: impl FnMut(&Client, Key) -> io::Result<Result<Receipt, SendError>>,
) -> Result<(), Box<dyn Error>> {
    let ended = client::told_to_end()?;
    let Some(client) = args.client.connect(&args.client.builder())? else {
        return Ok(());
    };
    let mut waiting = VecDeque::new();
    for number in 0.. {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        while let Some((_, receipt)) = waiting.front()
            && (waiting.len() >= args.window || Receipt::is_done(receipt))
        {
            settle(&mut waiting)?;
        }
        match publish(&client, Key { publisher: args.publisher, number })? {
            Ok(receipt) => waiting.push_back((number, receipt)),
            Err(error) => tell(number, Err(error))?,
        }
    }
    while !waiting.is_empty() {
        settle(&mut waiting)?;
    }
    Ok(())
}

/// Waits for the answer to the oldest message.
fn settle(waiting: &mut VecDeque<(u32, Receipt)>) -> io::Result<()> {
    match waiting.pop_front() {
        Some((number, receipt)) => tell(number, receipt.wait()),
        None => Ok(()),
    }
}

fn tell(number: u32, result: Result<(), SendError>) -> io::Result<()> {
    match result {
        Ok(()) => Report::Ok(number),
        Err(error) => Report::Refused { number, reason: error.to_string() },
    }
    .tell()
}
