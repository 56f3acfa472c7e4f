//! A subscriber: tells what arrives, and lets it be acknowledged once that is told.

use std::error::Error;
use std::io;

use mezzenger::Message;
use mezzenger_torture::content;
use mezzenger_torture::report::Report;

use crate::args::SubscribeArgs;
use crate::client;

/// Subscribes to its name until stdin ends.
pub(crate) fn subscribe(args: SubscribeArgs) -> Result<(), Box<dyn Error>> {
    let Some(client) = args.client.connect(&args.client.builder())? else { return Ok(()) };
    let counters = client.clone();
    let tell = move |payload: &[u8], message: &Message| -> io::Result<()> {
        let expected = |key: &content::Key| content::name(*key, args.names) == message.name();
        let report = match content::key(payload).filter(expected) {
            Some(key) => Report::Delivered { key, acknowledged: counters.counters().acknowledged },
            None => Report::Damaged(payload.len()),
        };
        // What could not be told is not acknowledged, and comes again.
        report.tell()
    };
    client.subscribe(&content::name_of(args.subscriber), tell)?;
    client::wait_for_the_end();
    // Sends the acknowledgements that wait.
    client.stop();
    Ok(Report::Acknowledged(client.counters().acknowledged).tell()?)
}
