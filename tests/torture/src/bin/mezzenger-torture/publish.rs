//! A publisher: sends numbered messages and tells what became of each.

use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::sync::atomic::Ordering;

use mezzenger::{Receipt, SendError};
use mezzenger_torture::content::{self, Key};
use mezzenger_torture::report::Report;

use crate::args::PublishArgs;
use crate::client;

/// Publishes until stdin ends, then waits for the last answers. A message that fails is told, and the next
/// one sent.
pub(crate) fn publish(args: PublishArgs) -> Result<(), Box<dyn Error>> {
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
        let key = Key { publisher: args.publisher, number };
        Report::Sent(number).tell()?;
        match client.publish(&content::name(key, args.names), content::payload(key), true) {
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
